"""Compare columns: what differs, and which differences exceed chance. No I/O."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

from harness.compare.columns import MEASURE, Column, Group, pair, shared_content
from harness.compare.comparison_types import (
    Comparison,
    Entry,
    EntryCases,
    Measured,
    Regressions,
    Row,
)
from harness.compare.differing_settings import RUN, changes
from harness.compare.regressions import changed_cases
from harness.compare.rows import JUDGED, DraftRow, draft_rows
from harness.statistics.differences import Difference, differences


def compare(
    columns: Sequence[Column],
    against: int,
    tool_version: str,
    regressions: Sequence[Regressions] = (),
) -> Comparison:
    """Compare every column with the one at the index `against`. Their labels are unique."""
    base = columns[against]
    rows, count = _tested(list(draft_rows(columns, against)), len(columns), against)
    changed = {
        column.entry.label: changed_cases(column, base) for column in columns if column is not base
    }
    return Comparison(
        tool_version=tool_version,
        against=base.entry.label,
        entries=tuple(_entry(column, base) for column in columns),
        rows=rows,
        tested=count,
        changed_cases=tuple(
            EntryCases(label=label, cases=cases) for label, cases in changed.items() if cases
        ),
        regressions=tuple(regressions),
    )


def labelled(columns: Sequence[Column]) -> list[Column]:
    """The columns with unique labels: the provider, if needed with model, time and place."""
    entries = [column.entry for column in columns]
    labels = [entry.provider for entry in entries]
    times = [(entry.started_at or "").replace("T", " ")[:16] for entry in entries]
    for extras in ([e.model for e in entries], times, [e.place or "" for e in entries]):
        kinds = set(zip(labels, extras, strict=True))
        count = Counter(label for label, _ in kinds)
        labels = [
            f"{label} {extra}".rstrip() if count[label] > 1 else label
            for label, extra in zip(labels, extras, strict=True)
        ]
    unique = []
    for at, (column, label) in enumerate(zip(columns, labels, strict=True)):
        before = labels[:at].count(label)
        name = f"{label} #{before + 1}" if before else label
        unique.append(replace(column, entry=column.entry.model_copy(update={"label": name})))
    return unique


def _tested(drafts: Sequence[DraftRow], columns: int, against: int) -> tuple[tuple[Row, ...], int]:
    """The rows with all differences, tested together; and their number."""
    every = [pair for _, pairs in drafts for pair in pairs if pair is not None]
    found = iter(differences(every))
    rows = []
    for row, pairs in drafts:
        own = [None if each is None else next(found) for each in pairs or (None,) * columns]
        rows.append(_finished(row, own, against))
    return tuple(rows), len(every)


def _finished(row: Row, found: Sequence[Difference | None], against: int) -> Row:
    """The row with its tests; it differs if a test, a verdict or a status does."""
    base = row.cells[against]
    differs = any(each is not None and each.seen != "none" for each in found) or any(
        base is not None and cell is not None and _state_differs(cell, base) for cell in row.cells
    )
    return row.model_copy(update={"differences": tuple(found), "differs": differs})


def _state_differs(cell: Measured, base: Measured) -> bool:
    if cell.decision != base.decision:
        return True
    return cell.status in JUDGED and base.status in JUDGED and cell.status != base.status


def _entry(column: Column, base: Column) -> Entry:
    if column is base:
        return column.entry
    here, there = column.settings, base.settings
    if RUN not in here or RUN not in there:
        here, there = ({k: v for k, v in each.items() if k != RUN} for each in (here, there))
    notes = (*column.entry.notes, *_limits(column, base))
    return column.entry.model_copy(update={"differs": changes(here, there), "notes": notes})


def _limits(column: Column, base: Column) -> Iterator[str]:
    """What cannot be compared, in sentences."""
    for run, other in ((column, base), (base, column)):
        if other.entry.kind == "published" and run.entry.kind != "published":
            yield from _published_limits(run, other)
            return
    both = [key for key in column.groups if key in base.groups]
    label = base.entry.label
    if not both and not (column.checks and base.checks):
        yield f"It has nothing in common with {label}: no task under the same conditions."
        return
    lone = [*_only_in(column, base), *_only_in(base, column)]
    if lone:
        yield f"Only one of the two has {'; '.join(lone)}."
    yield from dict.fromkeys(
        _overlap(column.groups[key], base.groups[key], label)
        for key in both
        if not _complete_overlap(column.groups[key], base.groups[key])
    )
    for key in both:
        here, there = column.groups[key], base.groups[key]
        found = pair(here, there)
        if isinstance(found, str) and _complete_overlap(here, there):
            yield f"{key[1]} is not compared: {found}"


def _published_limits(run: Column, published: Column) -> Iterator[str]:
    """The scores of a run that published figures cannot be compared with."""
    label = published.entry.label
    evals = [(key, group) for key, group in run.groups.items() if group.is_eval]
    if not evals:
        yield f"{run.entry.label} has no scores that could be compared with {label}."
    for key, group in evals:
        found = published.groups.get(key)
        missing = f"{label} has no figure for it; {MEASURE}."
        paired = missing if found is None and not group.example_data else pair(group, found)
        if isinstance(paired, str):
            yield f"{key[1]} is not compared: {paired}"


def _only_in(column: Column, other: Column) -> list[str]:
    return [key[1] for key in column.groups if key not in other.groups]


def _complete_overlap(here: Group, there: Group) -> bool:
    return shared_content(here, there) == max(len(here.contents), len(there.contents))


def _overlap(here: Group, there: Group, label: str) -> str:
    shared = shared_content(here, there)
    if not shared:
        return f"{here.task} is not compared: the cases or data differ from those of {label}."
    return (
        f"{here.task}: only samples with the same content are paired, {shared} of the "
        f"{len(here.contents)} here and {len(there.contents)} in {label}."
    )
