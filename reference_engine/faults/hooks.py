"""Every hook at which a fault can act, in the order in which a request reaches them."""

from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

from torch import Tensor

from harmony.conversation import Conversation, ConversationItem, FunctionTool
from harmony.parse import Delta, Ended, Event, HarmonyParser, Kind
from reference_engine.faults.fault import Hook
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
    response_of,
    usages,
)
from reference_engine.faults.parsers import FilteredParser
from reference_engine.faults.prompts import Message, edit_messages
from reference_engine.generation.forward import Forward, Row
from reference_engine.generation.sampling import UNLIMITED, SamplingParams, Token
from reference_engine.model.transformer import Transformer
from reference_engine.server.generation import GenerationRequest

Schema = dict[str, Any]
ModelChange = Callable[[Transformer], None]
ForwardChange = Callable[[Transformer, Forward], Forward]
JsonChange = Callable[[Json, ClientRequest], Json]
PartChange = Callable[[Json, ClientRequest], object]
GenerationChange = Callable[[GenerationRequest], GenerationRequest]
PromptChange = Callable[[list[int], Conversation], list[int]]
EventChange = Callable[[Event], Iterable[Event]]
ParserChange = Callable[[HarmonyParser, GenerationRequest], HarmonyParser]
StreamChange = Callable[[SseStream, ClientRequest], SseStream]
TextChange = Callable[[str], str]

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


CONVERSATION = Hook("generation", _conversation)  # the conversation alone


def _items(
    change: Callable[[Sequence[ConversationItem]], Iterable[ConversationItem]],
) -> GenerationChange:
    return _conversation(lambda c: replace(c, items=tuple(change(c.items))))


ITEMS = Hook("generation", _items)  # the items of the conversation
ITEM_FILTER = Hook[Callable[[ConversationItem], bool]](
    "generation", lambda keep: _items(lambda items: filter(keep, items))
)
"""Whether each item of the conversation reaches the prompt."""


def item_text(*kinds: type[ConversationItem]) -> Hook[TextChange]:
    """A hook for the text of each item of these kinds: a message, arguments or a result."""

    def adapt(change: TextChange) -> GenerationChange:
        def edit(item: ConversationItem) -> ConversationItem:
            if not isinstance(item, kinds):
                return item
            name = fields(item)[-1].name
            text: dict[str, Any] = {name: change(getattr(item, name))}
            return replace(item, **text)

        return _items(lambda items: map(edit, items))

    return Hook("generation", adapt)


def _limit(change: Callable[[int | None], int | None]) -> GenerationChange:
    def edit(request: GenerationRequest) -> GenerationRequest:
        limit = request.sampling.max_tokens
        limit = change(None if limit == UNLIMITED else limit) or UNLIMITED
        return replace(request, sampling=replace(request.sampling, max_tokens=limit))

    return edit


LIMIT = Hook("generation", _limit)  # the token limit; None for no limit


def _each_tool(change: Callable[[FunctionTool], FunctionTool]) -> GenerationChange:
    return _conversation(lambda c: replace(c, tools=tuple(map(change, c.tools))))


TOOL = Hook("generation", _each_tool)  # each function of the request


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


SCHEMA = Hook("generation", _each_schema)  # each parameter schema, nested schemas first

PROMPT = Hook[PromptChange]("prompt")
"""The rendered prompt. `usage` counts the changed tokens."""


def _each_message(change: Callable[[Message], Iterable[Message]]) -> PromptChange:
    return lambda tokens, _: edit_messages(tokens, change)


MESSAGE = Hook("prompt", _each_message)  # each harmony message of the prompt


def _each_header(change: TextChange) -> PromptChange:
    return _each_message(lambda m: [replace(m, header=change(m.header))])


HEADER = Hook("prompt", _each_header)  # the header of each harmony message of the prompt


def message_text(role: str) -> Hook[TextChange]:
    """A hook for the text of each harmony message of a role."""

    def adapt(change: TextChange) -> PromptChange:
        def edit(message: Message) -> list[Message]:
            if message.role != role or message.content is None:
                return [message]
            return [replace(message, content=change(message.content))]

        return _each_message(edit)

    return Hook("prompt", adapt)


SYSTEM_TEXT = message_text("system")
DEVELOPER_TEXT = message_text("developer")

INPUT = Hook[Callable[[list[int]], list[int]]]("input")
"""The tokens that the model reads. `usage` does not count this change."""

SAMPLING = Hook[Callable[[SamplingParams], SamplingParams]]("sampling")
"""The sampling parameters that the engine receives."""

LOGITS = Hook[Callable[[Tensor, Sequence[int], int], Tensor]]("logits")
"""The logits of the next token (vocabulary,), all tokens before it, and the number generated."""

TOKENS = Hook[Callable[[AsyncGenerator[Token]], AsyncGenerator[Token]]]("tokens")
"""The tokens that the model generates."""

PARSER = Hook[ParserChange]("parser")  # the parser of the model's tokens


def parsed_if(condition: Callable[[GenerationRequest], bool]) -> Hook[EventChange]:
    """A hook for each event of the parser, in the responses to some requests."""
    return Hook(
        "parser",
        lambda change: (
            lambda parser, request: FilteredParser(parser, change) if condition(request) else parser
        ),
    )


PARSED = parsed_if(lambda _: True)
"""Each event of the parser. For changes without state; see also `NEW_EDITOR`."""
NEW_EDITOR = Hook[Callable[[], EventChange]](
    "parser", lambda new: lambda parser, _: FilteredParser(parser, new())
)
"""Creates a change of the parser's events for one answer."""


def whole_text(kind: Kind) -> Hook[TextChange]:
    """A hook for the complete text of each message of a kind that the model writes."""

    def editor(change: TextChange) -> EventChange:
        held: list[str] = []

        def edit(event: Event) -> Iterable[Event]:
            if event.kind != kind:
                yield event
            elif isinstance(event, Delta):
                held.append(event.text)
            else:
                if isinstance(event, Ended) and (text := change("".join(held))):
                    yield Delta(kind, text)
                held.clear()
                yield event

        return edit

    return Hook("parser", lambda change: lambda parser, _: FilteredParser(parser, editor(change)))


PAYLOAD = Hook[JsonChange]("payload")
"""Each JSON object sent with status 200: the response, or the data of each event."""


def _part(select: Callable[[Json], Iterator[Json]]) -> Hook[PartChange]:
    """A hook for changes of the selected parts of each payload, in place."""

    def adapt(change: PartChange) -> JsonChange:
        def edit(data: Json, request: ClientRequest) -> Json:
            for part in select(data):
                change(part, request)
            return data

        return edit

    return Hook("payload", adapt)


CHOICE = _part(choices)
"""Each choice of a Chat response or chunk. This and the following hooks change parts in place."""
CHAT_MESSAGE = _part(chat_messages)  # each message of a Chat response, or delta of a chunk
OUTPUT_ITEM = _part(output_items)  # each output item of a response or a Responses event
CALL = _part(calls)  # each tool call, in both APIs
USAGE = _part(usages)  # the usage
RESPONSE = _part(lambda data: iter([response_of(data)]))
"""The response in a Responses event, else the payload itself."""

REPLY = Hook[Callable[[Reply, ClientRequest], Reply]]("reply")
"""A complete response or error; for a stream, its status and headers only."""

STREAM = Hook[StreamChange]("stream")  # the events of a stream


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


SSE_FILTER = Hook("stream", _each_kept_sse_event)  # whether each event of a stream is sent


def echo(field: str, default: object = None) -> JsonChange:
    """A change of `PAYLOAD` that repeats the client's value of a field, not the changed one."""

    def edit(data: Json, request: ClientRequest) -> Json:
        response = data.get("response", data)
        if field in response:
            response[field] = request.body.get(field, default)
        return data

    return edit
