"""Tries that are copies: one seed sent twice, a cache of replies, one log under two names. No I/O.

A fifth of the tokens of a chain of thought have an entropy of at least 0.67 nats at temperature 1
(Wang et al. 2025, arXiv 2506.01939), as a choice of 60 to 40 has; two independent tries agree at
such a token with a probability of 0.52 at most. A word of four letters is a token. A reply that
hardly contains a word of its own, such as a letter, agrees with a probability of 0.9: published
scores of gpt-oss are 80 to 92%, and two tries agree if both are right.
"""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from hashlib import blake2b
from itertools import filterfalse
from typing import NamedTuple

_NATS_OF_A_LETTER = -math.log(0.52) / 5 / 4
_LEAST_NATS = -math.log(0.9)
ONE_REPLY = -math.log(1e-6)
"""Nats from which a repeated reply is a copy by itself."""
WHOLE_TRIES = -math.log(1e-3)
"""Nats from which tries are copies of others that agree with them at every sample."""
_WORD = re.compile(r"\w+")


class Said(NamedTuple):
    """What a reply said: a hash of it, 0 for no reply, and how improbable its repetition is.

    `nats` is minus the logarithm of the probability that an independent try says the same.
    """

    hash: int
    nats: float


Try = tuple[str, int, tuple[int, float]]
"""A sample, the number of a try at it, and what the try said."""


def said(reply: str, question: str) -> Said:
    """Return what a reply says in words that its question does not contain."""
    asked = {*_WORD.findall(question)}
    letters = sum(map(len, filterfalse(asked.__contains__, _WORD.findall(reply))))
    nats = max(_LEAST_NATS, _NATS_OF_A_LETTER * letters) if reply else 0.0
    digest = blake2b(reply.encode("utf-8", "surrogatepass"), digest_size=7).digest()
    return Said(int.from_bytes(digest) or 1, nats)


def copied(tries: Iterable[Try], *, one_seed: bool = False) -> frozenset[tuple[str, int]]:
    """Return sample and number of the tries that are copies of earlier ones.

    An equal reply alone is no copy unless it is too long for chance: leaving out equal short ones
    would change the mean. A try that equals another at every sample leaves it as it is. It is a
    copy unless other tries of the run agree so often that chance explains it, as those of a model
    that repeats itself do; if all are
    known to have `one_seed`, that need not be too improbable for chance.
    """
    numbers: dict[int, dict[str, Said]] = defaultdict(dict)
    for sample, number, said in tries:
        if said[0]:
            numbers[number][sample] = Said(*said)
    equal = {
        (sample, later): reply.nats
        for later, replies in numbers.items()
        for sample, reply in replies.items()
        if any(numbers[at].get(sample) == reply for at in numbers if at < later)
    }
    whole: dict[int, float] = {}
    usual = Counter[bool]()  # whether two tries that differ somewhere agree at a sample
    for later, replies in numbers.items():
        for earlier in (numbers[at] for at in numbers if at < later):
            if replies.items() <= earlier.items():
                whole[later] = sum(equal[sample, later] for sample in replies)
            else:
                usual.update(earlier.get(name) == reply for name, reply in replies.items())
    if usual:
        nats = -math.log((usual[True] + 1) / (usual.total() + 2))
        whole = {at: min(sum_, nats * len(numbers[at])) for at, sum_ in whole.items()}
    if sum(whole.values()) < WHOLE_TRIES and not one_seed:
        whole = {}
    return frozenset(pair for pair, nats in equal.items() if pair[1] in whole or nats >= ONE_REPLY)


def copies_sentence(copies: int, tries: int, temperature: float | None) -> str:
    """Return how many tries are copies, and how to sample tries that are not."""
    remedy = "sample with a temperature above 0" if temperature == 0 else "give each run a new seed"
    return (
        f"{copies:,} of {tries:,} tries are copies of another try at the same question and are "
        f"not counted again: {remedy}, and use no cache of replies."
    )
