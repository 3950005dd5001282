"""Converts the parts of an answer to Responses output items and events.

Streams send the events and non-streaming responses the items of the same writer, so that both have
the same content.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harmony.conversation import Answer, Call, ConversationItem, Preamble, Reasoning
from harmony.parse import Ended, Kind, Started
from reference_engine.generation.sampling import Token
from reference_engine.server.pieces import Part, Piece, logprob

Event = dict[str, Any]
_PREFIX: dict[Kind, str] = {"reasoning": "rs", "preamble": "msg", "answer": "msg", "call": "fc"}
_EVENT: dict[Kind, str] = {
    "reasoning": "response.reasoning_text",
    "preamble": "response.output_text",
    "answer": "response.output_text",
    "call": "response.function_call_arguments",
}


@dataclass
class _Open:
    """The current item."""

    message: Started
    id: str
    index: int
    item: dict[str, Any]
    text: list[str]
    logprobs: list[dict[str, Any]]

    @property
    def place(self) -> dict[str, Any]:
        """The fields that identify the item, or its part, in an event."""
        place = {"item_id": self.id, "output_index": self.index}
        return place if self.message.kind == "call" else place | {"content_index": 0}


class OutputWriter:
    """Writes the output of one response.

    Args:
        namespaces: The namespaces of functions; a call repeats its namespace.

    Attributes:
        items: The finished items.
        history: The conversation items of the finished items, in the same order.
    """

    def __init__(self, namespaces: Mapping[str, str] | None = None) -> None:
        self._namespaces = namespaces or {}
        self.items: list[dict[str, Any]] = []
        self.history: list[ConversationItem] = []
        self._open: _Open | None = None

    def events(self, parts: Sequence[Part]) -> list[Event]:
        """The events of the parts, without sequence numbers."""
        events: list[Event] = []
        for part in parts:
            match part:
                case Started():
                    events += self._begin(part)
                case Piece(_, text, tokens):
                    events.append(self._delta(text, tokens))
                case Ended(_, complete):
                    events += self._end(complete=complete)
        return events

    def _begin(self, message: Started) -> list[Event]:
        item_id = f"{_PREFIX[message.kind]}_{secrets.token_hex(16)}"
        item = _new_item(message, item_id)
        if message.kind == "call" and message.name in self._namespaces:
            item["namespace"] = self._namespaces[message.name]
        self._open = _Open(message, item_id, len(self.items), item, [], [])
        added = _item_event("added", self._open, _started(item))
        if message.kind == "call":
            return [added]
        return [added, _part_event("added", self._open, _content_part(message.kind, "", []))]

    def _delta(self, text: str, tokens: Sequence[Token]) -> Event:
        writing = self._writing
        writing.text.append(text)
        kind = writing.message.kind
        event = {"type": f"{_EVENT[kind]}.delta", **writing.place, "delta": text}
        if kind in {"preamble", "answer"}:
            event["logprobs"] = [logprob(token) for token in tokens]
            writing.logprobs += event["logprobs"]
        return event

    def _end(self, *, complete: bool) -> list[Event]:
        writing, self._open = self._writing, None
        kind, text = writing.message.kind, "".join(writing.text)
        item = writing.item
        item["status"] = "completed" if complete else "incomplete"
        done: Event = {"type": f"{_EVENT[kind]}.done", **writing.place}
        self.history.append(_entry(writing.message, text))
        self.items.append(item)
        if kind == "call":
            item["arguments"] = text
            return [done | {"arguments": text}, _item_event("done", writing, item)]
        part = _content_part(kind, text, writing.logprobs)
        item["content"] = [part]
        done["text"] = text
        if kind != "reasoning":
            done["logprobs"] = writing.logprobs
        return [done, _part_event("done", writing, part), _item_event("done", writing, item)]

    @property
    def _writing(self) -> _Open:
        assert self._open is not None
        return self._open


def _new_item(message: Started, item_id: str) -> dict[str, Any]:
    match message.kind:
        case "reasoning":
            return {"type": "reasoning", "id": item_id, "summary": [], "content": []}
        case "call":
            call = {"call_id": f"call_{secrets.token_hex(12)}", "name": message.name}
            return {"type": "function_call", "id": item_id, **call, "arguments": ""}
        case kind:
            phase = "commentary" if kind == "preamble" else "final_answer"
            item = {"type": "message", "id": item_id, "role": "assistant", "content": []}
            return item | {"phase": phase}


def _started(item: dict[str, Any]) -> dict[str, Any]:
    return item | {"status": "in_progress"}


def _content_part(kind: Kind, text: str, logprobs: list[dict[str, Any]]) -> dict[str, Any]:
    if kind == "reasoning":
        return {"type": "reasoning_text", "text": text}
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": logprobs}


def _item_event(what: str, writing: _Open, item: dict[str, Any]) -> Event:
    return {"type": f"response.output_item.{what}", "output_index": writing.index, "item": item}


def _part_event(what: str, writing: _Open, part: dict[str, Any]) -> Event:
    return {"type": f"response.content_part.{what}", **writing.place, "part": part}


def _entry(message: Started, text: str) -> ConversationItem:
    match message.kind:
        case "reasoning":
            return Reasoning(text)
        case "preamble":
            return Preamble(text)
        case "answer":
            return Answer(text)
        case "call":
            return Call(message.name, text)
