"""A comparison as a terminal shows it: the columns, their figures, what differs, what is new."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from evals.comparison.records import Comparison, Entry
from evals.comparison.records import Row as Measure
from rich.console import Console
from rich.text import Text

from reports import compare_rows, compare_words, news_words, words
from reports.columns import Row, tables

_MOST_CHECKS = 25
_MOST_FLIPS = 10
_FEW = 2
"""Columns up to which every difference is told, seen or not."""


def print_comparison(comparison: Comparison, written: str | None, console: Console) -> None:
    """Print a comparison.

    Args:
        comparison: What to print.
        written: The page it was written to, if it was.
        console: Where to; its width and colours are respected.
    """
    console.print()
    for entry in comparison.entries:
        for line in _entry(entry, comparison.against):
            console.print(line, soft_wrap=True)
    console.print()
    heads = [_head(entry.label) for entry in comparison.entries]
    for lines in (_figures(comparison), _checks(comparison)):
        shown = list(lines)
        for table in tables(heads, shown, console.width, _style) if shown else ():
            console.print(table)
            console.print()
    for line in _differences(comparison):
        console.print(line)
    for line in _flips(comparison):
        console.print(line)
    for one in comparison.news:
        console.print(Text(words.visible(one.run), style="bold"))
        for sentence in news_words.sentences(one):
            console.print(Text(f"  {words.visible(sentence)}"))
        console.print()
    console.print(Text(compare_words.how_tested(comparison), style="dim"))
    if written is not None:
        console.print()
        console.print(Text(f"Report  {written}"), soft_wrap=True)


def _entry(entry: Entry, against: str) -> Iterator[Text]:
    role = "  the others are held to it" if entry.label == against else ""
    yield Text.assemble(
        (words.visible(entry.label), "bold"),
        f"  {compare_words.entry_line(entry)}",
        (role, "cyan"),
    )
    if entry.differs:
        yield Text(f"  differs in {compare_words.changes(entry.differs)}", style="yellow")
    for note in entry.notes:
        yield Text(f"  {words.visible(note)}", style="yellow")


def _head(label: str) -> str:
    return "\n".join(words.visible(label).split(" "))


def _figures(comparison: Comparison) -> Iterator[Row]:
    empty = [""] * len(comparison.entries)
    rows = compare_rows.figure_rows(comparison)
    for head, members in compare_rows.by_group(rows).items():
        yield head, empty
        for row in members:
            yield f"  {compare_words.label(row)}", _cells(row)
    families = compare_words.family_counts(comparison)
    if families:
        yield "Checks, failed ✕ warned !", empty
        yield from ((f"  {name}", counts) for name, counts in families)


def _checks(comparison: Comparison) -> Iterator[Row]:
    differing = compare_rows.check_rows(comparison, only_differing=True)
    if differing:
        empty = [""] * len(comparison.entries)
        yield "Checks that differ", empty
        yield from (
            (f"  {words.visible(row.name)}", _cells(row)) for row in differing[:_MOST_CHECKS]
        )
        if len(differing) > _MOST_CHECKS:
            yield f"  … and {len(differing) - _MOST_CHECKS} more in the report", empty


def _cells(row: Measure) -> list[str]:
    return [compare_words.marked(row, index) for index in range(len(row.cells))]


def _style(label: str, cell: str) -> str:
    if cell.endswith("▼") or cell.startswith("✕") or cell == "FAIL":
        return "red"
    if cell.endswith("▲") or cell == "PASS":
        return "green"
    if cell.startswith("!") or cell == "INCONCLUSIVE":
        return "yellow"
    return "" if label.startswith(" ") else "bold"


def _differences(comparison: Comparison) -> Iterator[Text]:
    """What was seen; what was not seen only where there are few columns."""
    rows = compare_rows.tested_rows(comparison)
    few = len(comparison.entries) <= _FEW
    for sentence in compare_words.summary(comparison):
        yield Text(sentence, style="bold")
    yield Text()
    for index, entry in enumerate(comparison.entries):
        for row in rows:
            found = row.differences[index]
            if found is None or (found.seen == "none" and not few):
                continue
            name = words.visible(row.name if row.group is None else f"{row.group} {row.name}")
            style = {"better": "green", "worse": "red", "none": ""}[found.seen]
            said = f"{name}: {compare_words.verdict(found)}"
            yield Text(said if few else f"{words.visible(entry.label)}, {said}", style=style)
    yield Text()


def _flips(comparison: Comparison) -> Iterator[Text]:
    for found in comparison.flips:
        count = words.counted(len(found.flips), "case or question", "cases or questions")
        yield Text(f"{words.visible(found.label)}: {count} answered differently", style="bold")
        yield from _shown([compare_words.flip(one) for one in found.flips])
        yield Text()


def _shown(lines: Sequence[str]) -> Iterator[Text]:
    yield from (Text(f"  {line}") for line in lines[:_MOST_FLIPS])
    if len(lines) > _MOST_FLIPS:
        yield Text(f"  … and {len(lines) - _MOST_FLIPS} more in the report", style="dim")
