"""Server-sent events, read from the recorded blocks of a stream. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from harness.records.rollouts import StreamPart

_DATA = "data: "
_BYTE_ORDER_MARK = "\ufeff"


class Event(NamedTuple):
    """One event: `name` is its `event:` field or '', `part` the index of its recorded block.

    A tuple, because a stream has many: it is made in half the time of a dataclass.
    """

    part: int
    at: float
    name: str
    data: str


def events(parts: Iterable[StreamPart]) -> Iterator[Event]:
    """The events of a stream in order; comments and blocks without data are passed over.

    By the rules of https://html.spec.whatwg.org/multipage/server-sent-events.html, section 9.2.6.
    """
    for index, part in enumerate(parts):
        raw = part.raw if index else part.raw.removeprefix(_BYTE_ORDER_MARK)
        if raw.startswith(_DATA) and "\n" not in raw and "\r" not in raw:
            yield Event(index, part.at, "", raw[len(_DATA) :])
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
            yield Event(index, part.at, name, "\n".join(data))
