"""What a reference read of the replies, in a line and in a table."""

from collections.abc import Iterator

from harness.records.readings import UNREAD, ReaderInfo, Rescored
from reports.model import Cell, Row, Section, Table

_NOTE = (
    "A reference read the prompts and then the replies. Text that it finds probable was written by "
    "the model; docs/rescoring.md says what this proves."
)


def reading_line(rescored: Rescored) -> str:
    """Return how many replies were read by whom, and the result, on one line."""
    total = rescored.read + sum(rescored.unread.values())
    found = (
        "less than half, so nothing is said of them" if not rescored.enough else _found(rescored)
    )
    return f"{rescored.read:,} of {total:,} replies read by {_name(rescored.reader)}: {found}"


def _found(rescored: Rescored) -> str:
    found = []
    if rescored.cause is not None:
        kind = "rendered as" if rescored.cause.allowed else "prompts as with the defect"
        found.append(f"{kind} {rescored.cause.fault}")
    if rescored.improbable:
        found.append(f"{rescored.improbable:,} have text that the model did not write")
    if rescored.deviating:
        share = f"{rescored.deviating:,} of {rescored.greedy:,} at temperature 0"
        found.append(f"{share} differ a little first")
    return "; ".join(found) or "all as the model writes them"


def _name(reader: ReaderInfo) -> str:
    form = "" if reader.form == "model" else f" at {reader.name}"
    return f"{reader.model}{form}{f' ({reader.dtype})' if reader.dtype else ''}"


def reading_section(rescored: Rescored) -> Section:
    """Return the section of a report."""
    rows = tuple(Row(name, (Cell(value),)) for name, value in _rows(rescored))
    return Section(
        title="Reference",
        table=Table((("result",),), rows),
        notes=(f"{reading_line(rescored)}.", _NOTE),
    )


def _rows(rescored: Rescored) -> Iterator[tuple[str, str]]:
    reader = rescored.reader
    yield "reader", f"{_name(reader)}, {reader.name}, {reader.form}"
    if reader.weights:
        yield "weights (SHA-256)", reader.weights
    yield "replies read", f"{rescored.read:,} with {rescored.tokens:,} tokens"
    for reason, count in rescored.unread.items():
        yield f"not read: {UNREAD.get(reason, reason)}", f"{count:,}"
    yield "with text that the model did not write", f"{rescored.improbable:,}"
    yield (
        "at temperature 0",
        f"{rescored.deviating:,} of {rescored.greedy:,} distinct replies differ a little first",
    )
    for sums in rescored.sums:
        part = sums.part or "all sampled replies"
        yield (
            f"sampled: {part}",
            f"as improbable by chance: {sums.low:.2g}; as probable: {sums.high:.2g} "
            f"({sums.places:,} uncertain places)",
        )
    if rescored.cause is not None:
        cause = rescored.cause
        others = "".join(f", or {name}" for name in cause.indistinguishable)
        yield (
            "prompts",
            f"{cause.fault}{others}: {cause.description} ({cause.nats:.0f} nats more probable, "
            f"the next {cause.second:.0f})",
        )
