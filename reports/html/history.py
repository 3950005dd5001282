"""The page of a history."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

from evals.comparison.records import History, HistoryPoint, Line

from reports import history_words, words
from reports.html.charts.history import Moment, over_time
from reports.html.figure import Figure
from reports.html.links import report_of
from reports.html.page import render_page


@dataclass(frozen=True)
class PageRun:
    """One run in the table, with what came before it."""

    cells: tuple[str, ...]
    decision: str
    link: str | None
    remarks: tuple[str, ...]


@dataclass(frozen=True)
class PageLine:
    """One provider's runs of one kind."""

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
        folder: Where the page will lie; the reports of the runs are linked from there.
    """
    lines = [
        _line(line, f"line-{number}", folder) for number, line in enumerate(history.lines, start=1)
    ]
    return render_page(
        "history.html",
        {},
        own_script=None,
        own_styles=("compare.css",),
        label="History",
        title=f"Runs in {history.folder}",
        lines=lines,
        unread=history_words.unread(history),
        no_runs=history_words.NO_RUNS,
        tool_version=version("gpt-oss-verify"),
    )


def _line(line: Line, name: str, folder: Path) -> PageLine:
    return PageLine(
        id=name,
        short=f"{words.visible(line.provider)}{', evals' if line.kind == 'eval' else ''}",
        title=history_words.title(line),
        heads=tuple(history_words.heads(line)),
        figures=tuple(_figures(line)),
        runs=tuple(_run(line, point, folder) for point in reversed(line.points)),
    )


def _figures(line: Line) -> Iterator[Figure]:
    for name, values in history_words.series(line).items():
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
        yield Figure(words.visible(name), over_time(name, moments))


def _run(line: Line, point: HistoryPoint, folder: Path) -> PageRun:
    return PageRun(
        cells=tuple(history_words.row(line, point)),
        decision="inconclusive" if not point.complete else point.decision or "",
        link=report_of(point.place, folder),
        remarks=tuple(history_words.remarks(point)),
    )
