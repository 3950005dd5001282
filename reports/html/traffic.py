"""Requests, errors and retries over the time of a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from harness.records.rollouts import ExchangeOutline, Retry
from reports.html.charts.counts import timeline
from reports.html.charts.svg import Figure

_BINS = 60
_OK = range(200, 300)


@dataclass
class Traffic:
    """Counts the exchanges of a run. Of each it keeps when it ended, and how.

    Attributes:
        errors: How often each kind of error ended an exchange.
        retries: How often each kind of problem was retried.
    """

    errors: Counter[str] = field(default_factory=Counter)
    retries: Counter[str] = field(default_factory=Counter)
    _ends: list[float] = field(default_factory=list)
    _failed_at: list[float] = field(default_factory=list)
    _retried_at: list[float] = field(default_factory=list)
    _first: float | None = None

    def add(self, exchange: ExchangeOutline) -> None:
        """Count one exchange."""
        try:
            began = datetime.fromisoformat(exchange.started_at).timestamp()
        except ValueError:
            return
        self._first = began if self._first is None else min(began, self._first)
        end = began + exchange.elapsed
        self._ends.append(end)
        if (error := _error(exchange)) is not None:
            self.errors[error] += 1
            self._failed_at.append(end)
        for retry in exchange.retries:
            self.retries[_cause(retry)] += 1
            self._retried_at.append(end)

    @property
    def total(self) -> int:
        """The number of exchanges."""
        return len(self._ends)

    @property
    def seconds(self) -> float:
        """Seconds from the start of the first exchange to the end of the last."""
        return max(self._ends) - self._first if self._first is not None else 0.0

    def timelines(self) -> Iterator[Figure]:
        """Charts of requests, errors and retries over time, as far as there are any."""
        for title, times, kind in (
            ("Requests finished", self._ends, "count"),
            ("Errors", self._failed_at, "count bad"),
            ("Retries", self._retried_at, "count poor"),
        ):
            if times:
                yield Figure(title, timeline(title, self._bins(times), self.seconds, kind))

    def _bins(self, times: Sequence[float]) -> list[int]:
        counts = [0] * _BINS
        width = (self.seconds / _BINS) or 1.0
        for time in times:
            counts[min(_BINS - 1, int((time - (self._first or 0.0)) / width))] += 1
        return counts


def _error(exchange: ExchangeOutline) -> str | None:
    if exchange.failure is not None:
        return exchange.failure.kind.replace("_", " ")
    status = None if exchange.response is None else exchange.response.status
    return None if status in _OK else f"status {status}"


def _cause(retry: Retry) -> str:
    if retry.failure is not None:
        return retry.failure.kind.replace("_", " ")
    return f"status {retry.status}"
