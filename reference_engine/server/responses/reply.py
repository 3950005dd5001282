"""The response object, and its stream of events."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import orjson
from openai.types.responses import Response as ResponseType

from harmony.conversation import ConversationItem
from harmony.parse import Ended, Kind, Started, item_of
from reference_engine.generation.sampling import Token
from reference_engine.server.errors import ApiError
from reference_engine.server.generation import Generation
from reference_engine.server.pieces import Part, Piece, logprob
from reference_engine.server.responses.request import ResponsesRequest

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
    """Writes the output of one response: events of streams, items of non-streaming responses.

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
        added = _item_event("added", self._open, item | {"status": "in_progress"})
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
        self.history.append(item_of(writing.message, text))
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


def _content_part(kind: Kind, text: str, logprobs: list[dict[str, Any]]) -> dict[str, Any]:
    if kind == "reasoning":
        return {"type": "reasoning_text", "text": text}
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": logprobs}


def _item_event(what: str, writing: _Open, item: dict[str, Any]) -> Event:
    return {"type": f"response.output_item.{what}", "output_index": writing.index, "item": item}


def _part_event(what: str, writing: _Open, part: dict[str, Any]) -> Event:
    return {"type": f"response.content_part.{what}", **writing.place, "part": part}


@dataclass
class Reply:
    """Builds one response."""

    body: ResponsesRequest
    id: str = field(default_factory=lambda: f"resp_{secrets.token_hex(16)}")
    created: int = field(default_factory=lambda: int(time.time()))

    def __post_init__(self) -> None:
        self._fields = _echoed(self.body)

    def running(self) -> dict[str, Any]:
        """The response before any output."""
        return self._response("in_progress", [])

    def finished(self, output: Sequence[dict[str, Any]], generation: Generation) -> dict[str, Any]:
        """The complete response, validated against the SDK's type."""
        truncated = generation.finish == "length"
        response = self._response("incomplete" if truncated else "completed", output)
        response["usage"] = usage_of(generation)
        if truncated:
            response["incomplete_details"] = {"reason": "max_output_tokens"}
        else:
            response["completed_at"] = int(time.time())
        ResponseType.model_validate(response)
        return response

    def failed(self, output: Sequence[dict[str, Any]], error: ApiError) -> dict[str, Any]:
        """The response after an error."""
        response = self._response("failed", output)
        response["error"] = {"code": "server_error", "message": error.message}
        return response

    def _response(self, status: str, output: Sequence[dict[str, Any]]) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": "response",
            "created_at": self.created,
            "completed_at": None,
            "status": status,
            "error": None,
            "incomplete_details": None,
            "output": list(output),
            "usage": None,
            **self._fields,
        }


def _echoed(body: ResponsesRequest) -> dict[str, Any]:
    choice = body.tool_choice
    text_format = body.text.format.model_dump(by_alias=True, exclude_none=True)
    return {
        "model": body.model,
        "previous_response_id": body.previous_response_id,
        "instructions": body.instructions,
        "tools": [tool.echoed() for tool in body.tools],
        "tool_choice": choice if isinstance(choice, str) else choice.model_dump(),
        "parallel_tool_calls": body.parallel_tool_calls,
        "reasoning": {"effort": body.reasoning.effort or "medium", "summary": None},
        "text": {"format": text_format, "verbosity": body.text.verbosity},
        "temperature": body.temperature,
        "top_p": body.top_p,
        "top_logprobs": body.top_logprobs,
        "presence_penalty": 0,
        "frequency_penalty": 0,
        "max_output_tokens": body.max_output_tokens,
        "max_tool_calls": body.max_tool_calls,
        "truncation": body.truncation,
        "store": body.store,
        "background": False,
        "service_tier": "default",
        "metadata": body.metadata,
        "safety_identifier": body.safety_identifier,
        "prompt_cache_key": body.prompt_cache_key,
        "user": body.user,
    }


def usage_of(generation: Generation) -> dict[str, Any]:
    """The token counts of an answer."""
    prompt, completed = len(generation.prompt), len(generation.completion)
    return {
        "input_tokens": prompt,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": completed,
        "output_tokens_details": {"reasoning_tokens": generation.reasoning_tokens},
        "total_tokens": prompt + completed,
    }


class ResponseStream:
    """Streams one response as numbered events."""

    def __init__(
        self,
        reply: Reply,
        generation: Generation,
        writer: OutputWriter,
        keep: Callable[[dict[str, Any]], None],
    ) -> None:
        self._reply = reply
        self._generation = generation
        self._writer = writer
        self._keep = keep
        self._sent = 0

    async def pieces(self) -> AsyncGenerator[bytes]:
        """The encoded events; events of the same token form one piece."""
        opening = self._encode(
            {"type": kind, "response": self._reply.running()}
            for kind in ("response.created", "response.in_progress")
        )
        async with aclosing(self._generation.run()) as batches:
            async for parts in batches:
                if piece := opening + self._encode(self._writer.events(parts)):
                    yield piece
                opening = b""
        response = self._reply.finished(self._writer.items, self._generation)
        self._keep(response)
        last = {"type": f"response.{response['status']}", "response": response}
        yield opening + self._encode([last])

    def failure(self, error: ApiError) -> bytes:
        """The event that ends a stream after an error."""
        response = self._reply.failed(self._writer.items, error)
        return self._encode([{"type": "response.failed", "response": response}])

    def _encode(self, events: Iterable[Event]) -> bytes:
        encoded = b""
        for event in events:
            numbered = event | {"sequence_number": self._sent}
            self._sent += 1
            encoded += b"event: %b\ndata: %b\n\n" % (event["type"].encode(), orjson.dumps(numbered))
        return encoded
