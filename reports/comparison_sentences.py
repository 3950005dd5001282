"""A comparison in sentences: its summary, what changed, and the results of tests."""

from collections.abc import Iterator, Mapping, Sequence

from harness.compare.compared import JUDGED
from harness.compare.comparison_types import ChangedCase, Changes, Comparison, EntryKind, Row
from harness.statistics.differences import Difference
from harness.statistics.intervals import ALPHA
from harness.text import first_few
from reports.text import VERDICTS, counted


def base_index(comparison: Comparison) -> int:
    """Return the index of the reference."""
    return [entry.label for entry in comparison.entries].index(comparison.against)


def figure_rows(comparison: Comparison) -> list[Row]:
    """Return all rows except those of checks."""
    return [row for row in comparison.rows if row.unit != "status"]


def tested_rows(comparison: Comparison) -> list[Row]:
    """Return the rows of pass rates and scores that were tested."""
    return [row for row in figure_rows(comparison) if any(row.differences)]


def check_rows(comparison: Comparison) -> list[Row]:
    """Return the rows of checks and probes."""
    return [row for row in comparison.rows if row.unit == "status"]


def notable(row: Row) -> bool:
    """Return whether columns differ, or a check fails in a column, tested in others or not."""
    return row.differs or any(has_failed(row, index) for index in range(len(row.cells)))


def is_judged(row: Row, index: int) -> bool:
    """Return whether a check had something to judge in a column."""
    found = row.cells[index]
    return found is not None and found.status in JUDGED


def has_failed(row: Row, index: int) -> bool:
    """Return whether a check failed in a column."""
    found = row.cells[index]
    return found is not None and found.status == "failed"


def measure_of(row: Row) -> str:
    """Return the name of a measure with its condition: `chat · streaming pass@1`."""
    return row.name if row.group is None else f"{row.group} {row.name}"


_NAMED = 5
_KINDS: Mapping[EntryKind, str] = {
    "run": "no verdict",
    "baseline": "measured baseline",
    "published": "published scores",
}


def summary(comparison: Comparison) -> Iterator[str]:
    """Yield the most important facts: verdicts, checks that only one column tested, differences."""
    columns = range(len(comparison.entries))
    yield from (_verdict(comparison, index) for index in columns)
    others = (index for index in columns if index != base_index(comparison))
    for index, found in zip(others, comparison.changes, strict=True):
        yield from _fixed(found)
        yield from _lone(comparison, index)
        yield _statistics(comparison, index)


def _verdict(comparison: Comparison, index: int) -> str:
    """Return verdict, causes and failing checks, or the reason: `b: FAIL. Likely cause: …`."""
    entry, base = comparison.entries[index], base_index(comparison)
    role = " (reference)" if index == base else ""
    verdict = VERDICTS[entry.decision] if entry.decision else _KINDS[entry.kind]
    text = f"{entry.label}{role}: {verdict}."
    if entry.causes:
        text += f" Likely cause{'s' * (len(entry.causes) > 1)}: {' '.join(entry.causes)}"
    rows = check_rows(comparison)
    failed = [row for row in rows if has_failed(row, index)]
    if failed:
        text += f" {_named('check', failed, 'fails', 'fail')}."
    elif entry.reason and entry.decision not in ("pass", None):
        text += f" {entry.reason}"
    elif any(is_judged(row, index) for row in rows):
        text += " No check fails."
    also = sum(has_failed(row, base) for row in failed) if index != base else 0
    return f"{text} The reference fails {also} of them too." if also else text


def _fixed(found: Changes) -> Iterator[str]:
    if found.fixed:
        names = first_few([one.id for one in found.fixed], _NAMED)
        count = counted(len(found.fixed), "check")
        yield f"{found.label} fixes {count} that the reference fails: {names}."


def _lone(comparison: Comparison, index: int) -> Iterator[str]:
    """Yield the checks that a column or the reference tested, but not both."""
    base = base_index(comparison)
    for one, other in ((index, base), (base, index)):
        rows = [r for r in check_rows(comparison) if is_judged(r, one) and not is_judged(r, other)]
        if rows and any(is_judged(row, other) for row in check_rows(comparison)):
            names = [comparison.entries[each].label for each in (one, other)]
            failed = sum(has_failed(row, one) for row in rows)
            yield (
                f"{names[0]} tested {counted(len(rows), 'check')} that {names[1]} did not; "
                f"{failed or 'none'} of them failed."
            )


def _statistics(comparison: Comparison, index: int) -> str:
    """Return the differences between a column and the reference that are beyond chance."""
    label = comparison.entries[index].label
    rows = [
        (measure_of(row), found)
        for row in tested_rows(comparison)
        if (found := row.differences[index]) is not None
    ]
    tested = [found for _, found in rows]
    if not tested:
        return f"{label} and {comparison.against} have no sample in common."
    beyond = [
        f"{seen} in {first_few(measures, _NAMED)}"
        for seen in ("worse", "better")
        if (measures := [measure for measure, found in rows if found.seen == seen])
    ]
    if beyond:
        return f"Beyond chance, {label} is {' and '.join(beyond)}."
    sizes = [each.detectable for each in tested]
    known = [size for size in sizes if size is not None]
    text = f"The pass rates of {label} and {comparison.against} do not differ by more than chance"
    samples = [each.pairs for each in tested if each.pairs is not None]
    few = f" with {counted(min(samples), 'sample')}" if samples else ""
    if len(known) < len(sizes):
        return f"{text}. No difference could have been detected{few}."
    least = f"{max(known) * 100:.0f} points"
    return f"{text}. Only a difference of more than {least} would have been detected{few}."


def _named(noun: str, rows: Sequence[Row], one: str, several: str) -> str:
    verb = one if len(rows) == 1 else several
    return f"{counted(len(rows), noun)} {verb}: {first_few([row.name for row in rows], _NAMED)}"


def change_sentences(found: Changes) -> list[str]:
    """Return what changed in a column, compared with the reference."""
    if found.unchanged:
        return ["No change beyond chance."]
    checks = {"newly failing": found.broken, "no longer failing": found.fixed}
    sentences = []
    for what, changed in checks.items():
        names = [
            f"{one.id} ({_of(one.here)} failed, in the reference {_of(one.there)}"
            f"{'' if one.beyond_chance else '; this may be chance'})"
            for one in changed
        ]
        if names:
            sentences.append(_listed(what, names, "check"))
    for word, better in (("worse", False), ("better", True)):
        names = [changed_case(one) for one in found.cases if one.better == better]
        if names:
            sentences.append(_listed(f"{word}, beyond chance", names, "case"))
    return [*sentences, *(f"{one.name} is {result(one.difference)}." for one in found.rates)]


def changed_case(one: ChangedCase) -> str:
    """Return `weather-1, chat · streaming: 0 of 5 tries pass, in the reference 5 of 5`."""
    return (
        f"{one.sample}, {one.group}: {_of(one.here)} tries pass, in the reference {_of(one.there)}"
    )


def result(found: Difference) -> str:
    """Return the result of a test, as a sentence without a subject."""
    paired = "" if found.pairs is None else f", {counted(found.pairs, 'sample')} paired"
    size = (
        f"{_points(found.value)} points (95 % interval {_points(found.low)} to "
        f"{_points(found.high)}{paired})"
    )
    if found.seen != "none":
        return f"{found.seen}: {size}"
    chance = ", which may be chance among so many tests" if found.p < ALPHA else ""
    return f"no difference found: {size}{chance}; {detectable(found.detectable)}"


def detectable(worsening: float | None) -> str:
    """Return the size of the worsening that a test can detect."""
    if worsening is None:
        return "no worsening is detectable with so few attempts"
    return f"a worsening of {worsening * 100:.1f} points or more is detectable"


def _points(difference: float) -> str:
    return f"{difference * 100:+.1f}"


def _of(counts: tuple[int, int]) -> str:
    return f"{counts[0]} of {counts[1]}"


def _listed(what: str, names: Sequence[str], one: str) -> str:
    return f"{counted(len(names), one)} {what}: {first_few(names, _NAMED, '; ')}."
