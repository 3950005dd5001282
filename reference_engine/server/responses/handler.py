"""Serves /v1/responses."""

from contextlib import aclosing
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from harmony.conversation import ConversationItem
from reference_engine.builtin.tools import Toolbox
from reference_engine.server.connection import Context, EventStream, until_disconnect
from reference_engine.server.errors import ApiError, invalid, json_response
from reference_engine.server.generation import Generation, GenerationRequest
from reference_engine.server.responses.history import history_of
from reference_engine.server.responses.output import OutputWriter
from reference_engine.server.responses.reply import Reply
from reference_engine.server.responses.request import ResponsesRequest
from reference_engine.server.responses.steps import Steps
from reference_engine.server.responses.store import ResponseStore, Stored, page
from reference_engine.server.responses.tools import builtin_of, custom, namespaces


class ResponsesHandler:
    """Serves Responses requests with one engine, and stores the responses."""

    def __init__(self, context: Context) -> None:
        self._context = context
        settings = context.settings
        self._store = ResponseStore(settings.stored_responses, settings.stored_bytes)

    async def create(self, request: Request) -> Response:
        """Create a response, streaming or not."""
        context = self._context
        body = await context.read(request, ResponsesRequest)
        history = _history(body, self._store)
        steps, tools = await self._steps(body, history)
        writer = OutputWriter(
            namespaces(body.tools),
            tools,
            custom=custom(body.tools),
            include=body.include,
        )
        reply = Reply(body, steps, writer)

        def keep(response: dict[str, Any]) -> None:
            if body.store:
                self._store.put(_stored(body, response, history, writer, steps))

        if body.stream:
            return EventStream(reply.events(keep), context.stop, reply.failure)
        await until_disconnect(request.receive, context.stop, _write(steps, writer))
        response = reply.finished()
        keep(response)
        return json_response(response)

    async def _steps(
        self, body: ResponsesRequest, history: tuple[ConversationItem, ...]
    ) -> tuple[Steps, Toolbox]:
        settings = self._context.settings
        builtin = builtin_of(body.tools, body.tool_choice, settings.tools)
        tools = settings.tools.toolbox(builtin)
        await tools.replay(history)
        wanted = body.generation_request(history, settings.current_date, builtin)
        most_calls = settings.tools.most_calls
        if body.max_tool_calls is not None:
            most_calls = min(most_calls, body.max_tool_calls)
        return Steps(self._generate, wanted, tools, most_calls), tools

    def _generate(self, request: GenerationRequest) -> Generation:
        return self._context.generation(self._context.engine, request)

    async def stored(self, request: Request) -> Response:
        """Return or delete a stored response. Raises ApiError."""
        return await (self._delete if request.method == "DELETE" else self._get)(request)

    async def _get(self, request: Request) -> Response:
        """Return a stored response. Raises ApiError."""
        stored = self._stored(request)
        if request.query_params.get("stream", "false").lower() != "false":
            message = "'stream' requires a background response, which this server does not support."
            raise invalid("stream", message)
        return Response(stored.response, media_type="application/json")

    async def input_items(self, request: Request) -> Response:
        """List the input of a stored response, not that of earlier responses. Raises ApiError."""
        stored = self._stored(request)
        return json_response(page(orjson.loads(stored.input), request.query_params))

    async def cancel(self, request: Request) -> Response:
        """Refuse: only background responses can be cancelled, and this server has none."""
        self._stored(request)
        message = "Only responses created with 'background' true can be cancelled."
        raise invalid("response_id", message)

    async def _delete(self, request: Request) -> Response:
        """Delete a stored response. Raises ApiError."""
        response_id = self._stored(request).id
        self._store.delete(response_id)
        return json_response({"id": response_id, "object": "response", "deleted": True})

    def _stored(self, request: Request) -> Stored:
        response_id = request.path_params["response_id"]
        stored = self._store.get(response_id)
        if stored is None:
            message = f"Response with id '{response_id}' not found."
            raise ApiError(404, message, param="response_id", code="response_not_found")
        return stored


def _history(body: ResponsesRequest, memory: ResponseStore) -> tuple[ConversationItem, ...]:
    """The conversation of the previous response, then the input. Raises ApiError."""
    if body.input is None and body.previous_response_id is None:
        message = "Missing required parameter: 'input' or 'previous_response_id'."
        raise invalid("input", message, "missing_required_parameter")
    earlier: tuple[ConversationItem, ...] = ()
    calls: dict[str, str] = {}
    if body.previous_response_id is not None:
        stored = memory.get(body.previous_response_id)
        if stored is None:
            message = f"Previous response with id '{body.previous_response_id}' not found."
            raise invalid("previous_response_id", message, "previous_response_not_found")
        earlier, calls = stored.history, dict(stored.calls)
    return history_of(body.items, earlier, calls, memory.item)


async def _write(steps: Steps, writer: OutputWriter) -> None:
    async with aclosing(steps.run()) as batches:
        async for parts in batches:
            writer.events(parts)


def _stored(
    body: ResponsesRequest,
    response: dict[str, Any],
    history: tuple[ConversationItem, ...],
    writer: OutputWriter,
    steps: Steps,
) -> Stored:
    pairs = list(zip(writer.items, steps.history, strict=True))
    return Stored(
        id=response["id"],
        response=orjson.dumps(response),
        history=(*history, *(entry for step in steps.history for entry in step)),
        items={item["id"]: (entries, item.get("call_id")) for item, entries in pairs},
        calls={item["call_id"]: item["name"] for item, _ in pairs if "call_id" in item},
        input=orjson.dumps([item.listed() for item in body.items]),
    )
