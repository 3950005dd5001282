"""The base of all APIs: build a request, and read the response of an exchange as a reply. Pure."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import orjson

from harness.api.base import ConversationItem, Reply, Settings, Tool, UnreadableReplyError
from harness.api.fields import DEEPEST, error_message, excerpt, parsed_json, too_deep
from harness.api.sse import ServerSentEvent, decode_events
from harness.records.conditions import Api
from harness.records.rollouts import Exchange, Response
from harness.steps import Steps, completed

DONE = "[DONE]"


class Dialect:
    """Requests and replies of one API as pure functions over JSON, without network access.

    It reads each exchange once and caches the reply while the exchange is in use.
    """

    api: Api
    path: str
    sdk: str
    """The attribute of the openai package's client that has `create`."""
    streaming: ClassVar[Mapping[str, Any]]
    """The body members that request a stream."""

    def __init__(self) -> None:
        self._cache: dict[int, tuple[weakref.ref[Exchange], Reply]] = {}

    def first_request(
        self,
        items: Sequence[ConversationItem],
        *,
        instructions: str | None,
        tools: Sequence[Tool],
        streaming: bool,
        settings: Settings,
    ) -> dict[str, Any]:
        """The body of the first request of a rollout.

        Args:
            items: The conversation so far.
            instructions: Sent in the API's own field or message for instructions.
            tools: The function tools that the model may call.
            streaming: Whether to request a stream.
            settings: The other parts of the request.
        """
        body = {"model": settings.model, **self._conversation(items, instructions, tools, settings)}
        if streaming:
            body |= self.streaming
        options = self._options(settings)
        body |= {name: value for name, value in options.items() if value is not None}
        return body | dict(settings.extra_body or {})

    def next_request(
        self,
        body: Mapping[str, Any],
        reply: Reply,
        items: Sequence[ConversationItem],
        *,
        stored: bool = False,
    ) -> dict[str, Any]:
        """The body after `reply`, with its CoT and calls sent back and `items` appended.

        Where the API can refer to a `stored` reply by its id, the body does so.
        """
        raise NotImplementedError

    def turns(self, body: Mapping[str, Any]) -> list[Any]:
        """The messages or items of a request, as far as they can be read: it may be malformed."""
        raise NotImplementedError

    def logprob_options(self, alternatives: int) -> dict[str, Any]:
        """The body members that request logprobs, with this many alternatives for each token."""
        raise NotImplementedError

    def logprobs(self, raw: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        """The entries of a reply's `raw` object in the form of Chat Completions, one per token.

        Chat and Responses have those of the answer.
        """
        raise NotImplementedError

    def with_limit(self, body: Mapping[str, Any], tokens: int) -> dict[str, Any]:
        """The same request with another limit of output tokens."""
        limit = self._options(Settings("", max_tokens=tokens))
        return {**body, **{name: value for name, value in limit.items() if value is not None}}

    def read(self, exchange: Exchange) -> Reply:
        """Read a finished exchange. Raises UnreadableReplyError."""
        return completed(self.reading(exchange))

    def reading(self, exchange: Exchange) -> Steps[Reply]:
        """`read` in small steps."""
        key = id(exchange)
        cached = self._cache.get(key)
        if cached is not None and cached[0]() is exchange:
            return cached[1]
        response = _good_response(exchange)
        if (exchange.request.body or {}).get("stream"):
            raw = yield from self._reassembled(response)
        else:
            raw = _json_body(response)
        reply = self._reply(raw)
        self._cache[key] = weakref.ref(exchange, lambda _: self._cache.pop(key, None)), reply
        return reply

    def _conversation(
        self,
        items: Sequence[ConversationItem],
        instructions: str | None,
        tools: Sequence[Tool],
        settings: Settings,
    ) -> dict[str, Any]:
        """The body members of the conversation and its tools."""
        raise NotImplementedError

    def _options(self, settings: Settings) -> dict[str, Any]:
        """The body members of the settings; None for a member that is left out."""
        raise NotImplementedError

    def _reassembled(self, response: Response) -> Steps[dict[str, Any]]:
        """The object that a non-streaming response would have as its body."""
        raise NotImplementedError

    def _reply(self, raw: dict[str, Any]) -> Reply:
        """The reply that a complete response object holds."""
        raise NotImplementedError


def json_events(response: Response) -> Iterator[tuple[ServerSentEvent, dict[str, Any]]]:
    """The events of a streaming response, without the final `[DONE]`."""
    if response.body is not None:
        kind = response.headers.get("content-type", "no content type")
        raise UnreadableReplyError(
            f"expected an event stream, got {kind}: {excerpt(response.body)}"
        )
    empty = True
    for event in decode_events(response.parts):
        if event.data.strip() != DONE:
            empty = False
            yield event, _json_object(event.data, f"stream part {event.part}", parsed_json)
    if empty:
        first = response.parts[0].raw if response.parts else ""
        raise UnreadableReplyError(f"the stream has no events with data: {excerpt(first)}")


def is_done(response: Response) -> bool:
    """Whether the stream ends with `[DONE]`."""
    return any(event.data.strip() == DONE for event in decode_events(response.parts[-3:]))


def _good_response(exchange: Exchange) -> Response:
    if exchange.failure is not None:
        raise UnreadableReplyError(exchange.failure.message)
    response = exchange.response
    if response is None or not 200 <= response.status < 300:
        status = response.status if response else "none"
        raise UnreadableReplyError(f"the HTTP status is {status}")
    return response


def _json_body(response: Response) -> dict[str, Any]:
    if response.body is None:
        raise UnreadableReplyError("expected one JSON object, got an event stream")
    return _json_object(response.body, "the body", orjson.loads)


def _json_object(text: str, place: str, parse: Callable[[str], object]) -> dict[str, Any]:
    """`text` as a JSON object that does not report an error."""
    try:
        value = parse(text)
    except orjson.JSONDecodeError as error:
        raise UnreadableReplyError(f"{place} is not JSON ({error}): {excerpt(text)}") from None
    if not isinstance(value, dict):
        raise UnreadableReplyError(f"{place} should be a JSON object: {excerpt(text)}")
    if text.count("[") + text.count("{") > DEEPEST and too_deep(value):
        raise UnreadableReplyError(f"{place} is nested deeper than {DEEPEST} levels")
    if value.get("error"):
        raise UnreadableReplyError(f"{place} is an error: {error_message(value['error'])}")
    return value
