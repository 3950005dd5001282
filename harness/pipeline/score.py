"""From the log of a run to one score for every planned attempt. Pure but for reading the log."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from harness.parsing.rollout import parse_rollout
from harness.pipeline.plan import Plan
from harness.records.conditions import Condition
from harness.records.rollouts import Rollout
from harness.records.scores import Score
from harness.tasks.base import not_run

T = TypeVar("T")
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
        shared: dict[Any, Any] = {}

        def share(value: T) -> T:
            """The first equal value: thousands of scores differ in a few values only."""
            first: T = shared.setdefault(value, value)
            return first

        done: set[Key] = set()
        for rollout in rollouts:
            self.read[rollout.task] += 1
            task = tasks.get(rollout.task)
            score = None if task is None else task.score(parse_rollout(rollout))
            if score is None:
                continue
            condition, traits = share(score.condition), score.traits
            done.add((score.task, share(score.sample), condition, score.attempt))
            yield replace(
                score,
                task=share(score.task),
                sample=share(score.sample),
                condition=condition,
                applicable=share(score.applicable),
                traits=replace(traits, asked=share(traits.asked), replicas=share(traits.replicas)),
            )
        if not missing:
            return
        for attempt in self.plan.attempts():
            if (attempt.task, attempt.sample.id, attempt.condition, attempt.number) not in done:
                probe = tasks[attempt.task].info.kind == "probes"
                yield not_run(attempt, None if probe else 0.0)
