"""The gate: from results and thresholds to pass, fail or inconclusive, with reasons. Pure.

Tool calling and probes are judged together, evals by their baselines. The run fails if either part
fails, and passes if no part is inconclusive.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from harness.pipeline import requirements
from harness.pipeline.exit_codes import EXIT_FAIL, EXIT_INCONCLUSIVE, EXIT_PASS
from harness.records.analysis import BaselineVerdict, CheckResult, Decision, TaskResult, Verdict
from harness.records.runs import RunInfo, RunSettings, Thresholds
from harness.records.scores import Estimate

UNFINISHED = "The run is not finished; finish it with `gpt-oss-verify --resume RUN`."
FINDINGS_ONLY = "Imported traffic gets a verdict only on request (--verdict)."
NO_BASELINE = (
    "Nothing is published about sample questions. Measure a baseline with "
    "`gpt-oss-verify baseline create RUN` and pass it with --baseline FILE."
)

Part = tuple[Decision | None, tuple[str, ...]]
"""The decision on one part of a run, and its reasons."""


@dataclass(frozen=True)
class Progress:
    """How much of what was planned was made, evals left aside."""

    planned: int
    made: int
    stopped: str | None = None

    @property
    def missing(self) -> int:
        """Planned attempts that were not made."""
        return self.planned - self.made


def decide(
    info: RunInfo,
    results: Sequence[TaskResult],
    thresholds: Thresholds,
    *,
    checks: Sequence[CheckResult],
    beyond_cases: Sequence[CheckResult],
    complete: bool,
    planned: int,
    made: int,
) -> Verdict:
    """The verdict on a run.

    Args:
        info: Its `run.json`.
        results: The figures of its tasks.
        thresholds: What they must reach.
        checks: The results of all checks and probes.
        beyond_cases: The results of probes, and of checks on the replies to their requests; errors
            in tool-call attempts count as invalid responses instead.
        complete: Whether everything planned was sampled and graded.
        planned: Planned attempts of all tasks.
        made: Attempts that were made.
    """
    if info.settings.findings_only:
        return Verdict(decision=None, reasons=(FINDINGS_ONLY,), thresholds=thresholds)
    parts: list[Part] = []
    evals = [result for result in results if result.score is not None]
    of_evals = sum(task.planned for task in info.of_kind("eval"))
    if planned > of_evals or not evals:
        done = made - sum(result.finished for result in evals)
        parts.append(
            decide_tool_calling(
                [result for result in results if result.score is None],
                thresholds,
                beyond_cases=beyond_cases,
                progress=Progress(planned - of_evals, done, info.stopped),
                broken=tuple(requirements.broken(checks, thresholds)),
                unverified=tuple(requirements.unverified(checks, info, thresholds)),
            )
        )
    if evals:
        parts.append(decide_evals(evals, info, complete=complete))
    return Verdict(
        decision=_worst([decision for decision, _ in parts]),
        reasons=tuple(dict.fromkeys(reason for _, reasons in _ranked(parts) for reason in reasons)),
        thresholds=thresholds,
    )


def exit_code(verdict: Verdict) -> int:
    """The exit status for a verdict; without a decision, nothing was found wrong."""
    codes: dict[Decision | None, int] = {
        "pass": EXIT_PASS,
        None: EXIT_PASS,
        "fail": EXIT_FAIL,
        "inconclusive": EXIT_INCONCLUSIVE,
    }
    return codes[verdict.decision]


def decide_tool_calling(
    results: Sequence[TaskResult],
    thresholds: Thresholds,
    *,
    progress: Progress,
    beyond_cases: Sequence[CheckResult] = (),
    broken: Sequence[str] = (),
    unverified: Sequence[str] = (),
) -> Part:
    """Compare tool calling under every condition with the thresholds, and require all probes.

    Too many invalid responses, any failed probe, and rates that cannot reach their threshold even
    if all missing attempts pass, fail a run however much of it is missing. Otherwise a run with
    missing attempts is inconclusive.

    Args:
        results: Tool calling, by condition.
        thresholds: What it must reach.
        progress: How many attempts were made.
        beyond_cases: See `decide`.
        broken: Requirements on single rules that the run violates.
        unverified: Requirements that it cannot judge.
    """
    invalid = [reason for result in results for reason in _invalid(result, thresholds)]
    invalid += [_failure(result) for result in beyond_cases if result.status == "failed"]
    invalid += broken
    stopped = [progress.stopped] if progress.stopped else []
    judged = any(result.finished for result in results)
    if not judged and not any(each.applicable for each in beyond_cases):
        return "inconclusive", ("Nothing was judged: no attempt finished.", *stopped)
    if progress.missing:
        cut_off = f"{progress.missing} of {progress.planned} planned attempts were not made."
        lost = [reason for result in results for reason in _lost(result, thresholds)]
        if invalid or lost:
            return "fail", (*invalid, *lost, cut_off, *stopped)
        return "inconclusive", (cut_off, *stopped, *unverified)
    low = [reason for result in results for reason in _rates(result, thresholds)]
    if invalid or low:
        return "fail", (*invalid, *low)
    if unverified:
        return "inconclusive", tuple(unverified)
    praise = [_praise(results, thresholds)] if results else [_no_failures(beyond_cases)]
    return "pass", (*praise, *_probes_passed(beyond_cases))


def decide_evals(evals: Sequence[TaskResult], info: RunInfo, *, complete: bool) -> Part:
    """Fail if an eval fails, pass if all pass; with the reasons, most important first.

    The decision is None where there is no baseline: for a complete run on sample questions, which
    nobody chooses for a verdict, and for a complete shard. Real questions without a baseline are
    inconclusive, and so is a run without an eval that the gate requires.
    """
    if info.shard is not None and complete:
        part, parts = info.shard
        return None, (f"This is shard {part} of {parts}; the verdict is on all of them merged.",)
    missing = tuple(_missing_evals(info.settings))
    decision = _of_evals(evals, complete=complete and not missing)
    if decision is None:
        return None, (NO_BASELINE,)
    cut_off = (info.stopped,) if info.stopped else () if complete else (UNFINISHED,)
    verdicts = [each.baseline for each in evals if each.baseline is not None]
    return decision, (*cut_off, *missing, *_reasons(verdicts), *_margins(info.settings))


def exceeds(rate: float, threshold: float) -> bool:
    """Whether a rate is good enough: above the threshold, or perfect."""
    return rate > threshold or rate == 1.0


def _worst(decisions: Sequence[Decision | None]) -> Decision | None:
    for decision in ("fail", "inconclusive", "pass"):
        if decision in decisions:
            return decision
    return None


def _ranked(parts: Sequence[Part]) -> list[Part]:
    order: list[Decision | None] = ["fail", "inconclusive", None, "pass"]
    return sorted(parts, key=lambda part: order.index(part[0]))


def _invalid(result: TaskResult, thresholds: Thresholds) -> Iterator[str]:
    if result.invalid > thresholds.max_invalid:
        allowed = thresholds.max_invalid or "none"
        counted = f"{result.invalid} invalid of {result.planned} attempts"
        yield f"{result.name}: {counted}, {allowed} allowed{thresholds.where('max_invalid')}."


def _no_failures(results: Sequence[CheckResult]) -> str:
    judged = sum(result.check.kind == "check" and result.applicable > 0 for result in results)
    return f"{judged} checks judged something, none failed."


def _probes_passed(results: Sequence[CheckResult]) -> Iterator[str]:
    probes = [result for result in results if result.check.kind == "probe"]
    passed = sum(result.status == "passed" for result in probes)
    if probes:
        yield f"{passed} of {len(probes)} probes passed, none failed."


def _failure(result: CheckResult) -> str:
    where = " in replies to probe requests" if result.check.kind == "check" else ""
    return f"{result.check.id} failed {result.failures} of {result.applicable} times{where}."


def _rates(result: TaskResult, thresholds: Thresholds) -> Iterator[str]:
    last = result.at_k[-1]
    measures: list[tuple[str, Estimate, str]] = [
        ("pass@", last.pass_at, "min_pass_at_k"),
        ("pass^", last.pass_hat, "min_pass_hat_k"),
    ]
    for name, estimate, setting in measures:
        if not exceeds(estimate.value, getattr(thresholds, setting)):
            yield (
                f"{result.name}: {name}{result.tries} is {estimate.value:.1%}"
                f" (interval {estimate.low:.1%} to {estimate.high:.1%}),"
                f" required: above {_percent(thresholds, setting)}{thresholds.where(setting)};"
                f" most failures: {_commonest(result)}."
            )


def _lost(result: TaskResult, thresholds: Thresholds) -> Iterator[str]:
    """The rates that would be too low even if every missing attempt passed."""
    measures = [
        ("pass@", result.best_pass_at, "min_pass_at_k"),
        ("pass^", result.best_pass_hat, "min_pass_hat_k"),
    ]
    for name, best, setting in measures:
        if not exceeds(best, getattr(thresholds, setting)):
            yield (
                f"{result.name}: {name}{result.tries} can reach at most {best:.1%},"
                f" required: above {_percent(thresholds, setting)}{thresholds.where(setting)};"
                f" most failures: {_commonest(result)}."
            )


def _percent(thresholds: Thresholds, setting: str) -> str:
    return f"{getattr(thresholds, setting) * 100:g}%"


def _commonest(result: TaskResult) -> str:
    failures = {k: n for k, n in result.outcomes.items() if k not in ("success", "not_run")}
    kind = max(failures, key=lambda name: failures[name], default=None)
    return "none" if kind is None else f"{kind} ({failures[kind]})"


def _praise(results: Sequence[TaskResult], thresholds: Thresholds) -> str:
    invalid = sum(result.invalid for result in results)
    at_k = min(result.at_k[-1].pass_at.value for result in results)
    hat_k = min(result.at_k[-1].pass_hat.value for result in results)
    k = results[0].tries
    required = {
        setting: f"required: above {_percent(thresholds, setting)}{thresholds.where(setting)}"
        for setting in ("min_pass_at_k", "min_pass_hat_k")
    }
    where = "under the worst condition" if len(results) > 1 else "tool calling:"
    return (
        f"{invalid} invalid responses; {where} pass@{k} is {at_k:.1%}"
        f" ({required['min_pass_at_k']}) and pass^{k} {hat_k:.1%} ({required['min_pass_hat_k']})."
    )


def _missing_evals(settings: RunSettings) -> Iterator[str]:
    where = settings.origins.get("evals")
    for name in settings.required_evals:
        if name not in settings.evals:
            yield f"The gate ({where}) requires the eval {name}, and the run did not include it."


def _margins(settings: RunSettings) -> Iterator[str]:
    """The sources of margins that are not the defaults, a sentence for each."""
    if settings.margin is None:
        for name in settings.evals:
            if name in settings.margins and (where := settings.origins.get(f"margins.{name}")):
                yield f"The margin of {name}, {settings.margins[name]:g} points, is from {where}."


def _of_evals(evals: Sequence[TaskResult], *, complete: bool) -> Decision | None:
    decisions = [None if each.baseline is None else each.baseline.decision for each in evals]
    if "fail" in decisions:
        return "fail"
    if not complete or "inconclusive" in decisions:
        return "inconclusive"
    undecided = [each for each, one in zip(evals, decisions, strict=True) if one is None]
    if any(each.dataset is not None and not each.dataset.sample for each in undecided):
        return "inconclusive"
    return "pass" if len(undecided) < len(evals) else None


def _reasons(verdicts: Sequence[BaselineVerdict]) -> tuple[str, ...]:
    order: list[Decision | None] = ["fail", "inconclusive", None, "pass"]
    ranked = sorted(verdicts, key=lambda verdict: order.index(verdict.decision))
    return tuple(verdict.reason for verdict in ranked)
