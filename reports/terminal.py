"""The report of a run on a terminal: the verdict, what failed, then tables that fit its width."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from rich.console import Console
from rich.padding import Padding
from rich.table import Table as RichTable
from rich.text import Text

from harness.records.analysis import Decision
from reports import causes
from reports.build import next_step
from reports.model import Failure, Report, Row, Rule, Status, Table, Tone
from reports.text import visible

STYLES: Mapping[Decision | None, str] = {
    "pass": "bold green",
    "fail": "bold red",
    "inconclusive": "bold yellow",
    None: "bold cyan",
}
TONES: Mapping[Tone, str] = {"": "", "good": "green", "poor": "yellow", "bad": "red"}
_MARKS: Mapping[Status, tuple[str, str]] = {
    "failed": ("error", "red"),
    "warned": ("warning", "yellow"),
    "declared": ("declared", "cyan"),
    "noted": ("info", "cyan"),
}
_MOST_FAILURES = 5


def print_report(report: Report, console: Console) -> None:
    """Print a report.

    Args:
        report: The report.
        console: Its width and colours are respected.
    """
    console.print()
    console.print(_head(report))
    console.print()
    console.print(verdict_lines(report.verdict, STYLES[report.decision], report.reasons))
    for warning in report.warnings:
        console.print(Text(f"Note    {visible(warning)}", style="yellow"), soft_wrap=True)
    for sentence in report.regressions:
        console.print(Text(visible(sentence)))
    console.print()
    _print_causes(report, console)
    _print_lines(_findings(report), console)
    for section in report.sections:
        _print_lines(_failures(section.failures), console)
        print_table(section.table, console)
        for note in section.notes:
            console.print(Text(visible(note), style="dim"))
            console.print()
    if report.families:
        console.print(rich_table(report.family_table(), corner="checks"))
        console.print()
    for label, fact in (
        ("Verdict", report.verdict),
        ("Report", f"{report.folder}/report.html"),
        ("Seal", report.seal),
        ("Next", next_step(report.analysis, report.folder)),
    ):
        if fact is not None:
            console.print(Text(f"{label:8}{visible(fact)}"), soft_wrap=True)


def verdict_lines(label: str, style: str, reasons: Sequence[str]) -> RichTable:
    """A verdict with its reasons next to it."""
    table = RichTable.grid(padding=(0, 2, 0, 0))
    head = Text(label, style=style)
    for reason in reasons:
        table.add_row(head, Text(visible(reason)))
        head = Text()
    return table


def rich_table(table: Table, columns: Sequence[int] | None = None, corner: str = "") -> RichTable:
    """A table for a terminal.

    Args:
        table: The table.
        columns: The columns to show; None shows all.
        corner: The head of the first column.
    """
    chosen = range(len(table.heads)) if columns is None else columns
    made = RichTable(box=None, padding=(0, 1, 0, 0), header_style="bold")
    made.add_column(corner, no_wrap=True)
    for index in chosen:
        head = "\n".join(map(visible, table.heads[index]))
        made.add_column(Text(head), justify="right", no_wrap=True)
    for row in table.rows:
        if not row.detail:
            made.add_row(Text(visible(row.label)), *(_cell(row, index) for index in chosen))
    return made


def _head(report: Report) -> Text:
    name = (visible(report.analysis.run.provider.name), "bold")
    place = f" · {visible(report.model)} · {visible(report.address)}\n"
    return Text.assemble(name, place, (visible(report.size), "dim"))


def _cell(row: Row, index: int) -> Text:
    cell = row.cells[index]
    return Text(visible(cell.text), style=TONES[cell.tone])


def print_table(table: Table, console: Console) -> None:
    """Print a table, split into as few as fit the width of the terminal."""
    left = list(range(len(table.heads)))
    while left:
        fitting = (
            count
            for count in range(len(left), 1, -1)
            if _width(rich_table(table, left[:count])) <= console.width
        )
        count = next(fitting, 1)
        console.print(rich_table(table, left[:count]))
        left = left[count:]
        if left:
            console.print()
    console.print(table.note, style="dim", markup=False, highlight=False)
    console.print()


def _width(table: RichTable) -> int:
    return int(Console(width=10_000).measure(table).maximum)


def _print_causes(report: Report, console: Console) -> None:
    """The likely causes, each with what it explains, breaks and needs."""
    found = report.analysis.diagnosis
    if found is None:
        return
    console.print(Text("Likely causes" if found.causes else "Cause", style="bold"))
    for number, cause in enumerate(found.causes, 1):
        table = RichTable.grid(padding=(0, 1, 0, 0))
        table.add_row(f"  {number}", Text(cause.description, style="bold"))
        table.add_row("", Text(f"confidence {causes.confidence(cause)}"))
        for name, text in causes.facts(cause):
            table.add_row("", Text(f"{name}: {visible(text)}", style="dim"))
        console.print(table)
    for line in causes.summary(report):
        console.print(Padding(Text(visible(line)), (0, 0, 0, 2), expand=False))
    console.print()


def _print_lines(lines: Iterable[Text], console: Console) -> None:
    for line in lines:
        console.print(line, no_wrap=True, overflow="ellipsis", crop=True)


def _findings(report: Report) -> Iterator[Text]:
    """The findings, grouped by cause where causes are known."""
    for number, (cause, rules) in enumerate(causes.by_cause(report), 1):
        head = "Findings" if cause is None else f"Findings of cause {number}"
        yield Text("Other findings" if cause is None and number > 1 else head, style="bold")
        yield from (line for rule in rules for line in _finding(rule))
        yield Text()


def _finding(rule: Rule) -> Iterator[Text]:
    mark, style = _MARKS[rule.status]
    yield Text.assemble(f"  {mark} ", (rule.result.check.id, style), f" · {rule.share}")
    for example in rule.result.examples[:1]:
        yield _detail(example.message)
        yield _detail(f"expected  {example.evidence.expected}")
        yield _detail(f"got       {example.evidence.got}")


def _failures(failures: Sequence[Failure]) -> Iterator[Text]:
    if not failures:
        return
    yield Text("Failed samples", style="bold")
    for failure in failures[:_MOST_FAILURES]:
        yield Text(visible(f"  {failure.sample} · {failure.where}: {failure.head}"))
        yield _detail(failure.message or failure.outcome)
        for label, value in failure.pairs:
            if label != "prompt":
                yield _detail(f"{label:8}  {value}")
    if (more := len(failures) - _MOST_FAILURES) > 0:
        yield Text(f"  … and {more} more in the report", style="dim")
    yield Text()


def _detail(line: str) -> Text:
    return Text(f"      {visible(line)}", style="dim")
