"""Columns in, comparison out. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from evals.comparison.drafts import DraftRow
from evals.comparison.news import flips, shared_cases
from evals.comparison.records import (
    COMPARISON_VERSION,
    Change,
    Comparison,
    Entry,
    EntryFlips,
    News,
    Row,
)
from evals.comparison.runs import Compared, PublishedFigures, ScoredRun, SmokeRun, cell_key
from evals.comparison.scores import NotPaired, pair_scores, score_rows
from evals.comparison.settings import differing
from evals.comparison.smoke import smoke_rows
from harness.statistics.differences import differences


def compare(
    columns: Sequence[Compared], against: int, tool_version: str, news: Sequence[News] = ()
) -> Comparison:
    """Hold every column to one of them.

    Args:
        columns: Two or more, with labels of their own (see `labelled`).
        against: Which of them the others are held to.
        tool_version: Of the tool that compares.
        news: What is new in each run since the one before it.
    """
    smoke = [one if isinstance(one, SmokeRun) else None for one in columns]
    drafts = [*smoke_rows(smoke, against), *score_rows(columns, against)]
    rows, count = _tested(drafts, len(columns), against)
    return Comparison(
        version=COMPARISON_VERSION,
        tool_version=tool_version,
        against=columns[against].entry.label,
        entries=tuple(_entry(one, columns[against]) for one in columns),
        rows=rows,
        tested=count,
        flips=tuple(_flips(columns, against)),
        news=tuple(news),
    )


def labelled(columns: Sequence[Compared]) -> list[Compared]:
    """The columns with labels that tell them apart: the provider, where needed the time too."""
    labels = [one.entry.provider for one in columns]
    for tell in (_with_model, _with_time, _with_place):
        labels = _told_apart(columns, labels, tell)
    counted = Counter[str]()
    unique = []
    for label in labels:
        counted[label] += 1
        unique.append(label if counted[label] == 1 else f"{label} #{counted[label]}")
    return [
        replace(one, entry=one.entry.model_copy(update={"label": label}))
        for one, label in zip(columns, unique, strict=True)
    ]


def _told_apart(
    columns: Sequence[Compared], labels: Sequence[str], tell: Callable[[Entry, str], str]
) -> list[str]:
    """The labels, those that are equal told apart by one more thing, if they differ in it."""
    told = [tell(one.entry, label) for one, label in zip(columns, labels, strict=True)]
    alike: dict[str, set[str]] = defaultdict(set)
    for label, longer in zip(labels, told, strict=True):
        alike[label].add(longer)
    return [
        longer if len(alike[label]) > 1 else label
        for label, longer in zip(labels, told, strict=True)
    ]


def _with_model(entry: Entry, label: str) -> str:
    return f"{label} {entry.model}" if entry.model else label


def _with_time(entry: Entry, label: str) -> str:
    at = (entry.started_at or "").replace("T", " ")[:16]
    return f"{label} {at}".rstrip()


def _with_place(entry: Entry, label: str) -> str:
    return f"{label} {entry.place}" if entry.place else label


def _tested(drafts: Sequence[DraftRow], columns: int, against: int) -> tuple[tuple[Row, ...], int]:
    """The rows with all their differences, which are tested together, and how many those were."""
    every = [pair for draft in drafts for pair in draft.pairs if pair is not None]
    found = iter(differences(every))
    rows = []
    for draft in drafts:
        pairs = draft.pairs or (None,) * columns
        own = [None if pair is None else next(found) for pair in pairs]
        rows.append(draft.finished(own, against))
    return tuple(rows), len(every)


def _entry(column: Compared, base: Compared) -> Entry:
    notes = [*column.entry.notes]
    if column is base:
        return column.entry
    differs: tuple[Change, ...] = ()
    if isinstance(column, SmokeRun | ScoredRun) and isinstance(base, SmokeRun | ScoredRun):
        differs = differing(column, base)
    return column.entry.model_copy(
        update={"differs": differs, "notes": (*notes, *_not_shared(column, base))}
    )


def _not_shared(column: Compared, base: Compared) -> Iterator[str]:
    """What cannot be compared, in sentences."""
    if isinstance(column, SmokeRun) != isinstance(base, SmokeRun):
        yield (
            f"It is a run of another kind ({column.entry.kind}) than {base.entry.label} "
            f"({base.entry.kind}): the two share nothing."
        )
    elif isinstance(column, SmokeRun) and isinstance(base, SmokeRun):
        yield from _cases_left_out(column, base)
    elif not (isinstance(column, PublishedFigures) and isinstance(base, PublishedFigures)):
        for key in dict.fromkeys([*_keys(column), *_keys(base)]):
            pair = pair_scores(column, base, key)
            if isinstance(pair, NotPaired):
                yield f"Not compared: {pair.reason}"


def _keys(column: Compared) -> list[tuple[str, str, str]]:
    if not isinstance(column, ScoredRun):
        return []
    return [cell_key(one.cell) for one in column.measured.cells]


def _cases_left_out(column: SmokeRun, base: SmokeRun) -> Iterator[str]:
    same = [name for name, case in column.cases.items() if base.cases.get(name) == case]
    if len(same) < max(len(column.cases), len(base.cases)):
        yield (
            f"Paired over the {len(same)} cases that both asked in the same words, of "
            f"{len(column.cases)} here and {len(base.cases)} there."
        )
    ours, theirs = ({group.name for group in run.analysis.groups} for run in (column, base))
    if lone := sorted(ours ^ theirs):
        yield f"Only one of the two was asked over {', '.join(lone)}."


def _flips(columns: Sequence[Compared], against: int) -> Iterator[EntryFlips]:
    base = columns[against]
    for column in columns:
        if column is not base and (found := flips(list(shared_cases(column, base)))):
            yield EntryFlips(label=column.entry.label, flips=found)
