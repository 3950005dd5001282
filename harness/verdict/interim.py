"""Judge a run while it is sampled."""

from collections.abc import Sequence
from pathlib import Path

from harness.records.analysis import Analysis
from harness.records.runs import RunInfo
from harness.records.scores import Score
from harness.run.run_log import follow_rollouts
from harness.tasks.task import Task
from harness.verdict.analyze import analyze
from harness.verdict.planned_scores import Scorer


class InterimJudge:
    """Judges what a growing run has so far; each rollout is read and scored once."""

    def __init__(self, folder: Path, tasks: Sequence[Task], info: RunInfo) -> None:
        """Judge the run in `folder`; `info` is its `run.json`."""
        self._folder = folder
        self._tasks = tasks
        self._info = info
        self._restart()

    def _restart(self) -> None:
        self._position = 0
        self._scores: dict[str, Score] = {}
        self._scorer = Scorer(self._tasks, self._info.shard)

    def __call__(self) -> Analysis:
        """Judge the attempts that are in the log. Raises RunLogError."""
        for task in self._tasks:
            task.read_grades(self._folder)
        if any(task.graded for task in self._tasks):  # all are read again: they may have new grades
            self._restart()
        for rollout, end in follow_rollouts(self._folder, start=self._position):
            self._position = end
            if rollout.id not in self._scores:
                for score in self._scorer.scores([rollout], missing=False):
                    self._scores[rollout.id] = score
        return analyze(
            list(self._scores.values()),
            self._tasks,
            self._info,
            run_id=self._folder.name,
            probed=self._scorer.probed,
        ).analysis
