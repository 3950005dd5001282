"""What the readings of a run say: whose text is improbable, and whether the model is another one.

Two statistics, each of what the model was free to write:

- *Greedy*: the gap between the most probable token and the one that came. Number formats make small
  gaps. Up to its first gap, a reply is as the model writes it; after a changed text, everything may
  be improbable. So only the first gap of a reply counts: a changed text makes a large one, another
  model many small ones.
- *Sampled*: each token has the probability that a sample is as improbable. The smallest one of a
  reply, times its tokens, is a p-value of the reply; the procedure of Benjamini and Hochberg (1995)
  accuses replies so that at most `WRONG` of them are expected to be wrong. For number formats, the
  sum of logprob and entropy over the uncertain places is compared with draws from the reader's own
  distributions at the same places (a parametric bootstrap), because its tails are heavy.

Sources of the idea: Token-DiFR (Karvonen et al. 2025, arXiv 2511.20621) and the rank-based
uniformity test (Zhu et al. 2025, arXiv 2506.06975).
"""

import math
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from harmony.parse import STOP_TOKENS, HarmonyParser
from harness.records.readings import Reading

SMALL_GAP = 0.6
"""Nats that number formats make at temperature 0: bfloat16 at most 0.46 in 1,424 tokens."""
LARGE_GAP = 8.0
"""Nats from which on a gap is no other number format: the model is 3,000 times as sure."""
MARGIN = 2.0
"""Nats by which number formats make a sampled token less probable than it was."""
WRONG = 0.001  # expected share of wrong replies among the accused ones
OTHER_MODEL = 1e-5  # probability of a sum as small, or as large, under the reader's own model
_NEXT = 4  # tokens
_MALFORMED = 0.03
"""Share of replies whose header the model may malform, as `MALFORMED_HEADERS` of the rules, which
this layer does not import: 9 of 850 turns of gpt-oss-20b (llama.cpp#27720)."""
_FEWEST_SMALL, _SMALL_SHARE = 3, 0.01
"""Greedy replies whose first gap is small, and their share, from which on the model is another
one: healthy servers in bfloat16 have at most one of 300."""
_LOWEST = -40.0  # logprob that one token counts at most
_DRAWS, _MORE_DRAWS, _RARE = 20_000, 400_000, 1e-3
"""Draws of the sum; more where one as small, or as large, is rarer than this."""
_CERTAIN = 0.999  # probability of a token at a place where sampling decides nothing
_EQUAL = 1e-3  # nats within which two logprobs of the file are equal
_LEAST = 20  # uncertain places below which sums say nothing
_EVIDENCE = 24  # odd replies, and others, with which a cause is sought
ENOUGH = 0.5  # share of the replies that must be read


@dataclass(frozen=True)
class Improbable:
    """A reply with text that the model would not have written; `token` is the first one."""

    reading: Reading
    token: int


@dataclass(frozen=True)
class Sums:
    """The sum of logprob and entropy over the uncertain places of some sampled replies.

    `low` and `high` are the probabilities that the reader's model makes it as small, and as large.
    """

    places: int
    low: float
    high: float


@dataclass(frozen=True)
class Judgement:
    """What the readings say.

    Attributes:
        read, unread: How many replies were read or not.
        improbable: The accused replies.
        greedy: Distinct replies at temperature 0.
        deviating: Those whose first gap is small, the largest gaps first.
        sums: Of all sampled replies but the improbable ones, by group; `""` is the whole run.
    """

    read: int
    unread: int
    improbable: tuple[Improbable, ...]
    greedy: int
    deviating: tuple[Improbable, ...]
    sums: Mapping[Hashable, Sums] = field(default_factory=dict)

    @property
    def enough(self) -> bool:
        """Whether at least half of the replies were read."""
        return self.read >= ENOUGH * (self.read + self.unread) and self.read > 0

    @property
    def other_model(self) -> bool:
        """Whether the model, its weights or its number format differ from the reader's."""
        return self._gaps_differ or any(sums.low < OTHER_MODEL for sums in self.sums.values())

    @property
    def too_certain(self) -> bool:
        """Whether sampled replies are more predictable than their temperature allows."""
        return any(sums.high < OTHER_MODEL for sums in self.sums.values())

    def evidence(self, readings: Sequence[Reading], *, whole: bool) -> list[Reading]:
        """Return the replies with which a cause is sought: the odd ones, and as many others.

        With `whole`, all that were read. Equal greedy replies to one prompt count once.
        """
        read = _distinct(reading for reading in readings if reading.unread is None)
        if whole:
            return read
        odd = {each.reading.key for each in (*self.improbable, *self.deviating)}
        accused = [reading for reading in read if reading.key in odd]
        others = [reading for reading in read if reading.key not in odd]
        return [
            reading
            for part in (accused, others)
            for reading in part[:: max(1, len(part) // _EVIDENCE)][:_EVIDENCE]
        ]

    @property
    def suspicious(self) -> bool:
        """Whether a fault of prompts may explain what was found."""
        return bool(self.improbable or self.deviating or self.other_model or self.too_certain)

    @property
    def _gaps_differ(self) -> bool:
        return len(self.deviating) >= max(_FEWEST_SMALL, _SMALL_SHARE * self.greedy)


def judged(
    readings: Sequence[Reading], group: Callable[[Reading], Iterable[Hashable]] = lambda _: ()
) -> Judgement:
    """Judge the readings of a run; `group` names the parts of the run that a reply belongs to.

    A reply that a limit or the request makes equal to another one counts once: equal greedy replies
    to one prompt are one piece of evidence.
    """
    read = [reading for reading in readings if reading.unread is None]
    greedy = [reading for reading in read if reading.greedy]
    sampled = [reading for reading in read if not reading.greedy]
    first = {reading.key: token for reading in greedy if (token := _first_gap(reading)) is not None}
    large = [r for r in greedy if r.key in first and _is_large(r, first[r.key])]
    small = [r for r in _distinct(greedy) if r.key in first and not _is_large(r, first[r.key])]
    improbable = [Improbable(reading, first[reading.key]) for reading in large]
    improbable = _without_lost_rests([*improbable, *_unlikely(sampled)], read)
    accused = {each.reading.key for each in improbable}
    parts: dict[Hashable, list[Reading]] = {"": []}
    for reading in _distinct(sampled):
        if reading.key not in accused:
            for name in ("", *group(reading)):
                parts.setdefault(name, []).append(reading)
    deviating = sorted(small, key=lambda r: -r.gaps[first[r.key]])
    return Judgement(
        read=len(read),
        unread=len(readings) - len(read),
        improbable=tuple(improbable),
        greedy=len(_distinct(greedy)),
        deviating=tuple(Improbable(reading, first[reading.key]) for reading in deviating),
        sums={name: sums for name, part in parts.items() if (sums := _sums(part)) is not None},
    )


def excess(readings: Iterable[Reading]) -> float:
    """Return how much less probable replies are than those of the reader's model, in nats a token.

    At temperature 0, that is the gap; elsewhere the entropy minus the logprob, at uncertain places.
    """
    lost, tokens = 0.0, 0
    for reading in readings:
        tokens += sum(reading.judged)
        if reading.greedy:
            lost += sum(gap for gap, free in zip(reading.gaps, reading.judged, strict=True) if free)
            continue
        lost += sum(
            -max(own, _LOWEST) + sum(value * math.exp(value) for value in probable)
            for own, probable in reading.open
        )
    return lost / max(tokens, 1)


def _distinct(readings: Iterable[Reading]) -> list[Reading]:
    """Return one reading of each prompt and reply that no chance made different."""
    seen: set[object] = set()
    kept = []
    for reading in readings:
        drawn = None if reading.greedy or reading.seeded else reading.key
        copy = (reading.prompt_sha256, reading.ids, drawn)
        if copy not in seen:
            seen.add(copy)
            kept.append(reading)
    return kept


def _first_gap(reading: Reading) -> int | None:
    """Return the first token of a greedy reply with a gap beyond number formats."""
    return next(
        (
            at
            for at, (gap, free) in enumerate(zip(reading.gaps, reading.judged, strict=True))
            if free and gap > SMALL_GAP
        ),
        None,
    )


def _is_large(reading: Reading, first: int) -> bool:
    """Whether a first gap, or one right after it, is larger than number formats make.

    Before a changed text, the most probable spelling may be another one that the model would not
    have chosen, too.
    """
    return max(reading.gaps[first : first + _NEXT]) > LARGE_GAP


def _unlikely(sampled: Sequence[Reading]) -> list[Improbable]:
    """Return the sampled replies that Benjamini and Hochberg's procedure accuses, at `WRONG`."""
    worst: list[tuple[float, Reading, int]] = []
    for reading in sampled:
        free = [at for at, judged in enumerate(reading.judged) if judged]
        if free:
            at = max(free, key=lambda token: reading.surprises[token])
            nats = reading.surprises[at] - MARGIN - math.log(len(free))
            worst.append((-nats, reading, at))
    worst.sort(key=lambda each: each[0])
    accused = 0
    for rank, (log_p, _, _) in enumerate(worst, 1):
        if log_p <= math.log(WRONG * rank / len(worst)):
            accused = rank
    limit = -worst[accused - 1][0] if accused else math.inf
    found = []
    for _, reading, _ in worst[:accused]:
        free = [at for at, judged in enumerate(reading.judged) if judged]
        needed = limit + MARGIN + math.log(len(free)) - 1e-9
        found.append(
            Improbable(reading, next(at for at in free if reading.surprises[at] >= needed))
        )
    return found


def _without_lost_rests(
    improbable: Sequence[Improbable], read: Sequence[Reading]
) -> list[Improbable]:
    """Return the accused replies; those that end after a CoT only where too many complete ones do.

    A parser loses the message whose header the model malformed, and so what follows the CoT.
    """
    lost = [each for each in improbable if _ends_after_cot(each)]
    complete = sum(reading.ids[-1] in STOP_TOKENS for reading in read if reading.ids)
    if len(lost) > _MALFORMED * complete:
        return list(improbable)
    return [each for each in improbable if each not in lost]


def _ends_after_cot(each: Improbable) -> bool:
    ids = each.reading.ids
    if each.token < len(ids) - 1 or ids[-1] not in STOP_TOKENS:
        return False
    parser = HarmonyParser()
    for token in ids[:-1]:
        parser.feed(token)
    return parser.open is not None and parser.open.kind in ("reasoning", "preamble")


def _sums(readings: Sequence[Reading]) -> Sums | None:
    """Compare the sum of logprob and entropy of sampled replies with draws; None of too few."""
    places = [
        place
        for reading in readings
        for place in reading.open
        if place[1] and math.exp(place[1][0]) < _CERTAIN
    ]
    if len(places) < _LEAST:
        return None
    sums = _drawn(places, _DRAWS)
    return _drawn(places, _MORE_DRAWS) if min(sums.low, sums.high) < _RARE else sums


def _drawn(places: Sequence[tuple[float, tuple[float, ...]]], draws: int) -> Sums:
    """Compare the sum over places with this many draws from the distributions there."""
    import numpy as np  # takes 0.2 s, and most runs read no replies

    random = np.random.default_rng(0)
    total, drawn = 0.0, np.zeros(draws)
    for own, probable in places:
        rest = max(1.0 - sum(map(math.exp, probable)), 1e-9)
        logprobs = np.array([*probable, math.log(rest)])  # the last is that of all other tokens
        shares = np.exp(logprobs)
        bounds = shares.cumsum() / shares.sum()
        entropy = -float((shares * logprobs).sum() / shares.sum())
        total += (own if own >= probable[-1] - _EQUAL else logprobs[-1]) + entropy
        chosen = np.searchsorted(bounds, random.random(draws)).clip(max=len(probable))
        drawn += logprobs[chosen] + entropy
    below, above = int((drawn <= total).sum()), int((drawn >= total).sum())
    return Sums(len(places), (below + 1) / (draws + 1), (above + 1) / (draws + 1))
