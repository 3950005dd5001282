"""Every hook at which a fault can act, in the order in which a request reaches them."""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
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
    messages_of,
    objects,
    output_items,
    response_of,
    usages,
)
from reference_engine.faults.prompts import Message, edit_messages
from reference_engine.generation.forward import Forward, Row
from reference_engine.generation.sampling import UNLIMITED, SamplingParams
from reference_engine.model.transformer import Transformer
from reference_engine.server.generation import GenerationRequest

Schema = dict[str, Any]
Items = Sequence[ConversationItem]
ModelChange = Callable[[Transformer], None]
ForwardChange = Callable[[Transformer, Forward], Forward]
JsonEdit = Callable[[Json, ClientRequest], object]
GenerationChange = Callable[[GenerationRequest], GenerationRequest]
PromptChange = Callable[[list[int], Conversation], list[int]]
EventChange = Callable[[Event], Iterable[Event]]
ParserChange = Callable[[HarmonyParser, GenerationRequest], HarmonyParser]
StreamChange = Callable[[SseStream, ClientRequest], SseStream]
SocketEvents = AsyncIterator[Json | None]
SocketChange = Callable[[SocketEvents, Callable[[], int]], SocketEvents]
"""The second argument returns how many requests of the connection have no response yet."""
TextChange = Callable[[str], str]

MODEL = Hook[ModelChange]("model")
"""The loaded model, changed in place before the first request. All requests share it."""

FORWARD = Hook[ForwardChange]("forward")
"""The forward pass of a model, wrapped before the first request. All requests share it."""


ROW = Hook[Callable[[Row], Row]](
    "forward",
    lambda change: lambda _, run: lambda rows, length: run([change(row) for row in rows], length),
)
"""The new tokens of one sequence in a forward pass, with its page tables. For changes without
state."""


def of_streams(_: object, request: ClientRequest) -> bool:
    """Return whether the client wants a stream: a condition for `Hook.when`, like the next two."""
    return request.streaming


def of_chat(_: object, request: ClientRequest) -> bool:
    """Return whether it is a request of Chat Completions."""
    return request.api == "chat"


def of_responses(_: object, request: ClientRequest) -> bool:
    """Return whether it is a request of Responses."""
    return request.api == "responses"


def _json(point: str, select: Callable[[Json], Iterable[Json]]) -> Hook[JsonEdit]:
    """Return a hook for changes of the selected parts of each JSON object, in place."""

    def adapt(edit: JsonEdit) -> Callable[[Json, ClientRequest], Json]:
        def change(data: Json, request: ClientRequest) -> Json:
            for part in select(data):
                edit(part, request)
            return data

        return change

    return Hook(point, adapt)


REQUEST = _json("request", lambda body: [body])
"""The JSON of the request before the server reads it. The change may raise `ApiError`."""
REQUEST_MESSAGE = _json("request", messages_of)
"""Each message of a Chat request or item of a Responses request."""

GENERATION = Hook[GenerationChange]("generation")
"""The conversation, the sampling parameters and the tool policy that were read from the request."""


def _conversation(change: Callable[[Conversation], Conversation]) -> GenerationChange:
    return lambda request: replace(request, conversation=change(request.conversation))


CONVERSATION = Hook("generation", _conversation)  # the conversation alone


def _items(change: Callable[[Items], Iterable[ConversationItem]]) -> GenerationChange:
    return _conversation(lambda c: replace(c, items=tuple(change(c.items))))


ITEMS = Hook("generation", _items)  # the items of the conversation
ITEM_FILTER = Hook[Callable[[ConversationItem], bool]](
    "generation", lambda keep: _items(lambda items: filter(keep, items))
)
"""Whether each item of the conversation reaches the prompt."""


def item_text(*kinds: type[ConversationItem]) -> Hook[TextChange]:
    """Return a hook for the text of each item of these kinds: message, arguments or result."""

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
            schema["properties"] = {name: edit(inner) for name, inner in properties.items()}
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


HEADER = Hook[TextChange](
    "prompt",
    lambda change: _each_message(lambda m: [replace(m, header=change(m.header))]),
)  # the header of each harmony message of the prompt


def message_text(role: str) -> Hook[TextChange]:
    """Return a hook for the text of each harmony message of a role."""

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

LOGITS = Hook[Callable[[Tensor, Sequence[int]], Tensor]]("logits")
"""The logits of the next token (vocabulary,), and all tokens before it."""

PARSER = Hook[ParserChange]("parser")  # the parser of the model's tokens


class FilteredParser(HarmonyParser):
    """Replaces each event of another parser by the result of `change`."""

    def __init__(self, inner: HarmonyParser, change: Callable[[Event], Iterable[Event]]) -> None:
        super().__init__()
        self._inner = inner
        self._change = change

    def feed(self, token: int) -> list[Event]:
        """Return the events of one more token."""
        return self._changed(self._inner.feed(token))

    def finish(self) -> list[Event]:
        """Return the events at the end of the tokens."""
        return self._changed(self._inner.finish())

    def _changed(self, events: Iterable[Event]) -> list[Event]:
        self.open, self.done = self._inner.open, self._inner.done
        return [changed for event in events for changed in self._change(event)]


PARSED = Hook[EventChange](
    "parser", lambda change: lambda parser, _: FilteredParser(parser, change)
)
"""Each event of the parser. For changes without state; see also `NEW_EDITOR`."""
NEW_EDITOR = Hook[Callable[[], EventChange]](
    "parser", lambda new: lambda parser, _: FilteredParser(parser, new())
)
"""Creates a change of the parser's events, with its own state, for one response."""


@dataclass(frozen=True)
class WholeText:
    """A change of the complete text of each message of a kind."""

    kind: Kind
    change: TextChange

    def __call__(self, parser: HarmonyParser, _: GenerationRequest) -> HarmonyParser:
        """Change what the model writes; `replies.damaged` changes the texts of recorded replies."""
        held: list[str] = []

        def edit(event: Event) -> Iterable[Event]:
            if event.kind != self.kind:
                yield event
            elif isinstance(event, Delta):
                held.append(event.text)
            else:
                if isinstance(event, Ended) and (text := self.change("".join(held))):
                    yield Delta(self.kind, text)
                held.clear()
                yield event

        return FilteredParser(parser, edit)


def whole_text(kind: Kind) -> Hook[TextChange]:
    """Return a hook for the complete text of each message of a kind."""
    return Hook("parser", lambda change: WholeText(kind, change))


PAYLOAD = _json("payload", lambda data: [data])
"""Each JSON object sent with status 200: the response, or the data of each event."""
OBJECT = _json("payload", objects)
"""Each JSON object within these, the outer ones first."""
CHOICE = _json("payload", choices)  # each choice of a Chat response or chunk
CHAT_MESSAGE = _json("payload", chat_messages)
"""Each message of a Chat response, or delta of a chunk."""
OUTPUT_ITEM = _json("payload", output_items)
"""Each output item of a response or a Responses event."""
CALL = _json("payload", calls)  # each tool call, in both APIs
USAGE = _json("payload", usages)
RESPONSE = _json("payload", lambda data: [response_of(data)])
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


SSE_FILTER = Hook[Callable[[SseEvent], bool]](
    "stream",
    lambda keep: _each_sse_event(lambda event: [event] if keep(event) else []),
)  # whether each event of a stream is sent


def _all_sse_events(change: Callable[[list[SseEvent]], Iterable[SseEvent]]) -> StreamChange:
    async def edit(events: SseStream, _: ClientRequest) -> SseStream:
        for event in change([event async for event in events]):
            yield event

    return edit


ALL_EVENTS = Hook("stream", _all_sse_events)
"""All events of a stream, which are sent when the last one has come."""


SOCKET = Hook[SocketChange]("socket")
"""The events that the server sends over one WebSocket connection; None closes it."""


def of_sockets(body: Json, _: ClientRequest) -> bool:
    """Return whether a request came over WebSocket: a condition for `REQUEST.when`."""
    return body.get("type") == "response.create"


def echo(field: str, default: object = None) -> JsonEdit:
    """Return a change of `RESPONSE` that repeats the client's value of a field."""

    def edit(response: Json, request: ClientRequest) -> None:
        if field in response:
            response[field] = request.body.get(field, default)

    return edit
