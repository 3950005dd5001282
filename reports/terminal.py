"""The summary of a run on a terminal: at most 40 lines of 80 columns. The report has the rest."""

import re
from collections.abc import Iterator, Mapping, Sequence

from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from harness.api.fields import both_ends
from harness.records.analysis import ClientResult
from harness.records.figures import FINDINGS, Decision
from harness.records.reasons import Reason
from harness.records.scores import RuleKind
from harness.text import first_few
from reports import diagnosis
from reports.model import Report, ShownRule, Status, Table, Tone, rules_passed
from reports.rescored import reading_line
from reports.text import JOINT, clipped, counted, joined, visible, wrapped

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
    "declared": ("unsupported", "cyan"),
    "noted": ("info", "cyan"),
}
MOST_LINES = 40
_MOST_ROWS, _MOST_CLIENTS, _MOST_FORMS = 8, 2, 4
_MOST_UNEXPLAINED = 5  # findings without a cause that are named
_MOST_MESSAGES = 3  # of one rule
_MOST_REASONS = 6  # lines of the reasons of the verdict
_MOST_OF_ONE = 2  # lines of any other text, unless its first sentence is longer
_MOST_ALIKE, _MOST_OF_VALUE = 3, 60  # probes whose replies are alike, and characters of one
_MOST_QUOTED = 150  # characters of what a server sent
_SENTENCE_END = re.compile(r"(?<=[.!?]) +(?=[A-Z`])")

Lines = list[Text]


def print_report(report: Report, console: Console) -> None:
    """Print the summary with the width and the colours of the console.

    Findings get the lines that the other parts leave. Those for information do not follow a pass.
    """
    before = [*_head(report, console), *_verdict(report, console)]
    tables = [table for section in report.sections for table in _shortened(section.summary)]
    after = list(_end(report, console))
    lines = sum(max(1, -(-line.cell_len // console.width)) for line in [*before, *after])
    lines += sum(len(table.rows) + 3 for table in tables)
    for line in (*before, *_findings(report, console, MOST_LINES - lines)):
        console.print(line, soft_wrap=True)
    for table in tables:
        print_table(table, console)
    for line in after:
        console.print(wrapped(line.plain, console.width, " " * 8), soft_wrap=True)


def _shortened(table: Table) -> Iterator[Table]:
    """Yield the table with as many rows as fit, if it has any; a note counts the others."""
    if not table.rows:
        return
    more = len(table.rows) - _MOST_ROWS
    note = f"{counted(more, 'more row')} in the report" if more > 0 else ""
    yield Table(table.heads, table.rows[:_MOST_ROWS], note, table.title)


def _wrapped(text: Text, console: Console, indent: int, most: int = _MOST_OF_ONE) -> Lines:
    """Wrap a text into indented lines; if they are more than `most`, whole sentences are left out.

    The first sentence is always complete.
    """
    width, text = max(10, console.width - indent), text.copy()
    text.plain = joined(text.plain)
    ends = [match.start() for match in _SENTENCE_END.finditer(text.plain)]
    for end in (len(text), *reversed(ends)):
        lines = list(text[:end].wrap(console, width))
        if len(lines) <= most:
            break
    for line in lines:
        line.rstrip()
        line.plain = line.plain.replace(JOINT, " ")
    return [Text(" " * indent).append_text(line) for line in lines]


def _head(report: Report, console: Console) -> Iterator[Text]:
    run = report.analysis.run
    place = f" · {visible(run.model)} · {visible(report.address)}"
    yield from _wrapped(Text.assemble((visible(run.provider.name), "bold"), place), console, 0)
    yield from _wrapped(Text(visible(report.size), style="dim"), console, 0)
    yield Text()


def _verdict(report: Report, console: Console) -> Iterator[Text]:
    """Yield the verdict with its reasons, a note, and what changed since the previous run."""
    verdict, name = report.analysis.verdict, report.verdict
    if name == FINDINGS and not report.findings:
        name = f"NO {FINDINGS} in {counted(report.analysis.exchanges.served, 'reply', 'replies')}"
    indent = len(name) + 2
    most = max(1, _MOST_REASONS // max(1, len(verdict.reasons)))
    lines: Lines = []
    stopped = report.analysis.run.stopped
    for reason in verdict.reasons:
        if reason == stopped and len(verdict.reasons) > 1:
            continue
        wrapped = _wrapped(Text(visible(reason)), console, indent, most)
        if not lines or len(lines) + len(wrapped) <= _MOST_REASONS:
            lines += wrapped
    label = Text(name, style=STYLES[verdict.decision])
    yield label + lines[0][len(label) :] if lines else label
    yield from lines[1:]
    if stopped and len(verdict.reasons) > 1:
        yield from _wrapped(Text(visible(stopped)), console, 0)
    if report.warnings:
        more = f" ({len(report.warnings) - 1} more in the report)" * (len(report.warnings) > 1)
        note = Text.assemble(("Note", "yellow"), f"{more}: {visible(report.warnings[0])}")
        yield from _wrapped(note, console, 0)
    if report.regressions:
        yield from _wrapped(Text(visible(" ".join(report.regressions))), console, 0)
    yield Text()


def _findings(report: Report, console: Console, room: int) -> Iterator[Text]:
    """Yield the causes with their fixes and findings, in `room` lines if one finding fits.

    The heaviest finding of each cause comes before further ones of any cause, and its sentence is
    shown in any case. A last line of each cause counts those that do not fit. Findings for
    information are shown only without a verdict.
    """
    groups = [
        group
        for group in diagnosis.groups(report)
        if group.cause or group.count or report.verdict == FINDINGS
    ]
    diagnosed = report.analysis.diagnosis
    components = [
        line
        for component in (diagnosed.components[:1] if diagnosed else ())
        for line in (*_wrapped(Text(visible(component.text)), console, 0), Text())
    ]
    heads = [list(_cause(group, groups, console)) for group in groups]
    listed = [list(_found(group.rules, console)) for group in groups]
    brief = [_brief(group.rules[:1], console) for group in groups]
    room -= sum(len(head) + 1 + (len(lists) > 1) for head, lists in zip(heads, listed, strict=True))
    room -= len(components) + sum(map(len, brief))
    fitting = [0] * len(groups)
    offers = ((at, number) for at, lists in enumerate(listed) for number in range(len(lists)))
    for at, number in sorted(offers, key=lambda offer: (offer[1] > 0, offer)):
        size = len(listed[at][number]) - len(brief[at]) * (number == 0)
        if number == fitting[at] and (size <= room or not any(fitting)):
            fitting[at], room = number + 1, room - size
    for group, head, lists, short, count in zip(groups, heads, listed, brief, fitting, strict=True):
        yield from head
        for lines in lists[:count] or [short]:
            yield from lines
        if left := _not_shown(group.rules[max(1, count) :], report, console.width):
            yield Text(left, style="dim")
        yield Text()
    yield from components


def _brief(rules: Sequence[ShownRule], console: Console) -> Lines:
    """Return the sentence of the first finding of a group."""
    said = [f"{rule.result.check.id}: {visible(m)}" for rule in rules for m in rule.messages[:1]]
    return [line for text in said for line in _wrapped(Text(text), console, 2, 1)]


def _not_shown(rules: Sequence[ShownRule], report: Report, width: int) -> str:
    """Return how many findings of a cause are only in the report, with as many ids as fit."""
    if report.verdict != FINDINGS:
        rules = [rule for rule in rules if rule.status in ("failed", "warned")]
    if not rules:
        return ""
    count = diagnosis.severities(rules, "more ") or counted(len(rules), "more finding")
    ids = [rule.result.check.id for rule in rules]
    begin = f"  and {count} in the report"
    lines = (f"{begin}: {first_few(ids, most)}" for most in range(len(ids), 0, -1))
    return next((line for line in lines if len(line) <= width), begin)


def _cause(
    group: diagnosis.Group, groups: Sequence[diagnosis.Group], console: Console
) -> Iterator[Text]:
    """Yield a cause and its fix; errors and warnings without one have a heading beside causes."""
    cause, most = group.cause, _MOST_OF_ONE if group is groups[0] else 1
    if cause is None:
        if len(groups) > 1 and group.count:
            ids = [rule.result.check.id for rule in group.rules if rule.result.status != "passed"]
            names = first_few(ids, _MOST_UNEXPLAINED)
            title = Text(f"{group.count} without a known cause: {names}", style="bold")
            yield from _wrapped(title, console, 0)
        return
    of = f" of {group.count}" if group.count else ""
    title = Text(f"Likely cause{of}: {visible(cause.sentence)}", style="bold")
    yield from _wrapped(title, console, 0, most)
    yield from _wrapped(Text(f"Fix: {visible(cause.remedy)}"), console, 2, most)


def _found(rules: Sequence[ShownRule], console: Console) -> Iterator[Lines]:
    """Yield the lines of each finding: its rule, where it is, its messages, and what was sent.

    A message that an earlier finding has is not repeated.
    """
    said: set[str] = set()
    for rule in rules:
        mark, style = _MARKS[rule.status]
        where = f" · {rule.label} in {visible(rule.share_where)}"
        head = Text.assemble(f"{mark} ", (rule.result.check.id, style), where)
        lines = _wrapped(head, console, 4)
        lines[0] = lines[0][2:]
        messages = [message for message in rule.messages if message not in said]
        for message in messages[:_MOST_MESSAGES]:
            lines += _wrapped(Text(visible(message)), console, 4)
        if len(messages) == len(rule.messages) == 1 and rule.result.examples:
            got = " ".join(rule.result.examples[0].evidence.shown.split())
            lines += _wrapped(Text(f"Got: {visible(both_ends(got, _MOST_QUOTED))}"), console, 4)
        said.update(messages)
        yield lines


def _end(report: Report, console: Console) -> Iterator[Text]:
    """Yield how many rules passed, which clients work, and the next command."""
    kinds: tuple[tuple[RuleKind, str], ...] = (("check", "Checks"), ("probe", "Probes"))
    for kind, label in kinds:
        passed, others = rules_passed(report.rules, kind)
        if passed:
            yield Text(f"{label}  {passed} passed{f', {others}' if others else ''}")
    errors = report.analysis.exchanges.errors.items()
    # Probes send what is to be refused, and leave streams on purpose.
    failed = [each for each in errors if each[0] != "left" and not each[0].startswith("status 4")]
    if failed:
        named = ", ".join(f"{count:,} × {visible(kind)}" for kind, count in failed)
        yield Text(f"Failed requests  {named}")
    yield from _unjudged(report)
    yield from _clients(report)
    if report.analysis.rescored is not None:
        yield Text(f"Reference  {reading_line(report.analysis.rescored)}")
    yield Text(f"Report  {visible(report.folder)}/report.html")
    steps = diagnosis.next_steps(report, report.folder)
    for label, step in zip(("Next", "Then"), steps, strict=False):
        line = Text(f"{label:8}{visible(step.line)}")
        if step.command and line.cell_len > console.width:
            yield Text(f"{label:8}{visible(step.text)}")
            line = Text(visible(step.command))
        yield line


def _unjudged(report: Report) -> Iterator[Text]:
    """Yield the probes that passed in part, and some of those that judge nothing.

    The server answers these as no healthy one does: all replies have the same wrong value; or their
    prompts are as long as none that is known, while other prompts of this server are.
    """
    known = any(
        rule.result.check.family == "prompt" and rule.result.status == "passed"
        for rule in report.rules
        if rule.result.of_probe
    )
    reasons: dict[str, dict[str, Reason]] = {"same_value": {}, "tokens_fit_no_prompt": {}}
    for rule in report.rules:
        for reason in rule.result.reasons if rule.result.status == "not_verifiable" else ():
            if reason.code in reasons:
                reasons[reason.code][rule.result.check.id] = reason
    for rule in report.rules:
        if rule.result.in_part:
            said = f"{rule.result.check.id}: {rule.result.reason}"
            yield Text(f"        Passed in part: {visible(clipped(said, _MOST_QUOTED))}")
    for code, found in reasons.items():
        if found and (known or code == "same_value"):
            got = next(iter(found.values())).values.get("got")
            shown = f", such as {clipped(str(got), _MOST_OF_VALUE)}" if got else ""
            why = _SUSPICIOUS[code]
            yield Text(
                f"        Not verifiable: {first_few(list(found), _MOST_ALIKE)} "
                f"({why}{visible(shown)})"
            )


_SUSPICIOUS = {
    "same_value": "every try has one value that was not requested; the model itself "
    "may have written it",
    "tokens_fit_no_prompt": "the prompt tokens match no known rendering, although those of other "
    "requests do: compare the prompts that the server makes of these",
}
"""What is said of probes that a defect of the server may keep from judging, by reason."""


def _clients(report: Report) -> Iterator[Text]:
    """Yield how many clients work over all of their APIs, and what breaks which of them.

    What a client sends only if its user asks for it is in a line of its own, except after a pass.
    """
    results = report.analysis.clients
    statuses: dict[str, set[str]] = {}
    for result in results:
        statuses.setdefault(result.client, set()).add(result.status)
    if not statuses:
        return
    works = sum(said == {"works"} for said in statuses.values())
    breaks = sum("breaks" in said for said in statuses.values())
    rest = [said for said in statuses.values() if said != {"works"} and "breaks" not in said]
    sometimes = sum("sometimes" in said for said in rest)
    counts = (
        (breaks, "break"),
        (sometimes, "break now and then"),
        (len(rest) - sometimes, "not verifiable"),
    )
    # In a recording, nothing shows that a client works: its other forms were not sent.
    recorded = any(task.kind == "traffic" for task in report.analysis.run.tasks)
    named = [f"{count} {what}" for count, what in counts if count]
    yield Text(f"Clients {', '.join(named if recorded else [f'{works} work', *named])}")
    sent = [(form, result) for result in results for form in result.breaking]
    partly = [(form, result) for result in results for form in result.sometimes]
    asked = [(form, result) for result in results for form in result.breaking_on_request]
    yield from _broken("Break", sent)
    yield from _broken("Break now and then", partly)
    if report.analysis.verdict.decision != "pass":
        yield from _broken("Break only with features that users must ask for", asked)


def _broken(label: str, results: Sequence[tuple[str, ClientResult]]) -> Iterator[Text]:
    """Yield which clients break over which API, the most first, with the reason."""
    clients: dict[str, list[str]] = {}
    for form, result in results:
        clients.setdefault(f"{form} over {result.api}", []).append(result.client)
    listed = [
        f"{first_few(those, _MOST_CLIENTS)} ({form})"
        for form, those in sorted(clients.items(), key=lambda item: -len(item[1]))
    ]
    if listed:
        yield Text(f"        {label}: {visible(first_few(listed, _MOST_FORMS, '; '))}")


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
    made.add_column(table.title)
    for index in (*first, *others):
        head = "\n".join(map(visible, table.heads[index]))
        made.add_column(Text(head), justify="left" if index in first else "right", no_wrap=True)
    for row in table.rows:
        cells = (row.cells[index] for index in (*first, *others))
        styled = (Text(visible(cell.text), style=TONES[cell.tone]) for cell in cells)
        made.add_row(Text(visible(row.label)), *styled)
    return made
