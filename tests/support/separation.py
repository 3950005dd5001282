"""Whether a text is, or nearly is, a prompt that the model must not have been trained on."""

import re
from collections import Counter
from collections.abc import Iterable
from difflib import SequenceMatcher

_CLOSE = 0.8


class HeldOut:
    """Prompts, by their words: lower-case words and numbers without punctuation."""

    def __init__(self, prompts: Iterable[str]) -> None:
        self._prompts = [words for prompt in prompts if (words := _words(prompt))]
        self._counted = [_counted(words) for words in self._prompts]
        self._having: dict[str, set[int]] = {}
        for number, words in enumerate(self._prompts):
            for word in words:
                self._having.setdefault(word, set()).add(number)

    def is_close(self, text: str) -> bool:
        """Whether `text` has at least four fifths of its words, in order, from one prompt.

        That is a `ratio` of 0.8 of `SequenceMatcher`, which requires two thirds of the words of
        `text` to occur in the prompt. Any set of more than a third of the words therefore has at
        least one word in the prompt, so only the prompts with the rarest words are compared.
        """
        words = _words(text)
        counted = _counted(words)
        having = sorted((self._having.get(word, set()) for word in words), key=len)
        for number in set().union(*having[: len(words) // 3 + 1]):
            prompt = self._prompts[number]
            shared_at_most = len(counted & self._counted[number])
            if 2 * shared_at_most < _CLOSE * (len(words) + len(prompt)):
                continue
            if SequenceMatcher(None, words, prompt, autojunk=False).ratio() >= _CLOSE:
                return True
        return False


def _words(text: str) -> tuple[str, ...]:
    return tuple(re.findall(r"\w+", text.lower()))


def _counted(words: Iterable[str]) -> frozenset[tuple[str, int]]:
    """Each word with its number of occurrence, so that set intersection counts repeated words."""
    seen: Counter[str] = Counter()
    found = []
    for word in words:
        found.append((word, seen[word]))
        seen[word] += 1
    return frozenset(found)
