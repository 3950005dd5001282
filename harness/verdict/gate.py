"""The gate: decide pass, fail or inconclusive, with reasons, from results and thresholds. No I/O.

Tool calling and probes are judged together, evals by their baselines. The run fails if either part
fails, and passes if no part is inconclusive.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple, TypeVar

from harness.errors import EXIT_CRASH, EXIT_FAIL, EXIT_INCONCLUSIVE, EXIT_PASS
from harness.records.analysis import (
    RuleResult,
    TaskResult,
    Verdict,
    passed_rules,
)
from harness.records.figures import BaselineVerdict, Decision, ExchangeCounts
from harness.records.runs import RunInfo, RunSettings
from harness.records.scores import RuleKind
from harness.records.settings import Thresholds
from harness.rules.catalogue import LEFT_OUT, OWN_FAMILIES
from harness.run.run_folder import ERRORS_FILE
from harness.statistics.rates import at_least
from harness.text import first_few, percentage
from harness.verdict import coverage, relations, requirements, success_rate
from harness.verdict.coverage import Coverage
from harness.verdict.reference_rate import target_of
from harness.verdict.speed import SpeedResult
from harness.verdict.success_rate import PartVerdict

UNFINISHED = "The run is not finished."
ENDED_BY_FAILURE = "The run ended as soon as it had failed (--until-fail)."
FINDINGS_ONLY = "Imported traffic gets a verdict only on request (--verdict)."
_EVERY_REPLY = "reply.unreadable"  # the check that applies to every reply with a 2xx status
NO_BASELINE = "No eval is compared with a baseline."

T = TypeVar("T", PartVerdict, BaselineVerdict)
SHOWN_RULES = 6
LARGEST_SILENT_SHARE = 0.1
"""A server that leaves more attempts than this share without a reply fails.

Up to this share, these attempts are only left out of the success rate. A network loses connections
now and then; the share is that of failed tool calls that is not acceptable either (`lower_rate`).
"""
SILENCE_ERROR = 0.01
"""Probability that a server fails whose share is just acceptable (exact binomial test): of attempts
without a reply, or of requests that succeeded only after a failure (`max_server_errors`)."""
_NAMED = 2  # conditions that a sentence names individually even if all are affected


class RuleResults(NamedTuple):
    """The results of the checks and probes of a run."""

    all: tuple[RuleResult, ...]
    beyond_cases: tuple[RuleResult, ...]
    """Those without shipped checks that only tool-call attempts violate, or that apply only to
    these: their errors count as invalid responses instead."""


def decide(
    info: RunInfo,
    results: Sequence[TaskResult],
    thresholds: Thresholds,
    rules: RuleResults,
    *,
    complete: bool,
    made: int,
    recorded: Coverage | None = None,
    unscored: Mapping[str, str] = {},
    exchanges: ExchangeCounts | None = None,
    speed: Sequence[SpeedResult] = (),
) -> Verdict:
    """Return the verdict on a run.

    `made` counts the attempts that were made, without those of evals; `recorded` the replies of
    imported traffic; `exchanges` all requests. `speed` has the decisions on the limits of the gate;
    they apply to a run that is complete apart from evals. `unscored` has the tracebacks of attempts
    that could not be scored, by id. An internal error leaves a FAIL as it is, and rules out a PASS.
    """
    raised = {
        rule.check.id: rule.traceback
        for rule in rules.all
        if rule.traceback is not None and rule.check.family not in OWN_FAMILIES
    }
    internal = {**raised, **unscored}
    unclear = tuple(_not_judged(list(raised), len(unscored)))
    if info.settings.findings_only:
        return Verdict(
            decision=None,
            reasons=(
                FINDINGS_ONLY,
                *(coverage.without_reply(recorded) if recorded else ()),
                *unclear,
            ),
            thresholds=thresholds,
            internal_errors=internal,
        )
    parts: list[PartVerdict] = []
    unverified = (
        *coverage.too_little_judged(rules.all, recorded),
        *(
            coverage.too_few_replies(rules.all, recorded, target_of(thresholds).lower)
            if recorded
            else ()
        ),
        *(coverage.unsettled(rules.all) if recorded else ()),
        *requirements.unverified(rules.all, info, thresholds),
    )
    evals = [result for result in results if result.is_eval]
    calling = [result for result in results if not result.is_eval]
    planned = sum(task.planned for task in info.tasks if task.kind != "eval")
    if planned or not evals:
        decided: dict[Decision, list[str]] = {"pass": [], "inconclusive": [], "fail": []}
        for limit in speed if made >= planned else ():
            decided[limit.decision].append(limit.reason)
        parts.append(
            decide_calls_and_probes(
                calling,
                thresholds,
                rules,
                planned=planned,
                made=made,
                stopped=_stopped(info),
                broken=(
                    *requirements.broken(rules.all, thresholds),
                    *server_errors(exchanges or ExchangeCounts(), thresholds),
                    *decided["fail"],
                ),
                unverified=(*unverified, *decided["inconclusive"]),
                met=(*decided["pass"], *requirements.met(thresholds)),
                sequential=info.settings.first_tries or any(result.further for result in calling),
            )
        )
    if evals:
        parts.append(decide_evals(evals, info, complete=complete))
    decision = _worst([part.decision for part in parts])
    if internal and decision != "fail":
        decision = "inconclusive"
    reasons = [reason for part in _ranked(parts) for reason in part.reasons]
    if decision != "fail":
        reasons = [*unclear, *reasons]
    return Verdict(
        decision=decision,
        reasons=tuple(dict.fromkeys(reasons)),
        thresholds=thresholds,
        warnings=(
            *(unclear if decision == "fail" else ()),
            *(warning for part in parts for warning in part.warnings),
            *relations.lacking(rules.all),
            *(coverage.without_reply(recorded) if recorded and decision != "inconclusive" else ()),
            *_of_packages(rules.all),
        ),
        guide=success_rate.guide_rule(calling, thresholds),
        enough_tries=next(filter(None, (part.enough_tries for part in parts)), None),
        internal_errors=internal,
        too_slow=tuple(limit.reason for limit in speed if limit.decision == "fail"),
    )


def _of_packages(rules: Sequence[RuleResult]) -> Iterator[str]:
    """Yield which rules of other packages judged nothing because they are broken."""
    yield from LEFT_OUT
    for rule in rules:
        if rule.traceback is not None and rule.check.family in OWN_FAMILIES:
            error = rule.traceback.strip().rpartition("\n")[2]
            yield f"{rule.check.id}, a rule of another package, raised an error ({error})."


def _not_judged(raised: Sequence[str], unscored: int) -> Iterator[str]:
    """Yield what was not judged because of internal errors, in a sentence."""
    what = [first_few(raised, SHOWN_RULES)] if raised else []
    what += [f"{unscored} attempts"] if unscored else []
    if what:
        yield (
            f"An internal error prevented judging {' and '.join(what)}; please report it "
            f"with {ERRORS_FILE} in the run folder."
        )


def exit_code(verdict: Verdict) -> int:
    """Return the exit code for a verdict; without a decision, that of a pass.

    After an internal error, it is that of an internal error unless the run fails.
    """
    if verdict.internal_errors and verdict.decision != "fail":
        return EXIT_CRASH
    codes = {"fail": EXIT_FAIL, "inconclusive": EXIT_INCONCLUSIVE}
    return codes.get(verdict.decision or "", EXIT_PASS)


def decide_calls_and_probes(
    results: Sequence[TaskResult],
    thresholds: Thresholds,
    rules: RuleResults,
    *,
    planned: int,
    made: int,
    stopped: str | None = None,
    broken: Sequence[str] = (),
    unverified: Sequence[str] = (),
    met: Sequence[str] = (),
    sequential: bool = False,
) -> PartVerdict:
    """Decide by invalid responses, failed rules, and the success rate of tool calls.

    Even an incomplete run fails if it has too many invalid responses or a failed rule, or if its
    success rate is too low even if all missing attempts pass. Otherwise, a run is inconclusive if
    attempts are missing or nothing was judged.

    `stopped` is a sentence, `broken` and `unverified` are requirements of the gate that the run
    violates or cannot judge, and `met` those that are reasons to pass. `sequential` is as in
    `success_rate.decide`.
    """
    silent = list(_too_silent(results))
    problems = [*_invalid(results, thresholds), *silent, *_failures(rules), *broken]
    ended = [stopped] if stopped else []
    beyond_cases = rules.beyond_cases
    probes = [result for result in beyond_cases if result.of_probe]
    decisive = probes or [result for result in beyond_cases if result.check.id == _EVERY_REPLY]
    judged = any(result.finished for result in results) or any(map(_judged, decisive))
    if not judged and not problems:
        why = ended or _why_nothing_was_judged(probes)
        return PartVerdict("inconclusive", (*why, *unverified))
    cut_off = f"{planned - made} of {planned} planned attempts were not made."
    missing = [cut_off, *ended] if made < planned else []
    if any(result.finished < result.planned for result in results):
        missing.append(success_rate.so_far(results))
    rates = (
        decide_rates(results, thresholds, complete=not missing, sequential=sequential)
        if results
        else None
    )
    warnings = (*_silence(results, silent), *(rates.warnings if rates else ()))
    if problems or (rates and rates.decision == "fail"):
        low = rates.reasons if rates and rates.decision == "fail" else ()
        return PartVerdict("fail", (*problems, *low, *missing), warnings)
    if missing or unverified or (rates and rates.decision != "pass"):
        if missing or rates is None or rates.decision == "pass":
            return PartVerdict("inconclusive", (*missing, *unverified), warnings)
        if unverified:  # more tries alone would not settle it
            reasons = (*rates.reasons, *unverified)
            return replace(rates, reasons=reasons, warnings=warnings, enough_tries=None)
        reasons = (" ".join(filter(None, (*rates.reasons, rates.advice))),)
        return replace(rates, reasons=reasons, warnings=warnings)
    invalid = sum(result.invalid for result in results)
    reasons = (f"{invalid} invalid responses.", *rates.reasons) if rates else ()
    return PartVerdict("pass", (*reasons, *_rules_passed(probes or beyond_cases), *met), warnings)


def decide_evals(evals: Sequence[TaskResult], info: RunInfo, *, complete: bool) -> PartVerdict:
    """Fail if an eval fails, pass if all pass; reasons are ordered by importance.

    The decision of a complete run is None if no eval has a baseline, each for a reason of its own.
    If only some have one, published questions without a baseline make the run inconclusive, and so
    does an eval that the gate requires and that is missing.
    """
    missing = tuple(_missing_evals(info.settings))
    decision = _decision_on_evals(evals, complete=complete and not missing)
    if decision is None:
        reasons = [result.baseline.reason for result in evals if result.baseline is not None]
        return PartVerdict(None, tuple(dict.fromkeys(reasons)) or (NO_BASELINE,))
    stopped = _stopped(info)
    cut_off = (stopped,) if stopped else () if complete else (UNFINISHED,)
    verdicts = [result.baseline for result in evals if result.baseline is not None]
    return PartVerdict(
        decision,
        (
            *cut_off,
            *missing,
            *(verdict.reason for verdict in _ranked(verdicts)),
            *_margins(info.settings),
        ),
    )


def _stopped(info: RunInfo) -> str | None:
    """Why the run ended early, in one sentence."""
    return ENDED_BY_FAILURE if info.failed_early else info.stopped


def _worst(decisions: Sequence[Decision | None]) -> Decision | None:
    for decision in ("fail", "inconclusive", "pass"):
        if decision in decisions:
            return decision
    return None


def _ranked(parts: Sequence[T]) -> list[T]:
    order: list[Decision | None] = ["fail", "inconclusive", None, "pass"]
    return sorted(parts, key=lambda part: order.index(part.decision))


def decide_rates(
    results: Sequence[TaskResult],
    thresholds: Thresholds,
    *,
    complete: bool,
    sequential: bool = False,
) -> PartVerdict:
    """Return the decision on success rates by the rule of the gate."""
    if not thresholds.by_guide:
        return success_rate.decide(results, thresholds, sequential=sequential)
    low = [
        reason
        for result in results
        for reason in success_rate.too_low(result, thresholds, complete=complete)
    ]
    return (
        PartVerdict("fail", tuple(low))
        if low
        else PartVerdict("pass", (success_rate.pass_reason(results, thresholds),))
    )


def _invalid(results: Sequence[TaskResult], thresholds: Thresholds) -> Iterator[str]:
    """The conditions with too many invalid responses, in a sentence."""
    affected = [result for result in results if result.invalid > thresholds.max_invalid]
    if affected:
        allowed = f"{thresholds.max_invalid or 'none'} allowed{thresholds.where('max_invalid')}"
        groups = [(result.name, [result]) for result in affected]
        if len(affected) == len(results) > _NAMED:
            groups = [(f"All {len(results)} conditions", list(results))]
        counted = [f"{name}: {_of_attempts(those)}" for name, those in groups]
        yield f"{'; '.join(counted)}, {allowed}."


def _of_attempts(results: Sequence[TaskResult]) -> str:
    """Return `3 invalid of 16 attempts (24 planned)`."""
    names = ("invalid", "finished", "planned")
    invalid, made, planned = (sum(getattr(result, name) for result in results) for name in names)
    beside = f" ({planned} planned)" if made < planned else ""
    return f"{invalid} invalid of {made} attempts{beside}"


def server_errors(exchanges: ExchangeCounts, thresholds: Thresholds) -> Iterator[str]:
    """Yield a sentence if too many requests succeeded only after the server had failed.

    Retries hide these failures from the other rules, but not from clients, which retry less or not
    at all.
    """
    failed, served = exchanges.after_failures, exchanges.served
    most = thresholds.max_server_errors
    if failed and at_least(failed, served, most) <= SILENCE_ERROR:
        yield (
            f"{failed} of {served} requests ({percentage(failed / served)}) succeeded only after "
            "the server had answered with a 5xx status or closed the connection; at most "
            f"{percentage(most)} is acceptable{thresholds.where('max_server_errors')}."
        )


def _too_silent(results: Sequence[TaskResult]) -> Iterator[str]:
    """Yield the conditions under which too many attempts got no reply, in a sentence."""
    level = SILENCE_ERROR / len(results) if results else 0.0
    conditions = []
    for result in results:
        silent = sum(result.no_reply.values()) - result.outcomes.get("refused", 0)
        if silent and at_least(silent, result.finished, LARGEST_SILENT_SHARE) <= level:
            conditions.append(f"{result.name} {silent} of {result.finished}")
    if conditions:
        yield (
            f"Attempts got no reply: {'; '.join(conditions)}; at most "
            f"{percentage(LARGEST_SILENT_SHARE)} is acceptable."
        )


def _silence(results: Sequence[TaskResult], too_silent: Sequence[str]) -> Iterator[str]:
    """A warning about attempts without a reply, unless they fail the run."""
    silent = sum(sum(result.no_reply.values()) for result in results)
    if silent and not too_silent:
        made = sum(result.finished for result in results)
        yield (
            f"{silent} of {made} attempts got no reply. They do not count, because they are no "
            "evidence about tool calling."
        )


def _judged(result: RuleResult) -> bool:
    return result.status not in ("not_verifiable", "skipped")


def _why_nothing_was_judged(probes: Sequence[RuleResult]) -> Iterator[str]:
    """Why nothing was judged."""
    reasons = dict.fromkeys(probe.reason for probe in probes if probe.status == "not_verifiable")
    if any(reasons):
        yield f"Nothing was judged: {' '.join(reason for reason in reasons if reason)}"
    else:
        yield "Nothing was judged: no attempt finished."


def _rules_passed(rules: Sequence[RuleResult]) -> Iterator[str]:
    """How many probes passed; without probes, how many checks applied."""
    kinds = {result.check.kind for result in rules}
    passed, judged = passed_rules(rules, "probe")
    if kinds == {"probe"}:
        how_many = f"All {judged}" if passed == judged else f"{passed} of {judged}"
        in_part = sum(rule.in_part for rule in rules)
        said = f"{how_many} probes" if judged != 1 else "The probe" if passed else "0 of 1 probe"
        partly = f", {in_part} of them in part" if in_part else ""
        yield f"{said} passed{partly}{'' if passed == judged else '; none failed'}."
    elif any(map(_judged, rules)):
        yield f"{sum(map(_judged, rules))} checks applied; none failed."


def _failures(rules: RuleResults) -> Iterator[str]:
    """How many probes and checks failed, in a sentence; reports name them with their evidence."""
    kinds: tuple[RuleKind, ...] = ("probe", "check")
    parts = []
    for kind in kinds:
        if any(rule.check.kind == kind and rule.status == "failed" for rule in rules.beyond_cases):
            every = [result for result in rules.all if result.check.kind == kind]
            failed = sum(result.status == "failed" for result in every)
            parts.append(f"{failed} of {passed_rules(every, kind)[1]} {kind}s")
    if parts:
        yield f"{' and '.join(parts)} failed."


def _missing_evals(settings: RunSettings) -> Iterator[str]:
    where = settings.origins.get("required_evals")
    for name in settings.required_evals:
        if name not in settings.evals:
            yield f"The gate ({where}) requires the eval {name}, but the run did not include it."


def _margins(settings: RunSettings) -> Iterator[str]:
    """Yield the sources of margins that are not the defaults, a sentence for each."""
    if settings.margin is None:
        for name in settings.evals:
            if name in settings.margins and (where := settings.origins.get(f"margins.{name}")):
                yield f"The margin of {name}, {settings.margins[name]:g} points, is from {where}."


def _decision_on_evals(evals: Sequence[TaskResult], *, complete: bool) -> Decision | None:
    decisions = [None if result.baseline is None else result.baseline.decision for result in evals]
    if "fail" in decisions:
        return "fail"
    if not complete or "inconclusive" in decisions:
        return "inconclusive"
    undecided = [result for result, given in zip(evals, decisions, strict=True) if given is None]
    if len(undecided) == len(evals):
        return None
    if any(result.dataset is not None and not result.dataset.sample for result in undecided):
        return "inconclusive"
    return "pass"
