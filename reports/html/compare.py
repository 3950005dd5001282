"""The page of a comparison."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import quote

from evals.comparison.records import Comparison, Entry, Flip, Measured, Row

from harness.statistics.differences import Difference
from reports import compare_rows, compare_words, news_words, words
from reports.html.charts.forest import Compared, forest
from reports.html.figure import Figure
from reports.html.links import report_of
from reports.html.page import render_page

Json: TypeAlias = dict[str, Any]
_ANCHORS = {
    "Pass rates": "attempts",
    "Outcomes": "attempts",
    "Times": "speed",
    "Scores": "questions",
    "Outcomes of tries": "questions",
    "Length and time": "length",
}


@dataclass(frozen=True)
class PageCell:
    """One cell of the matrix: what it says, how it looks, and what it opens."""

    text: str
    look: str
    mark: str
    key: str | None
    label: str


@dataclass(frozen=True)
class PageRow:
    """One row of the matrix."""

    label: str
    about: str
    search: str
    differs: bool
    cells: tuple[PageCell, ...]


@dataclass(frozen=True)
class PageGroup:
    """The rows of one section."""

    title: str
    differs: bool
    rows: tuple[PageRow, ...]


def render_compare_html(comparison: Comparison, folder: Path) -> str:
    """The whole page.

    Args:
        comparison: What it shows.
        folder: Where the page will lie; the reports of the runs are linked from there.
    """
    links = [_link(entry, folder) for entry in comparison.entries]
    opened: dict[str, Json] = {}
    groups = tuple(_groups(comparison, links, opened))
    return render_page(
        "compare.html",
        {"cells": opened},
        own_script="compare.js",
        own_styles=("compare.css",),
        comparison=comparison,
        words=compare_words,
        verdicts=words.VERDICTS,
        news=[(one.run, news_words.sentences(one)) for one in comparison.news],
        label="Comparison",
        title=_title(comparison),
        links=links,
        summary=list(compare_words.summary(comparison)),
        how_tested=compare_words.how_tested(comparison),
        figures=list(_figures(comparison)),
        groups=groups,
        labels=[entry.label for entry in comparison.entries],
        differing=sum(row.differs for row in comparison.rows),
    )


def _title(comparison: Comparison) -> str:
    names = [entry.label for entry in comparison.entries if entry.label != comparison.against]
    said = ", ".join(names) if len(names) <= 3 else f"{len(names)} columns"
    return f"{said} beside {comparison.against}"


def _figures(comparison: Comparison) -> Iterator[Figure]:
    for row in compare_rows.tested_rows(comparison):
        found = [
            Compared(entry.label, one.value, one.low, one.high, one.seen)
            for entry, one in zip(comparison.entries, row.differences, strict=True)
            if one is not None
        ]
        name = row.name if row.group is None else f"{row.group}, {row.name}"
        yield Figure(name, forest(name, found), f"points beside {comparison.against}")


def _groups(
    comparison: Comparison, links: Sequence[str | None], opened: dict[str, Json]
) -> Iterator[PageGroup]:
    for title, rows in compare_rows.grouped(comparison.rows).items():
        made = tuple(_row(row, comparison, links, opened) for row in rows)
        yield PageGroup(title, any(row.differs for row in made), made)


def _row(
    row: Row, comparison: Comparison, links: Sequence[str | None], opened: dict[str, Json]
) -> PageRow:
    cells = []
    for index, (entry, found) in enumerate(zip(comparison.entries, row.cells, strict=True)):
        key = None
        if found is not None:
            key = str(len(opened))
            flipped = [_flip(one) for one in _flips(comparison, entry.label, row)]
            opened[key] = _opened(row, index, entry, links[index]) | {"flips": flipped}
        cells.append(_cell(row, index, entry, key))
    return PageRow(
        label=compare_words.label(row),
        about=row.about,
        search=f"{row.name} {row.group or ''} {row.section} {row.about}".lower(),
        differs=row.differs,
        cells=tuple(cells),
    )


def _cell(row: Row, index: int, entry: Entry, key: str | None) -> PageCell:
    found, difference = row.cells[index], row.differences[index]
    seen = "none" if difference is None else difference.seen
    said = compare_words.cell(row, found)
    state = "" if found is None else found.decision or found.status or ""
    status = f", {state}" if state else ""
    held = "" if seen == "none" else f", {seen} than the reference"
    return PageCell(
        text=said,
        look=f"{state} {'' if seen == 'none' else seen}".strip(),
        mark=compare_words.MARKS[seen],
        key=key,
        label=f"{entry.label}, {row.name}: {said}{status}{held}",
    )


def _opened(row: Row, index: int, entry: Entry, link: str | None) -> Json:
    """What a cell shows when it is opened."""
    found, difference = row.cells[index], row.differences[index]
    if found is None:
        raise ValueError("an empty cell does not open")
    return {
        "title": f"{entry.label} · {row.name if row.group is None else f'{row.group} {row.name}'}",
        "about": row.about,
        "facts": list(_facts(row, found, difference)),
        "examples": [
            {
                "message": one.message,
                "expected": one.evidence.expected,
                "got": one.evidence.got,
                "where": _where(one.evidence.record, one.evidence.exchange, one.evidence.path),
                "href": None if link is None else f"{link}#try={quote(one.evidence.record)}",
            }
            for one in found.examples
        ],
        "href": None if link is None else f"{link}#{_anchor(row)}",
    }


def _flips(comparison: Comparison, label: str, row: Row) -> Iterator[Flip]:
    """The cases behind the difference of a row that was tested."""
    if not any(row.differences) or row.unit != "share":
        return
    for found in comparison.flips:
        if found.label == label:
            yield from (one for one in found.flips if one.group in {row.group, row.name})


def _flip(one: Flip) -> str:
    return f"{compare_words.MARKS['better' if one.better else 'worse']} {compare_words.flip(one)}"


def _facts(row: Row, found: Measured, difference: Difference | None) -> Iterator[tuple[str, str]]:
    yield "value", compare_words.cell(row, found)
    if found.status is not None:
        yield "status", found.status.replace("_", " ")
    if found.total is not None:
        counted = f"{found.hits:,} of {found.total:,}" if found.hits is not None else ""
        yield "counted", counted or f"{found.total:,}"
    if found.low is not None and found.high is not None and row.unit == "status":
        yield "share", compare_words.share(found)
    if found.reason:
        yield "reason", found.reason
    if difference is not None:
        yield "beside the reference", compare_words.verdict(difference)
        yield "p", f"{difference.p:.2g}, corrected {difference.adjusted:.2g}"


def _where(record: str, exchange: int, path: str | None) -> str:
    place = f"{record}, request {exchange + 1}"
    return place if path is None else f"{place}, {path}"


def _anchor(row: Row) -> str:
    if row.unit == "status":
        return "checks"
    return _ANCHORS.get(row.section, "verdict")


def _link(entry: Entry, folder: Path) -> str | None:
    if entry.place is None or entry.kind not in {"smoke test", "eval"}:
        return None
    return report_of(entry.place, folder)
