"""The page of a history."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

from harness.comparison.records import History, HistoryPoint, Line
from reports import history as text
from reports.html.charts.history import Moment, over_time
from reports.html.figure import Figure
from reports.html.links import report_of
from reports.html.page import render_page


@dataclass(frozen=True)
class PageRun:
    """One run in the table, and what happened before it."""

    cells: tuple[str, ...]
    decision: str
    link: str | None
    remarks: tuple[str, ...]


@dataclass(frozen=True)
class PageLine:
    """The runs of one provider."""

    id: str
    short: str
    title: str
    heads: tuple[str, ...]
    figures: tuple[Figure, ...]
    runs: tuple[PageRun, ...]


def render_history_html(history: History, folder: Path) -> str:
    """The whole page.

    Args:
        history: What it shows.
        folder: The folder of the page; links to the reports of the runs are relative to it.
    """
    lines = [
        PageLine(
            id=f"line-{number}",
            short=line.provider,
            title=text.title(line),
            heads=tuple(text.heads(line)),
            figures=tuple(_figures(line)),
            runs=tuple(_run(line, point, folder) for point in reversed(line.points)),
        )
        for number, line in enumerate(history.lines, start=1)
    ]
    return render_page(
        "history.html",
        {},
        own_script=None,
        own_styles=("compare.css",),
        label="History",
        title=f"Runs in {Path(history.folder).resolve().name}",
        lines=lines,
        unread=history.unread,
        no_runs=text.NO_RUNS,
        tool_version=version("gpt-oss-verify"),
    )


def _figures(line: Line) -> Iterator[Figure]:
    for name, values in text.series(line).items():
        moments = [
            Moment(
                seconds=datetime.fromisoformat(point.started_at).timestamp(),
                value=value,
                complete=point.complete,
                changed=bool(point.changed),
                after_gap=point.gap_days is not None,
            )
            for point, value in zip(line.points, values, strict=True)
        ]
        yield Figure(name, over_time(name, moments))


def _run(line: Line, point: HistoryPoint, folder: Path) -> PageRun:
    return PageRun(
        cells=tuple(text.cells(line, point)),
        decision=point.decision or "" if point.complete else "inconclusive",
        link=report_of(point.place, folder),
        remarks=tuple(text.remarks(point)),
    )
