"""The faults, read from the engine's command line, and the matrix of the rules that detect each."""

import functools
import json
import subprocess
import sys
from collections.abc import Collection, Mapping, Sequence
from typing import Literal, get_args

from pydantic import TypeAdapter

from harness.errors import ConfigurationError
from harness.records.record import Record
from harness.records.scores import Severity
from harness.text import suggestion

HEALTHY = "healthy"  # the name of the engine without faults
VARIATIONS = "allowed variations"  # selects all of them, as a layer selects its faults
LAWS = "laws"  # the layer of the healthy engine in every shape of a run
STYLES = "styles"  # the layer of the healthy engine whose model has other habits
ONLY_NAMED = frozenset({LAWS, STYLES})
"""Layers that are tested only if they are named."""
_MODELS = "models"  # the layer of worse models behind the healthy server


class Fault(Record):
    """A known defect, or an allowed variation.

    `detectors` are ids of checks and probes, prefixes of ids, or families; at least one of them
    must find a `visible` fault. A fault of the `model` needs its own server. `rate` is the share of
    affected requests. `source` is the public report; a fault without one is "constructed". A fault
    that is not `tested` is one of other tests, and tested here only if it is named.
    """

    name: str
    layer: str
    description: str
    source: str
    detectors: tuple[str, ...]
    visible: bool
    allowed: bool
    model: bool
    rate: float = 1.0
    tested: bool = True

    @property
    def names(self) -> frozenset[str]:
        """The names that select the fault: its own, its layer, and whether it is allowed."""
        variation = self.allowed and self.layer not in ONLY_NAMED
        groups = [self.layer, *([VARIATIONS] if variation else [])]
        return frozenset({self.name, *(groups if self.tested else [])})

    @property
    def worse_model(self) -> bool:
        """Whether only the model differs, so that no part of the server may be named as a cause."""
        return self.layer == _MODELS


_NO_FAULT = Fault(
    name=HEALTHY,
    layer="none",
    description="The engine as it is.",
    source="",
    detectors=(),
    visible=False,
    allowed=True,
    model=False,
)
_LIST = TypeAdapter(tuple[Fault, ...])


@functools.cache
def catalogue() -> tuple[Fault, ...]:
    """Return every fault of the engine, the healthy engine first. Raises ConfigurationError."""
    command = [sys.executable, "-m", "reference_engine", "faults", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise ConfigurationError(
            f"`python -m reference_engine faults` failed: {done.stderr.strip()}"
        )
    return (_NO_FAULT, *_LIST.validate_python(json.loads(done.stdout), strict=False))


def chosen(faults: Sequence[Fault], names: Collection[str]) -> tuple[Fault, ...]:
    """Return the healthy engine, and faults by name or layer, or all that need not be named.

    Raises ConfigurationError.
    """
    known = frozenset[str]().union(*(fault.names for fault in faults))
    for name in names:
        if name not in known:
            hint = suggestion(name, sorted(known), "`python -m reference_engine faults` lists them")
            raise ConfigurationError(f"There is no fault or layer {name!r}; {hint}")
    return tuple(
        fault
        for fault in faults
        if fault.name == HEALTHY
        or (fault.names & set(names) if names else fault.tested and fault.layer not in ONLY_NAMED)
    )


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
