"""Counts the exchanges of a run over time, while its log is read."""

from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import NamedTuple

from harness.records.figures import ExchangeCounts
from harness.records.rollouts import Exchange, Rollout, TransportFailure

_PARTS = 60  # equal parts of the time of a run


class TimedExchange(NamedTuple):
    """When an exchange began and ended, in Unix time; why it failed, and why it was repeated."""

    began: float
    ended: float
    error: str | None
    retries: Sequence[str]


def timed_exchanges(rollout: Rollout) -> list[TimedExchange]:
    """The exchanges of a rollout whose time is known."""
    found = []
    for each in rollout.exchanges:
        with suppress(ValueError):
            began = datetime.fromisoformat(each.started_at).timestamp()
            retries = [_cause(retry.status, retry.failure) for retry in each.retries]
            ended = began + each.elapsed
            found.append(TimedExchange(began, ended, _error(each), retries))
    return found


class ExchangeCounter:
    """Counts the exchanges of rollouts, and keeps when they ended."""

    def __init__(self) -> None:
        self._rollouts = 0
        self._first = float("inf")
        self._errors, self._retries = Counter[str](), Counter[str]()
        self._ended, self._failed, self._retried = (array("d") for _ in range(3))

    def add(self, exchanges: Iterable[TimedExchange]) -> None:
        """Count the exchanges of one rollout."""
        self._rollouts += 1
        for began, ended, error, retries in exchanges:
            self._first = min(began, self._first)
            self._ended.append(ended)
            if error is not None:
                self._errors[error] += 1
                self._failed.append(ended)
            self._retries.update(retries)
            self._retried.extend([ended] * len(retries))

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


def _error(exchange: Exchange) -> str | None:
    response, failure = exchange.response, exchange.failure
    if failure is None and response is not None and response.good_status:
        return None
    return _cause(None if response is None else response.status, failure)


def _cause(status: int | None, failure: TransportFailure | None) -> str:
    return f"status {status}" if failure is None else failure.kind.replace("_", " ")
