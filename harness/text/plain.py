"""Make text from outside safe for a terminal."""

from __future__ import annotations


def plain(text: str) -> str:
    """The text with all characters escaped that are not printable, except newlines and tabs."""
    return "".join(
        char
        if char.isprintable() or char in "\n\t"
        else char.encode("unicode_escape").decode("ascii")
        for char in text
    )
