"""The gate: from figures and thresholds to pass, fail or inconclusive, with reasons."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harness.records.analysis import CheckResult, Decision, Estimate, GroupAnalysis, Verdict
from harness.records.runs import Thresholds

EXIT_PASS = 0
EXIT_FAIL = 1
EXIT_USAGE = 2
EXIT_UNREACHABLE = 3
EXIT_INCONCLUSIVE = 4
EXIT_CRASH = 70
EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141


def decide(
    groups: Sequence[GroupAnalysis],
    thresholds: Thresholds,
    *,
    beside: Sequence[CheckResult] = (),
    requests: tuple[int, int] = (0, 0),
    broken: Sequence[str] = (),
    unsettled: Sequence[str] = (),
    stopped: str | None = None,
) -> Verdict:
    """Hold every group (one API in one mode) to the thresholds, and all probes to themselves.

    Too many invalid responses, any failed probe, and rates that could not be reached any more if
    all else went well, fail a run however much of it is missing. Short of that a run with attempts
    that were never made is inconclusive: what is missing could go either way.

    Args:
        groups: The attempts at the cases; their errors count as invalid responses.
        thresholds: What the groups must reach.
        beside: What came of the probes, and of the checks on their replies.
        requests: How many requests of probes were made, and how many planned.
        broken: Demands on single checks that the run breaks (see `harness.verdict.demands`).
        unsettled: Demands on which it has nothing to say.
        stopped: How the budget ended the run before its plan.
    """
    invalid = [reason for group in groups for reason in _invalid(group, thresholds)]
    invalid += [_failure(result) for result in beside if result.status == "failed"]
    invalid += broken
    planned = requests[1] + sum(group.planned for group in groups)
    missing = planned - requests[0] - sum(group.finished for group in groups)
    judged = any(group.finished for group in groups) or any(each.applicable for each in beside)
    if not judged:
        nothing = "Nothing was judged: no attempt finished."
        return _verdict("inconclusive", [nothing, *([stopped] if stopped else [])], thresholds)
    if missing:
        cut_off = f"{missing} of {planned} planned attempts were not made."
        cut_offs = [cut_off] if stopped is None else [cut_off, stopped]
        lost = [reason for group in groups for reason in _lost(group, thresholds)]
        if invalid or lost:
            return _verdict("fail", [*invalid, *lost, *cut_offs], thresholds)
        return _verdict("inconclusive", [*cut_offs, *unsettled], thresholds)
    low = [reason for group in groups for reason in _rates(group, thresholds)]
    if invalid or low:
        return _verdict("fail", [*invalid, *low], thresholds)
    if unsettled:
        return _verdict("inconclusive", unsettled, thresholds)
    praise = [_praise(groups, thresholds)] if groups else []
    return _verdict("pass", [*praise, *_probes_passed(beside)], thresholds)


def exit_code(verdict: Verdict) -> int:
    """The exit status that says the verdict."""
    codes: dict[Decision, int] = {
        "pass": EXIT_PASS,
        "fail": EXIT_FAIL,
        "inconclusive": EXIT_INCONCLUSIVE,
    }
    return codes[verdict.decision]


def exceeds(rate: float, threshold: float) -> bool:
    """Whether a rate is good enough: above the threshold, or perfect."""
    return rate > threshold or rate == 1.0


def _invalid(group: GroupAnalysis, thresholds: Thresholds) -> Iterator[str]:
    if group.invalid > thresholds.max_invalid:
        allowed = thresholds.max_invalid or "none"
        counted = f"{group.invalid} invalid of {group.planned} attempts"
        where = thresholds.where("max_invalid")
        yield f"{group.name}: {counted}, {allowed} allowed{where}."


def _probes_passed(beside: Sequence[CheckResult]) -> Iterator[str]:
    probes = [result for result in beside if result.check.kind == "probe"]
    passed = sum(result.status == "passed" for result in probes)
    if probes:
        yield f"{passed} of {len(probes)} probes passed, none failed."


def _failure(result: CheckResult) -> str:
    return f"{result.check.id} failed {result.failures} of {result.applicable} times."


def _rates(group: GroupAnalysis, thresholds: Thresholds) -> Iterator[str]:
    measures: list[tuple[str, Estimate, str]] = [
        ("pass@", group.pass_at[-1], "min_pass_at_k"),
        ("pass^", group.pass_hat[-1], "min_pass_hat_k"),
    ]
    for name, estimate, setting in measures:
        if not exceeds(estimate.value, getattr(thresholds, setting)):
            yield (
                f"{group.name}: {name}{group.tries} is {estimate.value:.1%}"
                f" (interval {estimate.low:.1%} to {estimate.high:.1%}),"
                f" more than {_asked(thresholds, setting)} is asked;"
                f" most failures: {_commonest(group)}."
            )


def _lost(group: GroupAnalysis, thresholds: Thresholds) -> Iterator[str]:
    """The rates that would be too low even if every attempt that is missing passed."""
    measures = [
        ("pass@", group.best_pass_at, "min_pass_at_k"),
        ("pass^", group.best_pass_hat, "min_pass_hat_k"),
    ]
    for name, best, setting in measures:
        if not exceeds(best, getattr(thresholds, setting)):
            yield (
                f"{group.name}: {name}{group.tries} can be {best:.1%} at most,"
                f" more than {_asked(thresholds, setting)} is asked;"
                f" most failures: {_commonest(group)}."
            )


def _said(thresholds: Thresholds, setting: str) -> str:
    origin = thresholds.origins.get(setting)
    return f"{getattr(thresholds, setting) * 100:g}%" + (f", {origin}" if origin else "")


def _asked(thresholds: Thresholds, setting: str) -> str:
    return f"{getattr(thresholds, setting) * 100:g}%{thresholds.where(setting)}"


def _commonest(group: GroupAnalysis) -> str:
    failures = {k: n for k, n in group.outcomes.items() if k not in ("success", "not_run")}
    kind = max(failures, key=lambda name: failures[name], default=None)
    return "none" if kind is None else f"{kind} ({failures[kind]})"


def _praise(groups: Sequence[GroupAnalysis], thresholds: Thresholds) -> str:
    invalid = sum(group.invalid for group in groups)
    at_k = min(group.pass_at[-1].value for group in groups)
    hat_k = min(group.pass_hat[-1].value for group in groups)
    k = groups[0].tries
    return (
        f"{invalid} invalid responses; in the weakest group pass@{k} is {at_k:.1%}"
        f" (asked: above {_said(thresholds, 'min_pass_at_k')})"
        f" and pass^{k} {hat_k:.1%} (asked: above {_said(thresholds, 'min_pass_hat_k')})."
    )


def _verdict(decision: Decision, reasons: Sequence[str], thresholds: Thresholds) -> Verdict:
    return Verdict(decision=decision, reasons=tuple(reasons), thresholds=thresholds)
