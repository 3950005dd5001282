"""The report of a run on a terminal: the verdict, what failed, then tables that fit its width."""

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.padding import Padding
from rich.table import Table as RichTable
from rich.text import Text

from harness.records.figures import Decision
from reports import diagnosis
from reports.model import Failure, Report, Row, ShownRule, Status, Table, Tone
from reports.text import counted, visible

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
_MOST_FINDINGS, _MOST_ERRORS = 4, 10  # number of findings that are printed with evidence
_MOST_FAILURES = 5
_FINDING = "invalid response"
"""The outcome of attempts that fail because of a finding, which is printed with its evidence."""


def print_report(report: Report, console: Console) -> None:
    """Print a report with the width and the colours of the console."""
    console.print()
    console.print(_head(report))
    console.print()
    verdict = report.analysis.verdict
    console.print(verdict_lines(report.verdict, STYLES[verdict.decision], verdict.reasons))
    for warning in report.warnings:
        console.print(verdict_lines("Note", "yellow", [warning]))
    for sentence in report.regressions:
        console.print(Text(visible(sentence)))
    console.print()
    _print_causes(report, console)
    for title, rules in diagnosis.by_cause(report):
        _print_findings(title, rules, console)
    for section in report.sections:
        _print_failures(section.failures, console)
        print_table(section.table, console)
        for note in section.notes:
            console.print(Text(visible(note), style="dim"))
            console.print()
    if report.families:
        console.print(rich_table(report.family_table(), corner="checks"))
        console.print()
    steps = zip(("Next", "Then"), diagnosis.next_steps(report, report.folder), strict=False)
    for label, fact in (
        ("Verdict", report.verdict),
        ("Report", f"{report.folder}/report.html"),
        *((label, step.line) for label, step in steps),
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
    """A table for a terminal: these columns, by default all; `corner` is the head of the labels."""
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
    run = report.analysis.run
    name = (visible(run.provider.name), "bold")
    place = f" · {visible(run.model)} · {visible(report.address)}\n"
    return Text.assemble(name, place, (visible(report.size), "dim"))


def _cell(row: Row, index: int) -> Text:
    cell = row.cells[index]
    return Text(visible(cell.text), style=TONES[cell.tone])


def print_table(table: Table, console: Console) -> None:
    """Print a table, split into as few tables as fit the width of the terminal."""
    left, wide = list(range(len(table.heads))), Console(width=10_000)
    while left:
        fitting = (
            count
            for count in range(len(left), 1, -1)
            if wide.measure(rich_table(table, left[:count])).maximum <= console.width
        )
        count = next(fitting, 1)
        console.print(rich_table(table, left[:count]))
        left = left[count:]
        if left:
            console.print()
    if table.note:
        console.print(table.note, style="dim", markup=False, highlight=False)
    console.print()


def _print_causes(report: Report, console: Console) -> None:
    """Print the likely causes, each with its effects and the fix."""
    found = report.analysis.diagnosis
    if found is None:
        return
    console.print(Text("Likely causes", style="bold"))
    for number, cause in enumerate(found.causes, 1):
        head = RichTable.grid(padding=(0, 1, 0, 0))
        head.add_row(f"  {number}", Text(cause.description, style="bold"))
        console.print(head)
        table = RichTable.grid(padding=(0, 2, 0, 0))
        for name, text in diagnosis.facts(cause):
            table.add_row(Text(name, style="dim"), Text(visible(text)))
        console.print(Padding(table, (0, 0, 0, 4), expand=False))
    for note in diagnosis.notes(found):
        _print_wrapped(Text(visible(note)), console, 2)
    console.print()


def _print_findings(title: str, rules: Sequence[ShownRule], console: Console) -> None:
    """Print the most important findings with evidence, and the names of the others."""
    console.print(Text(title, style="bold"))
    errors = sum(rule.status == "failed" for rule in rules)
    most = min(max(errors, _MOST_FINDINGS), _MOST_ERRORS)
    for rule in rules[:most]:
        mark, style = _MARKS[rule.status]
        where = f" · {rule.share_where}"
        _print_wrapped(
            Text.assemble(f"{mark} ", (rule.result.check.id, style), visible(where)), console, 2
        )
        for example in rule.result.examples[:1]:
            _print_wrapped(Text(visible(example.message)), console, 6)
            _print_line(f"expected  {example.evidence.expected}", console)
            _print_line(f"got       {example.evidence.got}", console)
    if others := rules[most:]:
        names = ", ".join(rule.result.check.id for rule in others)
        _print_wrapped(Text(f"{len(others)} more: {names}"), console, 2)
    console.print()


def _print_failures(failures: Sequence[Failure], console: Console) -> None:
    """Print failed samples, with one example for those that failed in the same way."""
    if not failures:
        return
    alike: dict[str, list[Failure]] = {}
    for failure in failures:
        message = failure.message or failure.outcome
        if failure.outcome == _FINDING:
            message = message.partition(": ")[0]
        alike.setdefault(message, []).append(failure)
    console.print(Text("Failed samples", style="bold"))
    for message, group in list(alike.items())[:_MOST_FAILURES]:
        first = group[0]
        head = f"{first.sample} · {first.where}: {first.head}"
        if more := len(group) - 1:
            head += f"; {more} more like this"
        _print_wrapped(Text(visible(head)), console, 2)
        _print_wrapped(Text(visible(message)), console, 6)
        for label, value in first.pairs:
            if label != "prompt" and first.outcome != _FINDING:
                _print_line(f"{label:8}  {value}", console)
    if (more := len(alike) - _MOST_FAILURES) > 0:
        console.print(Text(f"  … and {counted(more, 'other kind')} in the report", style="dim"))
    console.print()


def _print_wrapped(text: Text, console: Console, indent: int) -> None:
    console.print(Padding(text, (0, 0, 0, indent), expand=False))


def _print_line(line: str, console: Console) -> None:
    """Print a line of evidence, cut at the edge of the terminal."""
    shown = Text(f"      {visible(line)}", style="dim")
    console.print(shown, no_wrap=True, overflow="ellipsis", crop=True)
