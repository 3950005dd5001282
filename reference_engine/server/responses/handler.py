"""Serves /v1/responses."""

from __future__ import annotations

from contextlib import aclosing
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from harmony.conversation import ConversationItem
from reference_engine.server.connection import EventStream, while_wanted
from reference_engine.server.context import Context
from reference_engine.server.errors import ApiError, invalid
from reference_engine.server.fields import parse_request
from reference_engine.server.generation import Generation
from reference_engine.server.responses.compaction import CompactRequest, compacted
from reference_engine.server.responses.items import turns_of
from reference_engine.server.responses.listing import listed, page
from reference_engine.server.responses.output import OutputWriter
from reference_engine.server.responses.reply import Reply
from reference_engine.server.responses.request import (
    ConversationRequest,
    ResponsesRequest,
    unknown_previous,
)
from reference_engine.server.responses.store import Memory, ResponseStore, Stored
from reference_engine.server.responses.stream import ResponseStream
from reference_engine.server.responses.tools import namespaces
from reference_engine.server.responses.websocket import CONNECTION_STORE


class ResponsesHandler:
    """Answers Responses requests with one engine, and keeps the replies."""

    def __init__(self, context: Context) -> None:
        self._context = context
        settings = context.settings
        self._store = ResponseStore(settings.stored_responses, settings.stored_bytes)

    async def create(self, request: Request) -> Response:
        """One response, whole or streamed.

        Raises:
            ApiError: The request cannot be served.
        """
        context = self._context
        asked = parse_request(ResponsesRequest, await context.body(request))
        context.require_model(asked.model)
        memory = Memory(self._store, getattr(request.state, CONNECTION_STORE, None))
        turns = _turns(asked, memory)
        order = asked.order(turns, context.settings.current_date)
        generation = context.generation(context.engine, order)
        reply = Reply(asked)
        writer = OutputWriter(namespaces(asked.tools))

        def keep(response: dict[str, Any]) -> None:
            memory.put(_stored(asked, response, turns, writer), share=asked.store)

        if asked.stream:
            stream = ResponseStream(reply, generation, writer, keep)
            return EventStream(stream.pieces(), context.stop, stream.failure)
        await while_wanted(request.receive, context.stop, _write(generation, writer))
        response = reply.finished(writer.items, generation)
        keep(response)
        return _json(response)

    async def compact(self, request: Request) -> Response:
        """What may stand for a conversation in later requests.

        Raises:
            ApiError: The request cannot be served.
        """
        context = self._context
        asked = parse_request(CompactRequest, await context.body(request))
        context.require_model(asked.model)
        turns = _turns(asked, Memory(self._store))
        order = asked.order(turns, context.settings.current_date)
        generation = context.generation(context.engine, order)
        writer = OutputWriter()
        await while_wanted(request.receive, context.stop, _write(generation, writer))
        return _json(compacted(turns, writer, generation))

    async def get(self, request: Request) -> Response:
        """A stored response.

        Raises:
            ApiError: There is none of this id, or it is asked for as a stream.
        """
        stored = self._stored(request)
        if request.query_params.get("stream", "false").lower() != "false":
            message = "'stream' is not supported here: only a background response has a stream left"
            raise invalid("stream", f"{message}, and this server has none.")
        return Response(stored.response, media_type="application/json")

    async def input_items(self, request: Request) -> Response:
        """The input of a stored response, without that of the responses before it.

        Raises:
            ApiError: There is none of this id, or the page cannot be had.
        """
        stored = self._stored(request)
        return _json(page(orjson.loads(stored.input), request.query_params))

    async def cancel(self, request: Request) -> Response:
        """Never possible: only a background response can be cancelled, and there are none.

        Raises:
            ApiError: Always.
        """
        self._stored(request)
        message = "Only responses created with 'background' true can be cancelled."
        raise invalid("response_id", message)

    async def delete(self, request: Request) -> Response:
        """Forget a stored response.

        Raises:
            ApiError: There is none of this id.
        """
        response_id = request.path_params["response_id"]
        if not self._store.delete(response_id):
            raise _not_found(response_id)
        return _json({"id": response_id, "object": "response", "deleted": True})

    def _stored(self, request: Request) -> Stored:
        response_id = request.path_params["response_id"]
        stored = self._store.get(response_id)
        if stored is None:
            raise _not_found(response_id)
        return stored


def _turns(asked: ConversationRequest, memory: Memory) -> tuple[ConversationItem, ...]:
    """The conversation: what the previous response holds, then the input."""
    earlier: tuple[ConversationItem, ...] = ()
    calls: dict[str, str] = {}
    if asked.previous_response_id is not None:
        stored = memory.get(asked.previous_response_id)
        if stored is None:
            raise unknown_previous(asked.previous_response_id)
        earlier, calls = stored.turns, dict(stored.calls)
    return turns_of(asked.items, earlier, calls, memory.item)


async def _write(generation: Generation, writer: OutputWriter) -> None:
    async with aclosing(generation.run()) as batches:
        async for parts in batches:
            writer.events(parts)


def _stored(
    asked: ResponsesRequest,
    response: dict[str, Any],
    turns: tuple[ConversationItem, ...],
    writer: OutputWriter,
) -> Stored:
    pairs = list(zip(writer.items, writer.turns, strict=True))
    return Stored(
        id=response["id"],
        response=orjson.dumps(response),
        turns=(*turns, *writer.turns),
        items={item["id"]: (turn, item.get("call_id")) for item, turn in pairs},
        calls={item["call_id"]: item["name"] for item, _ in pairs if "call_id" in item},
        input=orjson.dumps(listed(asked.items)),
    )


def _not_found(response_id: str) -> ApiError:
    message = f"Response with id '{response_id}' not found."
    return ApiError(404, message, param="response_id", code="response_not_found")


def _json(data: dict[str, Any]) -> Response:
    return Response(orjson.dumps(data), media_type="application/json")
