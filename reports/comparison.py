"""A comparison as tables and sentences for all formats, on a terminal, and as `compare.md`."""

import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from harness.compare.comparison_types import (
    CHECKS,
    JUDGED,
    OUTCOMES,
    RATES,
    SCORES,
    TIMES,
    ChangedCase,
    Changes,
    CheckChange,
    ComparedEntry,
    ComparedRow,
    Comparison,
    EntryKind,
    Measured,
    Unit,
)
from harness.compare.differing_settings import SettingChange
from harness.records.analysis import RuleStatus, share_text
from harness.records.families import short_title
from harness.records.figures import Decision, verdict_name
from harness.records.scores import Estimate
from harness.statistics.differences import Difference, Seen
from harness.statistics.intervals import ALPHA
from harness.text import first_few
from reports import markup, model
from reports.model import Cell, Section, Table, Tone
from reports.terminal import STYLES, TONES, print_table
from reports.text import NOTHING, counted, estimate, moment, percent, visible

MARKS: Mapping[Seen, str] = {"better": "▲", "worse": "▼", "none": ""}
_SEEN_TONES: Mapping[Seen, Tone] = {"better": "good", "worse": "bad", "none": ""}
_STATUS_TONES: Mapping[RuleStatus | None, Tone] = {"failed": "bad", "warned": "poor"}
_DIGITS: Mapping[Unit, int] = {"seconds": 2, "tokens/s": 0, "tokens": 0}
_SUFFIXES: Mapping[Unit, str] = {"share": " %", "seconds": ", s"}
_KINDS: Mapping[EntryKind, str] = {
    "log": "log",
    "baseline": "measured baseline",
    "published": "published scores",
}
_NAMED = 5  # names in a sentence
_LONGEST_ALERT = 200
_MORE_OFTEN = 0.05  # of the tries, from which a problem is named as a reason

Statuses = Mapping[str, Sequence[RuleStatus | None]]  # of each check, by column


# The parts that all formats share.


def heading(row: ComparedRow) -> str:
    """Return the heading of a row on the page: its section, and its condition if it has one."""
    if row.unit == "status":
        return f"{CHECKS}{short_title(row.section.removeprefix(CHECKS))}"
    return row.section if row.group is None else f"{row.section}, {row.group}"


def label(row: ComparedRow) -> str:
    """Return the name of a row with its unit; of a part of a check, with its API or mode."""
    part = f", {row.group}" if row.unit == "status" and row.group else ""
    return f"{row.name}{part}{_SUFFIXES.get(row.unit, '')}"


def measure_of(row: ComparedRow) -> str:
    """Return the name of a measure with its condition: `chat · streaming pass@1`."""
    return row.name if row.group is None else f"{row.group} {row.name}"


def value(row: ComparedRow, cell: Measured | None) -> str:
    """Return the value of a row in one column: `97.8 (94–100)`, `✕ 3 of 40`, `PASS`."""
    if cell is None:
        return NOTHING
    if row.unit == "decision":
        return verdict_name(cell.decision)
    if cell.status is not None:
        sign = model.STATUSES[cell.status][0]
        shown = cell.status in ("failed", "warned", "declared")
        return f"{sign} {cell.hits} of {cell.total}" if shown else sign
    if row.unit == "share":
        return share(cell)
    if cell.value is None or cell.low is None or cell.high is None:
        return NOTHING
    parts = (f"{part:,.{_DIGITS[row.unit]}f}" for part in (cell.value, cell.low, cell.high))
    return "{} ({}–{})".format(*parts)


def share(measured: Measured) -> str:
    """Return a share in percent with its interval."""
    if measured.value is None or measured.low is None or measured.high is None:
        return percent(measured.value)
    return estimate(Estimate(value=measured.value, low=measured.low, high=measured.high))


def seen(row: ComparedRow, index: int) -> Seen:
    """Return whether a column is better or worse than the reference in a row."""
    difference = row.differences[index]
    return "none" if difference is None else difference.seen


def notable(row: ComparedRow) -> bool:
    """Return whether columns differ, or a check fails in a column, tested in others or not."""
    return row.differs or any(cell is not None and cell.status == "failed" for cell in row.cells)


def tested_rows(comparison: Comparison) -> list[ComparedRow]:
    """Return the rows of pass rates and scores that were tested."""
    return [row for row in comparison.rows if row.unit != "status" and any(row.differences)]


def entry_line(entry: ComparedEntry, folder: Path) -> str:
    """Return a description of a column: tasks, model, time, and its path relative to a folder."""
    what = ", ".join(entry.tasks).replace("_", " ") if entry.kind == "run" else entry.kind
    shown = [what, entry.model, moment(entry.started_at or "")]
    if entry.place is not None:
        shown.append(os.path.relpath(entry.place, folder))
    return " · ".join(part for part in shown if part)


def changes(differs: Sequence[SettingChange], other: str = "reference") -> str:
    """Return the settings that differ: `tries 5 (reference: 2), seed 1 (reference: not set)`."""
    return ", ".join(f"{change.what} {change.here} ({other}: {change.there})" for change in differs)


# Sentences.


def summary(comparison: Comparison) -> Iterator[str]:
    """Yield what differs beyond chance, the verdicts, and what only one column tested."""
    base = [entry.label for entry in comparison.entries].index(comparison.against)
    statuses = _statuses(comparison)
    rows = tested_rows(comparison)
    columns = range(len(comparison.entries))
    differ = [at for at in columns if any(seen(row, at) != "none" for row in rows)]
    for index in differ:
        yield from _why_worse(comparison, index, base)
        yield _statistics(comparison, index)
    for index, entry in enumerate(comparison.entries):
        if entry.kind != "log":  # which has no verdict, causes or checks
            yield _verdict(comparison, index, base, statuses)
    others = (index for index in columns if index != base)
    for index, changed in zip(others, comparison.changes, strict=True):
        if changed.fixed:
            names = first_few([check.id for check in changed.fixed], _NAMED)
            count = counted(len(changed.fixed), "check")
            yield f"{changed.label} fixes {count} that the reference fails: {names}."
        for check in changed.untested:
            where = first_few(check.untested, _NAMED)
            untested = f"{changed.label} was not tested for {check.id} in {where}"
            yield f"{untested}, where the reference fails."
        yield from _lone(comparison, index, base, statuses)
        if index not in differ:
            yield _statistics(comparison, index)


def _why_worse(comparison: Comparison, index: int, base: int) -> Iterator[str]:
    """Yield the kinds of problems that are more frequent in a column with a worse rate or score."""
    if not any(seen(row, index) == "worse" for row in tested_rows(comparison)):
        return
    worse: dict[str, list[str | None]] = defaultdict(list)
    for row in comparison.rows:
        here, there = row.cells[index], row.cells[base]
        if row.section == OUTCOMES and here and there and here.hits and here.total and there.total:
            before, after = (there.hits or 0) / there.total, here.hits / here.total
            if after - before >= _MORE_OFTEN:
                counts = f"{here.hits} of {here.total} tries"
                then = f"{there.hits} of {there.total} in the reference"
                worse[f"{row.name}: {counts}, {then}"].append(row.group)
    for text, groups in worse.items():  # scores of one answer have equal counts
        yield f"{text}." if len(groups) > 1 else f"{text} ({groups[0]})."


def _statuses(comparison: Comparison) -> Statuses:
    """Return the status of each check by column; that of its worst part if it has several."""
    order: list[RuleStatus | None] = ["failed", "warned", "declared", "passed"]
    order += ["not_verifiable", "skipped"]
    by_name: dict[str, list[RuleStatus | None]] = {}
    for row in comparison.rows:
        if row.unit == "status":
            every = [None if cell is None else cell.status for cell in row.cells]
            before = by_name.get(row.name, every)
            by_name[row.name] = [
                min(filter(None, parts), key=order.index, default=None)
                for parts in zip(before, every, strict=True)
            ]
    return by_name


def stamp(comparison: Comparison) -> str:
    """Return whether anything got worse, as the verdict on the whole comparison."""
    if comparison.worse:
        return "✕ WORSE beyond chance"
    if names := comparison.uncompared:
        return (
            f"? Nothing of {first_few(names, _NAMED)} could be compared with {comparison.against}"
        )
    return "⇄ No worsening beyond chance"


def badge(comparison: Comparison, entry: ComparedEntry) -> tuple[str, Decision] | None:
    """Return the verdict of a run, or WORSE for a log or a baseline that is worse, and its look."""
    if entry.decision is not None:
        return verdict_name(entry.decision), entry.decision
    worse = any(change.worse for change in comparison.changes if change.label == entry.label)
    return ("WORSE", "fail") if worse else None


def _verdict(comparison: Comparison, index: int, base: int, statuses: Statuses) -> str:
    """Return verdict, causes and failing checks, or the reason: `b: FAIL. Likely cause: …`."""
    entry = comparison.entries[index]
    role = " (reference)" if index == base else ""
    verdict = _KINDS.get(entry.kind) or verdict_name(
        entry.decision, entry.findings_only, entry.found
    )
    text = f"{entry.label}{role}: {verdict}."
    if entry.causes:
        text += f" Likely cause{'s' * (len(entry.causes) > 1)}: {' '.join(entry.causes)}"
    failed = [name for name, by_column in statuses.items() if by_column[index] == "failed"]
    if failed:
        verb = "fails" if len(failed) == 1 else "fail"
        text += f" {counted(len(failed), 'check')} {verb}: {first_few(failed, _NAMED)}."
    elif entry.reason and entry.decision not in ("pass", None) and not _scores(comparison, index):
        text += f" {entry.reason}"
    elif any(by_column[index] in JUDGED for by_column in statuses.values()):
        text += " No check fails."
    also = sum(statuses[name][base] == "failed" for name in failed) if index != base else 0
    return f"{text} The reference fails {also} of them too." if also else text


def _scores(comparison: Comparison, index: int) -> bool:
    """Whether scores of a column are tested here, so that its verdict on them says no more."""
    tested = (row for row in tested_rows(comparison) if row.section == SCORES)
    return any(row.differences[index] is not None for row in tested)


def _lone(comparison: Comparison, index: int, base: int, statuses: Statuses) -> Iterator[str]:
    """Yield the checks that a column or the reference tested, but not both."""
    for one, other in ((index, base), (base, index)):
        pairs = [(each[one], each[other]) for each in statuses.values()]
        lone = [here for here, there in pairs if here in JUDGED and there not in JUDGED]
        if lone and any(there in JUDGED for _, there in pairs):
            failed = lone.count("failed")
            what = f"{failed} failed" if failed else "none failed"
            name = comparison.entries[one].label
            yield f"{counted(len(lone), 'check')} ran only in {name}; {what}."


def _statistics(comparison: Comparison, index: int) -> str:
    """Return the differences between a column and the reference that are beyond chance."""
    name = comparison.entries[index].label
    tested = [
        (measure_of(row), difference)
        for row in tested_rows(comparison)
        if (difference := row.differences[index]) is not None
    ]
    if not tested:
        return f"{name} and {comparison.against} have no sample in common."
    beyond = [
        f"{direction} in {first_few(measures, _NAMED, '; ')}"
        for direction in ("worse", "better")
        if (measures := [measure for measure, difference in tested if difference.seen == direction])
    ]
    if beyond:
        return f"{name} is significantly {' and '.join(beyond)}."
    sizes = [difference.detectable for _, difference in tested]
    samples = [difference.pairs for _, difference in tested if difference.pairs is not None]
    few = f" with {counted(min(samples), 'sample')}" if samples else ""
    only_scores = all(row.section == SCORES for row in tested_rows(comparison))
    figures = "scores" if only_scores else "pass rates"
    text = f"The {figures} of {name} and {comparison.against} do not differ by more than chance"
    if None in sizes:
        return f"{text}. No difference could have been detected{few}."
    least = f"{max(size for size in sizes if size is not None) * 100:.0f} points"
    return f"{text}. Only a difference of more than {least} would have been detected{few}."


def worst_changes(comparison: Comparison) -> str:
    """Return what got worse in the last column, the most important first, in few words."""
    base = [entry.label for entry in comparison.entries].index(comparison.against)
    changed, calls, scores = comparison.changes[-1], [0] * 4, []
    for row in tested_rows(comparison):
        here, there = row.cells[-1], row.cells[base]
        if seen(row, -1) == "worse" and here and there:
            if row.section == RATES:
                counts = (there.hits, there.total, here.hits, here.total)
                calls = [before + (more or 0) for before, more in zip(calls, counts, strict=True)]
            else:
                scores.append(f"{row.name} {percent(there.value)} → {percent(here.value)}%")
    worse = [case for case in changed.cases if not case.better]
    checks = [check.id for check in changed.broken if check.beyond_chance]
    return ", ".join(
        [
            *(["tool calls {}/{} → {}/{}".format(*calls)] if calls[1] else []),
            *scores,
            *([f"{counted(len(checks), 'new error')}: {first_few(checks, 3)}"] if checks else []),
            *([f"{counted(len(worse), 'case')} worse"] if worse else []),
        ]
    )


def alert(comparison: Comparison, report: str) -> str:
    """Return the change since an earlier run in one line of at most 200 characters."""
    entry = comparison.entries[-1]
    verdict = f"{entry.provider} {verdict_name(entry.decision, entry.findings_only, entry.found)}: "
    room = _LONGEST_ALERT - len(verdict) - len(report) - 2
    what = worst_changes(comparison) or "nothing got worse"
    return f"{verdict}{what if len(what) <= room else f'{what[: max(room, 1) - 1]}…'}; {report}"


def compared(comparison: Comparison) -> list[Changes]:
    """Return the changes of the columns of which anything was compared with the reference."""
    unknown = comparison.uncompared
    return [each for each in comparison.changes if each.worse or each.label not in unknown]


def change_sentences(changed: Changes) -> list[str]:
    """Return what changed in a column, compared with the reference."""
    if changed.unchanged:
        return ["No change beyond chance."]
    cases = {better: [case for case in changed.cases if case.better == better] for better in (0, 1)}
    lists = {
        ("newly failing", "check"): [_changed_check(check) for check in changed.broken],
        ("no longer failing", "check"): [_changed_check(check) for check in changed.fixed],
        ("worse, beyond chance", "case"): [changed_case(case) for case in cases[0]],
        ("better, beyond chance", "case"): [changed_case(case) for case in cases[1]],
    }
    return [
        *(
            f"{counted(len(names), noun)} {what}: {first_few(names, _NAMED, '; ')}."
            for (what, noun), names in lists.items()
            if names
        ),
        *(f"{rate.name} is {result(rate.difference)}." for rate in changed.rates),
    ]


def _changed_check(rule: CheckChange) -> str:
    rates = f"{share_text(rule.here)} failed, in the reference {share_text(rule.there)}"
    return f"{rule.id} ({rates}{'' if rule.beyond_chance else '; too few tries to exclude chance'})"


def changed_case(case: ChangedCase) -> str:
    """Return `weather-1, chat · streaming: 0 of 5 tries pass, in the reference 5 of 5`."""
    (passed, tries), (other_passed, other_tries) = case.here, case.there
    return (
        f"{case.sample}, {case.group}: {passed} of {tries} tries pass, in the reference "
        f"{other_passed} of {other_tries}"
    )


def result(difference: Difference) -> str:
    """Return the result of a test, as a sentence without a subject."""
    paired = "" if difference.pairs is None else f", {counted(difference.pairs, 'sample')} paired"
    points = [f"{part * 100:+.1f}" for part in (difference.value, difference.low, difference.high)]
    size = "{} points (95% interval {} to {}{})".format(*points, paired)
    if difference.seen != "none":
        return f"{difference.seen}: {size}"
    chance = ", which may be chance among so many tests" if difference.p < ALPHA else ""
    least = "no worsening is detectable with so few attempts"
    if difference.detectable is not None:
        least = f"a worsening of {difference.detectable * 100:.1f} points or more is detectable"
    return f"no difference found: {size}{chance}; {least}"


def how_tested(comparison: Comparison) -> str:
    """Return how the differences were tested, in plain words."""
    if not comparison.tested:
        return "Nothing was tested: the columns have no samples or checks in common."
    return (
        f"Tested together: {counted(comparison.tested, 'difference')} from {comparison.against}. "
        "Better or worse is reported only if chance alone would report any of them in "
        "fewer than 5 of 100 comparisons (Holm's correction). Each interval is a 95% interval of "
        "that difference alone. The same samples are paired. A detectable difference is one that "
        "is found with a power of about 80%. Times are shown and not tested."
    )


def _differences(comparison: Comparison) -> Iterator[str]:
    """Yield all differences of two columns, or only those found if there are more columns.

    Equal differences are combined into one line.
    """
    few = len(comparison.entries) <= 2
    for index, entry in enumerate(comparison.entries):
        column = "" if few else f"{entry.label}, "
        equal: dict[tuple[Seen, str], list[str]] = defaultdict(list)
        for row in tested_rows(comparison):
            difference = row.differences[index]
            if difference is not None and (few or difference.seen != "none"):
                equal[difference.seen, result(difference)].append(measure_of(row))
        for (direction, text), measures in equal.items():
            yield f"{MARKS[direction]} {column}{', '.join(measures)}: {text}".lstrip()


# Tables, on a terminal and in Markdown.


def sections(comparison: Comparison, *, most_checks: int) -> Iterator[Section]:
    """Yield the most important section first, with a limited number of checks."""
    yield Section("Summary", notes=tuple(summary(comparison)))
    shown = [row for row in comparison.rows if row.unit == "status" and notable(row)]
    if shown:
        more = len(shown) - most_checks
        notes = (f"{more} more are in compare.html.",) if more > 0 else ()
        table = _table(comparison, [_table_row(row) for row in shown[:most_checks]])
        yield Section("Checks that fail or differ", table, notes=notes)
    for changed in compared(comparison):
        title = f"Changes: {changed.label} compared with {comparison.against}"
        yield Section(title, notes=tuple(change_sentences(changed)))
    yield Section("Differences", notes=tuple(_differences(comparison)))
    yield Section("Figures", _figures(comparison))
    yield Section("How differences are tested", notes=(how_tested(comparison),))


def _table_row(row: ComparedRow, indent: str = "") -> model.Row:
    """Return a row; a value is marked if it is better or worse than that of the reference."""
    cells = []
    for index, cell in enumerate(row.cells):
        direction = seen(row, index)
        tone = _SEEN_TONES[direction]
        if cell is not None and cell.decision is not None:
            tone = model.DECISION_TONES[cell.decision]
        elif cell is not None:
            tone = tone or _STATUS_TONES.get(cell.status, "")
        cells.append(Cell(f"{value(row, cell)} {MARKS[direction]}".rstrip(), tone))
    return model.Row(f"{indent}{label(row)}", tuple(cells))


def _table(comparison: Comparison, rows: Sequence[model.Row]) -> Table:
    heads = (tuple(entry.label.split(" ")) for entry in comparison.entries)
    return Table(tuple(heads), tuple(rows))


def _figures(comparison: Comparison) -> Table:
    """Return scores by section, rates and times by condition, and the number of failed checks."""
    blocks: dict[str, list[model.Row]] = defaultdict(list)
    for row in comparison.rows:
        if row.unit != "status" and (row.group is None or row.section in (RATES, TIMES)):
            blocks[row.group or row.section].append(_table_row(row, "  "))
    families: dict[str, dict[str, None]] = defaultdict(dict)
    for row in comparison.rows:
        if row.unit == "status":
            families[row.section.removeprefix(CHECKS)][row.name] = None
    statuses = _statuses(comparison)
    for family, names in families.items():
        counts = map(Counter, zip(*(statuses[name] for name in names), strict=True))
        cells = tuple(Cell(_family_count(count)) for count in counts)
        blocks["Checks, failed ✕ and warned !"].append(model.Row(f"  {family}", cells))
    empty = (Cell(""),) * len(comparison.entries)
    rows = [row for head, block in blocks.items() for row in (model.Row(head, empty), *block)]
    return _table(comparison, rows)


def _family_count(count: Counter[RuleStatus | None]) -> str:
    """Return the rules of a family that failed and warned, `2 ✕ 1 !`, or that passed, `9 ✓`."""
    signs: tuple[RuleStatus, ...] = ("failed", "warned")
    bad = [f"{count[status]} {model.STATUSES[status][0]}" for status in signs if count[status]]
    judged = sum(count[status] for status in count if status in JUDGED)
    return " ".join(bad) or (f"{judged} ✓" if judged else NOTHING)


def _mark(note: str) -> Seen:
    """Return what a sentence reports, by the mark that it begins with."""
    return next((seen for seen, mark in MARKS.items() if mark and note.startswith(mark)), "none")


def _notes(entry: ComparedEntry) -> Iterator[str]:
    if entry.differs:
        yield f"Settings differ: {changes(entry.differs)}"
    yield from entry.notes


def print_comparison(comparison: Comparison, written: str | None, console: Console) -> None:
    """Print a comparison at the width of the console, and the page that it was written to."""
    console.print()
    console.print(Text(stamp(comparison), style=STYLES["fail" if comparison.worse else None]))
    console.print()
    for entry in comparison.entries:
        verdict, look = badge(comparison, entry) or ("", None)
        about = f"  {visible(entry_line(entry, Path()))}"
        role = "  reference" if entry.label == comparison.against else ""
        name = (visible(entry.label), "bold")
        head = Text.assemble(name, (f"  {verdict}".rstrip(), STYLES[look]), about, (role, "cyan"))
        console.print(head, soft_wrap=True)
        for note in _notes(entry):
            console.print(Text(f"  {visible(note)}", style="yellow"), soft_wrap=True)
    console.print()
    for section in sections(comparison, most_checks=25):
        if not (section.notes or section.table.rows):
            continue
        console.print(Text(visible(section.title), style="bold"))
        if section.table.rows:
            print_table(section.table, console)
        for note in section.notes:
            line = Text(visible(note), style=TONES[_SEEN_TONES[_mark(note)]])
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
    yield f"**{stamp(comparison)}**"
    yield ""
    for entry in comparison.entries:
        shown = badge(comparison, entry)
        verdict = f"**{shown[0]}** · " if shown else ""
        about = markup.plain(entry_line(entry, folder))
        yield f"- {markup.code(entry.label)}: {verdict}{about}"
        yield from (f"  - {markup.prose(note)}" for note in _notes(entry))
    yield ""
    for section in sections(comparison, most_checks=60):
        if not (section.notes or section.table.rows):
            continue
        yield from (f"## {markup.plain(section.title)}", "")
        if section.table.rows:
            yield from markup.table(section.table)
        for note in section.notes:
            text = markup.plain(note)
            yield f"- {text}" if _mark(note) == "none" else f"- **{text}**"
        yield ""
