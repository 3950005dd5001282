"""The base of all APIs: build requests, and read responses as replies. No I/O."""

import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

from harness.api.fields import objects_at, quoted, read_object
from harness.api.items import (
    Body,
    History,
    Items,
    Reply,
    RequestSettings,
    Tool,
    UnreadableReplyError,
)
from harness.api.sse import StreamEvent, message_events, stream_events
from harness.records.conditions import Api
from harness.records.rollouts import Exchange, Response

Events = Callable[[], Iterable[StreamEvent]]


class Dialect(ABC):
    """Requests and replies of one API as pure functions over JSON, without network access.

    Each exchange is read once, and its reply is cached while the exchange is in use.
    """

    api: Api
    path: str
    sdk: str  # the attribute of the openai package's client that has `create`
    streaming: ClassVar[Mapping[str, Any]]  # the body members that request a stream

    def __init__(self) -> None:
        self._cache: dict[int, tuple[weakref.ref[Exchange], Reply]] = {}

    def first_request(
        self,
        items: Items,
        *,
        instructions: str | None,
        tools: Sequence[Tool],
        streaming: bool,
        settings: RequestSettings,
    ) -> dict[str, Any]:
        """Return the body of the first request of a rollout; `instructions` are separate."""
        body = {"model": settings.model, **self._conversation(items, instructions, tools, settings)}
        if streaming:
            body |= self.streaming
        options = self._options(settings)
        body |= {name: value for name, value in options.items() if value is not None}
        body |= settings.extra_body
        return {name: body[name] for name in body if name not in settings.omits}

    @abstractmethod
    def next_request(
        self, body: Mapping[str, Any], reply: Reply, items: Items, *, history: History = "sent"
    ) -> Body:
        """Return the body after `reply` and `items`."""

    def offered(self, tools: Sequence[Tool]) -> Body:
        """Return the body member that offers these tools; empty without tools."""
        return {"tools": list(map(self._tool, tools))} if tools else {}

    @abstractmethod
    def turns(self, body: Mapping[str, Any]) -> list[Any]:
        """Return the readable messages or items of a request, which may be malformed."""

    @abstractmethod
    def logprob_options(self, alternatives: int) -> dict[str, Any]:
        """The body members that request logprobs, with this many alternatives for each token."""

    @abstractmethod
    def logprobs(self, raw: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        """The entries of a reply's `raw` object in the form of Chat Completions, one per token.

        Chat and Responses have only those of the answer.
        """

    def with_limit(self, body: Mapping[str, Any], tokens: int) -> dict[str, Any]:
        """Return the same request with another limit of output tokens."""
        limit = self._options(RequestSettings("", max_tokens=tokens))
        return {**body, **{name: value for name, value in limit.items() if value is not None}}

    def read(self, exchange: Exchange, events: Events | None = None) -> Reply:
        """Read an exchange; `events` gives its parsed events. Raises UnreadableReplyError."""
        key = id(exchange)
        cached = self._cache.get(key)
        if cached is not None and cached[0]() is exchange:
            return cached[1]
        response = _good_response(exchange)
        if exchange.request.streams:
            raw = self._reassembled(response, events_of(exchange) if events is None else events())
        else:
            raw = _json_body(response)
        reply = self._reply(raw)
        self._cache[key] = weakref.ref(exchange, lambda _: self._cache.pop(key, None)), reply
        return reply

    @abstractmethod
    def _conversation(
        self,
        items: Items,
        instructions: str | None,
        tools: Sequence[Tool],
        settings: RequestSettings,
    ) -> Body:
        """Return the body members of the conversation and its tools."""

    def _tool(self, tool: Tool) -> Body:
        """A function in the form of this API."""
        raise NotImplementedError

    @abstractmethod
    def _options(self, settings: RequestSettings) -> Body:
        """Return the body members of the settings; None for a member that is left out."""

    @abstractmethod
    def _reassembled(self, response: Response, events: Iterable[StreamEvent]) -> Body:
        """Return the object that a non-streaming response would have as its body."""

    @abstractmethod
    def _reply(self, raw: Body) -> Reply:
        """Return the reply in a complete response object."""


def events_of(exchange: Exchange) -> Iterator[StreamEvent]:
    """Yield the events of a stream; nothing if there is none."""
    parts = () if exchange.response is None else exchange.response.parts
    return message_events(parts) if exchange.request.over_websocket else stream_events(parts)


def json_events(
    response: Response, events: Iterable[StreamEvent]
) -> Iterator[tuple[StreamEvent, Mapping[str, Any]]]:
    """Yield the events of a streaming response with their data, without the final `[DONE]`."""
    if response.body is not None:
        kind = response.headers.get("content-type", "no content type")
        raise UnreadableReplyError(f"expected an event stream, got {kind}: {quoted(response.body)}")
    empty = True
    for event in events:
        if event.data is None and event.is_done:
            continue
        if event.data is None or event.problem:
            raise UnreadableReplyError(f"stream part {event.number} {event.problem}")
        empty = False
        yield event, event.data
    if empty:
        first = response.parts[0].raw if response.parts else ""
        raise UnreadableReplyError(f"the stream has no events with data: {quoted(first)}")


def require_end(response: Response, finish: str | None) -> None:
    """Require a finish_reason in a stream, or `[DONE]` at its end. Raises UnreadableReplyError."""
    if finish is None and not any(event.is_done for event in stream_events(response.parts[-3:])):
        raise UnreadableReplyError("the stream ended without finish_reason and without [DONE]")


def choices_of(raw: Mapping[str, Any]) -> list[tuple[str, Body]]:
    """The choices of a reply, one at least, with their paths. Raises UnreadableReplyError."""
    choices = objects_at(raw, "choices", "")
    if not choices:
        raise UnreadableReplyError("choices is empty or missing")
    return choices


def _good_response(exchange: Exchange) -> Response:
    if exchange.failure is not None:
        raise UnreadableReplyError(exchange.failure.message)
    response = exchange.response
    if response is None or not response.good_status:
        status = response.status if response else "none"
        raise UnreadableReplyError(f"the HTTP status is {status}")
    return response


def _json_body(response: Response) -> dict[str, Any]:
    if response.body is None:
        raise UnreadableReplyError("expected one JSON object, got an event stream")
    value, problem = read_object(response.body)
    if value is None or problem:
        raise UnreadableReplyError(f"the body {problem}")
    return value
