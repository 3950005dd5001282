"""Judge a run from its folder, after it was sampled or while it is sampled."""

from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

from harness.records.analysis import Analysis
from harness.records.figures import ExchangeCounts
from harness.records.rollouts import Rollout, TransportFailure
from harness.records.runs import RunInfo, Thresholds
from harness.records.scores import Score
from harness.run.run_log import follow_rollouts, read_rollouts
from harness.tasks.task import Task
from harness.verdict.analyze import Judged, analyze
from harness.verdict.planned_scores import Scorer

_PARTS = 60  # equal parts of the time of a run


def judge(
    folder: Path,
    info: RunInfo,
    tasks: Sequence[Task],
    *,
    thresholds: Thresholds | None = None,
) -> Judged:
    """Judge a run from its folder, without writing files or using the network.

    `info` is its `run.json`, perhaps with other settings, such as another baseline. `thresholds`
    replace its own. Raises RunLogError.
    """
    for task in tasks:
        task.read_grades(folder)
    counter = ExchangeCounter()

    def counted() -> Iterator[Rollout]:
        for rollout in read_rollouts(folder):
            counter.add(rollout)
            yield rollout

    analysis, scores = analyze(counted(), tasks, info, run_id=folder.name, thresholds=thresholds)
    return Judged(analysis.model_copy(update={"exchanges": counter.counts()}), scores)


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


class ExchangeCounter:
    """Counts the exchanges of rollouts, and keeps when they ended."""

    def __init__(self) -> None:
        self._rollouts = 0
        self._first = float("inf")
        self._errors, self._retries = Counter[str](), Counter[str]()
        self._ended, self._failed, self._retried = (array("d") for _ in range(3))

    def add(self, rollout: Rollout) -> None:
        """Count the exchanges of one rollout whose time is known."""
        self._rollouts += 1
        for each in rollout.exchanges:
            try:
                began = datetime.fromisoformat(each.started_at).timestamp()
            except ValueError:
                continue
            ended = began + each.elapsed
            self._first = min(began, self._first)
            self._ended.append(ended)
            response, failure = each.response, each.failure
            if failure is not None or response is None or not response.good_status:
                status = None if response is None else response.status
                self._errors[_cause(status, failure)] += 1
                self._failed.append(ended)
            self._retries.update(_cause(retry.status, retry.failure) for retry in each.retries)
            self._retried.extend([ended] * len(each.retries))

    def counts(self) -> ExchangeCounts:
        """Return the numbers of exchanges, errors and retries, in total and over time."""
        seconds = max(self._ended) - self._first if self._ended else 0.0
        return ExchangeCounts(
            rollouts=self._rollouts,
            total=len(self._ended),
            seconds=seconds,
            errors=dict(self._errors.most_common()),
            retries=dict(self._retries.most_common()),
            ended=self._parts(self._ended, seconds),
            failed=self._parts(self._failed, seconds),
            retried=self._parts(self._retried, seconds),
        )

    def _parts(self, times: Sequence[float], seconds: float) -> tuple[int, ...]:
        counts = [0] * _PARTS if times else []
        width = (seconds / _PARTS) or 1.0
        for time in times:
            counts[min(_PARTS - 1, int((time - self._first) / width))] += 1
        return tuple(counts)


def _cause(status: int | None, failure: TransportFailure | None) -> str:
    return f"status {status}" if failure is None else failure.kind.replace("_", " ")
