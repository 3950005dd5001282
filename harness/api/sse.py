"""Decoder of server-sent events, the only one in the harness. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from harness.records.rollouts import StreamPart

_DATA = "data: "
_BYTE_ORDER_MARK = "\ufeff"


class ServerSentEvent(NamedTuple):
    """One event: `name` is its `event:` field or '', `part` the index of its recorded block.

    A named tuple takes half as long to create as a dataclass, and a stream has many events.
    """

    part: int
    at: float
    name: str
    data: str


def decode_events(parts: Iterable[StreamPart]) -> Iterator[ServerSentEvent]:
    """The events of a stream in order, without comments and blocks that have no data.

    Follows https://html.spec.whatwg.org/multipage/server-sent-events.html, section 9.2.6.
    """
    for index, part in enumerate(parts):
        raw = part.raw if index else part.raw.removeprefix(_BYTE_ORDER_MARK)
        if raw.startswith(_DATA) and "\n" not in raw and "\r" not in raw:
            yield ServerSentEvent(index, part.at, "", raw[len(_DATA) :])
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
            yield ServerSentEvent(index, part.at, name, "\n".join(data))
