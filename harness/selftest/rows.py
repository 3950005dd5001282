"""From what was found of each fault to its row of the matrix. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.records.analysis import CheckResult
from harness.records.base import Record
from harness.records.scores import Severity
from harness.selftest.faults import Fault
from harness.selftest.matrix import Detection, Innocent, Row, RowStatus
from harness.selftest.stages import known
from harness.statistics.intervals import ALPHA, exact_bounds

_WEIGHT: Mapping[Severity, int] = {"info": 1, "warning": 2, "error": 3}


class Sight(Record):
    """One run against a server: what its checks and probes said, and what it cost."""

    results: tuple[CheckResult, ...]
    requests: int
    tokens: int
    seconds: float


Baseline = Mapping[str, Severity]
"""For each check and probe the worst it said of the healthy engine, if anything."""


def baseline(sights: Sequence[Sight]) -> Baseline:
    """What the healthy engine is told anyway."""
    worst: dict[str, Severity] = {}
    for each in (result for sight in sights for result in sight.results):
        found, known_worst = severity(each), worst.get(each.check.id)
        if found and (known_worst is None or _WEIGHT[found] > _WEIGHT[known_worst]):
            worst[each.check.id] = found
    return worst


def severity(result: CheckResult) -> Severity | None:
    """The worst that a check or probe said; None where it had nothing to say."""
    return result.examples[0].severity if result.examples else None


def row(fault: Fault, sights: Sequence[Sight], healthy: Baseline) -> Row:
    """What came of a fault, by all runs that were made against it.

    Args:
        fault: What the server had.
        sights: The runs, in order; the last decides.
        healthy: What the engine without faults was told in the same suite.
    """
    cost = {
        "requests": sum(sight.requests for sight in sights),
        "tokens": sum(sight.tokens for sight in sights),
        "seconds": sum(sight.seconds for sight in sights),
    }
    if fault.allowed:
        every = [each for sight in sights for each in _detections(fault, sight, {})]
        errors = tuple(each for each in every if each.severity == "error")
        note = ", ".join(f"{each.id}: {each.message}" for each in errors)
        status: RowStatus = "false alarm" if errors else "clean"
        counts = {"runs": len(sights), "accused": sum(accused(sight) for sight in sights)}
        return Row(fault=fault, status=status, detections=errors, note=note, **counts, **cost)
    found = _detections(fault, sights[-1], healthy)
    if any(each.expected for each in found):
        return Row(fault=fault, status="detected", detections=found, **cost)
    missed = f"None of {', '.join(fault.detectors)} said anything."
    return Row(fault=fault, status="missed", detections=found, note=missed, **cost)


def accused(sight: Sight) -> bool:
    """Whether anything of a run was called an error."""
    return any(severity(result) == "error" for result in sight.results)


def innocent(every: Sequence[Row]) -> Innocent:
    """How often servers without a defect were accused of one, over all rows that have such."""
    runs, alarms = sum(row.runs for row in every), sum(row.accused for row in every)
    _, most = exact_bounds(alarms, runs, ALPHA)
    return Innocent(runs=runs, accused=alarms, rate_at_most=most)


def untried(fault: Fault) -> Row | None:
    """The row of a fault that nothing could find, or None for one that something should find."""
    if fault.allowed or (fault.visible and known(fault)):
        return None
    if not fault.visible:
        note = "It cannot be seen from outside, or not with the small checkpoint."
        return Row(fault=fault, status="not visible", note=note)
    note = f"No check or probe of a run is called {' or '.join(fault.detectors)}."
    return Row(fault=fault, status="no detector", note=note)


def found_enough(fault: Fault, sight: Sight, healthy: Baseline) -> bool:
    """Whether no further run against this fault is needed."""
    return fault.allowed or any(each.expected for each in _detections(fault, sight, healthy))


def _detections(fault: Fault, sight: Sight, healthy: Baseline) -> tuple[Detection, ...]:
    expected = set(known(fault))
    found: list[Detection] = []
    for result in sight.results:
        worst = severity(result)
        usual = healthy.get(result.check.id)
        if worst is None or (usual is not None and _WEIGHT[worst] <= _WEIGHT[usual]):
            continue
        found.append(
            Detection(
                id=result.check.id,
                severity=worst,
                expected=result.check.id in expected,
                failures=result.failures,
                applicable=result.applicable,
                message=result.examples[0].message,
            )
        )
    return tuple(sorted(found, key=lambda each: (not each.expected, -_WEIGHT[each.severity])))
