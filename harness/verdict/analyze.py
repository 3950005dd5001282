"""Compute the figures, rule results and verdict of a run from its scores. No I/O."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from typing import NamedTuple

from harness.records.analysis import Analysis, RetestedFinding, RuleResult, TaskResult
from harness.records.conditions import MODES, Api, Mode
from harness.records.families import FAMILIES
from harness.records.figures import ExchangeCounts
from harness.records.readings import Rescored
from harness.records.runs import RunInfo, TaskKind
from harness.records.scores import Score
from harness.records.settings import Thresholds
from harness.rules.account import Account
from harness.rules.catalogue import RULES
from harness.rules.clients.conversations import Conversation
from harness.rules.clients.results import client_results
from harness.rules.measured import sums
from harness.rules.results import check_results
from harness.tasks.attempt_order import planned_attempts
from harness.tasks.task import Task, not_run
from harness.tasks.tool_calling import ToolCalling
from harness.verdict import gate, requirements, retested, speed
from harness.verdict.causes import diagnose
from harness.verdict.coverage import Coverage
from harness.verdict.engine_or_api import faulty_components
from harness.verdict.kept_scores import KeptScores, Scores
from harness.verdict.reference_rate import target_of
from harness.verdict.relations import related, warning_in_recordings
from harness.verdict.tolerances import apply_tolerances

_MIXING = frozenset(name for name, rule in RULES.items() if rule.part.mixes_requests)
"""The rules that show that a request got the reply of another one."""


@dataclass(frozen=True)
class Scored:
    """What a run has so far, as far as its log was read."""

    scores: Sequence[Score]
    """Of the planned attempts that were made, in the order of the log, without those of evals."""
    read: Mapping[str, int]
    """Rollouts by task, those of unknown tasks or samples included."""
    probes: Sequence[RuleResult]
    exchanges: ExchangeCounts
    unscored: Mapping[str, str]
    """The tracebacks of rollouts that could not be scored, by id."""
    evals: KeptScores
    account: Account
    conversations: Sequence[Conversation] = ()
    rescored: Rescored | None = None


class Judged(NamedTuple):
    """A judged run: its figures and verdict, and the scores that they are computed from.

    Scores of evals come last; they are read from disk each time.
    """

    analysis: Analysis
    scores: Iterable[Score]


def analyze(
    scored: Scored,
    tasks: Sequence[Task],
    info: RunInfo,
    *,
    run_id: str,
    thresholds: Thresholds | None = None,
    growing: bool = False,
) -> Judged:
    """Judge a run from its scores.

    Tasks that use grades must have read them. `thresholds` replace those of the run. `growing` is
    as in `apply_tolerances`.
    """
    thresholds = thresholds or info.settings.thresholds
    missing, missing_evals = _not_made(scored, tasks, info)
    planned = (*scored.scores, *missing)
    scores = _tolerated(planned, tasks, scored.account, thresholds, growing=growing)
    evals = Scores(partial(_graded, scored.evals, tasks))
    results = tuple(_results(tasks, scores, evals, rates=not info.failed_early))
    rules = _rule_results(tasks, scores, info, thresholds, scored.probes, scored.rescored)
    probe_attempts = sum(task.planned for task in info.of_kind("probes"))
    others = {task.name for task in info.tasks if task.kind != "probes"}
    read = sum(count for name, count in scored.read.items() if name not in others)
    probe_attempts_made = min(probe_attempts, read)
    calling = {task.name for task in info.of_kind("tool_calling")}
    complete = _complete(info, results, probe_attempts == probe_attempts_made)
    verdict = gate.decide(
        info,
        results,
        thresholds,
        rules,
        complete=complete,
        made=probe_attempts_made
        + sum(scored.read.get(task.name, 0) for task in info.of_kind("traffic"))
        + sum(result.finished for result in results if not result.is_eval),
        recorded=_recorded(info, scores),
        unscored=scored.unscored,
        exchanges=scored.exchanges,
        speed=speed.judge(
            (score for score in scores if score.task in calling),
            thresholds,
            info.settings.concurrency,
        ),
    )
    again: tuple[RetestedFinding, ...] = ()
    if info.retest is not None:
        again = tuple(retested.findings(info.retest, rules.all, results, verdict))
        verdict = retested.decide(info, info.retest, again, verdict, complete=complete)
    analysis = Analysis(
        run_id=run_id,
        run=info,
        bad_lines=sum(len(t.suite.bad_lines) for t in tasks if isinstance(t, ToolCalling)),
        complete=complete,
        probe_attempts=probe_attempts,
        probe_attempts_made=probe_attempts_made,
        probe_tokens=sum(
            (score.usage.input or 0) + (score.usage.output or 0)
            for score in scores
            if score.task not in calling
        ),
        results=results,
        checks=rules.all if any(task.kind != "eval" for task in info.tasks) else (),
        clients=client_results(rules.all, scored.conversations, scores, _MIXING),
        recorded=sums(s for s in scores if s.task in _recorded_tasks(info))["latency"],
        diagnosis=diagnose(
            rules.all,
            scores,
            faulty_components(results, rules.all, info.settings.apis, target_of(thresholds)),
        ),
        exchanges=scored.exchanges,
        retest=again,
        rescored=scored.rescored,
        verdict=verdict,
    )
    return Judged(
        analysis,
        Scores(lambda: chain(scores, evals, missing_evals)) if info.of_kind("eval") else scores,
    )


def _not_made(
    scored: Scored, tasks: Sequence[Task], info: RunInfo
) -> tuple[Sequence[Score], Scores]:
    """Return a score `not_run` for every planned attempt that has no other; those of evals apart.

    A run that ends once it is decided misses none.
    """
    kinds = {task.name: task.info.kind for task in tasks}
    made = {(score.task, score.sample, score.condition, score.attempt) for score in scored.scores}

    def missing(*, evals: bool) -> Iterator[Score]:
        own = [task for task in tasks if (task.info.kind == "eval") == evals]
        for attempt in () if info.settings.until_decided else planned_attempts(own):
            place = (attempt.task, attempt.sample.id, attempt.condition, attempt.number)
            if not (scored.evals.has(*place) if evals else place in made):
                yield not_run(attempt, None if kinds[attempt.task] == "probes" else 0.0)

    return tuple(missing(evals=False)), Scores(partial(missing, evals=True))


def _graded(evals: Iterable[Score], tasks: Iterable[Task]) -> Iterator[Score]:
    """Yield the scores of evals with the grades that were read."""
    by_name = {task.name: task for task in tasks}
    for score in evals:
        yield by_name[score.task].with_grade(score)


def _recorded_tasks(info: RunInfo) -> frozenset[str]:
    return frozenset(task.name for task in info.of_kind("traffic"))


def _recorded(info: RunInfo, scores: Sequence[Score]) -> Coverage | None:
    """The replies of imported traffic; of a conversation, only the last one may not be judged."""
    made = [score for score in scores if score.task in _recorded_tasks(info)]
    if not made:
        return None
    failed = Counter(score.detail for score in made if score.outcome == "provider_error")
    return Coverage("recorded replies", sum(score.requests for score in made), failed)


def _tolerated(
    strict: Sequence[Score],
    tasks: Sequence[Task],
    account: Account,
    thresholds: Thresholds,
    *,
    growing: bool,
) -> tuple[Score, ...]:
    """Return the scores with tolerances applied; `thresholds` may lower errors to warnings."""
    kinds = {task.name: task.info.kind for task in tasks}
    broken = {rule for score in strict for rule, _ in score.broken}
    by_kind: dict[TaskKind, list[Score]] = defaultdict(list)
    for score in strict:
        if broken:  # what such a rule found elsewhere invalidates no reply
            kept = tuple(finding for finding in score.findings if finding.id not in broken)
            score = replace(score, findings=kept)
        by_kind[kinds[score.task]].append(score)
    soft = requirements.may_warn(thresholds)
    return (
        *apply_tolerances(
            [*by_kind["tool_calling"], *by_kind["probes"]],
            soft,
            account=account,
            growing=growing,
            reference=thresholds.reference_rules,
        ),
        *apply_tolerances(by_kind["traffic"], soft | warning_in_recordings(), account=account),
    )


def _results(
    tasks: Sequence[Task], scores: Sequence[Score], evals: Iterable[Score], *, rates: bool
) -> Iterable[TaskResult]:
    """The figures of all tasks; pass@k and pass^k, which need all attempts, only with `rates`."""
    by_task: dict[str, list[Score]] = {task.name: [] for task in tasks}
    for score in scores:
        by_task[score.task].append(score)
    for task in tasks:
        for result in task.results(evals if task.info.kind == "eval" else by_task[task.name]):
            yield result if rates else result.model_copy(update={"at_k": ()})


def _rule_results(
    tasks: Sequence[Task],
    scores: Sequence[Score],
    info: RunInfo,
    thresholds: Thresholds,
    probes: Iterable[RuleResult],
    rescored: Rescored | None,
) -> gate.RuleResults:
    limitations = info.provider.limitations
    kinds = {task.name: task.info.kind for task in tasks}
    made = [score for score in scores if score.finished]
    beyond = [score for score in made if kinds[score.task] in ("probes", "traffic")]
    checks = check_results(made, _groups(info, beyond), rescored)
    results = related((*checks, *probes), scores, thresholds, limitations)
    judged = {rule for score in beyond for rule in score.applicable}
    failed = {f.id for score in beyond for f in score.findings if f.severity == "error"}
    only_cases = {
        check.check.id
        for check in checks
        if check.check.family in FAMILIES
        if check.check.id not in (failed if check.status == "failed" else judged)
    }
    return gate.RuleResults(
        results, tuple(result for result in results if result.check.id not in only_cases)
    )


def _groups(info: RunInfo, probed: Sequence[Score]) -> list[tuple[Api, Mode]]:
    """Return the APIs and modes that the run samples, apart from evals."""
    cases = [condition for task in info.of_kind("tool_calling") for condition in task.conditions]
    conditions = [*cases, *(score.condition for score in probed)]
    return list(
        dict.fromkeys(
            (condition.api, mode)
            for condition in conditions
            for mode in (MODES if condition.mode is None else (condition.mode,))
        )
    )


def _complete(info: RunInfo, results: Sequence[TaskResult], probed: bool) -> bool:
    """Whether everything that was planned, or is needed for a verdict, is sampled and graded."""
    if info.ended == "decided":
        return True
    evals = [result for result in results if result.is_eval]
    cases = [result for result in results if not result.is_eval]
    if not probed or any(result.finished < result.planned for result in cases):
        return False
    if not evals:
        return True
    if info.ended is None or info.settings.until_decided:
        return info.ended is not None
    planned = sum(task.planned for task in info.of_kind("eval"))
    return sum(result.finished for result in evals) >= planned
