"""A history as tables and sentences, and on a terminal."""

import textwrap
from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.compare.comparison_types import History, HistoryPoint, ProviderHistory
from harness.records.scores import Estimate
from reports.comparison import changes
from reports.text import NOTHING, VERDICTS, counted, estimate, moment, percent, visible

NO_RUNS = "no runs; make one with `gpt-oss-verify --provider NAME`"
_BARS = "▁▂▃▄▅▆▇█"
_STYLES = {"PASS": "green", "FAIL": "red", "INCONCLUSIVE": "yellow", "unfinished": "yellow"}
_LEFT = 2  # columns that every table of a line begins with
_WIDE = 110  # the width of a terminal from which on tables have intervals


def print_history(history: History, console: Console) -> None:
    """Print a history with the width and the colors of the console."""
    for line in history.lines:
        console.print()
        console.print(Text(visible(title(line)), style="bold"))
        _print_tables(line, console)
        for point in line.points:
            for remark in remarks(point):
                console.print(Text(f"┄ before {moment(point.started_at)}: {remark}", "yellow"))
        for name, values in series(line).items():
            console.print(Text.assemble(f"{visible(name)}  ", (sparkline(values), "cyan")))
    console.print()
    for sentence in history.unread:
        console.print(Text(f"Left out: {visible(sentence)}", style="yellow"), soft_wrap=True)
    if not history.lines:
        console.print(Text(f"{history.folder}: {NO_RUNS}"), soft_wrap=True)


def title(line: ProviderHistory) -> str:
    """`groq: 4 runs`."""
    return f"{line.provider}: {counted(len(line.points), 'run')}"


def heads(line: ProviderHistory) -> list[str]:
    """The column heads of a provider's table."""
    return ["date", "verdict", *series(line), "failed checks", "tokens", "request, s", "version"]


def cells(line: ProviderHistory, point: HistoryPoint, *, intervals: bool = True) -> list[str]:
    """The cells of one run."""
    index = line.points.index(point)
    found = [values[index] for values in series(line).values()]
    return [
        moment(point.started_at),
        VERDICTS[point.decision] if point.complete else "unfinished",
        *(_rate(each, intervals) for each in found),
        NOTHING if point.failed_checks is None else str(point.failed_checks),
        f"{point.tokens:,}",
        NOTHING if point.latency is None else f"{point.latency:.2f}",
        point.tool_version,
    ]


def remarks(point: HistoryPoint) -> Iterator[str]:
    """The gap and the changes of settings between this run and the previous one."""
    if point.gap_days is not None:
        yield f"{point.gap_days:.0f} days without a run"
    if point.changed:
        yield visible(f"settings changed: {changes(point.changed, 'before')}")


def series(line: ProviderHistory) -> dict[str, list[Estimate | None]]:
    """Every pass rate and score over all runs; None if a run does not have it."""
    sizes = {point.k for point in line.points if point.k is not None}
    k = str(sizes.pop()) if len(sizes) == 1 else "k"
    rates = {
        f"pass@{k}": [point.pass_at for point in line.points],
        f"pass^{k}": [point.pass_hat for point in line.points],
    }
    names = dict.fromkeys(name for point in line.points for name in point.scores)
    scores = {name: [point.scores.get(name) for point in line.points] for name in names}
    return {name: values for name, values in {**rates, **scores}.items() if any(values)}


def sparkline(values: Sequence[Estimate | None]) -> str:
    """Shares as bars of eighths; a dot for a missing value."""
    return "".join(
        "·" if each is None else _BARS[min(7, max(0, int(each.value * 8)))] for each in values
    )


def _print_tables(line: ProviderHistory, console: Console) -> None:
    """Print a provider's table, split into as few tables as fit the width of the terminal."""
    intervals, wide = console.width >= _WIDE, Console(width=10_000)
    left = list(range(_LEFT, len(heads(line))))
    while left:
        fitting = (
            count
            for count in range(len(left), 1, -1)
            if wide.measure(_table(line, left[:count], intervals)).maximum <= console.width
        )
        count = next(fitting, 1)
        console.print(_table(line, left[:count], intervals))
        left = left[count:]
        if left:
            console.print()


def _table(line: ProviderHistory, columns: Sequence[int], intervals: bool) -> Table:
    """The date and the verdict of each run, and these columns."""
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="bold")
    names = list(map(visible, heads(line)))
    rows = [cells(line, point, intervals=intervals) for point in line.points]
    for name in names[:_LEFT]:
        table.add_column(name, no_wrap=True)
    for index in columns:
        texts = [*(row[index] for row in rows), *names[index].split()]
        widest = max(map(len, texts))
        head = "\n".join(textwrap.wrap(names[index], widest, break_on_hyphens=False))
        table.add_column(Text(head), justify="right", no_wrap=True)
    for row in rows:
        date, verdict, *_ = row
        status = Text(verdict, style=_STYLES.get(verdict, ""))
        table.add_row(date, status, *(row[index] for index in columns))
    return table


def _rate(value: Estimate | None, intervals: bool) -> str:
    if value is None:
        return NOTHING
    return estimate(value) if intervals else percent(value.value)
