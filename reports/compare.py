"""A comparison as tables and sentences, which all of its formats share."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.comparison.records import (
    Change,
    ChangedCase,
    Comparison,
    Entry,
    EntryKind,
    Measured,
    Row,
    Unit,
)
from harness.comparison.rows import CHECKS, JUDGED, RATES, TIMES
from harness.records.analysis import CheckStatus
from harness.records.families import short_title
from harness.records.scores import Estimate
from harness.statistics.differences import Seen
from reports import model
from reports.model import Cell, Table, Tone
from reports.regressions import moment, result, sentences
from reports.text import NOTHING, VERDICTS, counted, estimate, percent

MARKS: Mapping[Seen, str] = {"better": "▲", "worse": "▼", "none": ""}
_DIGITS: Mapping[Unit, int] = {"seconds": 2, "tokens/s": 0, "tokens": 0}
_SUFFIXES: Mapping[Unit, str] = {"share": " %", "seconds": ", s"}
_STATUS_TONES: Mapping[CheckStatus, Tone] = {"failed": "bad", "warned": "poor"}
_SEEN_TONES: Mapping[Seen, Tone] = {"better": "good", "worse": "bad", "none": ""}
_FEW = 2
_NAMED = 5
_KINDS: Mapping[EntryKind, str] = {
    "run": "no verdict",
    "baseline": "measured baseline",
    "published": "published scores",
}


@dataclass(frozen=True)
class Line:
    """A sentence about one column."""

    text: str
    tone: Tone = ""


@dataclass(frozen=True)
class Part:
    """A part of a comparison: a heading, then sentences or a table."""

    title: str
    lines: tuple[Line, ...] = ()
    table: Table | None = None


def parts(comparison: Comparison, *, most_checks: int, most_cases: int) -> Iterator[Part]:
    """The comparison, the most important part first.

    Args:
        comparison: The comparison.
        most_checks: How many differing checks are shown.
        most_cases: How many changed cases are shown for each column.
    """
    yield Part("Summary", tuple(Line(each) for each in summary(comparison)))
    yield from _checks(comparison, most_checks)
    yield Part("Differences", tuple(_differences(comparison)))
    for changed in comparison.changed_cases:
        lines = [Line(changed_case(each)) for each in changed.cases[:most_cases]]
        yield Part(f"Changed cases: {changed.label}", (*lines, *_more(changed.cases, most_cases)))
    for found in comparison.regressions:
        yield Part(f"Since the previous run: {found.run}", tuple(map(Line, sentences(found))))
    yield Part("Figures", table=_figures(comparison))
    yield Part("How differences are tested", (Line(how_tested(comparison)),))


def base_index(comparison: Comparison) -> int:
    """The index of the reference."""
    return [entry.label for entry in comparison.entries].index(comparison.against)


def figure_rows(comparison: Comparison) -> list[Row]:
    """All rows but those of checks."""
    return [row for row in comparison.rows if row.unit != "status"]


def tested_rows(comparison: Comparison) -> list[Row]:
    """The rows of pass rates and scores that were tested."""
    return [row for row in figure_rows(comparison) if any(row.differences)]


def check_rows(comparison: Comparison) -> list[Row]:
    """The rows of checks and probes."""
    return [row for row in comparison.rows if row.unit == "status"]


def notable(row: Row) -> bool:
    """Whether columns differ, or a check fails in one of them, also if no other tested it."""
    return row.differs or any(_failed(row, index) for index in range(len(row.cells)))


def heading(row: Row) -> str:
    """The heading of a row on the page: its section, and its condition if it has one."""
    section = row.section
    if row.unit == "status":
        section = f"{CHECKS}{short_title(section.removeprefix(CHECKS))}"
    return section if row.group is None else f"{section}, {row.group}"


def label(row: Row) -> str:
    """The name of a row with its unit."""
    return f"{row.name}{_SUFFIXES.get(row.unit, '')}"


def value(row: Row, found: Measured | None) -> str:
    """The value of a row in one column: `97.8 (94–100)`, `✕ 3 of 40`, `PASS`."""
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
    """A share in percent with its interval."""
    if found.value is None or found.low is None or found.high is None:
        return percent(found.value)
    return estimate(Estimate(value=found.value, low=found.low, high=found.high))


def cell(row: Row, index: int) -> Cell:
    """The cell of one column, marked if it is better or worse than the reference."""
    found, difference = row.cells[index], row.differences[index]
    seen = "none" if difference is None else difference.seen
    text = f"{value(row, found)} {MARKS[seen]}".rstrip()
    if found is not None and found.decision is not None:
        return Cell(text, {"pass": "good", "fail": "bad"}.get(found.decision, "poor"))  # type: ignore[arg-type]
    status = None if found is None else found.status
    return Cell(text, _SEEN_TONES[seen] or (_STATUS_TONES.get(status, "") if status else ""))


def summary(comparison: Comparison) -> Iterator[str]:
    """What a reader should know first, in sentences.

    The verdict and the failing checks of each column, then what only one of a column and the
    reference tested, then which differences are more than chance.
    """
    base = base_index(comparison)
    columns = range(len(comparison.entries))
    yield from (_verdict(comparison, index) for index in columns)
    for index in columns:
        if index != base:
            yield from _lone(comparison, index)
            yield _statistics(comparison, index)


def how_tested(comparison: Comparison) -> str:
    """How the differences were tested, in plain words."""
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
    """What a column is: tasks, model, time, and its place as seen from a folder."""
    what = ", ".join(entry.tasks).replace("_", " ") if entry.kind == "run" else entry.kind
    shown = [what, entry.model, moment(entry.started_at or "")]
    if entry.place is not None:
        shown.append(os.path.relpath(entry.place, folder))
    return " · ".join(each for each in shown if each)


def changes(differs: Sequence[Change], other: str = "reference") -> str:
    """Settings that differ: `tries 5 (reference: 2), seed 1 (reference: not sent)`."""
    return ", ".join(f"{one.what} {one.here} ({other}: {one.there})" for one in differs)


def changed_case(one: ChangedCase) -> str:
    """`▼ weather-1, chat · streaming: 0 of 5 tries pass, 5 of 5 in the reference`."""
    here, there = (f"{passed} of {tries}" for passed, tries in (one.here, one.there))
    mark = MARKS["better" if one.better else "worse"]
    return f"{mark} {one.sample}, {one.group}: {here} tries pass, {there} in the reference"


def _family_counts(comparison: Comparison) -> list[tuple[str, list[str]]]:
    """For each family, how many rules failed and warned in each column: `2 ✕ 1 !`."""
    families: dict[str, list[Counter[CheckStatus]]] = {}
    for row in check_rows(comparison):
        empty: list[Counter[CheckStatus]] = [Counter() for _ in comparison.entries]
        counts = families.setdefault(row.section.removeprefix(CHECKS), empty)
        for count, found in zip(counts, row.cells, strict=True):
            if found is not None and found.status is not None:
                count[found.status] += 1
    return [(name, [_counts(count) for count in counts]) for name, counts in families.items()]


def _checks(comparison: Comparison, most: int) -> Iterator[Part]:
    if not check_rows(comparison):
        return
    shown = [row for row in check_rows(comparison) if notable(row)]
    if shown:
        table = _table(comparison, shown[:most])
        yield Part("Checks that fail or differ", tuple(_more(shown, most)), table)


def _differences(comparison: Comparison) -> Iterator[Line]:
    """All differences of two columns; of more columns, only those found. Equal ones are one."""
    few = len(comparison.entries) <= _FEW
    for index, entry in enumerate(comparison.entries):
        column = "" if few else f"{entry.label}, "
        equal: dict[tuple[Seen, str], list[str]] = defaultdict(list)
        for row in tested_rows(comparison):
            found = row.differences[index]
            if found is not None and (few or found.seen != "none"):
                equal[found.seen, result(found)].append(_measure(row))
        for (seen, text), measures in equal.items():
            line = f"{MARKS[seen]} {column}{', '.join(measures)}: {text}"
            yield Line(line.lstrip(), _SEEN_TONES[seen])


def _table(comparison: Comparison, rows: Sequence[Row]) -> Table:
    columns = range(len(comparison.entries))
    return Table(
        _heads(comparison),
        tuple(model.Row(label(row), tuple(cell(row, index) for index in columns)) for row in rows),
    )


def _figures(comparison: Comparison) -> Table:
    """Scores by section, rates and times by condition, and the number of failed checks."""
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


def _more(found: Sequence[object], most: int) -> Iterator[Line]:
    if len(found) > most:
        yield Line(f"{len(found) - most} more are in compare.html.")


def _verdict(comparison: Comparison, index: int) -> str:
    """Verdict, causes and failing checks: `b: FAIL. Likely cause: … 1 check fails: cot.used.`.

    Without a failing check, the reason of a verdict other than PASS.
    """
    entry, base = comparison.entries[index], base_index(comparison)
    role = " (reference)" if index == base else ""
    verdict = VERDICTS[entry.decision] if entry.decision else _KINDS[entry.kind]
    text = f"{entry.label}{role}: {verdict}."
    if entry.causes:
        text += f" Likely cause{'s' * (len(entry.causes) > 1)}: {' '.join(entry.causes)}"
    rows = check_rows(comparison)
    failed = [row for row in rows if _failed(row, index)]
    if failed:
        text += f" {_named('check', failed, 'fails', 'fail')}."
    elif entry.reason and entry.decision not in ("pass", None):
        text += f" {entry.reason}"
    elif any(_judged(row, index) for row in rows):
        text += " No check fails."
    also = sum(_failed(row, base) for row in failed) if index != base else 0
    return f"{text} The reference fails {also} of them too." if also else text


def _lone(comparison: Comparison, index: int) -> Iterator[str]:
    """What only one of a column and the reference tested."""
    base = base_index(comparison)
    for one, other in ((index, base), (base, index)):
        rows = [r for r in check_rows(comparison) if _judged(r, one) and not _judged(r, other)]
        if rows and any(_judged(row, other) for row in check_rows(comparison)):
            names = [comparison.entries[each].label for each in (one, other)]
            failed = sum(_failed(row, one) for row in rows)
            yield (
                f"{names[0]} tested {counted(len(rows), 'check')} that {names[1]} did not; "
                f"{failed or 'none'} of them failed."
            )


def _statistics(comparison: Comparison, index: int) -> str:
    """Which differences between a column and the reference are more than chance."""
    label = comparison.entries[index].label
    rows = [row for row in tested_rows(comparison) if row.differences[index] is not None]
    tested = [found for row in rows if (found := row.differences[index]) is not None]
    if not tested:
        return f"{label} and {comparison.against} have no sample in common to compare."
    beyond = [
        f"{seen} in {_names([_measure(row) for row in rows if _seen(row, index) == seen])}"
        for seen in ("worse", "better")
        if any(_seen(row, index) == seen for row in rows)
    ]
    if beyond:
        return f"Beyond chance, {label} is {' and '.join(beyond)}."
    sizes = [each.detectable for each in tested]
    known = [size for size in sizes if size is not None]
    text = f"The pass rates of {label} and {comparison.against} do not differ by more than chance"
    samples = [each.pairs for each in tested if each.pairs is not None]
    few = f" with {counted(min(samples), 'sample')}" if samples else ""
    if len(known) < len(sizes):
        return f"{text}; no gap would have been detected{few}."
    return f"{text}; only a gap above {max(known) * 100:.0f} points would have been detected{few}."


def _measure(row: Row) -> str:
    return row.name if row.group is None else f"{row.group} {row.name}"


def _seen(row: Row, index: int) -> Seen:
    found = row.differences[index]
    return "none" if found is None else found.seen


def _judged(row: Row, index: int) -> bool:
    found = row.cells[index]
    return found is not None and found.status in JUDGED


def _failed(row: Row, index: int) -> bool:
    found = row.cells[index]
    return found is not None and found.status == "failed"


def _named(noun: str, rows: Sequence[Row], one: str, several: str) -> str:
    verb = one if len(rows) == 1 else several
    return f"{counted(len(rows), noun)} {verb}: {_names([row.name for row in rows])}"


def _names(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{', '.join(names[:_NAMED])}{more}"


def _amount(found: Measured, digits: int) -> str:
    text = f"{found.value:,.{digits}f}"
    if found.low is None or found.high is None:
        return text
    return f"{text} ({found.low:,.{digits}f}–{found.high:,.{digits}f})"


def _counts(count: Counter[CheckStatus]) -> str:
    judged = sum(count[status] for status in ("passed", "warned", "failed", "declared"))
    if not judged:
        return NOTHING
    signs: tuple[CheckStatus, ...] = ("failed", "warned")
    bad = [f"{count[each]} {model.STATUSES[each][0]}" for each in signs if count[each]]
    return " ".join(bad) or f"{judged} ✓"
