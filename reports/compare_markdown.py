"""`compare.md`: a comparison for a pull-request comment or a wiki."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from evals.comparison.records import Comparison, Row

from harness.statistics.differences import Difference
from reports import compare_rows, compare_words, markup, news_words

_MOST_CHECKS = 60
_MOST_FLIPS = 30


def render_compare_markdown(comparison: Comparison) -> str:
    """The whole page."""
    return "\n".join(_lines(comparison)) + "\n"


def _lines(comparison: Comparison) -> Iterator[str]:
    against = markup.code(comparison.against)
    yield f"# gpt-oss on {len(comparison.entries)} columns, held to {against}"
    yield ""
    yield from _entries(comparison)
    yield from _differences(comparison)
    for head, rows in compare_rows.grouped(compare_rows.figure_rows(comparison)).items():
        yield from _table(head, rows, comparison)
    yield from _checks(comparison)
    yield from _flips(comparison)
    yield from _news(comparison)


def _entries(comparison: Comparison) -> Iterator[str]:
    for entry in comparison.entries:
        line = f"- {markup.code(entry.label)}: {markup.plain(compare_words.entry_line(entry))}"
        if entry.differs:
            line += f"; differs in {markup.plain(compare_words.changes(entry.differs))}"
        yield line
        yield from (f"  - {markup.plain(note)}" for note in entry.notes)
    yield ""


def _differences(comparison: Comparison) -> Iterator[str]:
    yield from (f"- {markup.plain(sentence)}" for sentence in compare_words.summary(comparison))
    yield ""
    rows = compare_rows.tested_rows(comparison)
    if rows:
        yield "## Differences"
        yield ""
    for index, entry in enumerate(comparison.entries):
        for row in rows:
            found = row.differences[index]
            if found is not None:
                yield f"- {_difference(entry.label, row, found)}"
    yield ""
    yield markup.plain(compare_words.how_tested(comparison))
    yield ""


def _difference(label: str, row: Row, found: Difference) -> str:
    name = row.name if row.group is None else f"{row.group} {row.name}"
    said = f"{markup.plain(name)}: {markup.plain(compare_words.verdict(found))}"
    mark = compare_words.MARKS[found.seen]
    return f"{mark} **{markup.code(label)}, {said}**" if mark else f"{markup.code(label)}, {said}"


def _table(head: str, rows: Sequence[Row], comparison: Comparison) -> Iterator[str]:
    yield f"## {markup.plain(head)}"
    yield ""
    yield from _head(comparison)
    for row in rows:
        yield markup.row([markup.plain(compare_words.label(row)), *_cells(row)])
    yield ""


def _checks(comparison: Comparison) -> Iterator[str]:
    families = compare_words.family_counts(comparison)
    if not families:
        return
    yield "## Checks"
    yield ""
    yield from _head(comparison)
    yield from (markup.row([name, *counts]) for name, counts in families)
    yield ""
    differing = compare_rows.check_rows(comparison, only_differing=True)
    if not differing:
        yield "No check has another status than in the reference."
        yield ""
        return
    yield "## Checks that differ"
    yield ""
    yield from _head(comparison)
    for row in differing[:_MOST_CHECKS]:
        yield markup.row([f"`{row.name}`", *_cells(row)])
    yield ""
    if len(differing) > _MOST_CHECKS:
        yield f"{len(differing) - _MOST_CHECKS} more are in compare.html."
        yield ""


def _flips(comparison: Comparison) -> Iterator[str]:
    if comparison.flips:
        yield "## Cases and questions answered differently"
        yield ""
        for found in comparison.flips:
            yield f"{markup.code(found.label)}:"
            yield ""
            for one in found.flips[:_MOST_FLIPS]:
                yield f"- {markup.plain(compare_words.flip(one))}"
            if len(found.flips) > _MOST_FLIPS:
                yield f"- {len(found.flips) - _MOST_FLIPS} more are in compare.html"
            yield ""


def _news(comparison: Comparison) -> Iterator[str]:
    if comparison.news:
        yield "## New since the run before"
        yield ""
        for one in comparison.news:
            said = " ".join(markup.plain(sentence) for sentence in news_words.sentences(one))
            yield f"- {markup.code(one.run)}: {said}"
        yield ""


def _head(comparison: Comparison) -> Iterator[str]:
    labels = [markup.code(entry.label) for entry in comparison.entries]
    yield markup.row(["", *labels])
    yield markup.row(["---", *("---:" for _ in labels)])


def _cells(row: Row) -> list[str]:
    return [compare_words.marked(row, index) for index in range(len(row.cells))]
