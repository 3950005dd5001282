"""Server-sent events of a stream, decoded and parsed; the only decoder in the harness."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from harness.api.fields import error_message, quoted, read_object, reported_error
from harness.records.rollouts import StreamPart

DONE = "[DONE]"
_USUAL = re.compile("(?:event: ?(.*)\n)?data: ?(.*)")
_BYTE_ORDER_MARK = "\ufeff"
_BLANK_LINE = re.compile(rb"\n\n|\r\n\r\n|\r\r|\n\r\n")


class StreamEvent(NamedTuple):
    """One event of a stream.

    A named tuple takes half as long to create as a dataclass, and a stream has many events.
    """

    number: int  # the index of its recorded block
    at: float  # arrival, in seconds since the request was sent
    name: str  # its `event:` field, or ''
    text: str
    data: Mapping[str, Any] | None  # the JSON object of the text; must not be modified
    problem: str | None  # why the data cannot be read as part of a reply
    type: str  # of a Responses event, or ''
    is_error: bool

    @property
    def is_done(self) -> bool:
        """Whether this is the `[DONE]` event that ends a Chat stream."""
        return self.text.strip() == DONE


def message_events(parts: Iterable[StreamPart]) -> Iterator[StreamEvent]:
    """Yield the events of a stream over WebSocket, where each message is the data of one."""
    for index, part in enumerate(parts):
        event = _parsed(index, part.at, "", part.raw)
        yield event._replace(name=event.type)


def stream_events(parts: Iterable[StreamPart]) -> Iterator[StreamEvent]:
    """Yield the events of a stream in order, without comments and blocks that have no data.

    Follows https://html.spec.whatwg.org/multipage/server-sent-events.html, section 9.2.6.
    """
    for index, part in enumerate(parts):
        raw = part.raw if index else part.raw.removeprefix(_BYTE_ORDER_MARK)
        usual = None if "\r" in raw else _USUAL.fullmatch(raw)
        if usual is not None:
            yield _parsed(index, part.at, usual[1] or "", usual[2])
            continue
        name, data = "", []
        for line in raw.replace("\r\n", "\n").replace("\r", "\n").split("\n"):
            field, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if field == "data":
                data.append(value)
            elif field == "event":
                name = value
        if data:
            yield _parsed(index, part.at, name, "\n".join(data))


def _parsed(number: int, at: float, name: str, text: str) -> StreamEvent:
    data, problem = read_object(text)
    if data is None:
        is_error = name == "error"
        problem = f"is an error: {quoted(text)}" if is_error else problem
        return StreamEvent(number, at, name, text, None, problem, "", is_error)
    kind = data.get("type")
    if not isinstance(kind, str):
        kind = ""
    if name == "error" and kind != "error":
        problem = problem or f"is an error: {error_message(data)}"
    is_error = "error" in (name, kind) or bool(reported_error(data, text))
    return StreamEvent(number, at, name, text, data, problem, kind, is_error)


def blocks(stream: bytearray) -> Iterator[tuple[str, int]]:
    """Yield the blocks of an event stream as text, without the blank lines between them.

    Each comes with its extent: the number of bytes after which the block is known to be complete.
    Bytes after the last blank line are also a block. Invalid UTF-8 becomes U+FFFD.
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
    """Yield the start and end of each blank line."""
    if b"\r" in stream:
        yield from (match.span() for match in _BLANK_LINE.finditer(stream))
        return
    start = stream.find(b"\n\n")
    while start >= 0:
        yield start, start + 2
        start = stream.find(b"\n\n", start + 2)
