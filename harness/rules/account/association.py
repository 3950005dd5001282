"""An association with an API or mode over several requests, which a model cannot know."""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence

from harness.rules.account.entry import ALIKE, Row
from harness.statistics.differences import mantel_haenszel

CHANCE = 0.001
"""The p-value from which on a difference is not due to chance."""

_PARTS: Sequence[Callable[[Row], Hashable]] = (
    lambda row: row.sheet.streamed,
    lambda row: row.api,
    lambda row: row.mode,
)


def associated(
    requests: Iterable[Sequence[Row]],
    differs: Callable[[Row], bool],
    parts: Sequence[Callable[[Row], Hashable]] = _PARTS,
) -> frozenset[tuple[str, int]]:
    """Return the keys of the replies that differ in the API or mode in which most of them do.

    The exact test is over requests: within one, its replies may differ in any API and mode alike.
    Several requests must have replies that differ, and copies of one reply count once.
    """
    compared = [list({row.ids: row for row in rows}.values()) for rows in requests]
    best, found = CHANCE, frozenset[tuple[str, int]]()
    for part in parts:
        for value in dict.fromkeys(part(row) for rows in compared for row in rows):
            tables, inside = [], []
            for rows in compared:
                counts: Mapping[bool, list[int]] = defaultdict(lambda: [0, 0])
                for row in rows:
                    counts[part(row) == value][0] += differs(row)
                    counts[part(row) == value][1] += 1
                (hits, tries), (others, of) = counts[True], counts[False]
                if tries and of and 0 < hits + others < tries + of:
                    tables.append(((hits, tries), (others, of)))
                    inside += [rows] if hits * of > others * tries else []
            p = mantel_haenszel(tables) if len(inside) >= ALIKE else 1.0
            if p <= best and 2 * len(inside) > len(tables):
                best = p
                found = frozenset(
                    row.key
                    for rows in inside
                    for row in rows
                    if part(row) == value and differs(row)
                )
    return found


def by_mode(row: Row) -> bool:
    """Whether the reply is a stream; two APIs may have different prompts for one request."""
    return row.sheet.streamed
