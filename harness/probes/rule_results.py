"""All rules, and their results over a run. No I/O."""

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from harmony.render import RenderError
from harmony.vocabulary import VocabularyError
from harness.api.parsed_rollout import ParsedRollout
from harness.checks import CHECKS
from harness.checks.rules import Problem, Rule, finding_of, tolerated
from harness.checks.schema import stops_sdk
from harness.probes import PROBES
from harness.probes.probe import (
    NoReplyError,
    NotSentError,
    NotVerifiableError,
    Probe,
    ProbeOptions,
    ProbeResponses,
)
from harness.records.analysis import RuleResult, RuleStatus
from harness.records.conditions import Api, Mode
from harness.records.runs import Capability
from harness.records.scores import Description, Finding, Score, Severity
from harness.statistics.intervals import clustered_rate
from harness.statistics.rates import excessive
from harness.text import percentage

RULES: Mapping[str, Rule] = {**CHECKS, **PROBES}  # checks, cross-checks and probes by id

EXAMPLES = 3

_REFUSAL = re.compile(r"status (?:4\d\d|501): .*\w")
_FEWEST_ALIKE = 4  # probes whose requests are refused with one text

_Place = tuple[str, str, str]  # a task, one of its samples, and the name of a condition
Counts = Mapping[tuple[Hashable, str], tuple[int, int]]
"""Failures and trials by cluster (sample; of a probe: API) and name of the condition."""

_EVERY = "every API"
_ORDER: Mapping[Severity, int] = {"error": 0, "warning": 1, "info": 2}
_NOTHING_TO_JUDGE = "No reply of this run contained anything that this check judges."


def check_results(
    examined: Iterable[Score],
    planned: Collection[tuple[Api, Mode]],
    limitations: Collection[str],
) -> tuple[RuleResult, ...]:
    """The result of every check, in the order of `CHECKS`, from scores with tolerances applied.

    Checks of other APIs and modes than `planned` are skipped. `limitations` are capabilities that
    the provider's entry declares missing.
    """
    tally = _tally(examined)
    return tuple(
        _declared(_check_result(check, tally, planned), check.needs, limitations)
        for check in CHECKS.values()
    )


def probe_results(
    probes: Iterable[Probe],
    rollouts: Mapping[str, Sequence[ParsedRollout]],
    options: ProbeOptions,
) -> tuple[RuleResult, ...]:
    """Return the result of every probe, from the rollouts of each request by its id."""
    return tuple(
        _declared(_probe_result(probe, rollouts, options), probe.needs, options.limitations)
        for probe in probes
    )


def without_prompt_tokens(result: RuleResult) -> RuleResult:
    """The result if prompt-token counts are unreliable: a failure that rests on them is void."""
    evidence = [example.evidence.path for example in result.examples]
    if result.check.family != "prompt" or not evidence or {*evidence} != {"$.usage"}:
        return result
    reason = "Identical requests of this run report different prompt tokens (usage.input.differs)."
    return RuleResult(check=result.check, status="not_verifiable", reason=reason)


def without_built_in_calls(result: RuleResult) -> RuleResult:
    """The result if the prompt advertises no built-in tools, and the model calls them unasked."""
    if result.check.id != "calls.name.built_in" or result.status != "warned":
        return result
    examples = tuple(map(tolerated, result.examples))
    reason = "The prompt advertises no built-in tools (prompt.bare): the model calls them unasked."
    return result.model_copy(update={"status": "passed", "examples": examples, "reason": reason})


def with_equal_refusals(
    checks: Sequence[RuleResult], probes: Sequence[RuleResult]
) -> tuple[tuple[RuleResult, ...], tuple[RuleResult, ...]]:
    """Return the results in which refusals with one text are one finding, not one of each probe.

    A provider that refuses what several probes have in common, such as a kind of function, lacks
    that. The check request.refused reports it, or the first of these probes, with the text, the
    number of probes and their families; the others are not verifiable.
    """
    refused: dict[str, list[RuleResult]] = defaultdict(list)
    for each in probes:
        texts = {example.evidence.got for example in each.examples}
        if each.status in ("failed", "warned") and len(texts) == 1:
            (text,) = texts
            if _REFUSAL.match(text):
                refused[text].append(each)
    replaced: dict[str, RuleResult] = {}
    for text, alike in refused.items():
        if len(alike) < _FEWEST_ALIKE:
            continue
        families = ", ".join(sorted({each.check.family for each in alike}))
        common = (
            f"Valid requests of {len(alike)} probes ({families}) got the same refusal, so they "
            "are refused for what they have in common."
        )
        of_check = next(
            (
                each
                for each in checks
                if each.check.id == "request.refused"
                and any(example.evidence.got == text for example in each.examples)
            ),
            None,
        )
        first = of_check or alike[0]
        examples = tuple(e.model_copy(update={"message": common}) for e in first.examples)
        reason = f"The provider refuses these requests like others ({first.check.id}): {text}"
        for each in alike:
            replaced[each.check.id] = RuleResult(
                check=each.check, status="not_verifiable", reason=reason
            )
        replaced[first.check.id] = first.model_copy(update={"examples": examples})
    return (
        tuple(replaced.get(each.check.id, each) for each in checks),
        tuple(replaced.get(each.check.id, each) for each in probes),
    )


def judged_result(about: Description, findings: Sequence[Finding], counts: Counts) -> RuleResult:
    """Return the result of a rule that judged something; raise ValueError without trials."""
    worst_first = sorted(findings, key=_breaks_clients)
    examples: dict[str, Finding] = {}
    for finding in worst_first:
        examples.setdefault(finding.evidence.record, finding)
    clusters, conditions = _summed(counts, 0), _summed(counts, 1)
    return RuleResult(
        check=about,
        status=_status(worst_first),
        applicable=sum(trials for _, trials in counts.values()),
        failures=sum(failures for failures, _ in counts.values()),
        rate=clustered_rate(list(clusters.values())),
        findings=len(findings),
        counts={str(name): conditions[name] for name in sorted(conditions, key=str)},
        examples=tuple(examples.values())[:EXAMPLES],
    )


def _breaks_clients(finding: Finding) -> tuple[int, bool]:
    """Return the sort key of findings: by severity, then those that make OpenAI's SDK fail."""
    evidence = finding.evidence
    return _ORDER[finding.severity], not stops_sdk(evidence.event, evidence.path)


def _summed(counts: Counts, part: int) -> dict[Hashable, tuple[int, int]]:
    """Return the counts summed by one part of their keys."""
    found: dict[Hashable, tuple[int, int]] = {}
    for key, (failures, trials) in counts.items():
        before = found.get(key[part], (0, 0))
        found[key[part]] = before[0] + failures, before[1] + trials
    return found


@dataclass(frozen=True)
class _Tally:
    """What the checks found, by check; counts are by task, sample and condition."""

    judged: Mapping[str, Counter[_Place]]  # attempts that a check applied to
    failed: Mapping[str, Counter[_Place]]  # those with a finding
    findings: Mapping[str, list[Finding]]


def _tally(examined: Iterable[Score]) -> _Tally:
    """Count the results of all checks in one pass, by the few sets of applicable checks."""
    alike: Counter[tuple[frozenset[str], _Place]] = Counter()
    tally = _Tally(defaultdict(Counter), defaultdict(Counter), defaultdict(list))
    for each in examined:
        place = each.task, each.sample, each.condition.name
        alike[each.applicable, place] += 1
        found = [finding for finding in each.findings if finding.id in each.applicable]
        for finding in found:
            tally.findings[finding.id].append(finding)
        for check_id in {finding.id for finding in found}:
            tally.failed[check_id][place] += 1
    for (applicable, place), attempts in alike.items():
        for check_id in applicable:
            tally.judged[check_id][place] += attempts
    return tally


def _check_result(check: Rule, tally: _Tally, planned: Collection[tuple[Api, Mode]]) -> RuleResult:
    about = check.about
    if not any(api in about.apis and mode in about.modes for api, mode in planned):
        return _skipped(about, (f"{api} · {mode}" for api, mode in planned))
    judged, failed = tally.judged[about.id], tally.failed[about.id]
    findings = tally.findings[about.id]
    if not judged:
        return RuleResult(check=about, status="not_verifiable", reason=_NOTHING_TO_JUDGE)
    counts: dict[tuple[Hashable, str], tuple[int, int]] = {
        ((task, sample), condition): (failed[task, sample, condition], attempts)
        for (task, sample, condition), attempts in judged.items()
    }
    counted = judged_result(about, findings, counts)
    if not any(finding.severity != about.severity for finding in findings):
        return counted
    reason = (
        f"The model itself causes this in up to {percentage(check.tolerated)} of the attempts, "
        "and this run does not significantly exceed that."
    )
    return counted.model_copy(update={"reason": reason})


def _probe_result(
    probe: Probe, rollouts: Mapping[str, Sequence[ParsedRollout]], options: ProbeOptions
) -> RuleResult:
    about, golden = probe.about, probe.group.golden_of(options)
    applicable = [api for api in options.apis if api in about.apis]
    if not applicable:
        return _skipped(about, options.apis)
    problems: list[tuple[Api, Finding]] = []
    counts: dict[Api, tuple[int, int]] = {}
    reasons: list[str] = []
    lacks: Literal["request", "reply"] | None = None
    proven: dict[str, list[Api]] = defaultdict(list)
    for api in applicable:
        requests = probe.group.requests(api)
        responses = ProbeResponses.of(requests, rollouts, api, golden, options.max_context)
        try:
            trials = list(probe.judge(responses))
        except (NotVerifiableError, RenderError, VocabularyError) as error:
            reasons.append(str(error))
            if isinstance(error, NoReplyError):
                lacks = "reply"
            elif isinstance(error, NotSentError):
                lacks = lacks or "request"
            continue
        if not trials:
            reasons.append("No response can be judged.")
        else:
            failed = [trial for trial in trials if trial is not None]
            counts[api] = len(failed), len(trials)
            if probe.proves is not None and not failed:
                proven[probe.proves(responses)].append(api)
            problems += (
                (api, finding_of(about, _record(responses, each), each)) for each in failed
            )
    if not counts:
        reason = " ".join(dict.fromkeys(reasons))
        return RuleResult(check=about, status="not_verifiable", reason=reason, lacks=lacks)
    failures, made = (sum(column) for column in zip(*counts.values(), strict=True))
    groups: dict[str, list[tuple[int, int]]] = {api: [each] for api, each in counts.items()}
    exceeded = excessive({_EVERY: [(failures, made)], **groups}, probe.tolerated)
    findings = [
        tolerated(finding) if exceeded.isdisjoint((_EVERY, api)) else finding
        for api, finding in problems
    ]
    judged = judged_result(about, findings, {(api, api): each for api, each in counts.items()})
    return judged if findings else judged.model_copy(update={"reason": _joined(proven)})


def _joined(proven: Mapping[str, Sequence[Api]]) -> str | None:
    """Return what a pass proves, with the APIs where it is not the same for all."""
    if len(proven) < 2:
        return next(iter(proven), None)
    return " ".join(f"{' and '.join(apis)}: {text}" for text, apis in proven.items())


def _record(responses: ProbeResponses, problem: Problem) -> str:
    """Return the id of the rollout that contains a problem."""
    return next(
        rollout.rollout.id
        for rollouts in (*responses.rollouts.values(), *responses.cut.values())
        for rollout in rollouts
        if any(exchange is problem.exchange for exchange in rollout.exchanges)
    )


def _skipped(about: Description, planned: Iterable[str]) -> RuleResult:
    reason = f"It does not apply to the APIs and modes of this run: {', '.join(planned)}."
    return RuleResult(check=about, status="skipped", reason=reason)


def _declared(
    result: RuleResult, needs: Capability | None, limitations: Collection[str]
) -> RuleResult:
    """The result, `declared` if it detected a limitation that the provider's entry declares."""
    if result.status not in ("failed", "warned") or needs not in limitations:
        return result
    reason = f"The provider's entry declares that it does not support {needs}."
    return result.model_copy(update={"status": "declared", "reason": reason})


def _status(findings: Iterable[Finding]) -> RuleStatus:
    severities = {finding.severity for finding in findings}
    if "error" in severities:
        return "failed"
    return "warned" if "warning" in severities else "passed"
