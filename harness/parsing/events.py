"""Parsed server-sent events of a stream. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson

from harness.api.fields import DEEPEST, entries, parsed_json, too_deep
from harness.api.sse import ServerSentEvent, decode_events
from harness.records.rollouts import StreamPart

DONE = "[DONE]"
objects = entries
# The events of Responses streams with CoT and answer, in all dialects.
_TEXT_EVENTS = frozenset(
    {"response.output_text", "response.reasoning_text", "response.reasoning", "response.refusal"}
)
# The fields of a Chat delta that carry text or tool calls.
TEXT_FIELDS = ("content", "reasoning", "reasoning_content", "tool_calls", "text")


class StreamEvent(NamedTuple):
    """One event of a stream.

    Attributes:
        number: Its position in the recorded stream.
        at: When it arrived, in seconds since the request was sent.
        name: Its `event:` field, or ''.
        text: Its data.
        data: The JSON object that the text encodes; None for any other text.
        type: The `type` of a Responses event, or ''.
        is_error: Whether the event carries an error.
    """

    number: int
    at: float
    name: str
    text: str
    data: Mapping[str, Any] | None
    type: str
    is_error: bool

    @property
    def is_done(self) -> bool:
        """Whether this is the `[DONE]` event that ends a Chat stream."""
        return self.text.strip() == DONE


@dataclass(frozen=True)
class Violation:
    """A violation of the stream grammar; `rule` is the id of the check that reports it."""

    rule: str
    message: str
    expected: str
    got: str
    path: str | None = None
    event: int | None = None


def parse_events(parts: Iterable[StreamPart]) -> tuple[StreamEvent, ...]:
    """The events of a recorded stream, in order."""
    return tuple([_parsed(event) for event in decode_events(parts)])


def _parsed(event: ServerSentEvent) -> StreamEvent:
    data = json_object(event.data)
    kind = "" if data is None else data.get("type")
    if not isinstance(kind, str):
        kind = ""
    is_error = data is not None and (kind == "error" or bool(data.get("error")))
    return StreamEvent(*event, data, kind, is_error)


def json_object(text: str) -> Mapping[str, Any] | None:
    """Parse a JSON object. None for any other text, and for objects nested too deeply to report."""
    if text == DONE:
        return None
    try:
        value = parsed_json(text)
    except orjson.JSONDecodeError:  # or JSON that only Python takes, such as NaN
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            return None
    deep = text.count("[") + text.count("{") > DEEPEST and too_deep(value)
    return value if isinstance(value, dict) and not deep else None


def texts_of(event: StreamEvent) -> Iterator[str]:
    """The pieces of CoT and answer in an event, without arguments, summaries and repetitions."""
    if event.type:
        kind = event.type.removesuffix(".delta")
        found: list[object] = [(event.data or {}).get("delta")] if kind in _TEXT_EVENTS else []
    else:
        found = []
        for choice in objects((event.data or {}).get("choices")):
            delta = choice.get("delta")
            fields = delta if isinstance(delta, dict) else {}
            cot = fields.get("reasoning") or fields.get("reasoning_content")
            found += [cot, fields.get("content")]
    return (text for text in found if isinstance(text, str) and text)


def carries_text(event: StreamEvent) -> bool:
    """Whether an event carries generated text, including tool-call arguments."""
    if event.type:
        return event.type.endswith(".delta")
    for choice in objects((event.data or {}).get("choices")):
        delta = choice.get("delta", choice)  # A raw completion has its text in the choice.
        if isinstance(delta, dict) and any(map(delta.get, TEXT_FIELDS)):
            return True
    return False
