"""From the log of a run to one score for every planned attempt. Pure but for reading the log."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from harness.checks import CHECKS, compare_rollouts
from harness.parsing.rollout import parse_rollout
from harness.pipeline.plan import Plan
from harness.records.conditions import Api, Condition, Mode
from harness.records.rollouts import Rollout
from harness.records.scores import Finding, Score
from harness.statistics.intervals import clustered_rate
from harness.tasks.base import not_run
from harness.tasks.tool_calling import invalidated

Key = tuple[str, str, Condition, int]
"""Task, sample, condition and number of an attempt."""


@dataclass
class Scorer:
    """Scores the rollouts of one run as they are read.

    Attributes:
        plan: The plan of the run.
        read: Rollouts read so far, by task; rollouts of unknown tasks or samples included.
    """

    plan: Plan
    read: Counter[str] = field(default_factory=Counter)

    def scores(self, rollouts: Iterable[Rollout], *, missing: bool = True) -> Iterator[Score]:
        """The score of every planned attempt: finished ones in log order, then the others.

        Args:
            rollouts: The log; rollouts that are not planned are only counted.
            missing: Whether to add a score `not_run` for every attempt that was not made.
        """
        tasks = {task.name: task for task in self.plan.tasks}
        conditions: dict[Condition, Condition] = {}
        done: set[Key] = set()
        for rollout in rollouts:
            self.read[rollout.task] += 1
            task = tasks.get(rollout.task)
            score = None if task is None else task.score(parse_rollout(rollout))
            if score is None:
                continue
            condition = conditions.setdefault(score.condition, score.condition)
            done.add((score.task, score.sample, condition, score.attempt))
            yield replace(score, condition=condition)
        if not missing:
            return
        for attempt in self.plan.attempts():
            if (attempt.task, attempt.sample.id, attempt.condition, attempt.number) not in done:
                probe = tasks[attempt.task].info.kind == "probes"
                yield not_run(attempt, None if probe else 0.0)


def apply_tolerances(
    scores: Sequence[Score], may_warn: Collection[str] = (), *, certain: bool = False
) -> list[Score]:
    """Compare the rollouts, and lower findings that are rare enough to be healthy.

    A check may tolerate its problem in a share of the rollouts of one API in one mode. Its findings
    become informational while no more than that share has them, or while some rollouts are free of
    them and the exact 95 % confidence interval of the share still includes what is tolerated.
    Errors of checks in `may_warn` become warnings. What remains an error makes the response of a
    tool-call attempt invalid.

    Args:
        scores: Of tool calling, or of probe requests; the two are not compared with each other.
        may_warn: Ids of checks.
        certain: Whether findings that all rollouts have are lowered by the interval, too. Traffic
            that nobody planned may have a single rollout that a check applies to.
    """
    groups: dict[tuple[Api, Mode], list[Score]] = defaultdict(list)
    for score in _compared(scores):
        groups[score.condition.api, score.condition.mode].append(score)
    return [
        tolerated for group in groups.values() for tolerated in _tolerated(group, may_warn, certain)
    ]


def as_warning(finding: Finding) -> Finding:
    """The finding, as a warning if it is an error."""
    if finding.severity != "error":
        return finding
    return finding.model_copy(update={"severity": "warning"})


def _compared(scores: Sequence[Score]) -> Iterator[Score]:
    made = [score for score in scores if score.finished]
    found = compare_rollouts(made)
    for score in scores:
        if not score.finished:
            yield score
            continue
        applicable, findings = found[score.record]
        yield replace(
            score,
            applicable=score.applicable | applicable,
            findings=(*score.findings, *findings),
        )


def _tolerated(group: Sequence[Score], may_warn: Collection[str], certain: bool) -> Iterator[Score]:
    applicable = Counter(check_id for score in group for check_id in score.applicable)
    affected = Counter(check_id for score in group for check_id in {f.id for f in score.findings})
    tolerable = {
        check_id
        for check_id, count in affected.items()
        if (certain or count < applicable[check_id])
        and _tolerable(count, applicable[check_id], CHECKS[check_id].tolerated)
    }
    for score in group:
        if not score.findings:
            yield score
            continue
        findings = [_lowered(finding, tolerable, may_warn) for finding in score.findings]
        if score.value is None:
            yield replace(score, findings=tuple(findings))
        else:
            yield invalidated(score, findings)


def _lowered(finding: Finding, tolerable: Collection[str], may_warn: Collection[str]) -> Finding:
    if finding.id in tolerable:
        return finding.model_copy(update={"severity": "info"})
    return as_warning(finding) if finding.id in may_warn else finding


def _tolerable(count: int, applicable: int, tolerated: float) -> bool:
    if not tolerated:
        return False
    return clustered_rate([(count, applicable)]).low <= tolerated
