"""All rules, and their results over a run. No I/O."""

from collections import Counter, defaultdict
from collections.abc import (
    Callable,
    Collection,
    Container,
    Hashable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from dataclasses import dataclass, field, replace
from functools import cache, partial
from traceback import format_exc

from harmony.render import RenderError
from harmony.vocabulary import VocabularyError
from harness.api.parsed_rollout import ParsedRollout
from harness.api.sdk_types import stops_sdk
from harness.records.analysis import FailingRequest, RuleResult, RuleStatus
from harness.records.conditions import Api, Mode
from harness.records.readings import Rescored
from harness.records.reasons import ONE_API_JUDGED, PARTLY_JUDGED, Reason
from harness.records.rollouts import Rollout
from harness.records.scores import Description, Finding, Score, Severity
from harness.rules.account import NO_ACCOUNT, Account
from harness.rules.catalogue import CHECKS
from harness.rules.missing import NotVerifiableError, Unlike
from harness.rules.probe import Probe, ProbeOptions, ProbeResponses, TrialResult
from harness.rules.rule import (
    Problem,
    Rule,
    WarnsInRecordings,
    as_warning,
    compared_with,
    finding_of,
    tolerated,
)
from harness.statistics.intervals import clustered_rate, independent_trials
from harness.statistics.rates import FALSE_ALARM, excessive

EXAMPLES = 3

_Place = tuple[str, str, str]  # a task, one of its samples, and the name of a condition
Counts = Mapping[tuple[Hashable, str], tuple[int, int]]
"""Failures and trials by cluster (sample; of a probe: API) and name of the condition."""

_EVERY = "every API"
_NOT_ASKED = frozenset(
    {
        *("not_sent", "no_reply_in_mode", "refuses_feature", "refuses_otherwise", "refuses_cot"),
        *("refuses_to_store", "refuses_to_continue"),
    }
)
"""Reasons why an API has nothing to judge that say nothing against a pass over another one."""
_ORDER: Mapping[Severity, int] = {"error": 0, "warning": 1, "info": 2}


def check_results(
    examined: Iterable[Score],
    planned: Collection[tuple[Api, Mode]],
    rescored: Rescored | None = None,
) -> tuple[RuleResult, ...]:
    """The result of every check, in the order of `CHECKS`, from scores with tolerances applied.

    Checks of other APIs and modes than `planned` are skipped. Those of readings have a result only
    if the replies were read, which then was `rescored`.
    """
    tally = _tally(examined)
    conditions = [f"{api} · {mode}" for api, mode in planned]
    results = []
    for check in CHECKS.values():
        about = check.about
        if rescored is None and check.of_readings:
            continue
        if not any(api in about.apis and mode in about.modes for api, mode in planned):
            results.append(_skipped(about, conditions))
        elif about.id in tally.broken:
            results.append(_broken(about, tally.broken[about.id]))
        else:
            results.append(_result(about, partial(_check_evidence, check, tally, rescored)))
    return tuple(results)


def probe_results(
    probes: Sequence[Probe],
    rollouts: Mapping[str, Sequence[ParsedRollout]],
    options: ProbeOptions,
    repetitions: Sequence[Mapping[str, Sequence[ParsedRollout]]] = (),
    account: Account = NO_ACCOUNT,
) -> tuple[RuleResult, ...]:
    """Return the result of every probe, from the rollouts of each request by its id.

    The probes are those of one group, and share the responses over each API. `repetitions` have the
    rollouts of the same requests; each is judged by itself, and adds trials. `account` says who
    wrote the texts of the replies.
    """

    @cache
    def responses(api: Api) -> Sequence[ProbeResponses]:
        others = (
            made
            for made in repetitions
            if any(rollout.rollout.api == api for sent in made.values() for rollout in sent)
        )
        group = probes[0].group
        return [group.responses(made, api, options, account) for made in (rollouts, *others)]

    results = []
    for probe in probes:
        apis = [api for api in options.apis if api in probe.about.apis]
        if apis:
            results.append(_result(probe.about, partial(_probe_evidence, probe, apis, responses)))
        else:
            results.append(_skipped(probe.about, options.apis))
    return tuple(results)


@dataclass(frozen=True)
class _Evidence:
    """What a rule found in a run. Without counts it judged nothing, and `reasons` say why.

    `compared` completes an example, and `members` are further ones of the result.
    """

    counts: Counts = field(default_factory=dict)
    findings: Sequence[Finding] = ()
    reasons: tuple[Reason, ...] = ()
    compared: Callable[[Finding], Finding] = lambda example: example
    members: Mapping[str, object] = field(default_factory=dict)


def _result(about: Description, gather: Callable[[], _Evidence]) -> RuleResult:
    """Return the result of a rule that applies, also if it raises."""
    try:
        found = gather()
        if not found.counts:
            return RuleResult(check=about, status="not_verifiable", reasons=found.reasons)
        judged = judged_result(about, found.findings, found.counts)
        examples = tuple(map(found.compared, judged.examples))
        members = {"examples": examples, "reasons": found.reasons, **found.members}
        return judged.model_copy(update=members)
    except Exception:  # noqa: BLE001 (an error of one rule must not cost the verdict)
        return _broken(about, format_exc())


def _broken(about: Description, traceback: str) -> RuleResult:
    """Return the result of a rule that raised; its findings elsewhere are not used either."""
    error = traceback.strip().rpartition("\n")[2]
    reasons = (Reason(code="internal_error", values={"error": error}),)
    return RuleResult(check=about, status="not_verifiable", reasons=reasons, traceback=traceback)


def judged_result(about: Description, findings: Sequence[Finding], counts: Counts) -> RuleResult:
    """Return the result of a rule that judged something; raise ValueError without trials."""
    worst_first = sorted(findings, key=_breaks_clients)
    attempts: dict[str, set[str]] = defaultdict(set)
    by_message: dict[str, Finding] = {}
    for finding in worst_first:
        attempts[finding.message].add(finding.evidence.record)
        by_message.setdefault(finding.message, finding)
    messages = Counter({message: len(records) for message, records in attempts.items()})
    examples: dict[str, Finding] = {}
    for finding in (*by_message.values(), *worst_first):
        examples.setdefault(finding.evidence.record, finding)
    clusters, conditions = _summed(counts, 0), _summed(counts, 1)
    repeated = [(failed, tries) for failed, tries in counts.values() if failed and tries > 1]
    return RuleResult(
        check=about,
        status=_status(worst_first),
        applicable=sum(trials for _, trials in counts.values()),
        failures=sum(failures for failures, _ in counts.values()),
        rate=clustered_rate(list(clusters.values())),
        findings=len(findings),
        counts={str(name): conditions[name] for name in sorted(conditions, key=str)},
        independent={
            str(name): independent_trials([e for key, e in counts.items() if key[1] == name])
            for name in sorted(conditions, key=str)
        },
        repeated=(sum(failed for failed, _ in repeated), sum(tries for _, tries in repeated)),
        messages=dict(messages.most_common(EXAMPLES)),
        examples=tuple(examples.values())[:EXAMPLES],
    )


def _breaks_clients(finding: Finding) -> tuple[int, bool]:
    """Return the sort key of findings: by severity, then those that make OpenAI's SDK fail."""
    evidence = finding.evidence
    return _ORDER[finding.severity], not stops_sdk(evidence.event, evidence.path)


def _summed(counts: Counts, part: int) -> dict[Hashable, tuple[int, int]]:
    """Return the counts summed by one part of their keys."""
    sums: dict[Hashable, tuple[int, int]] = {}
    for key, (failures, trials) in counts.items():
        before = sums.get(key[part], (0, 0))
        sums[key[part]] = before[0] + failures, before[1] + trials
    return sums


@dataclass(frozen=True)
class _Tally:
    """What the checks found, by check; counts are by task, sample and condition."""

    judged: Mapping[str, Counter[_Place]]  # attempts that a check applied to
    failed: Mapping[str, Counter[_Place]]  # those with a finding
    findings: Mapping[str, list[Finding]]
    broken: dict[str, str]  # tracebacks of those that raised


def _tally(examined: Iterable[Score]) -> _Tally:
    """Count the results of all checks in one pass, by the few sets of applicable checks."""
    alike: Counter[tuple[frozenset[str], _Place]] = Counter()
    tally = _Tally(defaultdict(Counter), defaultdict(Counter), defaultdict(list), {})
    for score in examined:
        place = score.task, score.sample, score.condition.name
        alike[score.applicable, place] += 1
        tally.broken.update(score.broken)
        findings = [finding for finding in score.findings if finding.id in score.applicable]
        for finding in findings:
            tally.findings[finding.id].append(finding)
        for check_id in {finding.id for finding in findings}:
            tally.failed[check_id][place] += 1
    for (applicable, place), attempts in alike.items():
        for check_id in applicable:
            tally.judged[check_id][place] += attempts
    return tally


def _check_evidence(check: Rule, tally: _Tally, rescored: Rescored | None) -> _Evidence:
    about = check.about
    if rescored is not None and check.of_readings and not rescored.enough:
        replies = rescored.read + sum(rescored.unread.values())
        unread = Reason(code="mostly_unread", values={"read": rescored.read, "replies": replies})
        return _Evidence(reasons=(unread,))
    judged, failed = tally.judged[about.id], tally.failed[about.id]
    findings = tally.findings[about.id]
    if not judged:
        return _Evidence(reasons=(Reason(code="nothing_to_judge"),))
    counts: dict[tuple[Hashable, str], tuple[int, int]] = {
        ((task, sample), condition): (failed[task, sample, condition], attempts)
        for (task, sample, condition), attempts in judged.items()
    }
    reasons: list[Reason] = []
    noted = sum(finding.severity == "info" != about.severity for finding in findings)
    if noted:
        reasons = [Reason(code=relation.code) for relation in check.related(WarnsInRecordings)]
        if check.habit:
            values = {"share": str(check.habit)}
            if noted < len(findings):
                values |= {"noted": str(noted), "findings": str(len(findings))}
            code = "tolerated" if noted == len(findings) else "partly_tolerated"
            reasons = [Reason(code=code, values=values)]
    return _Evidence(counts, findings, tuple(reasons))


@dataclass
class _Trials:
    """What a probe found over all APIs."""

    problems: list[tuple[Api, ProbeResponses, Problem]] = field(default_factory=list)
    counts: dict[Api, tuple[int, int]] = field(default_factory=dict)  # failures and trials
    asked: Counter[str] = field(default_factory=Counter)  # trials without repetitions
    unjudged: list[tuple[Api, Reason]] = field(default_factory=list)  # without trials, and why
    proven: dict[str, list[Api]] = field(default_factory=lambda: defaultdict(list))
    unlike: list[Unlike] = field(default_factory=list)

    def add(self, probe: Probe, api: Api, responses: ProbeResponses) -> None:
        """Judge the responses over one API."""
        results = _trials(probe, responses)
        if isinstance(results, Reason):
            self.unjudged.append((api, results))
            return
        self.unlike += [result for result in results if isinstance(result, Unlike)]
        trials = [result for result in results if not isinstance(result, Unlike)]
        if not trials:
            self.unjudged.append((api, Reason(code=probe.unjudged)))
            return
        failed = [trial for trial in trials if trial is not None]
        before = self.counts.get(api, (0, 0))
        self.counts[api] = before[0] + len(failed), before[1] + len(trials)
        self.asked[api] = max(self.asked[api], len(trials))  # repetitions ask the same again
        self.problems += [(api, responses, problem) for problem in failed]
        if probe.proves is not None and not failed:
            apis = self.proven[probe.proves(*probe.sent(responses))]
            apis += [api] * (api not in apis)


def _probe_evidence(
    probe: Probe, apis: Sequence[Api], responses_over: Callable[[Api], Sequence[ProbeResponses]]
) -> _Evidence:
    made = _Trials()
    for api in apis:
        for responses in responses_over(api):
            made.add(probe, api, responses)
    if not made.counts:
        why = [reason for _, reason in made.unjudged]
        return _Evidence(reasons=tuple(e for at, e in enumerate(why) if e not in why[:at]))
    every = tuple(map(sum, zip(*made.counts.values(), strict=True)))
    groups: dict[str, list[tuple[float, int]]] = {api: [e] for api, e in made.counts.items()}
    groups[_EVERY] = [(every[0], every[1])]
    exceeded = excessive(groups, probe.tolerated)
    above = probe.error_above
    serious = exceeded if above is None else excessive(groups, above, FALSE_ALARM)
    findings: list[Finding] = []
    sources: dict[tuple[str, str], tuple[ProbeResponses, Problem]] = {}
    failing: set[FailingRequest] = set()
    modes: set[Mode] = set()
    for api, responses, problem in made.problems:
        rollout = _rollout(responses, problem)
        finding = finding_of(probe.about, rollout.id, problem)
        sources.setdefault((rollout.id, finding.message), (responses, problem))
        failing.add(FailingRequest(api, rollout.sample))
        modes.add(rollout.condition.mode or "non-streaming")
        if not finding.proven and not serious & {_EVERY, api}:
            finding = (as_warning if exceeded & {_EVERY, api} else tolerated)(finding)
        findings.append(finding)

    def compared(example: Finding) -> Finding:
        source = sources[example.evidence.record, example.message]
        return compared_with(example, *_compared(probe, *source))

    reasons = (
        *_partly(made.unlike, every[1]),
        *_elsewhere(made.unjudged, made.counts),
        *_proven(made.proven),
    )
    members = {
        "failing": tuple(sorted(failing)),
        "independent": dict(made.asked),
        "modes": tuple(sorted(modes)),
    }
    counts: Counts = {(api, api): count for api, count in made.counts.items()}
    return _Evidence(counts, findings, () if findings else reasons, compared, members)


def _partly(unlike: Sequence[Unlike], judged: int) -> Iterator[Reason]:
    """Yield how many replies were not judged although they lack what they should have."""
    if unlike:
        are = "1 is" if len(unlike) == 1 else f"{len(unlike)} are"
        values = {"judged": judged, "made": judged + len(unlike), "unlike": are}
        yield Reason(code=PARTLY_JUDGED, values={**values, "got": unlike[0].got})


def _elsewhere(unjudged: Iterable[tuple[Api, Reason]], judged: Container[Api]) -> Iterator[Reason]:
    """Yield why an API has nothing to judge, although it was asked and did not refuse."""
    for api, reason in dict(reversed(list(unjudged))).items():
        if api not in judged and reason.code not in _NOT_ASKED:
            yield Reason(code=ONE_API_JUDGED, values={"api": api, "why": reason.text})


def _compared(
    probe: Probe, responses: ProbeResponses, problem: Problem
) -> tuple[Rollout, Rollout | None]:
    """Return the rollout with a problem, and the one with which it is compared.

    The probe finds the same problem in these two rollouts alone, and not in its own alone. None if
    it needs no other rollout, or more than one.
    """
    own = _rollout(responses, problem)

    same = problem.path, problem.expected, problem.got

    def finds(*kept: Rollout) -> bool:
        ids = {rollout.id for rollout in kept}
        rollouts, cut = (
            {name: [e for e in made if e.rollout.id in ids] for name, made in part.items()}
            for part in (responses.rollouts, responses.cut)
        )
        trials = _trials(probe, replace(responses, rollouts=rollouts, cut=cut))
        return not isinstance(trials, Reason) and any(
            isinstance(trial, Problem)
            and trial.exchange is problem.exchange
            and (trial.path, trial.expected, trial.got) == same
            for trial in trials
        )

    if finds(own):
        return own, None
    named = {e.rollout.id: e.rollout for n in probe.uses for e in responses.rollouts.get(n, ())}
    others = [other for other in named.values() if other.id != own.id]
    while len(others) > 1:  # halves: a probe of 90 requests is judged 7 times instead of 90
        first, second = others[: len(others) // 2], others[len(others) // 2 :]
        others = first if finds(own, *first) else second
    return own, others[0] if others and finds(own, *others) else None


def _trials(probe: Probe, responses: ProbeResponses) -> Sequence[TrialResult | Unlike] | Reason:
    """Return the trials of a probe over one API, or why there are none."""
    try:
        return list(probe.judge(*probe.sent(responses))) or Reason(code=probe.unjudged)
    except NotVerifiableError as error:
        return error.reason
    except (RenderError, VocabularyError) as error:
        return Reason(code="uncountable", values={"error": str(error)})


def _proven(proven: Mapping[str, Sequence[Api]]) -> Iterator[Reason]:
    """Yield what a pass proves, with the APIs where it is not the same for all."""
    for text, apis in proven.items():
        stated = text if len(proven) < 2 else f"{' and '.join(apis)}: {text}"
        yield Reason(code="proven", values={"text": stated})


def _rollout(responses: ProbeResponses, problem: Problem) -> Rollout:
    """Return the rollout that contains a problem."""
    return next(
        rollout.rollout
        for rollouts in (*responses.rollouts.values(), *responses.cut.values())
        for rollout in rollouts
        if any(exchange is problem.exchange for exchange in rollout.exchanges)
    )


def _skipped(about: Description, planned: Iterable[str]) -> RuleResult:
    reason = Reason(code="not_applicable", values={"planned": ", ".join(planned)})
    return RuleResult(check=about, status="skipped", reasons=(reason,))


def _status(findings: Iterable[Finding]) -> RuleStatus:
    severities = {finding.severity for finding in findings}
    if "error" in severities:
        return "failed"
    return "warned" if "warning" in severities else "passed"
