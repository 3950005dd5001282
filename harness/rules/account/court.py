"""The court of the account: which claims of its witnesses accuse the server, and none the model.

A claim accuses if the reply alone excludes the model (a), if enough samples or requests have it and
more than those whose counts are the model's own, or more replies than a habit explains (b, d), or
if an API or mode has it (c).
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from math import inf
from operator import attrgetter
from typing import NamedTuple

from harness.records.replies import Row
from harness.rules.account.entry import ALIKE, SEVERAL, Entry
from harness.statistics.question import asked
from harness.statistics.rates import at_least

CHANCE = 0.001
"""The p-value from which on a difference is not due to chance."""

Part = Callable[[Row], Hashable]
BY_MODE: Part = attrgetter("streamed")
"""Whether the reply is a stream; two APIs may have different prompts for one request."""
_PARTS: Sequence[Part] = (BY_MODE, attrgetter("api"), attrgetter("mode"))


class Claim(NamedTuple):
    """What a witness says of a reply, and how far its evidence goes."""

    row: Row
    entry: Entry
    proof: bool = False  # the reply alone excludes the model
    alike: Hashable = None  # claims with one value support each other; None: no other does
    unit: Hashable = None  # the sample or request: one may be a slip of the model
    fewest: float = SEVERAL  # units of such claims that are enough; inf: it supports no other
    own: bool = False  # the count shows that the model wrote it so


def convicted(claims: Iterable[Claim]) -> Iterator[tuple[Row, Entry]]:
    """Yield the replies that a proof, or enough claims alike, accuse."""
    every: dict[Hashable, list[Claim]] = defaultdict(list)
    for claim in claims:
        if claim.proof:
            yield claim.row, claim.entry
        if claim.alike is not None:
            every[claim.alike].append(claim)
    for alike in every.values():
        own = {claim.unit for claim in alike if claim.own}
        shown = {claim.unit for claim in alike if claim.fewest < inf}
        enough = (
            len({claim.unit for claim in alike if claim.fewest <= fewest}) >= fewest
            for fewest in {claim.fewest for claim in alike}
        )
        if any(enough) and len(shown) > len(own):
            yield from ((claim.row, claim.entry) for claim in alike if not claim.own)


def exceeds(hits: int, replies: int, share: float) -> bool:
    """Whether so many replies have something that no model which has it in this share wrote all."""
    return hits >= ALIKE and at_least(hits, replies, share) <= CHANCE


def most(hits: int, replies: int) -> bool:
    """Whether so many replies have something that it holds for the others as well."""
    return hits >= ALIKE and 2 * hits > replies


def associated(
    requests: Iterable[Sequence[Row]],
    entries: Mapping[tuple[str, int], Entry],
    parts: Sequence[Part] = _PARTS,
) -> Sequence[tuple[Row, Entry]]:
    """Return the replies with an entry in the API or mode in which most of them have one.

    The exact test is over requests: within one, its replies may differ in any API and mode alike.
    Several requests must have replies that differ, and copies of one reply count once.
    """
    rows = [
        (request, row)
        for request, copies in enumerate(requests)
        for row in {row.reply_id or row.key: row for row in copies}.values()
    ]
    best, found = CHANCE, list[tuple[Row, Entry]]()
    for part in parts:
        for value in dict.fromkeys(part(row) for _, row in rows):
            answer = asked((at, part(row) == value, row.key in entries) for at, row in rows)
            if most(len(answer.more), len(answer.telling)) and answer.p <= best:
                best = answer.p
                found = [
                    (row, entries[row.key])
                    for at, row in rows
                    if at in answer.more and part(row) == value and row.key in entries
                ]
    return found
