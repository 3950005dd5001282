"""Counts the exchanges of a run over time, while its log is read."""

from array import array
from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from harness.records.figures import ExchangeCounts
from harness.records.rollouts import Rollout, TransportFailure

_PARTS = 60  # equal parts of the time of a run


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
        """The counts."""
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
