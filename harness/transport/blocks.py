"""Cut what was received of an event stream into its blocks."""

from __future__ import annotations

import re
from collections.abc import Iterator

BLANK_LINE = re.compile(rb"\n\n|\r\n\r\n|\r\r|\n\r\n")


def blocks(stream: bytearray) -> Iterator[tuple[str, int]]:
    """The blocks of a stream as text, without their blank lines, whatever the line ends.

    With each comes its extent: how many bytes of the stream it takes to know that it is complete.
    What is left over after the last blank line is a block as well. What is no UTF-8 is replaced.
    """
    start = 0
    for end, extent in _blank_lines(stream):
        block = stream[start:end].decode(errors="replace").lstrip("\r\n")
        if block:
            yield block, extent
        start = extent
    rest = stream[start:].decode(errors="replace").strip("\r\n")
    if rest:
        yield rest, len(stream)


def _blank_lines(stream: bytearray) -> Iterator[tuple[int, int]]:
    """Where each blank line starts and ends."""
    if b"\r" in stream:
        yield from (match.span() for match in BLANK_LINE.finditer(stream))
        return
    start = stream.find(b"\n\n")
    while start >= 0:
        yield start, start + 2
        start = stream.find(b"\n\n", start + 2)
