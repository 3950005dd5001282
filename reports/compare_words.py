"""Figures and sentences of a comparison, shared by all of its formats."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from evals.comparison.records import (
    Change,
    Comparison,
    Entry,
    Flip,
    Measured,
    Row,
    Unit,
)

from harness.records.analysis import CheckStatus
from harness.records.scores import Estimate
from harness.statistics.differences import Difference
from reports import compare_rows, words

NOTHING = "–"
SIGNS: Mapping[CheckStatus, str] = {
    "failed": "✕",
    "warned": "!",
    "declared": "§",
    "passed": "✓",
    "not_verifiable": "?",
    "skipped": "–",
}
MARKS = {"better": "▲", "worse": "▼", "none": ""}
_UNITS: Mapping[Unit, str] = {
    "share": " %",
    "seconds": ", s",
    "tokens/s": "",
    "tokens": "",
    "status": "",
    "decision": "",
}


def label(row: Row) -> str:
    """The name of a row with its unit."""
    return f"{words.visible(row.name)}{_UNITS[row.unit]}"


def cell(row: Row, found: Measured | None) -> str:
    """What one entry has in a row: `97.8 (94–100)`, `✕ 3 of 40`, `PASS`."""
    if found is None:
        return NOTHING
    if found.decision is not None:
        return words.VERDICTS[found.decision]
    if found.status is not None:
        return _status(found)
    if found.value is None:
        return NOTHING
    if row.unit == "share":
        return share(found)
    return _amount(found, digits=2 if row.unit == "seconds" else 0)


def marked(row: Row, index: int) -> str:
    """The cell with a mark where it is better or worse than the reference."""
    found = row.differences[index]
    mark = "" if found is None else MARKS[found.seen]
    return f"{cell(row, row.cells[index])} {mark}".rstrip()


def share(found: Measured) -> str:
    """A share in percent, with its interval where it has one."""
    value = f"{(found.value or 0.0) * 100:.1f}"
    if found.low is None or found.high is None:
        return value
    return words.estimate(Estimate(value=found.value or 0.0, low=found.low, high=found.high))


def points(value: float, *, signed: bool = True) -> str:
    """A share in points: `+4.2`."""
    return f"{value * 100:+.1f}" if signed else f"{value * 100:.1f}"


def verdict(found: Difference) -> str:
    """What is to be said of a difference, in one sentence without its subject."""
    size = (
        f"{points(found.value)} points ({points(found.low)} to {points(found.high)}"
        f"{_paired(found)})"
    )
    if found.seen != "none":
        return f"{found.seen}: {size}"
    would = could_see(found.detectable)
    if found.p < 0.05:
        return f"no difference seen: {size}, which may be luck among so many; {would}"
    return f"no difference seen: {size}; {would}"


def could_see(detectable: float | None) -> str:
    """What a pair of runs could have seen."""
    if detectable is None:
        return "they could not have seen any worsening"
    return f"worse by {points(detectable, signed=False)} points or more would have been seen"


def summary(comparison: Comparison) -> Iterator[str]:
    """For each entry but the reference, what was seen, in one sentence."""
    base = compare_rows.base_index(comparison)
    for index, entry in enumerate(comparison.entries):
        if index != base:
            found = [row.differences[index] for row in compare_rows.tested_rows(comparison)]
            seen = [one for one in found if one is not None]
            yield f"{words.visible(entry.label)}: {_seen(seen)}{_failing(comparison, index)}."


def how_tested(comparison: Comparison) -> str:
    """What the verdicts of a comparison rest on, in plain words."""
    if not comparison.tested:
        return "Nothing was tested: the runs share no case and no question."
    count = words.counted(comparison.tested, "difference")
    return (
        f"{count} to {words.visible(comparison.against)}, tested together: better or worse is only "
        "said where luck would say it even once in fewer than 5 of 100 such comparisons (Holm). "
        "Intervals are 95 % for each difference alone. The same cases and questions are paired; "
        "what would have been seen is seen with a chance of about 80 %. Times are shown, not "
        "tested."
    )


def family_counts(comparison: Comparison) -> list[tuple[str, list[str]]]:
    """For each family how many checks failed and warned in each entry: `2 ✕ 1 !`."""
    families: dict[str, list[Counter[CheckStatus]]] = {}
    for row in compare_rows.check_rows(comparison):
        counts = families.setdefault(
            compare_rows.family(row), [Counter() for _ in comparison.entries]
        )
        for count, found in zip(counts, row.cells, strict=True):
            if found is not None and found.status is not None:
                count[found.status] += 1
    return [(name, [_counts(count) for count in counts]) for name, counts in families.items()]


def entry_line(entry: Entry) -> str:
    """What a column is: kind, model, time, place."""
    when = "" if entry.started_at is None else moment(entry.started_at)
    parts = [entry.kind, words.visible(entry.model), when, words.visible(entry.place or "")]
    return " · ".join(part for part in parts if part)


def moment(at: str) -> str:
    """A time to the minute: `2026-11-20 14:13`."""
    return at[:16].replace("T", " ")


def changes(differs: Sequence[Change], other: str = "there") -> str:
    """What differs in settings: `tries 5 (there 2), seed 1 (there not sent)`."""
    return ", ".join(
        f"{one.what} {words.visible(one.here)} ({other} {words.visible(one.there)})"
        for one in differs
    )


def flip(one: Flip) -> str:
    """A case that is answered differently: `weather-1, chat · streaming: 0 of 5, there 5 of 5`."""
    here, there = (f"{passed} of {tries}" for passed, tries in (one.here, one.there))
    place = words.visible(f"{one.sample}, {one.group}")
    return f"{place}: {here}, there {there}"


def estimate(value: Estimate | None) -> str:
    """A rate, or a dash."""
    return NOTHING if value is None else words.estimate(value)


def _seen(found: Sequence[Difference]) -> str:
    if not found:
        return "no case and no question is shared"
    counts = {mark: sum(one.seen == mark for one in found) for mark in ("worse", "better")}
    told = [f"{mark} in {count} of {len(found)}" for mark, count in counts.items() if count]
    if told:
        return " and ".join(told)
    sizes = [one.detectable for one in found if one.detectable is not None]
    could = could_see(max(sizes) if len(sizes) == len(found) else None)
    return f"no difference seen in {len(found)} ({could})"


def _failing(comparison: Comparison, index: int) -> str:
    """How many checks fail in only one of an entry and the reference."""
    base, here, there = compare_rows.base_index(comparison), 0, 0
    for row in compare_rows.check_rows(comparison, only_differing=True):
        ours, theirs = row.cells[index], row.cells[base]
        if ours is not None and theirs is not None and ours.status != theirs.status:
            here += ours.status == "failed"
            there += theirs.status == "failed"
    fails = [
        f"{words.counted(count, 'check')} failed only {where}"
        for count, where in ((here, "here"), (there, "there"))
        if count
    ]
    return f"; {', '.join(fails)}" if fails else ""


def _paired(found: Difference) -> str:
    return "" if found.pairs is None else f", {found.pairs} paired"


def _status(found: Measured) -> str:
    status = found.status or "skipped"
    sign = SIGNS[status]
    if status in {"failed", "warned", "declared"}:
        return f"{sign} {found.hits} of {found.total}"
    return sign


def _amount(found: Measured, digits: int) -> str:
    value = f"{found.value:,.{digits}f}"
    if found.low is None or found.high is None:
        return value
    return f"{value} ({found.low:,.{digits}f}–{found.high:,.{digits}f})"


def _counts(count: Counter[CheckStatus]) -> str:
    judged = sum(count[status] for status in ("passed", "warned", "failed", "declared"))
    if not judged:
        return NOTHING
    bad = [f"{count[status]} {SIGNS[status]}" for status in ("failed", "warned") if count[status]]
    return " ".join(bad) or f"{judged} ✓"
