"""A whole run: from judgements to the figures, results and worst cases of its analysis. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from statistics import mean

from harness.findings import excerpt
from harness.golden.records import Golden
from harness.probes.plan import PREFIX
from harness.probes.suites import choose
from harness.records.analysis import Analysis, Estimate, GroupAnalysis, Latency, WorstCase
from harness.records.judgements import Examination, Judgement, Mode, Outcome, OutcomeKind, Tokens
from harness.records.rollouts import Api, Rollout
from harness.records.runs import RunInfo, Thresholds
from harness.rules import ProbeJudge, rule_results
from harness.scoring.judge import Judge, settle
from harness.statistics.estimators import pass_at_k, pass_hat_k, percentiles
from harness.statistics.intervals import clustered_estimate
from harness.tasks.cases import Suite
from harness.verdict import demands, gate

WORST_CASES = 10


def analyse(
    rollouts: Iterable[Rollout],
    *,
    run_id: str,
    run: RunInfo,
    suite: Suite,
    thresholds: Thresholds | None = None,
    golden: Golden | None = None,
    keep: Callable[[Iterable[Examination]], object] = iter,
) -> Analysis:
    """Judge every rollout of a run.

    Args:
        rollouts: The log of the run. Rollouts of cases that are not in the suite, or beyond the
            plan, are passed over.
        run_id: The name of the run's folder.
        run: What was planned.
        suite: The cases of the run.
        thresholds: Other thresholds than the run's own.
        golden: The golden file of the run, if it has one.
        keep: Is given what was judged of every single rollout.
    """
    settings = run.settings
    chosen = choose(settings.suite, settings.only, settings.skip)
    experiments = ProbeJudge(chosen.probes, settings.apis, run.provider.limitations, golden)
    asked_of = thresholds or settings.thresholds
    soft = demands.may_warn(asked_of)
    judged = settle(_attempts(rollouts, Judge(suite, strict=settings.strict), experiments), soft)
    examined = settle(experiments.examinations, soft)
    keep((*judged, *examined))
    by_group: dict[tuple[Api, Mode], list[Judgement]] = defaultdict(list)
    for judgement in judged:
        by_group[judgement.api, judgement.mode].append(judgement)
    modes: list[Mode] = [
        "streaming" if streaming else "non-streaming" for streaming in settings.streaming
    ]
    planned = [(api, mode) for api in settings.apis for mode in modes if chosen.cases]
    groups = tuple(
        _group(api, mode, suite, settings.tries, by_group[api, mode]) for api, mode in planned
    )
    asked = {*planned, *((each.api, each.mode) for each in examined)}
    probed = tuple(demands.lowered(experiments.results(), asked_of))
    beside = [*rule_results(examined, asked, run.provider.limitations), *probed]
    checked = rule_results((*judged, *examined), asked, run.provider.limitations)
    results = (*demands.lowered(checked, asked_of), *probed)
    requests = max(0, run.planned - sum(group.planned for group in groups))
    return Analysis(
        run_id=run_id,
        run=run,
        bad_lines=len(suite.bad_lines),
        complete=experiments.made >= requests
        and all(group.finished == group.planned for group in groups),
        groups=groups,
        checks=results,
        worst_cases=_worst(planned, by_group, suite, settings.tries),
        verdict=gate.decide(
            groups,
            asked_of,
            beside=beside,
            requests=(min(experiments.made, requests), requests),
            broken=tuple(demands.broken(results, asked_of)),
            unsettled=tuple(demands.unsettled(results, settings, asked_of)),
            stopped=run.stopped,
        ),
        probe_requests=requests,
        probe_answers=experiments.made,
    )


def _attempts(
    rollouts: Iterable[Rollout], judge: Judge, experiments: ProbeJudge
) -> Iterator[Judgement]:
    """What is to be said of the attempts at cases; rollouts of probes go to `experiments`."""
    for rollout in rollouts:
        if judge.knows(rollout):
            yield judge.judge(rollout)
        elif rollout.sample.startswith(PREFIX):
            experiments.add(rollout)


def _group(
    api: Api, mode: Mode, suite: Suite, tries: int, judged: Sequence[Judgement]
) -> GroupAnalysis:
    successes = Counter(judgement.sample for judgement in judged if judgement.outcome.success)
    passed = [successes[case.id] for case in suite.cases]
    done = Counter(judgement.sample for judgement in judged)
    best = [successes[case.id] + tries - done[case.id] for case in suite.cases]
    outcomes = Counter(judgement.outcome.kind for judgement in judged)
    planned = len(suite.cases) * tries
    if planned > len(judged):
        outcomes["not_run"] = planned - len(judged)
    return GroupAnalysis(
        api=api,
        mode=mode,
        cases=len(suite.cases),
        tries=tries,
        planned=planned,
        finished=len(judged),
        outcomes=dict(outcomes.most_common()),
        invalid=sum(judgement.invalid for judgement in judged),
        exact=sum(j.outcome.success and j.outcome.exact is True for j in judged),
        pass_at=_curve(pass_at_k, passed, tries),
        pass_hat=_curve(pass_hat_k, passed, tries),
        best_pass_at=mean(count > 0 for count in best),
        best_pass_hat=mean(count >= tries for count in best),
        tokens=_sum(judgement.tokens for judgement in judged),
        latency=_latency(judged),
        requests=sum(judgement.requests for judgement in judged),
        retries=sum(judgement.retries for judgement in judged),
    )


def _curve(
    estimator: Callable[[int, int, int], float], passed: Sequence[int], tries: int
) -> tuple[Estimate, ...]:
    return tuple(
        clustered_estimate([estimator(tries, count, k) for count in passed], tries // k)
        for k in range(1, tries + 1)
    )


def _sum(tokens: Iterable[Tokens]) -> Tokens:
    every = list(tokens)
    return Tokens(
        input=sum(one.input for one in every),
        output=sum(one.output for one in every),
        reasoning=sum(one.reasoning for one in every),
        unreported=sum(one.unreported for one in every),
    )


def _latency(judged: Sequence[Judgement]) -> Latency:
    speeds = [speed for judgement in judged for speed in judgement.speeds]
    first = [speed.first_token for speed in speeds if speed.first_token is not None]
    rates = [speed.tokens_per_second for speed in speeds if speed.tokens_per_second is not None]
    return Latency(
        total=percentiles([speed.total for speed in speeds]),
        first_token=percentiles(first),
        tokens_per_second=percentiles(rates),
    )


def _worst(
    planned: Sequence[tuple[Api, Mode]],
    by_group: Mapping[tuple[Api, Mode], Sequence[Judgement]],
    suite: Suite,
    tries: int,
) -> tuple[WorstCase, ...]:
    found = [
        case
        for api, mode in planned
        for case in _failed_cases(f"{api} · {mode}", by_group.get((api, mode), ()), suite, tries)
    ]
    return tuple(sorted(found, key=lambda case: (case.passed, case.sample))[:WORST_CASES])


def _failed_cases(
    group: str, judged: Sequence[Judgement], suite: Suite, tries: int
) -> Iterator[WorstCase]:
    by_case: dict[str, list[Judgement]] = defaultdict(list)
    for judgement in judged:
        by_case[judgement.sample].append(judgement)
    for case in suite.cases:
        attempts = by_case[case.id]
        failed = [attempt for attempt in attempts if not attempt.outcome.success]
        if not failed:
            continue
        outcomes = Counter[OutcomeKind](attempt.outcome.kind for attempt in attempts)
        if tries > len(attempts):
            outcomes["not_run"] = tries - len(attempts)
        example = failed[0]
        yield WorstCase(
            sample=case.id,
            tool=case.tool_name,
            prompt=case.prompt,
            group=group,
            passed=len(attempts) - len(failed),
            tries=tries,
            outcomes=dict(outcomes),
            example=_shown(example.outcome),
            record=example.record,
        )


def _shown(outcome: Outcome) -> Outcome:
    """The outcome with texts short enough for a report."""
    return outcome.model_copy(
        update={
            "detail": excerpt(outcome.detail),
            "expected": None if outcome.expected is None else excerpt(outcome.expected),
            "got": None if outcome.got is None else excerpt(outcome.got),
        }
    )
