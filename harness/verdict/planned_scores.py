"""One score for every planned attempt, from the log of a run."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from harness.api.parsed_rollout import ParsedRollout, parse_rollout
from harness.records.conditions import Condition
from harness.records.rollouts import Rollout
from harness.records.scores import Score
from harness.tasks.attempt_order import Shard, planned_attempts
from harness.tasks.task import Task, not_run

_T = TypeVar("_T")


@dataclass
class Scorer:
    """Scores the rollouts of one run as they are read."""

    tasks: Sequence[Task]
    shard: Shard | None = None
    read: Counter[str] = field(default_factory=Counter)
    """Rollouts read so far, by task; rollouts of unknown tasks or samples included."""
    probed: dict[str, dict[str, list[ParsedRollout]]] = field(default_factory=dict)
    """The rollouts that probes judge, by task and sample."""
    _shared: dict[Any, Any] = field(default_factory=dict)

    def scores(
        self, rollouts: Iterable[Rollout | Score], *, missing: bool = True
    ) -> Iterator[Score]:
        """Yield the score of every planned attempt: finished ones in log order, then the others.

        Rollouts that have been scored elsewhere are given as scores; those that are not planned are
        only counted. With `missing`, every attempt that was not made has a score `not_run`.
        """
        tasks = {task.name: task for task in self.tasks}
        done: set[tuple[str, str, Condition, int]] = set()
        for each in rollouts:
            self.read[each.task] += 1
            if isinstance(each, Score):
                score: Score | None = each
            else:
                task = tasks.get(each.task)
                parsed = parse_rollout(each)
                score = None if task is None else task.score(parsed)
                score = None if score is None else self._sharing(score)
                if score is not None and task is not None and task.info.kind == "probes":
                    self.probed.setdefault(each.task, {}).setdefault(each.sample, []).append(parsed)
            if score is not None:
                done.add((score.task, score.sample, score.condition, score.attempt))
                yield score
        if not missing:
            return
        for attempt in planned_attempts(self.tasks, self.shard):
            if (attempt.task, attempt.sample.id, attempt.condition, attempt.number) not in done:
                probe = tasks[attempt.task].info.kind == "probes"
                yield not_run(attempt, None if probe else 0.0)

    def _sharing(self, score: Score) -> Score:
        """Return the score with one object for equal values of all scores.

        Attempts at one sample have most of these in common, and a run has tens of thousands.
        """
        found = score.traits
        return replace(
            score,
            task=self._one(score.task),
            sample=self._one(score.sample),
            condition=self._one(score.condition),
            expected=self._one(score.expected),
            applicable=self._one(score.applicable),
            traits=replace(
                found,
                host=self._one(found.host),
                conversation=self._one(found.conversation),
                user=self._one(found.user),
                invented=self._one(found.invented),
                calls=self._one(found.calls),
                replicas=self._one(found.replicas),
                models=self._one(found.models),
            ),
        )

    def _one(self, value: _T) -> _T:
        """Return the first value that equals this one."""
        first: _T = self._shared.setdefault(value, value)
        return first
