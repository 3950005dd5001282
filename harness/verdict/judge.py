"""Judge a run from its folder."""

from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

from harness.records.figures import ExchangeCounts
from harness.records.rollouts import Rollout, TransportFailure
from harness.records.runs import RunInfo, Thresholds
from harness.run.run_log import read_rollouts
from harness.tasks.task import Task
from harness.verdict.analyze import Judged, analyze

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
