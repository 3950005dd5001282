"""Harmony text back to token ids, for servers that give text where we need tokens.

The ids are those of the tokeniser, not necessarily those that the model drew: the text is the same.
"""

from __future__ import annotations

from harmony.vocabulary import harmony_encoding

_MARK = "<|"
_MARK_END = "|>"
_LONGEST_MARK = 24


def tokens_of_text(text: str) -> list[int]:
    """The ids of a text; harmony's markers in it become their own tokens."""
    tokens: list[int] = harmony_encoding().encode(text, allowed_special="all")
    return tokens


class TextTokens:
    """Tokenises a text that comes in pieces, holding back what may be the beginning of a marker."""

    def __init__(self) -> None:
        self._held = ""

    def feed(self, text: str) -> list[int]:
        """The ids of what is certain by now."""
        text = self._held + text
        at = text.rfind("<")
        begun = at >= 0 and _may_be_mark(text[at:])
        ready, self._held = (text[:at], text[at:]) if begun else (text, "")
        return tokens_of_text(ready) if ready else []

    def flush(self) -> list[int]:
        """The ids of what was held back, now that nothing more comes."""
        held, self._held = self._held, ""
        return tokens_of_text(held) if held else []


def _may_be_mark(text: str) -> bool:
    if len(text) > _LONGEST_MARK or _MARK_END in text:
        return False
    return text.startswith(_MARK) or _MARK.startswith(text)
