"""Serves /v1/responses, and stores responses in memory for `previous_response_id` and GET."""

import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Literal, TypeVar

import orjson
from pydantic import BaseModel, Field, ValidationError
from starlette.requests import Request
from starlette.responses import Response

from harmony.conversation import ConversationItem, texts_of
from reference_engine.builtin.tools import Toolbox
from reference_engine.server.api_error import ApiError, invalid, json_response
from reference_engine.server.connection import Json, RequestContext, SentReply, Take, obfuscated
from reference_engine.server.generation import Generation, GenerationRequest, usage_of
from reference_engine.server.responses.input_items import history_of
from reference_engine.server.responses.offered_tools import builtin_of
from reference_engine.server.responses.output_items import OutputWriter
from reference_engine.server.responses.request import ResponsesRequest
from reference_engine.server.responses.steps import StepEvent, Steps

P = TypeVar("P", bound="ResponsesReply")


@dataclass(frozen=True)
class Stored:
    """A response and its conversation."""

    id: str
    response: bytes  # the encoded response
    history: tuple[ConversationItem, ...]
    """The conversation up to and including its output, without `instructions`."""
    items: dict[str, tuple[tuple[ConversationItem, ...], str | None]] = field(default_factory=dict)
    """The conversation items of each output item and, for a call, the call id."""
    calls: dict[str, str] = field(default_factory=dict)
    """The names of calls without a result, by call id."""
    input: bytes = b"[]"  # the encoded list of its input items

    @property
    def size(self) -> int:
        """The approximate size in bytes. Texts shared with other responses are counted again."""
        texts = sum(len(text) for entry in self.history for text in texts_of(entry))
        return texts + 100 * len(self.history) + len(self.response) + len(self.input)


class ResponseStore:
    """Stores the most recently used responses, up to a number and a size.

    What it does not have is looked for in the store `behind` it, if there is one.
    """

    def __init__(
        self, max_responses: int, max_bytes: int, behind: "ResponseStore | None" = None
    ) -> None:
        self._behind = behind
        self._max_responses = max_responses
        self._max_bytes = max_bytes
        self._bytes = 0
        self._stored: OrderedDict[str, tuple[Stored, int]] = OrderedDict()
        self._items: dict[str, str] = {}

    def put(self, stored: Stored) -> None:
        """Store a response unless it is too large, removing the least recently used ones."""
        size = stored.size
        if size > self._max_bytes:
            return
        self._stored[stored.id] = (stored, size)
        self._bytes += size
        self._items |= dict.fromkeys(stored.items, stored.id)
        while len(self._stored) > self._max_responses or self._bytes > self._max_bytes:
            self.delete(next(iter(self._stored)))

    def get(self, response_id: str) -> Stored | None:
        """Return a response, which becomes the most recently used one."""
        if response_id not in self._stored:
            return self._behind.get(response_id) if self._behind else None
        self._stored.move_to_end(response_id)
        return self._stored[response_id][0]

    def item(self, item_id: str) -> tuple[tuple[ConversationItem, ...], str | None] | None:
        """Return the conversation items of an output item, with the call id of a call."""
        stored = self.get(self._items.get(item_id, ""))
        if stored is None:
            return self._behind.item(item_id) if self._behind else None
        return stored.items[item_id]

    def delete(self, response_id: str) -> None:
        """Delete a response if it is stored."""
        if response_id not in self._stored:
            return
        stored, size = self._stored.pop(response_id)
        self._bytes -= size
        for item_id in stored.items:
            del self._items[item_id]


class PageQuery(BaseModel):
    """The query of a list of items."""

    limit: Annotated[int, Field(ge=1, le=100)] = 20
    order: Literal["asc", "desc"] = "desc"
    after: str = ""


def page(items: Sequence[Json], query: Mapping[str, str]) -> Json:
    """Return the part of the list selected by `limit`, `order` and `after`. Raises ApiError."""
    try:
        wanted = PageQuery.model_validate(dict(query))
    except ValidationError as error:
        found = error.errors(include_url=False)[0]
        name = str(found["loc"][0])
        raise invalid(name, f"Invalid value for '{name}': {found['msg']}.") from error
    in_order = list(items if wanted.order == "asc" else reversed(items))
    if wanted.after:
        places = [at for at, item in enumerate(in_order) if item["id"] == wanted.after]
        if not places:
            raise invalid("after", f"'after' is '{wanted.after}', but no input item has this id.")
        in_order = in_order[places[0] + 1 :]
    shown = in_order[: wanted.limit]
    return {
        "object": "list",
        "data": shown,
        "first_id": shown[0]["id"] if shown else None,
        "last_id": shown[-1]["id"] if shown else None,
        "has_more": len(in_order) > wanted.limit,
    }


class ResponsesHandler:
    """Serves Responses requests with one engine, and stores the responses."""

    def __init__(self, context: RequestContext) -> None:
        self._context = context
        settings = context.settings
        self.store = ResponseStore(settings.stored_responses, settings.stored_bytes)

    async def create(self, request: Request) -> Response:
        """Create a response, streaming or not."""
        context = self._context
        body = await context.read(request, ResponsesRequest)
        reply = await self.reply(body, self.store, ResponsesReply)
        return await reply.respond(request, context.stop, stream=body.stream)

    async def reply(self, body: ResponsesRequest, memory: ResponseStore, kind: type[P]) -> P:
        """Return the reply to a request whose earlier responses are in a memory.

        The memory of a connection also keeps responses with `store: false`. Raises ApiError.
        """
        history = _history(body, memory)
        steps, tools = await self._steps(body, history)
        writer = OutputWriter(body, tools)

        def keep(response: Json) -> None:
            stored = _stored(body, response, history, writer, steps)
            if body.store:
                self.store.put(stored)
            if memory is not self.store:
                memory.put(stored)

        return kind(body, steps, writer, keep)

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
        generate = partial(self._generate, truncate=body.truncation == "auto")
        return Steps(generate, wanted, tools, most_calls), tools

    def _generate(self, request: GenerationRequest, *, truncate: bool) -> Generation:
        """Return the generation of a request.

        If the conversation is too long for the context, `truncate` drops its oldest turns. Raises
        ApiError.
        """
        while True:
            try:
                return self._context.generation(self._context.engine, request)
            except ApiError as error:
                shorter = request.without_oldest_turn() if truncate else None
                if error.code != "context_length_exceeded" or shorter is None:
                    raise
                request = shorter

    async def stored(self, request: Request) -> Response:
        """Return or delete a stored response. Raises ApiError."""
        stored = self._stored(request)
        if request.method == "DELETE":
            self.store.delete(stored.id)
            return json_response({"id": stored.id, "object": "response", "deleted": True})
        if request.query_params.get("stream", "false").lower() != "false":
            message = "'stream' requires a background response, which this server does not support."
            raise invalid("stream", message)
        return Response(stored.response, media_type="application/json")

    async def input_items(self, request: Request) -> Response:
        """List the input of a stored response, not that of earlier responses. Raises ApiError."""
        return json_response(page(orjson.loads(self._stored(request).input), request.query_params))

    async def cancel(self, request: Request) -> Response:
        """Refuse: only background responses can be cancelled, and this server has none."""
        self._stored(request)
        message = "Only responses created with 'background' true can be cancelled."
        raise invalid("response_id", message)

    def _stored(self, request: Request) -> Stored:
        response_id = request.path_params["response_id"]
        stored = self.store.get(response_id)
        if stored is None:
            message = f"Response with id '{response_id}' not found."
            raise ApiError(404, message, param="response_id", code="response_not_found")
        return stored


def _history(body: ResponsesRequest, memory: ResponseStore) -> tuple[ConversationItem, ...]:
    """Return the conversation of the previous response, then the input. Raises ApiError."""
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


def _stored(
    body: ResponsesRequest,
    response: Json,
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


class ResponsesReply(SentReply):
    """One response: the object, and its stream of numbered events.

    `keep` receives the complete response.
    """

    end = b""

    def __init__(
        self,
        body: ResponsesRequest,
        steps: Steps,
        writer: OutputWriter,
        keep: Callable[[Json], None] = lambda _: None,
    ) -> None:
        self._body = body
        self._steps = steps
        self._writer = writer
        self._keep = keep
        self._id = f"resp_{secrets.token_hex(16)}"
        self._created = int(time.time())
        self._sent = 0

    async def generate(self, take: Take) -> None:
        """Generate all steps."""

        async def write(events: Sequence[StepEvent]) -> None:
            await take(self._writer.written(events))

        await self._steps.run(write)

    def opening(self) -> list[Json]:
        """Return the events of the empty response."""
        running = self._response("in_progress")
        kinds = ("response.created", "response.in_progress")
        return [{"type": kind, "response": running} for kind in kinds]

    def closing(self) -> list[Json]:
        """Return the event of the complete response."""
        response = self.finished()
        return [{"type": f"response.{response['status']}", "response": response}]

    def finished(self) -> Json:
        """Return the complete response, which is also kept."""
        truncated = self._steps.finish == "length"
        response = self._response("incomplete" if truncated else "completed")
        generations = self._steps.generations
        response["usage"] = usage = usage_of("input", "output", generations, generations)
        usage["input_tokens_details"] |= {"cache_write_tokens": 0}
        if truncated:
            response["incomplete_details"] = {"reason": "max_output_tokens"}
        else:
            response["completed_at"] = int(time.time())
        self._keep(response)
        return response

    def encode(self, events: Iterable[Json]) -> bytes:
        """Encode events with names and sequence numbers."""
        return b"".join(
            b"event: %b\ndata: %b\n\n" % (event["type"].encode(), orjson.dumps(event))
            for event in self.numbered(events)
        )

    def numbered(self, events: Iterable[Json]) -> Iterator[Json]:
        """Yield the next events with their sequence numbers."""
        for event in events:
            sent = event | {"sequence_number": self._sent}
            hides = self._body.stream_options.include_obfuscation and "delta" in event
            yield obfuscated(sent) if hides else sent
            self._sent += 1

    def failure(self, error: ApiError) -> bytes:
        """Return the event that ends a stream after an error."""
        code = "invalid_prompt" if error.status < 500 else "server_error"
        if error.status == 429:
            code = "rate_limit_exceeded"
        response = self._response("failed")
        response["error"] = {"code": code, "message": error.message}
        return self.encode([{"type": "response.failed", "response": response}])

    def _response(self, status: str) -> Json:
        return {
            "id": self._id,
            "object": "response",
            "created_at": self._created,
            "completed_at": None,
            "status": status,
            "error": None,
            "incomplete_details": None,
            "output": list(self._writer.items),
            "usage": None,
            **_echoed(self._body),
        }


def _echoed(body: ResponsesRequest) -> Json:
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
        "presence_penalty": body.presence_penalty,
        "frequency_penalty": body.frequency_penalty,
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
