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
    ordered = sorted(analysis.retest, key=lambda one: _ORDER.index(one.status))
    table = Table(heads, tuple(map(_row, ordered)), title="finding")
    reasons = dict.fromkeys(f"{one.rule}: {one.reason}" for one in ordered if one.reason)
    return Section(
        title=f"Retest of {retest.name}",
        table=table,
        summary=Table(heads, table.rows, note=ERROR_RATES, title="finding"),
        notes=(ERROR_RATES, *reasons),
    )


def _row(one: RetestedFinding) -> Row:
    status = one.status if one.decisive else f"{one.status} (warning)"
    cells = Cell(one.before or NOTHING), Cell(one.now or NOTHING), Cell(status, _TONES[one.status])
    return Row(one.rule, cells)
