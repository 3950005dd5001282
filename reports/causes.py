"""The diagnosis of a run in words, and its findings grouped by cause."""

from collections.abc import Iterator, Sequence

from harness.records.diagnosis import Cause, Diagnosis
from reports.model import Report, RuleResult

UNKNOWN = "Unknown: no known defect explains the findings well enough. Start with their evidence."
_CERTAIN = 0.95


def confidence(cause: Cause) -> str:
    """The probability of a cause in steps of 5 %."""
    if cause.probability > _CERTAIN:
        return "over 95 %"
    return f"about {round(cause.probability * 20) * 5} %"


def facts(cause: Cause) -> Iterator[tuple[str, str]]:
    """What is known of a cause, by name, without the findings that it explains."""
    for other in cause.alternatives:
        yield "such as" if cause.name == cause.layer else "or", other
    yield "breaks", cause.effect
    yield "fix", cause.remedy
    for source in cause.sources:
        yield "seen in", source


def notes(diagnosis: Diagnosis) -> Iterator[str]:
    """The layers at fault, and that no cause is known where that is so."""
    yield from (each.text for each in diagnosis.layers)
    if diagnosis.unexplained and not diagnosis.causes:
        yield UNKNOWN


def by_cause(report: Report) -> Iterator[tuple[str, Sequence[RuleResult]]]:
    """The rules with findings under a title, by the cause that explains them, then the others."""
    left = list(report.findings)
    found = report.analysis.diagnosis
    known = found.causes if found else ()
    for number, cause in enumerate(known, 1):
        if rules := [rule for rule in left if rule.result.check.id in cause.explains]:
            yield f"Findings of cause {number}", rules
        left = [rule for rule in left if rule not in rules]
    if left:
        yield "Other findings" if known else "Findings", left
