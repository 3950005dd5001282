"""The matrix of faults: what was detected, by what, how soon."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

from harness.records.base import Record
from harness.records.conditions import Api
from harness.records.scores import Severity
from harness.selftest.faults import Fault

RowStatus = Literal[
    "detected", "missed", "clean", "false alarm", "failed", "not visible", "no detector"
]

_BAD: frozenset[RowStatus] = frozenset({"missed", "false alarm", "failed"})


class Detection(Record):
    """A check or probe with significantly more findings on a fault than on the healthy engine.

    Of `applicable` rollouts or repetitions it judged, `failures` had a finding.
    """

    id: str
    severity: Severity
    expected: bool
    failures: int
    applicable: int
    message: str


class Row(Record):
    """One fault and what came of it; `requests` and `tokens` are those it took to find it.

    Of what is no defect, `runs` were made and `accused` had an error. `note` explains every status
    but "detected" and "clean". `measured` has, for every check and probe that judged something, the
    rollouts or repetitions with an error or a warning, and all applicable ones. `partial` has the
    APIs with findings of those checks that also apply to another one and found nothing there.
    """

    fault: Fault
    status: RowStatus
    detections: tuple[Detection, ...] = ()
    requests: int = 0
    tokens: int = 0
    seconds: float = 0.0
    runs: int = 0
    accused: int = 0
    note: str = ""
    measured: Mapping[str, tuple[int, int]] = {}
    partial: Mapping[str, tuple[Api, ...]] = {}

    @property
    def worst(self) -> Severity | None:
        """The worst severity that a detection has; None without any."""
        found = {detection.severity for detection in self.detections}
        return next((each for each in get_args(Severity) if each in found), None)

    @property
    def bad(self) -> bool:
        """Whether it must not be so."""
        return self.status in _BAD


class Innocent(Record):
    """How many runs against servers without a defect there were, and how many had an error.

    `rate_at_most` bounds the rate of false alarms: it is wrong with a chance of 5 % at most.
    """

    runs: int
    accused: int
    rate_at_most: float


class Matrix(Record):
    """The whole self-test."""

    tool_version: str
    suite: str
    started_at: str
    seconds: float
    rows: tuple[Row, ...]
    innocent: Innocent

    @property
    def passed(self) -> bool:
        """Whether all that is visible was detected, and nothing else was called an error."""
        return not any(row.bad for row in self.rows)
