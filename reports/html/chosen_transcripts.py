"""The transcripts that a page has room for."""

import heapq
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import zip_longest

import orjson

from harness.records.rollouts import Rollout
from harness.records.scores import Score
from reports.html.attempts import passed
from reports.html.transcripts import transcript

Read = Callable[[Collection[str]], Iterable[Rollout]]  # reads the rollouts with these ids
MOST_KEPT = 500
MOST_BYTES = 3_200_000  # leaves room for the rest of a page of at most 5 MB
_HELD_BYTES = 2 * MOST_BYTES  # bytes of transcripts that are held while the log is read


def read_transcripts(
    read: Read, order: Sequence[str], scores: Mapping[str, Score], hidden: Collection[str] = ()
) -> Mapping[str, orjson.Fragment]:
    """The transcripts, by record, that there is room for, those of the first records in `order`.

    Those of `hidden` tasks are left out. They are JSON, which takes less memory than its values.
    """
    rank = {record: number for number, record in enumerate(order)}
    found: dict[str, bytes] = {}
    held: list[tuple[int, str]] = []
    size = 0
    worst = len(order)
    for rollout in read(order):
        if rank[rollout.id] < worst and rollout.task not in hidden:
            text = orjson.dumps(transcript(rollout, scores.get(rollout.id)))
            found[rollout.id] = text
            heapq.heappush(held, (-rank[rollout.id], rollout.id))
            size += len(text)
            while size > _HELD_BYTES:
                worst, record = -held[0][0], heapq.heappop(held)[1]
                size -= len(found.pop(record, b""))
    kept = fitting(order, {record: len(text) for record, text in found.items()})
    return {record: orjson.Fragment(found[record]) for record in order if record in kept}


def choose(named: Iterable[str], scores: Sequence[Score]) -> list[str]:
    """At most `MOST_KEPT` records: named ones, failures of each kind, findings, then a sample."""
    failed = [score for score in scores if not passed(score)]
    flawed = [score for score in scores if passed(score) and score.findings]
    healthy = [score for score in scores if passed(score) and not score.findings]
    order = dict.fromkeys([*named, *_in_turn(failed), *_in_turn(flawed), *_spread(healthy)])
    return list(order)[:MOST_KEPT]


def fitting(order: Iterable[str], sizes: Mapping[str, int]) -> set[str]:
    """The most important records that fit into `MOST_BYTES`."""
    left = MOST_BYTES
    chosen = set()
    for record in order:
        size = sizes.get(record)
        if size is not None and size <= left:
            chosen.add(record)
            left -= size
    return chosen


def _in_turn(scores: Iterable[Score]) -> Iterator[str]:
    """One record of each kind of failure, then the next of each kind, and so on."""
    alike: dict[tuple[object, ...], list[str]] = defaultdict(list)
    for score in scores:
        ids = sorted({finding.id for finding in score.findings})
        alike[score.task, score.condition, score.outcome, *ids].append(score.record)
    for taken in zip_longest(*alike.values()):
        yield from (record for record in taken if record is not None)


def _spread(scores: Sequence[Score]) -> Iterator[str]:
    """All records in an order whose first n are evenly spaced in the run, for any n."""
    bits = max(1, (len(scores) - 1).bit_length())
    for number in range(2**bits):
        place = int(f"{number:0{bits}b}"[::-1], 2)
        if place < len(scores):
            yield scores[place].record
