"""A comparison as tables and sentences for all formats, on a terminal, and as `compare.md`."""

import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from harness.compare.compared import CHECKS, RATES, TIMES
from harness.compare.comparison_types import (
    Comparison,
    Entry,
    Measured,
    Row,
    SettingChange,
    Unit,
)
from harness.records.analysis import RuleStatus
from harness.records.families import short_title
from harness.records.scores import Estimate
from harness.statistics.differences import Seen
from reports import markup, model
from reports.comparison_sentences import (
    change_sentences,
    check_rows,
    figure_rows,
    measure_of,
    notable,
    result,
    summary,
    tested_rows,
)
from reports.model import Cell, Section, Table, Tone
from reports.terminal import STYLES, TONES, print_table
from reports.text import NOTHING, VERDICTS, counted, estimate, moment, percent, visible

MARKS: Mapping[Seen, str] = {"better": "▲", "worse": "▼", "none": ""}
_DIGITS: Mapping[Unit, int] = {"seconds": 2, "tokens/s": 0, "tokens": 0}
_SUFFIXES: Mapping[Unit, str] = {"share": " %", "seconds": ", s"}
_STATUS_TONES: Mapping[RuleStatus, Tone] = {"failed": "bad", "warned": "poor"}
_SEEN_TONES: Mapping[Seen, Tone] = {"better": "good", "worse": "bad", "none": ""}
_FEW = 2


def sections(comparison: Comparison, *, most_checks: int) -> Iterator[Section]:
    """Yield the most important section first, with a limited number of checks."""
    yield Section("Summary", notes=tuple(summary(comparison)))
    yield from _checks(comparison, most_checks)
    for found in comparison.changes:
        title = f"Changes: {found.label} compared with {comparison.against}"
        yield Section(title, notes=tuple(change_sentences(found)))
    yield Section("Differences", notes=tuple(_differences(comparison)))
    yield Section("Figures", _figures(comparison))
    yield Section("How differences are tested", notes=(how_tested(comparison),))


def heading(row: Row) -> str:
    """Return the heading of a row on the page: its section, and its condition if it has one."""
    section = row.section
    if row.unit == "status":
        section = f"{CHECKS}{short_title(section.removeprefix(CHECKS))}"
    return section if row.group is None else f"{section}, {row.group}"


def label(row: Row) -> str:
    """Return the name of a row with its unit."""
    return f"{row.name}{_SUFFIXES.get(row.unit, '')}"


def value(row: Row, found: Measured | None) -> str:
    """Return the value of a row in one column: `97.8 (94–100)`, `✕ 3 of 40`, `PASS`."""
    if found is None:
        return NOTHING
    if found.decision is not None:
        return VERDICTS[found.decision]
    if found.status is not None:
        sign = model.STATUSES[found.status][0]
        shown = found.status in ("failed", "warned", "declared")
        return f"{sign} {found.hits} of {found.total}" if shown else sign
    if found.value is None:
        return NOTHING
    return share(found) if row.unit == "share" else _amount(found, _DIGITS[row.unit])


def share(found: Measured) -> str:
    """Return a share in percent with its interval."""
    if found.value is None or found.low is None or found.high is None:
        return percent(found.value)
    return estimate(Estimate(value=found.value, low=found.low, high=found.high))


def cell(row: Row, index: int) -> Cell:
    """Return the cell of one column, marked if it is better or worse than the reference."""
    found, difference = row.cells[index], row.differences[index]
    seen = "none" if difference is None else difference.seen
    text = f"{value(row, found)} {MARKS[seen]}".rstrip()
    if found is not None and found.decision is not None:
        return Cell(text, model.DECISION_TONES[found.decision])
    status = None if found is None else found.status
    return Cell(text, _SEEN_TONES[seen] or (_STATUS_TONES.get(status, "") if status else ""))


def how_tested(comparison: Comparison) -> str:
    """Return how the differences were tested, in plain words."""
    if not comparison.tested:
        return "Nothing was tested: the columns have no samples or checks in common."
    return (
        f"Tested together: {counted(comparison.tested, 'difference')} from {comparison.against}. "
        "Better or worse is reported only if chance alone would report any of them in "
        "fewer than 5 of 100 comparisons (Holm's correction). Each interval is a 95 % interval of "
        "that difference alone. The same samples are paired. A detectable difference is found with "
        "a probability of about 80 %. Times are shown and not tested."
    )


def entry_line(entry: Entry, folder: Path) -> str:
    """Return a description of a column: tasks, model, time, and its path relative to a folder."""
    what = ", ".join(entry.tasks).replace("_", " ") if entry.kind == "run" else entry.kind
    shown = [what, entry.model, moment(entry.started_at or "")]
    if entry.place is not None:
        shown.append(os.path.relpath(entry.place, folder))
    return " · ".join(each for each in shown if each)


def changes(differs: Sequence[SettingChange], other: str = "reference") -> str:
    """Return the settings that differ: `tries 5 (reference: 2), seed 1 (reference: not set)`."""
    return ", ".join(f"{one.what} {one.here} ({other}: {one.there})" for one in differs)


def _family_counts(comparison: Comparison) -> list[tuple[str, list[str]]]:
    """Return the rules of each family that failed and warned, by column: `2 ✕ 1 !`."""
    families: dict[str, list[Counter[RuleStatus]]] = {}
    for row in check_rows(comparison):
        empty: list[Counter[RuleStatus]] = [Counter() for _ in comparison.entries]
        counts = families.setdefault(row.section.removeprefix(CHECKS), empty)
        for count, found in zip(counts, row.cells, strict=True):
            if found is not None and found.status is not None:
                count[found.status] += 1
    return [(name, [_counts(count) for count in counts]) for name, counts in families.items()]


def _checks(comparison: Comparison, most: int) -> Iterator[Section]:
    shown = [row for row in check_rows(comparison) if notable(row)]
    if shown:
        more = len(shown) - most
        notes = (f"{more} more are in compare.html.",) if more > 0 else ()
        yield Section("Checks that fail or differ", _table(comparison, shown[:most]), notes=notes)


def _differences(comparison: Comparison) -> Iterator[str]:
    """Yield all differences of two columns, or only those found if there are more columns.

    Equal differences are combined into one line.
    """
    few = len(comparison.entries) <= _FEW
    for index, entry in enumerate(comparison.entries):
        column = "" if few else f"{entry.label}, "
        equal: dict[tuple[Seen, str], list[str]] = defaultdict(list)
        for row in tested_rows(comparison):
            found = row.differences[index]
            if found is not None and (few or found.seen != "none"):
                equal[found.seen, result(found)].append(measure_of(row))
        for (seen, text), measures in equal.items():
            yield f"{MARKS[seen]} {column}{', '.join(measures)}: {text}".lstrip()


def _table(comparison: Comparison, rows: Sequence[Row]) -> Table:
    columns = range(len(comparison.entries))
    return Table(
        _heads(comparison),
        tuple(model.Row(label(row), tuple(cell(row, index) for index in columns)) for row in rows),
    )


def _figures(comparison: Comparison) -> Table:
    """Return scores by section, rates and times by condition, and the number of failed checks."""
    blocks: dict[str, list[model.Row]] = defaultdict(list)
    columns = range(len(comparison.entries))
    for row in figure_rows(comparison):
        if row.group is None or row.section in (RATES, TIMES):
            cells = tuple(cell(row, index) for index in columns)
            blocks[row.group or row.section].append(model.Row(f"  {label(row)}", cells))
    for name, counts in _family_counts(comparison):
        row_cells = tuple(map(Cell, counts))
        blocks["Checks, failed ✕ and warned !"].append(model.Row(f"  {name}", row_cells))
    empty = (Cell(""),) * len(comparison.entries)
    rows = (row for head, block in blocks.items() for row in (model.Row(head, empty), *block))
    return Table(_heads(comparison), tuple(rows))


def _heads(comparison: Comparison) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(entry.label.split(" ")) for entry in comparison.entries)


def _amount(found: Measured, digits: int) -> str:
    text = f"{found.value:,.{digits}f}"
    if found.low is None or found.high is None:
        return text
    return f"{text} ({found.low:,.{digits}f}–{found.high:,.{digits}f})"


def _counts(count: Counter[RuleStatus]) -> str:
    judged = sum(count[status] for status in ("passed", "warned", "failed", "declared"))
    if not judged:
        return NOTHING
    signs: tuple[RuleStatus, ...] = ("failed", "warned")
    bad = [f"{count[each]} {model.STATUSES[each][0]}" for each in signs if count[each]]
    return " ".join(bad) or f"{judged} ✓"


def _seen(note: str) -> Seen:
    """Return what a sentence reports, by the mark that it begins with."""
    return next((seen for seen, mark in MARKS.items() if mark and note.startswith(mark)), "none")


def print_comparison(comparison: Comparison, written: str | None, console: Console) -> None:
    """Print a comparison at the width of the console, and the page that it was written to."""
    console.print()
    for entry in comparison.entries:
        verdict = (
            (f"  {VERDICTS[entry.decision]}", STYLES[entry.decision]) if entry.decision else ""
        )
        about = f"  {visible(entry_line(entry, Path()))}"
        role = "  reference" if entry.label == comparison.against else ""
        head = Text.assemble((visible(entry.label), "bold"), verdict, about, (role, "cyan"))
        console.print(head, soft_wrap=True)
        differs = [f"settings differ: {changes(entry.differs)}"] if entry.differs else []
        for note in (*differs, *entry.notes):
            console.print(Text(f"  {visible(note)}", style="yellow"), soft_wrap=True)
    console.print()
    for section in sections(comparison, most_checks=25):
        if not (section.notes or section.table.rows):
            continue
        console.print(Text(visible(section.title), style="bold"))
        if section.table.rows:
            print_table(section.table, console)
        for note in section.notes:
            tone = _SEEN_TONES[_seen(note)]
            line = Text(visible(note), style=TONES[tone])
            console.print(Padding(line, (0, 0, 0, 2), expand=False))
        if section.notes:
            console.print()
    if written is not None:
        console.print(Text(f"Report  {visible(written)}"), soft_wrap=True)


def render_compare_markdown(comparison: Comparison, folder: Path) -> str:
    """Return `compare.md`, for a comment on a pull request; paths are relative to its folder."""
    return "\n".join(_markdown(comparison, folder)) + "\n"


def _markdown(comparison: Comparison, folder: Path) -> Iterator[str]:
    against = markup.code(comparison.against)
    yield f"# gpt-oss: {len(comparison.entries) - 1} compared with {against}"
    yield ""
    for entry in comparison.entries:
        verdict = f"**{VERDICTS[entry.decision]}** · " if entry.decision else ""
        about = markup.plain(entry_line(entry, folder))
        yield f"- {markup.code(entry.label)}: {verdict}{about}"
        differs = [f"Settings differ: {changes(entry.differs)}"] if entry.differs else []
        yield from (f"  - {markup.prose(note)}" for note in (*differs, *entry.notes))
    yield ""
    for section in sections(comparison, most_checks=60):
        if not (section.notes or section.table.rows):
            continue
        yield from (f"## {markup.plain(section.title)}", "")
        if section.table.rows:
            yield from markup.table(section.table)
        for note in section.notes:
            text = markup.plain(note)
            yield f"- {text}" if _seen(note) == "none" else f"- **{text}**"
        yield ""
