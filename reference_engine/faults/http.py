"""Requests, responses and server-sent events as faults see them, and the parts of their JSON."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Literal

import orjson

Json = dict[str, Any]
Api = Literal["chat", "responses"]

BODY: ContextVar[Mapping[str, Any]] = ContextVar("body", default=MappingProxyType({}))
"""The JSON of the request that is being served, for changes at hooks that do not receive it."""


@dataclass(frozen=True)
class ClientRequest:
    """A request as the client sent it."""

    api: Api  # the API of the path
    body: Json  # the JSON object; empty if the body was not one
    served: str  # the id of the model that the server offers
    gzip: bool = False  # whether the client accepts a body that gzip compressed
    accept: str = ""  # the media types that the client reads

    @property
    def streaming(self) -> bool:
        """Whether the client requested a stream."""
        return self.body.get("stream") is True

    @property
    def forced_choice(self) -> bool:
        """Whether `tool_choice` is neither auto nor none."""
        return self.body.get("tool_choice") not in (None, "auto", "none")


@dataclass(frozen=True)
class Reply:
    """A complete response, or the status and headers of a stream (`body` is then empty)."""

    status: int
    headers: dict[str, str]  # the names in lower case
    body: bytes = b""

    @property
    def streamed(self) -> bool:
        """Whether its body has the events of a stream."""
        return self.headers.get("content-type", "").startswith("text/event-stream")

    @property
    def json(self) -> Json:
        """The body; empty if it is not a JSON object."""
        data = orjson.loads(self.body) if self.body else {}
        return data if isinstance(data, dict) else {}


@dataclass(frozen=True)
class SseEvent:
    """A server-sent event: JSON with an optional name, `[DONE]` without JSON, or raw bytes."""

    data: Json | None = None
    name: str | None = None
    raw: bytes | None = None

    @property
    def type(self) -> str:
        """The type of a Responses event; empty in a Chat chunk."""
        return str((self.data or {}).get("type", ""))

    @property
    def choice(self) -> Json:
        """The first choice of a Chat chunk; empty if there is none."""
        choices = (self.data or {}).get("choices") or [{}]
        first: Json = choices[0]
        return first

    @property
    def delta(self) -> Json:
        """The delta of the first choice of a Chat chunk; empty if there is none."""
        found: Json = self.choice.get("delta") or {}
        return found

    @property
    def item(self) -> Json:
        """The item of a Responses event; empty if there is none."""
        found: Json = (self.data or {}).get("item") or {}
        return found

    @property
    def done(self) -> bool:
        """Whether this is the `[DONE]` that ends a Chat stream."""
        return self.data is None and self.raw is None

    @property
    def answer_text(self) -> bool:
        """Whether the event carries text of the answer."""
        return bool(self.delta.get("content")) or self.type == "response.output_text.delta"

    def updated(self, **fields: object) -> SseEvent:
        """Return the event with fields of its JSON replaced."""
        return replace(self, data=(self.data or {}) | fields)

    def renamed(self, kind: str) -> SseEvent:
        """Return the Responses event with another type and name."""
        return replace(self.updated(type=kind), name=kind)

    def with_choice(self, **fields: object) -> SseEvent:
        """Return the Chat chunk with only its first choice, some of whose fields are replaced."""
        return self.updated(choices=[self.choice | fields])

    def encode(self) -> bytes:
        """Return the bytes on the wire."""
        if self.raw is not None:
            return self.raw
        name = f"event: {self.name}\n".encode() if self.name else b""
        data = b"[DONE]" if self.data is None else orjson.dumps(self.data)
        return name + b"data: " + data + b"\n\n"


SseStream = AsyncIterator[SseEvent]


def decode(block: bytes) -> SseEvent:
    """Read one event of the healthy server, without the blank line that ends it."""
    fields = dict(line.split(b": ", 1) for line in block.splitlines() if b": " in line)
    data = fields.get(b"data", b"")
    name = fields.get(b"event")
    return SseEvent(
        None if data == b"[DONE]" else orjson.loads(data), name.decode() if name else None
    )


def objects(value: object) -> Iterator[Json]:
    """Yield all JSON objects within a value, the outer ones first."""
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    for part in value if isinstance(value, list) else ():
        yield from objects(part)


def choices(data: Json) -> Iterator[Json]:
    """Yield the choices of a Chat response or chunk."""
    yield from data.get("choices") or ()


def chat_messages(data: Json) -> Iterator[Json]:
    """Yield the messages of a Chat response, or the deltas of a chunk."""
    for choice in choices(data):
        yield choice["message"] if "message" in choice else choice.get("delta", {})


def response_of(data: Json) -> Json:
    """Return the response in a Responses event, else the payload itself."""
    found: Json = data.get("response", data)
    return found


def output_items(data: Json) -> Iterator[Json]:
    """Yield the output items in a response or in a Responses event."""
    items = (data.get("item"), *(response_of(data).get("output") or ()))
    yield from (item for item in items if isinstance(item, dict))


def calls(data: Json) -> Iterator[Json]:
    """Yield the tool calls of a Chat payload or the function calls of a Responses payload."""
    for message in chat_messages(data):
        yield from message.get("tool_calls") or ()
    yield from (item for item in output_items(data) if item.get("type") == "function_call")


def usages(data: Json) -> Iterator[Json]:
    """Yield the usage in a payload, if any."""
    if usage := response_of(data).get("usage"):
        yield usage


def messages_key(body: Json) -> str:
    """Return the field of a request that holds its messages or input items."""
    return "messages" if "messages" in body else "input"


def messages_of(body: Json) -> list[Json]:
    """Return the messages of a Chat request or the items of a Responses request."""
    found = body.get(messages_key(body))
    return found if isinstance(found, list) else []
