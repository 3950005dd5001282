"""Every hook at which a fault can act, in the order in which a request reaches them.

Each point of the server has one general hook. Most also have narrower hooks for changes of one
part, such as one message of the prompt or one event of a stream.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

from harmony.conversation import Conversation, ConversationItem, FunctionTool
from harmony.parse import Event, HarmonyParser
from reference_engine.faults.base import Hook
from reference_engine.faults.http import (
    ClientRequest,
    Json,
    Reply,
    SseEvent,
    SseStream,
    calls,
    chat_messages,
    choices,
    messages_key,
    messages_of,
    output_items,
    usages,
)
from reference_engine.faults.parsers import FilteredParser
from reference_engine.faults.prompts import Message, edit_messages
from reference_engine.generation.forward import Forward, Row
from reference_engine.generation.sampling import SamplingParams, Token
from reference_engine.model.transformer import Transformer
from reference_engine.server.generation import GenerationRequest

Schema = dict[str, Any]
ModelChange = Callable[[Transformer], None]
ForwardChange = Callable[[Transformer, Forward], Forward]
JsonChange = Callable[[Json, ClientRequest], Json]
PartChange = Callable[[Json, ClientRequest], object]
GenerationChange = Callable[[GenerationRequest], GenerationRequest]
PromptChange = Callable[[list[int], Conversation], list[int]]
ParserChange = Callable[[HarmonyParser, GenerationRequest], HarmonyParser]
StreamChange = Callable[[SseStream, ClientRequest], SseStream]

MODEL = Hook[ModelChange]("model")
"""The loaded model, changed in place before the first request. All requests share it."""


FORWARD = Hook[ForwardChange]("forward")
"""The forward pass of a model, wrapped before the first request. All requests share it."""


def _each_row(change: Callable[[Row], Row]) -> ForwardChange:
    return lambda _, run: lambda rows, length: run([change(row) for row in rows], length)


ROW = Hook("forward", _each_row)
"""The new tokens of one sequence in a forward pass, with its page tables. For changes without
state."""


REQUEST = Hook[JsonChange]("request")
"""The JSON of the request before the server reads it. The change may raise `ApiError`."""


def _each_request_message(change: Callable[[Json, ClientRequest], Json | None]) -> JsonChange:
    def edit(body: Json, request: ClientRequest) -> Json:
        if not (messages := messages_of(body)):
            return body
        changed = (change(message, request) for message in messages)
        return body | {messages_key(body): [m for m in changed if m is not None]}

    return edit


REQUEST_MESSAGE = Hook("request", _each_request_message)
"""Each message of a Chat request or item of a Responses request; None removes it."""


GENERATION = Hook[GenerationChange]("generation")
"""The conversation, the sampling parameters and the tool policy that were read from the request."""


def _conversation(change: Callable[[Conversation], Conversation]) -> GenerationChange:
    return lambda request: replace(request, conversation=change(request.conversation))


CONVERSATION = Hook("generation", _conversation)
"""The conversation alone."""


def _each_item(change: Callable[[ConversationItem], ConversationItem | None]) -> GenerationChange:
    def edit(conversation: Conversation) -> Conversation:
        changed = map(change, conversation.items)
        return replace(conversation, items=tuple(item for item in changed if item is not None))

    return _conversation(edit)


ITEM = Hook("generation", _each_item)
"""Each item of the conversation; None removes it."""


def _each_tool(change: Callable[[FunctionTool], FunctionTool]) -> GenerationChange:
    return _conversation(lambda c: replace(c, tools=tuple(map(change, c.tools))))


TOOL = Hook("generation", _each_tool)
"""Each function of the request."""


def _each_schema(change: Callable[[Schema], Schema]) -> GenerationChange:
    def edit(value: object) -> object:
        if not isinstance(value, Mapping):
            return value
        schema = dict(value)
        if isinstance(properties := schema.get("properties"), Mapping):
            schema["properties"] = {name: edit(each) for name, each in properties.items()}
        if isinstance(items := schema.get("items"), Mapping):
            schema["items"] = edit(items)
        return change(schema)

    def edit_tool(tool: FunctionTool) -> FunctionTool:
        edited = edit(tool.parameters)
        return replace(tool, parameters=edited if isinstance(edited, dict) else None)

    return _each_tool(edit_tool)


SCHEMA = Hook("generation", _each_schema)
"""Each parameter schema, nested schemas first."""


PROMPT = Hook[PromptChange]("prompt")
"""The rendered prompt. `usage` counts the changed tokens."""


def _each_message(change: Callable[[Message], Iterable[Message]]) -> PromptChange:
    return lambda tokens, _: edit_messages(tokens, change)


MESSAGE = Hook("prompt", _each_message)
"""Each harmony message of the prompt."""


def message_text(role: str) -> Hook[Callable[[str], str]]:
    """A hook for the text of each harmony message of a role."""

    def adapt(change: Callable[[str], str]) -> PromptChange:
        def edit(message: Message) -> list[Message]:
            if message.role != role or message.content is None:
                return [message]
            return [replace(message, content=change(message.content))]

        return _each_message(edit)

    return Hook("prompt", adapt)


INPUT = Hook[Callable[[list[int]], list[int]]]("input")
"""The tokens that the model reads. `usage` does not count this change."""

SAMPLING = Hook[Callable[[SamplingParams], SamplingParams]]("sampling")
"""The sampling parameters that the engine receives."""

LOGITS = Hook[Callable[[Tensor, Sequence[int], int], Tensor]]("logits")
"""The logits of the next token (vocabulary,), all tokens before it, and the number generated."""

TOKENS = Hook[Callable[[AsyncGenerator[Token]], AsyncGenerator[Token]]]("tokens")
"""The tokens that the model generates."""


PARSER = Hook[ParserChange]("parser")
"""The parser of the model's tokens."""


def _each_parsed(change: Callable[[Event], Iterable[Event]]) -> ParserChange:
    return lambda parser, _: FilteredParser(parser, change)


PARSED = Hook("parser", _each_parsed)
"""Each event of the parser. For changes without state; others use `PARSER`."""


PAYLOAD = Hook[JsonChange]("payload")
"""Each JSON object sent with status 200: the response, or the data of each event."""


def _part(select: Callable[[Json], Iterator[Json]]) -> Hook[PartChange]:
    """A hook for changes in place of the selected parts of each payload."""

    def adapt(change: PartChange) -> JsonChange:
        def edit(data: Json, request: ClientRequest) -> Json:
            for part in select(data):
                change(part, request)
            return data

        return edit

    return Hook("payload", adapt)


CHOICE = _part(choices)
"""Each choice of a Chat response or chunk, changed in place; so for the hooks that follow."""
CHAT_MESSAGE = _part(chat_messages)
"""Each message of a Chat response, or delta of a chunk."""
OUTPUT_ITEM = _part(output_items)
"""Each output item of a response or a Responses event."""
CALL = _part(calls)
"""Each tool call, in both APIs."""
USAGE = _part(usages)
"""The usage."""

REPLY = Hook[Callable[[Reply, ClientRequest], Reply]]("reply")
"""A complete response or error; for a stream, its status and headers only."""


STREAM = Hook[StreamChange]("stream")
"""The events of a stream."""


def _each_sse_event(change: Callable[[SseEvent], Iterable[SseEvent]]) -> StreamChange:
    async def edit(events: SseStream, _: ClientRequest) -> SseStream:
        async for event in events:
            for changed in change(event):
                yield changed

    return edit


SSE_EVENT = Hook("stream", _each_sse_event)
"""Each event of a stream. For changes without state; others use `STREAM`."""


def _each_kept_sse_event(keep: Callable[[SseEvent], bool]) -> StreamChange:
    return _each_sse_event(lambda event: [event] if keep(event) else [])


SSE_FILTER = Hook("stream", _each_kept_sse_event)
"""Whether each event of a stream is sent."""


def echo(field: str, default: object = None) -> JsonChange:
    """A change of `PAYLOAD` that repeats the client's value of a field, not the changed one."""

    def edit(data: Json, request: ClientRequest) -> Json:
        response = data.get("response", data)
        if field in response:
            response[field] = request.body.get(field, default)
        return data

    return edit
