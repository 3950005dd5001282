"""A history as a terminal shows it: a table for each provider, and its trends."""

from __future__ import annotations

from collections.abc import Iterator

from evals.comparison.records import History, Line
from rich.console import Console
from rich.table import Table
from rich.text import Text

from reports import compare_words, history_words

_STYLES = {"PASS": "green", "FAIL": "red", "INCONCLUSIVE": "yellow", "unfinished": "yellow"}
_LEFT = 2
_WIDE = 110
"""From this width on there is room for intervals."""


def print_history(history: History, written: str | None, console: Console) -> None:
    """Print a history.

    Args:
        history: What to print.
        written: The page it was written to, if it was.
        console: Where to; its width and colours are respected.
    """
    for line in history.lines:
        console.print()
        console.print(Text(history_words.title(line), style="bold"))
        console.print(_table(line, intervals=console.width >= _WIDE))
        for remark in _remarks(line):
            console.print(remark)
        for name, bars in history_words.trends(line):
            console.print(Text.assemble(f"{name}  ", (bars, "cyan")))
    console.print()
    for sentence in history_words.unread(history):
        console.print(Text(f"Left out: {sentence}", style="yellow"), soft_wrap=True)
    if not history.lines:
        console.print(Text(f"{history.folder}: {history_words.NO_RUNS}"), soft_wrap=True)
    if written is not None:
        console.print(Text(f"Report  {written}"), soft_wrap=True)


def _table(line: Line, *, intervals: bool) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for index, head in enumerate(history_words.heads(line)):
        table.add_column(head, justify="left" if index < _LEFT else "right", no_wrap=index < _LEFT)
    for point in line.points:
        date, verdict, *others = history_words.row(line, point, intervals=intervals)
        table.add_row(date, Text(verdict, style=_STYLES.get(verdict, "")), *others)
    return table


def _remarks(line: Line) -> Iterator[Text]:
    for point in line.points:
        for remark in history_words.remarks(point):
            yield Text(f"┄ before {compare_words.moment(point.started_at)}: {remark}", "yellow")
