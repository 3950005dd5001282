"""The diagnosis of a run in words, and its findings grouped by cause."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harness.records.diagnosis import Cause
from reports.model import Report, Rule
from reports.text import counted

UNKNOWN = "The cause is unknown: no known defect explains these findings well enough."
_CERTAIN = 0.95


def confidence(cause: Cause) -> str:
    """The probability of a cause in steps of 5 %."""
    if cause.probability > _CERTAIN:
        return "over 95 %"
    return f"about {round(cause.probability * 20) * 5} %"


def facts(cause: Cause) -> Iterator[tuple[str, str]]:
    """What is known of a cause, by name."""
    for other in cause.alternatives:
        yield "such as" if cause.name == cause.layer else "or", other
    yield "explains", ", ".join(cause.explains)
    yield "breaks", cause.effect
    yield "fix", cause.remedy
    for source in cause.sources:
        yield "seen in", source


def by_cause(report: Report) -> Iterator[tuple[Cause | None, Sequence[Rule]]]:
    """The rules with findings, under the cause that explains them; last those without."""
    left = list(report.findings)
    diagnosis = report.analysis.diagnosis
    for cause in diagnosis.causes if diagnosis else ():
        yield cause, [rule for rule in left if rule.result.check.id in cause.explains]
        left = [rule for rule in left if rule.result.check.id not in cause.explains]
    if left:
        yield None, left


def summary(report: Report) -> Iterator[str]:
    """What the causes leave open, in a sentence; nothing without errors and warnings."""
    diagnosis = report.analysis.diagnosis
    if diagnosis is None:
        return
    if not diagnosis.causes:
        yield UNKNOWN
    elif diagnosis.unexplained:
        names = diagnosis.unexplained
        yield f"Not explained: {counted(len(names), 'finding')} ({', '.join(names)})."
