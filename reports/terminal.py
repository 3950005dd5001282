"""The summary of a run on a terminal: at most 40 lines of 80 columns. The report has the rest."""

from collections.abc import Iterator, Mapping, Sequence

from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from harness.records.figures import Decision
from harness.text import first_few
from reports import diagnosis
from reports.model import STATUSES, Report, ShownRule, Status, Table, Tone, count_statuses
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
MOST_LINES = 40
_MOST_CAUSES, _MOST_FINDINGS, _MOST_ROWS = 3, 5, 8
_MOST_CLIENTS = 4
_MOST_MESSAGES = 3  # of one rule
_MOST_REASONS = 4  # lines of the reasons of the verdict


def print_report(report: Report, console: Console) -> None:
    """Print the summary with the width and the colours of the console.

    Findings get the lines that the other parts leave. Those for information do not follow a pass.
    """
    before = [*_head(report, console), *_verdict(report, console), *_causes(report, console)]
    passed = report.analysis.verdict.decision == "pass"
    shown = [rule for rule in report.findings if not (passed and rule.status == "noted")]
    tables = [table for section in report.sections for table in _shortened(section.summary)]
    after = list(_end(report))
    used = [*before, *after]
    lines = sum(max(1, -(-line.cell_len // console.width)) for line in used)
    lines += sum(len(table.rows) + 3 for table in tables)
    for line in (*before, *_findings(shown, console, MOST_LINES - lines)):
        console.print(line, soft_wrap=True)
    for table in tables:
        print_table(table, console)
    for line in after:
        console.print(line, soft_wrap=True)


def _shortened(table: Table | None) -> Iterator[Table]:
    """Yield the table with as many rows as fit; a note counts the others."""
    if table is None:
        return
    more = len(table.rows) - _MOST_ROWS
    note = f"{counted(more, 'more row')} in the report" if more > 0 else ""
    yield Table(table.heads, table.rows[:_MOST_ROWS], note, table.title)


def _wrapped(text: Text, console: Console, indent: int, most: int) -> list[Text]:
    """Wrap a text into at most `most` indented lines; an ellipsis ends a text that is longer."""
    lines = list(text.wrap(console, max(10, console.width - indent)))
    if len(lines) > most:
        lines = lines[:most]
        lines[-1].rstrip()
        lines[-1].truncate(max(9, console.width - indent - 1))
        lines[-1].append("…")
    for line in lines:
        line.rstrip()
    return [Text(" " * indent).append_text(line) for line in lines]


def _head(report: Report, console: Console) -> Iterator[Text]:
    run = report.analysis.run
    place = f" · {visible(run.model)} · {visible(report.address)}"
    yield from _wrapped(
        Text.assemble((visible(run.provider.name), "bold"), place), console, 0, most=1
    )
    yield from _wrapped(Text(visible(report.size), style="dim"), console, 0, most=2)
    yield Text()


def _verdict(report: Report, console: Console) -> Iterator[Text]:
    """Yield the verdict with its reasons, a note, and what changed since the previous run."""
    verdict = report.analysis.verdict
    indent = len(report.verdict) + 2
    lines_each = max(1, _MOST_REASONS // max(1, len(verdict.reasons)))
    lines = [
        line
        for reason in verdict.reasons
        for line in _wrapped(Text(visible(reason)), console, indent, most=lines_each)
    ][:_MOST_REASONS]
    label = Text(report.verdict, style=STYLES[verdict.decision])
    yield label + lines[0][len(label) :] if lines else label
    yield from lines[1:]
    if report.warnings:
        more = f" ({len(report.warnings) - 1} more in the report)" * (len(report.warnings) > 1)
        note = Text.assemble(("Note", "yellow"), f"{more}: {visible(report.warnings[0])}")
        yield from _wrapped(note, console, 0, most=2)
    if report.regressions:
        yield from _wrapped(Text(visible(" ".join(report.regressions))), console, 0, most=2)
    yield Text()


def _causes(report: Report, console: Console) -> Iterator[Text]:
    """Yield the likely causes: what is wrong, and how it was fixed, each in up to two lines."""
    found = report.analysis.diagnosis
    if found is None:
        return
    yield Text("Likely causes", style="bold")
    for number, cause in enumerate(found.causes[:_MOST_CAUSES], 1):
        head = Text.assemble(f"{number} ", (visible(cause.description), "bold"))
        yield from _wrapped(head, console, 2, most=2 if number == 1 else 1)
        remedy = Text(f"fix: {visible(cause.remedy)}")
        yield from _wrapped(remedy, console, 4, most=2 if number == 1 else 1)
        for other in cause.alternatives:
            yield from _wrapped(Text(f"or: {visible(other)}"), console, 4, most=1)
    unknown = list(diagnosis.unknown(report))
    for note in [*unknown, *(component.text for component in found.components)][:1]:
        yield from _wrapped(Text(visible(note)), console, 2, most=2 if unknown else 1)
    yield Text()


def _findings(rules: Sequence[ShownRule], console: Console, room: int) -> Iterator[Text]:
    """Yield the most important findings in at most `room` lines, but at least one of them.

    Each has a line for the rule and where it was found, and one for its message, or for each of
    several messages with its count. The last line counts the errors and warnings that do not fit.
    """
    if not rules:
        return
    shown = 0
    for rule in rules[:_MOST_FINDINGS]:
        mark, style = _MARKS[rule.status]
        where = f" · {rule.label} in {visible(rule.share_where)}"
        head = Text.assemble(f"{mark} ", (rule.result.check.id, style), where)
        lines = _wrapped(head, console, 0, most=1)
        got = [f"Got: {e.evidence.got}" for e in rule.result.examples if len(rule.messages) == 1]
        for said in rule.messages[:_MOST_MESSAGES]:
            quoting = " ".join([said, *got[:1]])
            lines += _wrapped(Text(visible(quoting)), console, 4, most=1)
        if shown and len(lines) > room - 2:
            break
        yield from lines
        shown, room = shown + 1, room - len(lines)
    left = count_statuses(rules[shown:])
    kinds: tuple[tuple[Status, str], ...] = (("failed", "more error"), ("warned", "more warning"))
    more = [counted(left[status], name) for status, name in kinds if left[status]]
    if more:
        yield Text(f"and {', '.join(more)} in the report", style="dim")
    yield Text()


def _end(report: Report) -> Iterator[Text]:
    """Yield the number of rules with each status, the result, and the next command."""
    for kind, label in (("check", "Checks"), ("probe", "Probes")):
        counts = count_statuses(rule for rule in report.rules if rule.result.check.kind == kind)
        if counts:
            shown = (
                f"{counts[status]} {STATUSES[status][1]}" for status in STATUSES if counts[status]
            )
            yield Text(f"{label}  {', '.join(shown)}")
    yield from _clients(report)
    yield Text(f"Result  {visible(report.summary.line)}")
    yield Text(f"Report  {visible(report.folder)}/report.html")
    steps = diagnosis.next_steps(report, report.folder)
    for label, step in zip(("Next", "Then"), steps, strict=False):
        yield Text(f"{label:8}{visible(step.line)}")


def _clients(report: Report) -> Iterator[Text]:
    """Yield how many clients work over all of their APIs, which break, and what else does not work.

    What a client sends only if its user asks for it is in a line of its own, except after a pass.
    """
    found: dict[str, set[str]] = {}
    broken: dict[str, list[str]] = {}
    asked: dict[str, set[str]] = {}
    for result in report.analysis.clients:
        found.setdefault(result.client, set()).add(result.status)
        if result.status == "breaks":
            broken.setdefault(result.client, []).append(result.api)
        for form in result.breaking_on_request:
            asked.setdefault(f"{form} ({result.api})", set()).add(result.client)
    works = sum(statuses == {"works"} for statuses in found.values())
    if found:
        named = [f"{client}: {' and '.join(apis)}" for client, apis in broken.items()]
        breaks = f", {len(broken)} break ({first_few(named, _MOST_CLIENTS)})" if broken else ""
        other = len(found) - works - len(broken)
        yield Text(f"Clients {works} work{breaks}{f', {other} not verifiable' if other else ''}")
    if asked and report.analysis.verdict.decision != "pass":
        most = sorted(asked, key=lambda form: -len(asked[form]))
        listed = first_few([f"{form}, {len(asked[form])}" for form in most], _MOST_CLIENTS, "; ")
        yield Text(f"        if asked for, not: {visible(listed)} clients")


def print_table(table: Table, console: Console, *, repeated: int = 0) -> None:
    """Print a table, split into as few tables as fit the width of the terminal.

    Each of them has the labels and the first columns, as many as are `repeated`.
    """
    first, left = list(range(repeated)), list(range(repeated, len(table.heads)))
    wide = Console(width=10_000)
    while left:
        fitting = (
            count
            for count in range(len(left), 1, -1)
            if wide.measure(_part(table, first, left[:count])).maximum <= console.width
        )
        count = next(fitting, 1)
        console.print(_part(table, first, left[:count]))
        left = left[count:]
        if left:
            console.print()
    if table.note:
        console.print(table.note, style="dim", markup=False, highlight=False)
    console.print()


def _part(table: Table, first: Sequence[int], others: Sequence[int]) -> RichTable:
    """Return the labels, the `first` columns on the left, and some of the other columns."""
    made = RichTable(box=None, padding=(0, 1, 0, 0), header_style="bold", pad_edge=False)
    made.add_column(table.title, no_wrap=True)
    for index in (*first, *others):
        head = "\n".join(map(visible, table.heads[index]))
        made.add_column(Text(head), justify="left" if index in first else "right", no_wrap=True)
    for row in table.rows:
        cells = (row.cells[index] for index in (*first, *others))
        styled = (Text(visible(cell.text), style=TONES[cell.tone]) for cell in cells)
        made.add_row(Text(visible(row.label)), *styled)
    return made
