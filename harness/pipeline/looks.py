"""Intermediate results of a run; every rollout is read and scored once."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from harness.pipeline.analyze import analyze
from harness.pipeline.plan import Plan
from harness.pipeline.score import Scorer
from harness.records.analysis import TaskResult, Verdict
from harness.records.runs import RunInfo
from harness.records.scores import Score
from harness.storage.run_log import follow_rollouts


@dataclass
class Looks:
    """Repeated looks at a run while it is sampled.

    Attributes:
        folder: The run's.
        plan: Its plan.
    """

    folder: Path
    plan: Plan
    _position: int = 0
    _scores: dict[str, Score] = field(default_factory=dict)

    def results(self) -> list[TaskResult]:
        """The figures of all tasks so far. Raises RunLogError."""
        every = self._read()
        return [
            result
            for task in self.plan.tasks
            for result in task.results([each for each in every if each.task == task.name])
        ]

    def verdict(self, info: RunInfo) -> Verdict:
        """The verdict on what was sampled so far; `info` is its `run.json`. Raises RunLogError."""
        return analyze(self._read(), self.plan, info, run_id=self.folder.name).verdict

    def _read(self) -> list[Score]:
        """The scores so far. With a graded task, all are read again: it may have new grades."""
        for task in self.plan.tasks:
            task.read_grades(self.folder)
        if any(task.graded for task in self.plan.tasks):
            self._position = 0
            self._scores.clear()
        scorer = Scorer(self.plan)
        for rollout, end in follow_rollouts(self.folder, start=self._position):
            self._position = end
            if rollout.id not in self._scores:
                for score in scorer.scores([rollout], missing=False):
                    self._scores[rollout.id] = score
        return list(self._scores.values())
