"""Which rows of a comparison are shown and tested, and what they say of a column."""

from __future__ import annotations

from harness.comparison.records import Comparison, Row
from harness.comparison.rows import JUDGED
from harness.statistics.differences import Seen


def base_index(comparison: Comparison) -> int:
    """The index of the reference."""
    return [entry.label for entry in comparison.entries].index(comparison.against)


def figure_rows(comparison: Comparison) -> list[Row]:
    """All rows but those of checks."""
    return [row for row in comparison.rows if row.unit != "status"]


def tested_rows(comparison: Comparison) -> list[Row]:
    """The rows of pass rates and scores that were tested."""
    return [row for row in figure_rows(comparison) if any(row.differences)]


def check_rows(comparison: Comparison) -> list[Row]:
    """The rows of checks and probes."""
    return [row for row in comparison.rows if row.unit == "status"]


def notable(row: Row) -> bool:
    """Whether columns differ, or a check fails in one of them, also if no other tested it."""
    return row.differs or any(has_failed(row, index) for index in range(len(row.cells)))


def is_judged(row: Row, index: int) -> bool:
    """Whether a check had something to judge in a column."""
    found = row.cells[index]
    return found is not None and found.status in JUDGED


def has_failed(row: Row, index: int) -> bool:
    """Whether a check failed in a column."""
    found = row.cells[index]
    return found is not None and found.status == "failed"


def measure_of(row: Row) -> str:
    """The name of a measure with its condition: `chat · streaming pass@1`."""
    return row.name if row.group is None else f"{row.group} {row.name}"


def seen_in(row: Row, index: int) -> Seen:
    """What the test of a difference says of a column."""
    found = row.differences[index]
    return "none" if found is None else found.seen
