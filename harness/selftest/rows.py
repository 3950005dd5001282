"""Derive the row of each fault from its runs. No I/O."""

from collections.abc import Mapping, Sequence
from typing import Any

from harness.records.analysis import RuleResult
from harness.records.record import Record
from harness.records.scores import Severity
from harness.rules.components import MODEL
from harness.selftest.faults import LAWS, Detection, Fault, FaultRow, HealthyRuns, RowStatus
from harness.selftest.stages import known
from harness.statistics.intervals import ALPHA, exact_bounds

_WEIGHT: Mapping[Severity, int] = {"info": 1, "warning": 2, "error": 3}


class DefectRun(Record):
    """One run against a server with a fault: what its rules found, and what it cost.

    `causes` are the components that it names. For a worse model, `causes_alone` are those that it
    names without its golden file.
    """

    results: tuple[RuleResult, ...]
    causes: tuple[str, ...] = ()
    causes_alone: tuple[str, ...] = ()
    requests: int
    tokens: int
    seconds: float


Baseline = Mapping[str, Severity]  # by rule, the worst severity it reports on the healthy engine


def baseline(runs: Sequence[DefectRun]) -> Baseline:
    """Return the worst severity of each rule on the healthy engine."""
    worst: dict[str, Severity] = {}
    for result in (result for run in runs for result in run.results):
        level, known_worst = severity(result), worst.get(result.check.id)
        if level and (known_worst is None or _WEIGHT[level] > _WEIGHT[known_worst]):
            worst[result.check.id] = level
    return worst


def severity(result: RuleResult) -> Severity | None:
    """Return the worst severity of a result; None without findings."""
    return result.examples[0].severity if result.examples else None


def row(fault: Fault, runs: Sequence[DefectRun], healthy: Baseline) -> FaultRow:
    """Return the row of a fault; its last run decides. `healthy` is the baseline of the suite."""
    cost: Any = {
        "requests": sum(run.requests for run in runs),
        "tokens": sum(run.tokens for run in runs),
        "seconds": sum(run.seconds for run in runs),
    }
    if fault.allowed:
        every = [detection for run in runs for detection in _detections(fault, run, {})]
        loud = ("error", "warning") if fault.layer == LAWS else ("error",)
        errors = tuple(detection for detection in every if detection.severity in loud)
        note = ", ".join(f"{detection.id}: {detection.message}" for detection in errors)
        status: RowStatus = "false alarm" if errors else "clean"
        counts = {"runs": len(runs), "accused": sum(map(has_error, runs))}
        return FaultRow(fault=fault, status=status, detections=errors, note=note, **counts, **cost)
    detections = _detections(fault, runs[-1], healthy)
    if fault.worse_model and (note := _accuses_server(runs[-1])):
        return FaultRow(fault=fault, status="false alarm", detections=detections, note=note, **cost)
    if any(detection.expected for detection in detections):
        return FaultRow(fault=fault, status="detected", detections=detections, **cost)
    missed = f"None of {', '.join(fault.detectors)} found anything."
    return FaultRow(fault=fault, status="missed", detections=detections, note=missed, **cost)


def _accuses_server(run: DefectRun) -> str:
    """Return how a run against a worse model accuses its server; "" if it does not.

    With a golden file, the numbers show that the model differs, so only that may be named. Without
    one, a part of the server may be named beside the model, but never alone.
    """
    named = [part for part in run.causes if part != MODEL]
    alone = run.causes_alone if MODEL not in run.causes_alone else ()
    said = [f"named with the golden file: {', '.join(named)}"] if named else []
    said += [f"named without it: {', '.join(alone)}"] if alone else []
    return "; ".join(said)


def has_error(run: DefectRun) -> bool:
    """Return whether a run has an error."""
    return any(severity(result) == "error" for result in run.results)


def healthy_runs(every: Sequence[FaultRow]) -> HealthyRuns:
    """Return the false alarms over all rows of servers without a defect."""
    runs, alarms = sum(row.runs for row in every), sum(row.accused for row in every)
    _, most = exact_bounds(alarms, runs, ALPHA)
    return HealthyRuns(runs=runs, accused=alarms, rate_at_most=most)


def row_without_run(fault: Fault) -> FaultRow | None:
    """Return the row of a fault that is not visible or has no detector; None for any other."""
    if fault.allowed or (fault.visible and known(fault)):
        return None
    if not fault.visible:
        note = "The fault is not visible from outside, or not with the small checkpoint."
        return FaultRow(fault=fault, status="not visible", note=note)
    note = f"There is no check or probe {' or '.join(fault.detectors)}."
    return FaultRow(fault=fault, status="no detector", note=note)


def needs_no_more_stages(fault: Fault, run: DefectRun, healthy: Baseline) -> bool:
    """Return whether the fault needs no further stage."""
    return fault.allowed or any(
        detection.expected for detection in _detections(fault, run, healthy)
    )


def _detections(fault: Fault, run: DefectRun, healthy: Baseline) -> tuple[Detection, ...]:
    expected = set(known(fault))
    detections: list[Detection] = []
    for result in run.results:
        worst = severity(result)
        usual = healthy.get(result.check.id)
        if worst is None or (usual is not None and _WEIGHT[worst] <= _WEIGHT[usual]):
            continue
        detections.append(
            Detection(
                id=result.check.id,
                severity=worst,
                expected=result.check.id in expected,
                failures=result.failures,
                applicable=result.applicable,
                message=result.examples[0].message,
            )
        )
    return tuple(sorted(detections, key=lambda e: (not e.expected, -_WEIGHT[e.severity])))
