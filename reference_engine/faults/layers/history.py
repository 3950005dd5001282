"""Faults in the history of a conversation: reasoning, calls, results, stored responses, sockets."""

import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import groupby

from harmony.conversation import (
    Answer,
    Call,
    ConversationItem,
    Developer,
    Preamble,
    Reasoning,
    Result,
    User,
)
from harmony.render import render_all
from reference_engine.faults import hooks
from reference_engine.faults.http import BODY, ClientRequest, Json, messages_of
from reference_engine.faults.prompts import Message
from reference_engine.server.api_error import ApiError, invalid

_FINAL = "assistant<|channel|>final"
_ANALYSIS = "assistant<|channel|>analysis"
_WHOLE_NUMBER = re.compile(r"(?<=[\[:, ])\d+(?=[,\]}])")

_INSTRUCTIONS: dict[str, str | None] = {}  # those of each response, by its id
_TOOLS: dict[str, list[Json]] = {}  # likewise the tools
hooks.ITEM_FILTER.faults(
    {
        "stored-answers-lost": lambda item: not (_continues() and isinstance(item, Answer)),
        "stored-reasoning-lost": lambda item: not (_continues() and isinstance(item, Reasoning)),
        "tool-loop-reasoning-dropped": lambda item: not isinstance(item, Reasoning),
        "preamble-not-replayed": lambda item: not isinstance(item, Preamble),
    },
)
hooks.ITEMS.faults(
    {
        "question-after-result-dropped": lambda items: [
            item
            for before, item in zip((None, *items), items, strict=False)
            if not (isinstance(before, Result) and isinstance(item, User))
        ]
    }
)
hooks.ITEMS.faults({"old-messages-dropped": lambda items: items[-8:]})
hooks.PROMPT.faults(
    {
        "stale-reasoning-kept": lambda _, conversation: render_all(conversation),
        "reasoning-dropped-by-library": lambda _, conversation: render_all(
            replace(conversation, items=tuple(_dropped_by_library(conversation.items)))
        ),
    },
)
hooks.item_text(Result).faults(
    {
        "long-result-cut": lambda text: text[:16_000],
        "empty-results-filled": lambda text: text or "(no output)",
    },
)
hooks.item_text(Reasoning).faults(
    {
        "reasoning-on-one-line": lambda text: " ".join(text.split()),
        "long-reasoning-cut": lambda text: text[:4_000],
    },
)
hooks.item_text(Preamble).faults({"preamble-on-one-line": lambda text: " ".join(text.split())})
hooks.item_text(Call).faults(
    {
        "decimals-in-earlier-arguments": lambda text: _WHOLE_NUMBER.sub(r"\g<0>.0", text),
        "arguments-escaped-twice-in-history": json.dumps,
    },
)
# Without the recipient, the prompt is as long as a healthy one that omits the call's content type.
hooks.HEADER.faults(
    {
        "result-without-recipient": lambda header: header.replace(" to=assistant", ""),
        "answer-without-channel": lambda header: "assistant" if header == _FINAL else header,
        "reasoning-without-channel": lambda header: "assistant" if header == _ANALYSIS else header,
    },
)
hooks.MESSAGE.faults(
    {"history-ends-with-return": lambda message: _ended(message, _FINAL, "<|return|>")},
)
hooks.REQUEST.when(hooks.of_responses).faults(
    {"unstored-response-kept": lambda body, _: body.update(store=True)}
)
hooks.REQUEST.when(lambda body, _: "previous_response_id" in body).faults(
    {"continued-instructions-ignored": lambda body, _: body.update(instructions=None)}
)
hooks.REQUEST.when(hooks.of_responses).faults(
    {
        "conversation-ignored": lambda body, _: body.pop("conversation", None),
        "context-management-ignored": lambda body, _: body.pop("context_management", None),
    },
)
hooks.RESPONSE.faults(
    {
        "previous-response-ignored": hooks.echo("previous_response_id"),
        "continued-instructions-ignored": hooks.echo("instructions"),
        "unstored-response-kept": hooks.echo("store", default=True),
    },
)


def _continues() -> bool:
    return "previous_response_id" in BODY.get()


def _ended(message: Message, header: str, end: str) -> list[Message]:
    """Return the message, with another end token if it has content and starts with `header`."""
    matches = message.content is not None and message.header.startswith(header)
    return [replace(message, end=end) if matches else message]


def _dropped_by_library(items: hooks.Items) -> hooks.Items:
    """Return what openai-harmony keeps by default, see `harmony.render`."""
    written = [item for item in items if isinstance(item, Reasoning | Preamble | Answer | Call)]
    if not written or not isinstance(written[-1], Answer):
        return items
    first = next(at for at, item in enumerate(items) if isinstance(item, Answer))
    return [item for at, item in enumerate(items) if at > first or not isinstance(item, Reasoning)]


@hooks.ITEMS("stored-history-doubled")
def stored_history_doubled(items: hooks.Items) -> Iterable[ConversationItem]:
    new = len(messages_of(dict(BODY.get()))) or 1
    stored = [item for item in items[:-new] if not isinstance(item, Developer)]
    return (*items[:-new], *stored, *items[-new:]) if _continues() else items


@hooks.ITEMS("reasoning-dropped-beside-preamble")
def reasoning_dropped_beside_preamble(items: hooks.Items) -> Iterable[ConversationItem]:
    before = {at - 1 for at, item in enumerate(items) if isinstance(item, Preamble)}
    return (i for at, i in enumerate(items) if at not in before or not isinstance(i, Reasoning))


@hooks.ITEMS("reasoning-of-first-call-dropped")
def reasoning_of_first_call_dropped(items: hooks.Items) -> Iterable[ConversationItem]:
    thoughts = [at for at, item in enumerate(items) if isinstance(item, Reasoning)]
    return (item for at, item in enumerate(items) if at not in thoughts[:-1])


@hooks.ITEMS("result-names-mixed-up")
def result_names_mixed_up(items: hooks.Items) -> Iterable[ConversationItem]:
    names = [item.name for item in items if isinstance(item, Call)]
    return (replace(i, name=names[-1]) if isinstance(i, Result) else i for i in items)


@hooks.ITEMS("result-order-reversed")
def result_order_reversed(items: hooks.Items) -> Iterator[ConversationItem]:
    for results, group in groupby(items, lambda item: isinstance(item, Result)):
        run = list(group)
        yield from reversed(run) if results else run


@hooks.ITEMS("equal-results-dropped")
def equal_results_dropped(items: hooks.Items) -> Iterable[ConversationItem]:
    return (
        item
        for at, item in enumerate(items)
        if not isinstance(item, Result) or item not in items[:at]
    )


@hooks.REQUEST_MESSAGE.when(hooks.of_chat)("chat-reasoning-not-replayed")
def chat_reasoning_not_replayed(message: Json, _: ClientRequest) -> None:
    for key in ("reasoning", "reasoning_content"):
        message.pop(key, None)


@hooks.REQUEST("reasoning-items-not-replayed")
def reasoning_items_not_replayed(body: Json, _: ClientRequest) -> None:
    if items := messages_of(body):
        items[:] = [item for item in items if item.get("type") != "reasoning"]


@hooks.REQUEST.when(hooks.of_chat)("chat-reasoning-refused")
def chat_reasoning_refused(body: Json, _: ClientRequest) -> None:
    for at, message in enumerate(messages_of(body)):
        if "reasoning" in message:
            text = "ValidationException: the model does not support reasoningContent."
            raise invalid(f"messages[{at}].reasoning", text)


@hooks.REQUEST_MESSAGE("thinking-with-calls-crashes")
def thinking_with_calls_crashes(message: Json, _: ClientRequest) -> None:
    if all(message.get(key) for key in ("content", "reasoning", "tool_calls")):
        raise ApiError(500, "Cannot pass both content and thinking in an assistant message.")


@hooks.REQUEST_MESSAGE("null-content-as-text")
def null_content_as_text(message: Json, _: ClientRequest) -> None:
    if message.get("tool_calls") and message.get("content") is None:
        message["content"] = "None"


@hooks.REQUEST_MESSAGE("content-parts-lost")
def content_parts_lost(message: Json, _: ClientRequest) -> None:
    content = message.get("content")
    if isinstance(content, list) and message.get("type") != "reasoning":
        del content[1:]


@hooks.REQUEST_MESSAGE.when(hooks.of_chat)("parts-beside-calls-lost")
def parts_beside_calls_lost(message: Json, _: ClientRequest) -> None:
    if message.get("tool_calls") and isinstance(message.get("content"), list):
        message["content"] = None


@hooks.REQUEST_MESSAGE("result-parts-lost")
def result_parts_lost(message: Json, _: ClientRequest) -> None:
    key = "output" if message.get("type") == "function_call_output" else "content"
    result = key == "output" or message.get("role") == "tool"
    if result and isinstance(message.get(key), list):
        message[key] = ""


@hooks.REQUEST.when(hooks.of_responses)("compaction-items-dropped")
def compaction_items_dropped(body: Json, _: ClientRequest) -> None:
    if isinstance(given := body.get("input"), list):
        body["input"] = [item for item in given if item.get("type") != "compaction"]


@hooks.REQUEST("previous-response-ignored")
def previous_response_ignored(body: Json, _: ClientRequest) -> None:
    if "previous_response_id" not in body:
        return
    items = body.get("input")
    if isinstance(items, list):
        items = [item for item in items if item.get("type") != "function_call_output"]
    body |= {"previous_response_id": None, "input": items or " "}


@hooks.REQUEST("earlier-instructions-added")
def earlier_instructions_added(body: Json, _: ClientRequest) -> None:
    if earlier := _INSTRUCTIONS.get(body.get("previous_response_id") or ""):
        body["instructions"] = f"{earlier}\n{body.get('instructions') or ''}"


def _keep_instructions(response: Json, request: ClientRequest) -> None:
    if response.get("object") == "response":
        response["instructions"] = request.body.get("instructions")
        _INSTRUCTIONS[response["id"]] = response["instructions"]


@hooks.REQUEST("earlier-tools-kept")
def earlier_tools_kept(body: Json, _: ClientRequest) -> None:
    if earlier := _TOOLS.get(body.get("previous_response_id") or ""):
        body["tools"] = earlier


def _keep_tools(response: Json, request: ClientRequest) -> None:
    if response.get("object") == "response":
        _TOOLS.setdefault(response["id"], response["tools"])
        response["tools"] = request.body.get("tools") or []


hooks.RESPONSE.faults(
    {"earlier-instructions-added": _keep_instructions, "earlier-tools-kept": _keep_tools},
)


@hooks.REQUEST_MESSAGE("system-parts-as-objects")
def system_parts_as_objects(message: Json, _: ClientRequest) -> None:
    parts = message.get("content")
    if message.get("role") in ("system", "developer") and isinstance(parts, list):
        message["content"] = ",".join("[object Object]" for _ in parts)


_ENDS = frozenset({"response.completed", "response.incomplete", "response.failed", "error"})

hooks.REQUEST.when(hooks.of_sockets).faults({"socket-state-lost": previous_response_ignored})
hooks.REQUEST.when(hooks.of_sockets).faults(
    {"socket-generates-always": lambda body, _: body.pop("generate", None)}
)
hooks.RESPONSE.faults({"socket-state-lost": hooks.echo("previous_response_id")})


@hooks.SOCKET("socket-events-reordered")
async def socket_events_reordered(events: hooks.SocketEvents, _: object) -> hooks.SocketEvents:
    held: Json | None = None
    async for event in events:
        if held is None and event is not None and event["type"].endswith("_text.done"):
            held = event
            continue
        if held is not None and event is not None:
            numbers = held["sequence_number"], event["sequence_number"]
            yield event | {"sequence_number": numbers[0]}
            yield held | {"sequence_number": numbers[1]}
            held = None
        else:
            yield event


@hooks.SOCKET("socket-responses-mixed")
async def socket_responses_mixed(
    events: hooks.SocketEvents, waiting: Callable[[], int]
) -> hooks.SocketEvents:

    held: list[Json] = []
    ended = False
    async for event in events:
        if event is not None and not ended and (held or waiting() > 1):
            held.append(event)
            ended = event["type"] in _ENDS
            continue
        if held:
            yield held.pop(0)
        if event is not None and ended and event["type"] in _ENDS:
            for each in held:
                yield each
            held, ended = [], False
        yield event


@hooks.SOCKET("socket-errors-close")
async def socket_errors_close(events: hooks.SocketEvents, _: object) -> hooks.SocketEvents:
    async for event in events:
        yield None if event is None or event["type"] == "error" else event
