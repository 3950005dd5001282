"""Groups of rollouts, and which requests are unrelated."""

import re
from collections.abc import Callable
from functools import cache

from harness.records.scores import Score

_WORD = re.compile(r"\w{3,}")


_COMMON_WORDS = 0.3  # requests with a smaller share of common words are unrelated


def unrelated_requests() -> Callable[[Score, Score], bool]:
    """A function that returns whether the requests of two rollouts have few words in common."""
    words = cache(lambda conversation: frozenset(_WORD.findall(conversation)))

    def unrelated(one: Score, other: Score) -> bool:
        of_one, of_other = words(one.traits.conversation), words(other.traits.conversation)
        return len(of_one & of_other) < _COMMON_WORDS * len(of_one | of_other)

    return unrelated
