"""The output of one response: events of streams, items of non-streaming responses."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harmony.conversation import BuiltinCall
from harmony.parse import Ended, Kind, Started
from reference_engine.builtin.tools import Ran, Toolbox
from reference_engine.generation.sampling import Token
from reference_engine.server.pieces import Piece, logprob
from reference_engine.server.responses.steps import StepPart

Event = dict[str, Any]
_PREFIX: dict[Kind, str] = {"reasoning": "rs", "preamble": "msg", "answer": "msg", "call": "fc"}
_EVENT: dict[Kind, str] = {
    "reasoning": "response.reasoning_text",
    "preamble": "response.output_text",
    "answer": "response.output_text",
    "call": "response.function_call_arguments",
}
_SEARCH = "response.web_search_call"
_PYTHON = "response.code_interpreter_call"


@dataclass
class _Open:
    message: Started
    id: str
    index: int
    item: dict[str, Any]
    text: list[str]
    logprobs: list[dict[str, Any]]

    @property
    def item_place(self) -> dict[str, Any]:
        """The fields that identify the item in an event."""
        return {"item_id": self.id, "output_index": self.index}

    @property
    def place(self) -> dict[str, Any]:
        """The fields that identify the item, or its part, in an event."""
        part = {} if self.message.kind == "call" else {"content_index": 0}
        return self.item_place | part


class OutputWriter:
    """Writes the output of one response.

    Args:
        namespaces: The namespaces of functions; a call repeats its namespace.
        tools: The built-in tools, whose calls have items of their own.
        sources: Whether the items of searches list the URLs that were found.
        outputs: Whether the items of programs show what they printed.

    Attributes:
        items: The finished items.
    """

    def __init__(
        self,
        namespaces: Mapping[str, str] | None = None,
        tools: Toolbox | None = None,
        *,
        sources: bool = False,
        outputs: bool = False,
    ) -> None:
        self._namespaces = namespaces or {}
        self._tools = tools or Toolbox()
        self._sources = sources
        self._outputs = outputs
        self._container = f"cntr_{secrets.token_hex(16)}"
        self.items: list[dict[str, Any]] = []
        self._open: _Open | None = None

    def events(self, parts: Sequence[StepPart]) -> list[Event]:
        """The events of the parts, without sequence numbers."""
        events: list[Event] = []
        for part in parts:
            match part:
                case Started():
                    events += self._begin(part)
                case Piece(_, text, tokens):
                    events += self._delta(text, tokens)
                case Ended(_, complete):
                    events += self._end(complete=complete)
                case Ran():
                    events += self._ran(part)
        return events

    def _begin(self, message: Started) -> list[Event]:
        builtin = message.kind == "call" and self._tools.owns(message.name)
        item = self._new_builtin_item(message.name) if builtin else _new_item(message)
        if message.kind == "call" and message.name in self._namespaces:
            item["namespace"] = self._namespaces[message.name]
        self._open = _Open(message, item["id"], len(self.items), item, [], [])
        if item["type"] == "web_search_call":  # Its action is not known yet.
            return []
        added = _item_event("added", self._open, item | {"status": "in_progress"})
        if item["type"] == "code_interpreter_call":
            return [added, _progress(_PYTHON, "in_progress", self._open)]
        if message.kind == "call":
            return [added]
        return [added, _part_event("added", self._open, _content_part(message.kind, "", []))]

    def _delta(self, text: str, tokens: Sequence[Token]) -> list[Event]:
        writing = self._writing
        writing.text.append(text)
        kind = writing.message.kind
        if writing.item["type"] == "web_search_call":
            return []
        if writing.item["type"] == "code_interpreter_call":
            return [{"type": f"{_PYTHON}_code.delta", **writing.item_place, "delta": text}]
        event = {"type": f"{_EVENT[kind]}.delta", **writing.place, "delta": text}
        if kind in {"preamble", "answer"}:
            event["logprobs"] = [logprob(token) for token in tokens]
            writing.logprobs += event["logprobs"]
        return [event]

    def _end(self, *, complete: bool) -> list[Event]:
        writing = self._writing
        kind, text = writing.message.kind, "".join(writing.text)
        item = writing.item
        if item["type"] in {"web_search_call", "code_interpreter_call"}:
            return self._called(writing, text, complete=complete)
        self._open = None
        item["status"] = "completed" if complete else "incomplete"
        done: Event = {"type": f"{_EVENT[kind]}.done", **writing.place}
        self.items.append(item)
        if kind == "call":
            item["arguments"] = text
            return [done | {"arguments": text}, _item_event("done", writing, item)]
        part = _content_part(kind, text, writing.logprobs)
        item["content"] = [part]
        done["text"] = text
        events = []
        if kind != "reasoning":
            done["logprobs"] = writing.logprobs
            part["annotations"] = self._annotations(text)
            events = _annotation_events(writing, part["annotations"])
        events += [done, _part_event("done", writing, part)]
        return [*events, _item_event("done", writing, item)]

    def _called(self, writing: _Open, text: str, *, complete: bool) -> list[Event]:
        """The events between the model's call of a built-in tool and its result."""
        item = writing.item
        if item["type"] == "code_interpreter_call":
            item["code"] = text
            done = {"type": f"{_PYTHON}_code.done", **writing.item_place, "code": text}
            events = [done, _progress(_PYTHON, "interpreting", writing)]
        else:
            item["action"] = self._tools.action(BuiltinCall(writing.message.name, text))
            added = _item_event("added", writing, item | {"status": "in_progress"})
            stages = ("in_progress", "searching")
            events = [added, *(_progress(_SEARCH, stage, writing) for stage in stages)]
        if complete:
            return events
        self._open = None
        item["status"] = "incomplete"
        self.items.append(item)
        return [*events[:1], _item_event("done", writing, item)]

    def _ran(self, ran: Ran) -> list[Event]:
        writing, self._open = self._writing, None
        item = writing.item
        item["status"] = "failed" if ran.failed else "completed"
        kind = _PYTHON
        if item["type"] == "web_search_call":
            kind = _SEARCH
            if self._sources and item["action"]["type"] == "search":
                item["action"]["sources"] = [{"type": "url", "url": url} for url in ran.sources]
        elif self._outputs:
            item["outputs"] = [{"type": "logs", "logs": ran.output}] if ran.output else []
        self.items.append(item)
        return [_progress(kind, "completed", writing), _item_event("done", writing, item)]

    def _annotations(self, text: str) -> list[dict[str, Any]]:
        return [
            {
                "type": "url_citation",
                "start_index": cited.start,
                "end_index": cited.end,
                "title": cited.page.title,
                "url": cited.page.url,
            }
            for cited in self._tools.citations(text)
        ]

    def _new_builtin_item(self, name: str) -> dict[str, Any]:
        if name != "python":
            return {"type": "web_search_call", "id": f"ws_{secrets.token_hex(16)}"}
        return {
            "type": "code_interpreter_call",
            "id": f"ci_{secrets.token_hex(16)}",
            "code": "",
            "container_id": self._container,
            "outputs": None,
        }

    @property
    def _writing(self) -> _Open:
        assert self._open is not None
        return self._open


def _new_item(message: Started) -> dict[str, Any]:
    item_id = f"{_PREFIX[message.kind]}_{secrets.token_hex(16)}"
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


def _content_part(kind: Kind, text: str, logprobs: list[dict[str, Any]]) -> dict[str, Any]:
    if kind == "reasoning":
        return {"type": "reasoning_text", "text": text}
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": logprobs}


def _item_event(what: str, writing: _Open, item: dict[str, Any]) -> Event:
    return {"type": f"response.output_item.{what}", "output_index": writing.index, "item": item}


def _part_event(what: str, writing: _Open, part: dict[str, Any]) -> Event:
    return {"type": f"response.content_part.{what}", **writing.place, "part": part}


def _progress(kind: str, stage: str, writing: _Open) -> Event:
    return {"type": f"{kind}.{stage}", **writing.item_place}


def _annotation_events(writing: _Open, annotations: Sequence[dict[str, Any]]) -> list[Event]:
    kind = "response.output_text.annotation.added"
    return [
        {"type": kind, **writing.place, "annotation_index": at, "annotation": annotation}
        for at, annotation in enumerate(annotations)
    ]
