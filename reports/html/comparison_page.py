"""The page of a comparison."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import quote

from harness.compare.comparison_types import ComparedEntry, ComparedRow, Comparison, Measured
from harness.run.run_folder import PAGE_FILE
from harness.statistics.differences import Difference
from reports import comparison as text
from reports.html.charts.forest import forest
from reports.html.charts.svg import Figure
from reports.html.page import render_page
from reports.text import sample_label

Json: TypeAlias = dict[str, Any]
_ANCHORS = {
    "Pass rates": "attempts",
    "Outcomes": "attempts",
    "Times": "speed",
    "Scores": "questions",
}


def render_compare_html(comparison: Comparison, folder: Path) -> str:
    """Return the whole page. Links to the reports of the runs are relative to its folder."""
    links = [_link(entry, folder) for entry in comparison.entries]
    opened: list[Json] = []
    groups: dict[str, list[tuple[ComparedRow, list[Json]]]] = {}
    # The verdict and the checks come first.
    for row in sorted(comparison.rows, key=lambda row: row.unit not in ("decision", "status")):
        cells = []
        for index, entry in enumerate(comparison.entries):
            key = None if row.cells[index] is None else len(opened)
            cells.append(_cell(row, index, entry, key))
            opened += () if key is None else [_opened(row, index, comparison, links[index])]
        groups.setdefault(text.heading(row), []).append((row, cells))
    return render_page(
        "compare.html",
        {"cells": opened},
        own_scripts=("compare.js",),
        own_styles=("compare.css",),
        comparison=comparison,
        text=text,
        changes=[
            (change.label, text.change_sentences(change)) for change in text.compared(comparison)
        ],
        label="Comparison",
        title=_title(comparison),
        links=links,
        places=[text.entry_line(entry, folder) for entry in comparison.entries],
        summary=list(text.summary(comparison)),
        how_tested=text.how_tested(comparison),
        figures=list(_figures(comparison)),
        groups=groups,
        labels=[entry.label for entry in comparison.entries],
        notable=any(map(text.notable, comparison.rows)),
        answers=comparison.answers,
        sample_label=sample_label,
    )


def _title(comparison: Comparison) -> str:
    names = [entry.label for entry in comparison.entries if entry.label != comparison.against]
    shown = ", ".join(names) if len(names) <= 3 else f"{len(names)} columns"
    return f"{shown} compared with {comparison.against}"


def _figures(comparison: Comparison) -> Iterator[Figure]:
    for row in text.tested_rows(comparison):
        pairs = [
            (entry.label, difference)
            for entry, difference in zip(comparison.entries, row.differences, strict=True)
            if difference is not None
        ]
        name = row.name if row.group is None else f"{row.group}, {row.name}"
        yield Figure(name, forest(name, pairs), f"difference from {comparison.against} in points")


def _cell(row: ComparedRow, index: int, entry: ComparedEntry, key: int | None) -> Json:
    """Return a cell: text, style, label for screen readers, and the key of its details."""
    cell, direction = row.cells[index], text.seen(row, index)
    shown = text.value(row, cell)
    state = "" if cell is None else cell.decision or cell.status or ""
    against = "" if direction == "none" else f"{direction} than the reference"
    spoken = (entry.label, f"{text.label(row)}: {shown}", state, against)
    return {
        "text": shown,
        "look": f"{state} {'' if direction == 'none' else direction}".strip(),
        "mark": text.MARKS[direction],
        "key": key,
        "label": ", ".join(part for part in spoken if part),
    }


def _opened(row: ComparedRow, index: int, comparison: Comparison, link: str | None) -> Json:
    """Return what a cell shows when it is opened."""
    cell, entry = row.cells[index], comparison.entries[index]
    assert cell is not None
    anchor = "checks" if row.unit == "status" else _ANCHORS.get(row.section, "verdict")
    return {
        "title": f"{entry.label} · {text.measure_of(row)}",
        "about": row.about,
        "facts": list(_facts(row, cell, row.differences[index])),
        "examples": [
            {
                "message": example.message,
                "expected": example.evidence.expected,
                "got": example.evidence.shown,
                "where": f"{example.evidence.record}, request {example.evidence.exchange + 1}"
                + (f", {example.evidence.path}" if example.evidence.path else ""),
                "href": None if link is None else f"{link}#try={quote(example.evidence.record)}",
            }
            for example in cell.examples
        ],
        "cases": list(_cases(comparison, entry.label, row)),
        "href": None if link is None else f"{link}#{anchor}",
    }


def _cases(comparison: Comparison, label: str, row: ComparedRow) -> Iterator[str]:
    """Yield the changed cases behind the difference of a pass rate or score."""
    if any(row.differences) and row.unit == "share":
        for changed in comparison.changes:
            for case in changed.cases if changed.label == label else ():
                if case.group in (row.group, row.name):
                    yield text.changed_case(case)


def _facts(
    row: ComparedRow, cell: Measured, difference: Difference | None
) -> Iterator[tuple[str, str]]:
    yield "value", text.value(row, cell)
    if cell.status is not None:
        yield "status", cell.status.replace("_", " ")
    if cell.total is not None:
        counts = f"{cell.hits:,} of {cell.total:,}" if cell.hits is not None else ""
        yield "count", counts or f"{cell.total:,}"
    if cell.low is not None and row.unit == "status":
        yield "share, %", text.share(cell)
    if cell.reason:
        yield "reason", cell.reason
    if difference is not None:
        yield "compared with the reference", text.result(difference)
        yield "p-value", f"{difference.p:.2g}, corrected {difference.adjusted:.2g}"


def _link(entry: ComparedEntry, folder: Path) -> str | None:
    """Return the address of the report of a run, relative to a folder; None if there is none."""
    report = Path(entry.place or "").resolve() / PAGE_FILE
    if entry.place is None or entry.kind != "run" or not report.exists():
        return None
    try:
        return quote(Path(os.path.relpath(report, folder.resolve())).as_posix())
    except ValueError:  # another drive
        return report.as_uri()
