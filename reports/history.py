"""A history as tables and sentences, and on a terminal."""

import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.text import Text

from harness.compare.history import History, HistoryPoint, ProviderHistory
from harness.records.figures import verdict_name
from harness.records.scores import Estimate
from reports.comparison import changes
from reports.model import DECISION_TONES, Cell, Row, Table
from reports.terminal import print_table
from reports.text import NOTHING, counted, estimate, moment, percent, visible

NO_RUNS = "no runs; make one with `gpt-oss-verify --provider NAME`"
_BARS = "▁▂▃▄▅▆▇█"
_LEAST_SPAN = 0.1
_WIDE = 110  # the width of a terminal from which on tables have intervals


def print_history(history: History, console: Console) -> None:
    """Print a history with the width and the colors of the console."""
    for line in history.lines:
        console.print()
        console.print(Text(visible(title(line)), style="bold"))
        shown = table(line, intervals=console.width >= _WIDE)
        print_table(shown, console, repeated=1)
        for row, point in zip(shown.rows, line.points, strict=True):
            for remark in remarks(point):
                name = f"{row.label} {visible(point.run)}".rstrip()
                console.print(Text(f"┄ {name}: {remark}", "yellow"))
        for name, values in series(line).items():
            if len({value.value for value in values if value is not None}) > 1:
                bars, ends = sparkline(values)
                console.print(
                    Text.assemble(f"{visible(name)}  ", (bars, "cyan"), f"  bars from {ends}")
                )
    console.print()
    for sentence in history.unread:
        console.print(Text(f"Left out: {visible(sentence)}", style="yellow"), soft_wrap=True)
    if not history.lines:
        console.print(Text(f"{history.folder}: {NO_RUNS}"), soft_wrap=True)


def title(line: ProviderHistory) -> str:
    """Return `groq: 4 runs, 1 failed start`."""
    runs = sum(point.unanswered is None for point in line.points)
    silent = len(line.points) - runs
    failed = f", {counted(silent, 'failed start')}" if silent else ""
    return f"{line.provider}: {counted(runs, 'run')}{failed}"


def table(line: ProviderHistory, *, intervals: bool = True) -> Table:
    """Return one row per run, with heads that are as narrow as their columns allow.

    Runs of one minute have their seconds.
    """
    every = series(line)
    minutes = Counter(moment(point.started_at) for point in line.points)
    names = ["verdict", *every, "failed checks", "tokens", "request, s", "version"]
    rows = tuple(
        Row(
            moment(point.started_at, seconds=minutes[moment(point.started_at)] > 1),
            (
                _verdict(point),
                *(
                    Cell(estimate(rate) if intervals else percent(rate.value))
                    if (rate := values[index])
                    else Cell(NOTHING)
                    for values in every.values()
                ),
                Cell(NOTHING if point.failed_checks is None else str(point.failed_checks)),
                Cell(f"{point.tokens:,}"),
                Cell(NOTHING if point.latency is None else f"{point.latency:.2f}"),
                Cell(point.tool_version),
            ),
        )
        for index, point in enumerate(line.points)
    )
    heads = []
    for index, name in enumerate(names):
        texts = [*(row.cells[index].text for row in rows), *name.split()]
        heads.append(tuple(textwrap.wrap(name, max(map(len, texts)), break_on_hyphens=False)))
    return Table(tuple(heads), rows, title="date")


def _verdict(point: HistoryPoint) -> Cell:
    if point.unanswered is not None:
        return Cell("no run", "bad")
    if not point.complete:
        return Cell("unfinished", "poor")
    return Cell(
        verdict_name(point.decision, point.findings_only, point.found),
        DECISION_TONES[point.decision],
    )


def remarks(point: HistoryPoint) -> Iterator[str]:
    """Yield why there is no run or no end, and the gap and changes since the previous run."""
    if point.retest is not None:
        what = f"reproduces {point.reproduced} of" if point.reproduced else "a retest of"
        yield f"{what} {visible(point.retest)}, not another run of the suite"
    if why := point.unanswered or point.stopped:
        yield visible(why)
    if point.gap_days is not None:
        yield f"{point.gap_days:.0f} days without a run before"
    if point.changed:
        yield visible(f"settings changed: {changes(point.changed, 'before')}")


def series(line: ProviderHistory) -> dict[str, list[Estimate | None]]:
    """Return every pass rate and score over all runs; None if a run, or a retest, has none."""
    suites = [None if point.retest else point for point in line.points]
    sizes = {point.k for point in suites if point and point.k is not None}
    k = str(sizes.pop()) if len(sizes) == 1 else "k"
    rates = {
        f"pass@{k}": [point.pass_at if point else None for point in suites],
        f"pass^{k}": [point.pass_hat if point else None for point in suites],
    }
    names = dict.fromkeys(name for point in line.points for name in point.scores)
    scores = {name: [point.scores.get(name) for point in line.points] for name in names}
    return {name: values for name, values in {**rates, **scores}.items() if any(values)}


def sparkline(values: Sequence[Estimate | None]) -> tuple[str, str]:
    """Return shares as bars, and what the lowest and the highest bar mean: `80.0 to 90.0%`.

    A missing value is a dot. The bars span ten points at least, so that small changes look small.
    """
    measured = [value.value for value in values if value is not None]
    low = min(min(measured), max(0.0, max(measured) - _LEAST_SPAN))
    high = max(max(measured), low + _LEAST_SPAN)
    steps = len(_BARS) - 1
    bars = (
        "·" if value is None else _BARS[round((value.value - low) / (high - low) * steps)]
        for value in values
    )
    return "".join(bars), f"{percent(low)} to {percent(high)}%"
