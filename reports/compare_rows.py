"""Which rows of a comparison belong together, and which entry the others are held to."""

from __future__ import annotations

from collections.abc import Sequence

from evals.comparison.records import Comparison, Row
from evals.comparison.smoke import CHECKS, RATES, TIMES

from harness.records.families import short_title


def base_index(comparison: Comparison) -> int:
    """Which entry is the reference."""
    return [entry.label for entry in comparison.entries].index(comparison.against)


def tested_rows(comparison: Comparison) -> list[Row]:
    """The rows of cases and questions that were tested."""
    return [
        row
        for row in comparison.rows
        if row.unit != "status" and any(one is not None for one in row.differences)
    ]


def figure_rows(comparison: Comparison) -> list[Row]:
    """All rows but those of checks."""
    return [row for row in comparison.rows if row.unit != "status"]


def check_rows(comparison: Comparison, *, only_differing: bool = False) -> list[Row]:
    """The rows of checks; of many, those that differ are what a reader looks for."""
    return [
        row
        for row in comparison.rows
        if row.unit == "status" and (row.differs or not only_differing)
    ]


def family(row: Row) -> str:
    """The family of a check's row."""
    return row.section.removeprefix(CHECKS)


def grouped(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Rows under their section and, where there is one, their group."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        head = section(row) if row.group is None else f"{section(row)}, {row.group}"
        found.setdefault(head, []).append(row)
    return found


def by_group(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """The rows that fit a terminal: verdicts and scores by section, rates and times by group."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        if row.group is None:
            found.setdefault(section(row), []).append(row)
        elif row.section in {RATES, TIMES}:
            found.setdefault(row.group, []).append(row)
    return found


def section(row: Row) -> str:
    """The section of a row as a heading."""
    return f"{CHECKS}{short_title(family(row))}" if row.unit == "status" else row.section
