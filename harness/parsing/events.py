"""Events of a stream as checks read them. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from harness.api.fields import DEEPEST, too_deep
from harness.api.sse import decode_events
from harness.records.rollouts import StreamPart

DONE = "[DONE]"
# Where the deltas of Chat say something.
SPOKEN = ("content", "reasoning", "reasoning_content", "tool_calls")


@dataclass(frozen=True)
class Event:
    """One event of a stream. `number` is its recorded block; `data` is None unless an object."""

    number: int
    at: float
    name: str
    text: str
    data: Mapping[str, Any] | None

    @property
    def type(self) -> str:
        """The `type` of a Responses event; '' where there is none."""
        kind = None if self.data is None else self.data.get("type")
        return kind if isinstance(kind, str) else ""

    @property
    def is_done(self) -> bool:
        """Whether this is the mark that closes a stream of Chat."""
        return self.text.strip() == DONE

    @property
    def is_error(self) -> bool:
        """Whether this is an error sent in the middle of a stream."""
        return self.data is not None and (bool(self.data.get("error")) or self.type == "error")


@dataclass(frozen=True)
class Breach:
    """A place where a stream breaks a rule of its grammar; `rule` is the id of a check."""

    rule: str
    message: str
    expected: str
    got: str
    path: str | None = None
    event: int | None = None


def parse_events(parts: Iterable[StreamPart]) -> tuple[Event, ...]:
    """The events of a recorded stream, in order."""
    return tuple(
        Event(event.part, event.at, event.name, event.data, json_object(event.data))
        for event in decode_events(parts)
    )


def json_object(text: str) -> Mapping[str, Any] | None:
    """The JSON object that `text` is; None if it is none, or one too deep to be reported."""
    if text == DONE:
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    deep = text.count("[") + text.count("{") > DEEPEST and too_deep(value)
    return value if isinstance(value, dict) and not deep else None


def objects(value: object) -> list[Mapping[str, Any]]:
    """The objects in a list; none where `value` is no list."""
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def speaks(event: Event) -> bool:
    """Whether an event carries text of any kind, a tool call's included."""
    if event.type:
        return event.type.endswith(".delta")
    deltas = (choice.get("delta") for choice in objects((event.data or {}).get("choices")))
    return any(isinstance(delta, dict) and any(map(delta.get, SPOKEN)) for delta in deltas)
