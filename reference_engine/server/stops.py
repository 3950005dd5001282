"""Stop strings, applied to a text that comes in pieces."""

from __future__ import annotations

from collections.abc import Sequence


class StopStrings:
    """Holds back what may be the beginning of a stop string; cuts the text before a whole one.

    Attributes:
        hit: A stop string was found; nothing more will come.
    """

    def __init__(self, strings: Sequence[str]) -> None:
        self.hit = False
        self._strings = tuple(strings)
        self._held = ""

    def feed(self, text: str) -> str:
        """What of the text so far may be shown now."""
        if not self._strings:
            return text
        self._held += text
        found = [at for string in self._strings if (at := self._held.find(string)) >= 0]
        if found:
            self.hit = True
            shown, self._held = self._held[: min(found)], ""
            return shown
        keep = max(self._overlap(string) for string in self._strings)
        shown = self._held[: len(self._held) - keep]
        self._held = self._held[len(shown) :]
        return shown

    def flush(self) -> str:
        """What was held back, now that no more text comes."""
        held, self._held = self._held, ""
        return held

    def _overlap(self, string: str) -> int:
        """The longest end of the held text that is a beginning of the string."""
        longest = min(len(self._held), len(string) - 1)
        return next((n for n in range(longest, 0, -1) if self._held.endswith(string[:n])), 0)
