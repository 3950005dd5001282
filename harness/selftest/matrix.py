"""The matrix of faults: which rules detect each, and at what cost."""

from collections.abc import Mapping
from typing import Literal, get_args

from harness.records.record import Record
from harness.records.scores import Severity
from harness.selftest.faults import Fault

RowStatus = Literal[
    "detected", "missed", "clean", "false alarm", "failed", "not visible", "no detector"
]

_BAD: frozenset[RowStatus] = frozenset({"missed", "false alarm", "failed"})


class Detection(Record):
    """A check or probe with significantly more findings on a fault than on the healthy engine.

    The rule judged `applicable` rollouts or repetitions, and `failures` of them had a finding.
    """

    id: str
    severity: Severity
    expected: bool
    failures: int
    applicable: int
    message: str


class FaultRow(Record):
    """The result for one fault; `requests` and `tokens` are the cost of all its runs.

    For the healthy engine and allowed variations, `runs` counts the runs and `accused` those with
    an error. `note` explains every status except "detected" and "clean". `baseline` has, for the
    healthy engine, the worst severity of each rule with findings.
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
    baseline: Mapping[str, Severity] | None = None

    @property
    def worst(self) -> Severity | None:
        """The worst severity of the detections; None without any."""
        severities = {detection.severity for detection in self.detections}
        return next((severity for severity in get_args(Severity) if severity in severities), None)

    @property
    def bad(self) -> bool:
        """Whether the self-test fails because of this row."""
        return self.status in _BAD


class HealthyRuns(Record):
    """Runs against servers without a defect; `rate_at_most` bounds the false alarms (95%)."""

    runs: int
    accused: int
    rate_at_most: float


class Matrix(Record):
    """The result of a self-test."""

    tool_version: str
    suite: str
    started_at: str
    seconds: float
    rows: tuple[FaultRow, ...]
    innocent: HealthyRuns

    @property
    def passed(self) -> bool:
        """Whether every visible fault was detected, without a false alarm."""
        return not any(row.bad for row in self.rows)
