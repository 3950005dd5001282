"""Text from outside, made fit for a terminal."""

from __future__ import annotations


def plain(text: str) -> str:
    """The text with line breaks and tabs kept, everything else that does not print escaped."""
    return "".join(
        char
        if char.isprintable() or char in "\n\t"
        else char.encode("unicode_escape").decode("ascii")
        for char in text
    )
