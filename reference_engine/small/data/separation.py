"""Whether a prompt is, or nearly is, one that the model must not have been trained on."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from difflib import SequenceMatcher
from functools import lru_cache

_CLOSE = 0.8


@lru_cache(maxsize=10_000)
def _words(text: str) -> tuple[str, ...]:
    """Lower-case words and numbers, without punctuation."""
    return tuple(re.findall(r"\w+", text.lower()))


@lru_cache(maxsize=10_000)
def _counted(text: str) -> Counter[str]:
    return Counter(_words(text))


def is_too_close(prompt: str, held_out: Iterable[str]) -> bool:
    """Whether `prompt` shares at least four fifths of its words, in order, with a held-out one."""
    said = _words(prompt)
    counted = _counted(prompt)
    for other in held_out:
        kept = _words(other)
        most = len(said) + len(kept)
        if not most or 2 * min(len(said), len(kept)) < _CLOSE * most:
            continue
        theirs = _counted(other)
        if 2 * sum(min(n, theirs[word]) for word, n in counted.items()) < _CLOSE * most:
            continue
        if SequenceMatcher(None, said, kept, autojunk=False).ratio() >= _CLOSE:
            return True
    return False
