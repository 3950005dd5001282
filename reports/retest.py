"""The table of a retest, rule by rule: fixed, still there, not verifiable, or new. No I/O."""

from collections.abc import Mapping

from harness.records.analysis import Analysis, RetestedFinding, RetestStatus
from harness.records.runs import RetestInfo
from harness.statistics.rates import FALSE_ALARM
from harness.statistics.recurrence import MISSED
from harness.text import percentage
from reports.model import Cell, Row, Section, Table, Tone
from reports.text import NOTHING

_TONES: Mapping[RetestStatus, Tone] = {
    "fixed": "good",
    "still there": "bad",
    "not verifiable": "poor",
    "new": "bad",
}
_ORDER = ("still there", "new", "not verifiable", "fixed")
ERROR_RATES = (
    f"For each component: at half of its former rate, a defect is called fixed in at most "
    f"{percentage(MISSED, 0)} of retests; a fixed one is called still there in at most "
    f"{percentage(FALSE_ALARM, 0)}."
)


def retest_section(analysis: Analysis, retest: RetestInfo) -> Section:
    """Return the findings of the run that was retested, those that remain first."""
    heads = (("before",), ("now",), ("result",))
    ordered = sorted(analysis.retest, key=lambda finding: _ORDER.index(finding.status))
    table = Table(heads, tuple(map(_row, ordered)), title="finding")
    reasons = dict.fromkeys(f"{e.rule}: {e.reason}" for e in ordered if e.reason)
    return Section(
        title=f"Retest of {retest.name}",
        table=table,
        summary=Table(heads, table.rows, note=ERROR_RATES, title="finding"),
        notes=(ERROR_RATES, *reasons),
    )


def _row(finding: RetestedFinding) -> Row:
    status = finding.status if finding.decisive else f"{finding.status} (warning)"
    now = Cell(status, _TONES[finding.status])
    return Row(finding.rule, (Cell(finding.before or NOTHING), Cell(finding.now or NOTHING), now))
