"""Whether a prompt is, or nearly is, one that the model must not have been trained on."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import SequenceMatcher
from functools import lru_cache

_CLOSE = 0.8


@lru_cache(maxsize=10_000)
def _words(text: str) -> tuple[str, ...]:
    """Lower-case words and numbers, without punctuation."""
    return tuple(re.findall(r"\w+", text.lower()))


@lru_cache(maxsize=10_000)
def _vocabulary(text: str) -> frozenset[str]:
    return frozenset(_words(text))


def is_too_close(prompt: str, held_out: Iterable[str]) -> bool:
    """Whether `prompt` shares at least four fifths of its words, in order, with a held-out one."""
    said, different = _words(prompt), _vocabulary(prompt)
    for other in held_out:
        kept = _words(other)
        shared_at_most = min(len(kept), len(said) - len(different - _vocabulary(other)))
        if not kept or 2 * shared_at_most < _CLOSE * (len(said) + len(kept)):
            continue
        if SequenceMatcher(None, said, kept, autojunk=False).ratio() >= _CLOSE:
            return True
    return False
