"""Faults in the history of a conversation: reasoning, calls, results and stored responses."""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import replace
from itertools import groupby

from harmony.conversation import (
    Answer,
    Call,
    ConversationItem,
    Preamble,
    Reasoning,
    Result,
    User,
)
from harmony.render import render_all
from reference_engine.faults import hooks
from reference_engine.faults.http import ClientRequest, Json, messages_of, response_of
from reference_engine.faults.prompts import Message
from reference_engine.server.api_error import ApiError, invalid

_FINAL = "assistant<|channel|>final"
_ANALYSIS = "assistant<|channel|>analysis"
_TAG = re.compile(r"<[^<>]*>")
_WHOLE_NUMBER = re.compile(r"(?<=[\[:, ])\d+(?=[,\]}])")

_INSTRUCTIONS: dict[str, str | None] = {}  # those of each response, by its id
_TOOLS: dict[str, list[Json]] = {}  # likewise the tools
_continues = ContextVar("whether the request continues a stored response", default=False)
hooks.ITEM_FILTER.faults(
    stored_answers_lost=lambda item: not (_continues.get() and isinstance(item, Answer)),
    stored_reasoning_lost=lambda item: not (_continues.get() and isinstance(item, Reasoning)),
    tool_loop_reasoning_dropped=lambda item: not isinstance(item, Reasoning),
    preamble_not_replayed=lambda item: not isinstance(item, Preamble),
)
hooks.ITEMS.faults(old_messages_dropped=lambda items: items[-8:])
hooks.PROMPT.faults(
    stale_reasoning_kept=lambda _, conversation: render_all(conversation),
    reasoning_dropped_by_library=lambda _, conversation: render_all(
        replace(conversation, items=tuple(_dropped_by_library(conversation.items)))
    ),
)
hooks.item_text(Result).faults(
    long_result_cut=lambda text: text[:16_000],
    empty_results_filled=lambda text: text or "(no output)",
)
hooks.item_text(Reasoning).faults(
    reasoning_on_one_line=lambda text: " ".join(text.split()),
    long_reasoning_cut=lambda text: text[:4_000],
)
hooks.item_text(Preamble).faults(preamble_on_one_line=lambda text: " ".join(text.split()))
hooks.item_text(Call).faults(
    earlier_arguments_sanitized=lambda text: _TAG.sub("", text),
    decimals_in_earlier_arguments=lambda text: _WHOLE_NUMBER.sub(r"\g<0>.0", text),
    arguments_escaped_twice_in_history=json.dumps,
)
# Without the recipient, the prompt is as long as a healthy one that omits the call's content type.
hooks.HEADER.faults(
    result_without_recipient=lambda header: header.replace(" to=assistant", ""),
    answer_without_channel=lambda header: "assistant" if header == _FINAL else header,
    reasoning_without_channel=lambda header: "assistant" if header == _ANALYSIS else header,
)
hooks.MESSAGE.faults(
    history_ends_with_return=lambda message: _ended(message, _FINAL, "<|return|>"),
    calls_end_with_end=lambda message: _ended(message, "assistant to=functions.", "<|end|>"),
)
hooks.REQUEST.faults(
    unstored_response_kept=lambda body, request: (
        body if request.api == "chat" else body | {"store": True}
    ),
    earlier_instructions_added=lambda body, _: (
        body | {"instructions": f"{earlier}\n{body.get('instructions') or ''}"}
        if (earlier := _INSTRUCTIONS.get(body.get("previous_response_id") or ""))
        else body
    ),
    earlier_tools_kept=lambda body, _: (
        body | {"tools": earlier}
        if (earlier := _TOOLS.get(body.get("previous_response_id") or ""))
        else body
    ),
)
hooks.PAYLOAD.faults(
    previous_response_ignored=hooks.echo("previous_response_id"),
    continued_instructions_ignored=hooks.echo("instructions"),
    streamed_response_not_stored=hooks.echo("store", default=True),
    unstored_response_kept=hooks.echo("store", default=True),
)


def _ended(message: Message, header: str, end: str) -> list[Message]:
    """The message with another end token if it has content and its header starts like this."""
    matches = message.content is not None and message.header.startswith(header)
    return [replace(message, end=end) if matches else message]


def _dropped_by_library(items: Sequence[ConversationItem]) -> Sequence[ConversationItem]:
    """What openai-harmony keeps by default, see `harmony.render`."""
    written = [item for item in items if isinstance(item, Reasoning | Preamble | Answer | Call)]
    if not written or not isinstance(written[-1], Answer):
        return items
    first = next(at for at, item in enumerate(items) if isinstance(item, Answer))
    return [item for at, item in enumerate(items) if at > first or not isinstance(item, Reasoning)]


@hooks.ITEMS
def reasoning_dropped_beside_preamble(
    items: Sequence[ConversationItem],
) -> Iterable[ConversationItem]:
    before = {at - 1 for at, item in enumerate(items) if isinstance(item, Preamble)}
    return (i for at, i in enumerate(items) if at not in before or not isinstance(i, Reasoning))


@hooks.ITEMS
def reasoning_of_first_call_dropped(
    items: Sequence[ConversationItem],
) -> Iterable[ConversationItem]:
    thoughts = [at for at, item in enumerate(items) if isinstance(item, Reasoning)]
    return (item for at, item in enumerate(items) if at not in thoughts[:-1])


@hooks.ITEMS
def result_names_mixed_up(items: Sequence[ConversationItem]) -> Iterable[ConversationItem]:
    names = [item.name for item in items if isinstance(item, Call)]
    return (replace(i, name=names[-1]) if isinstance(i, Result) else i for i in items)


@hooks.ITEMS
def result_order_reversed(items: Sequence[ConversationItem]) -> Iterator[ConversationItem]:
    for results, group in groupby(items, lambda item: isinstance(item, Result)):
        run = list(group)
        yield from reversed(run) if results else run


@hooks.ITEMS
def equal_results_dropped(items: Sequence[ConversationItem]) -> Iterable[ConversationItem]:
    return (
        item
        for at, item in enumerate(items)
        if not isinstance(item, Result) or item not in items[:at]
    )


@hooks.ITEMS
def only_last_user_message(items: Sequence[ConversationItem]) -> Sequence[ConversationItem]:
    users = [at for at, item in enumerate(items) if isinstance(item, User)]
    return items[users[-1] :] if users else items


@hooks.REQUEST_MESSAGE
def chat_reasoning_not_replayed(message: Json, request: ClientRequest) -> Json:
    hidden = ("reasoning", "reasoning_content") if request.api == "chat" else ()
    return {key: value for key, value in message.items() if key not in hidden}


@hooks.REQUEST_MESSAGE
def reasoning_items_not_replayed(item: Json, _: ClientRequest) -> Json | None:
    return None if item.get("type") == "reasoning" else item


@hooks.REQUEST
def reasoning_items_refused(body: Json, _: ClientRequest) -> Json:
    for at, item in enumerate(messages_of(body)):
        if item.get("type") == "reasoning":
            raise invalid(f"input[{at}]", "Unexpected item type in input: reasoning.")
    return body


@hooks.REQUEST
def chat_reasoning_refused(body: Json, request: ClientRequest) -> Json:
    for at, message in enumerate(messages_of(body)):
        if request.api == "chat" and "reasoning" in message:
            text = "ValidationException: the model does not support reasoningContent."
            raise invalid(f"messages[{at}].reasoning", text)
    return body


@hooks.REQUEST_MESSAGE
def thinking_with_calls_crashes(message: Json, _: ClientRequest) -> Json:
    if all(message.get(key) for key in ("content", "reasoning", "tool_calls")):
        raise ApiError(500, "Cannot pass both content and thinking in an assistant message.")
    return message


@hooks.REQUEST
def empty_messages_stripped(body: Json, _: ClientRequest) -> Json:
    messages = body.get("messages")
    if not isinstance(messages, list):
        return body
    kept = [m for m in messages if m.get("content") or "tool_calls" not in m]
    called = {call["id"] for m in kept for call in m.get("tool_calls", ())}
    kept = [m for m in kept if m.get("tool_call_id") is None or m["tool_call_id"] in called]
    return body | {"messages": kept}


@hooks.REQUEST_MESSAGE
def null_content_as_text(message: Json, _: ClientRequest) -> Json:
    empty = message.get("tool_calls") and message.get("content") is None
    return message | {"content": "None"} if empty else message


@hooks.REQUEST_MESSAGE
def content_parts_lost(message: Json, _: ClientRequest) -> Json:
    content = message.get("content")
    cut = isinstance(content, list) and message.get("type") != "reasoning"
    return message | {"content": content[:1]} if cut and content else message


def _result_parts(message: Json) -> str:
    """The field of a tool result that holds an array of parts; empty in other messages."""
    key = "output" if message.get("type") == "function_call_output" else "content"
    result = key == "output" or message.get("role") == "tool"
    return key if result and isinstance(message.get(key), list) else ""


@hooks.REQUEST_MESSAGE
def result_parts_lost(message: Json, _: ClientRequest) -> Json:
    key = _result_parts(message)
    return message | {key: ""} if key else message


@hooks.REQUEST_MESSAGE
def result_parts_refused(message: Json, _: ClientRequest) -> Json:
    if key := _result_parts(message):
        raise invalid(key, "Input should be a valid string.")
    return message


@hooks.REQUEST
def previous_response_ignored(body: Json, _: ClientRequest) -> Json:
    if "previous_response_id" not in body:
        return body
    items = body.get("input")
    if isinstance(items, list):
        items = [item for item in items if item.get("type") != "function_call_output"]
    return body | {"previous_response_id": None, "input": items or " "}


@hooks.PAYLOAD
def earlier_instructions_added(data: Json, request: ClientRequest) -> Json:
    response = response_of(data)
    if response.get("object") == "response":
        response["instructions"] = request.body.get("instructions")
        _INSTRUCTIONS[response["id"]] = response["instructions"]
    return data


@hooks.PAYLOAD
def earlier_tools_kept(data: Json, request: ClientRequest) -> Json:
    response = response_of(data)
    if response.get("object") == "response":
        _TOOLS.setdefault(response["id"], response["tools"])
        response["tools"] = request.body.get("tools") or []
    return data


@hooks.REQUEST
def continued_instructions_ignored(body: Json, _: ClientRequest) -> Json:
    return body | {"instructions": None} if "previous_response_id" in body else body


def _noticed(body: Json, _: ClientRequest) -> Json:
    _continues.set("previous_response_id" in body)
    return body


hooks.REQUEST.faults(stored_answers_lost=_noticed, stored_reasoning_lost=_noticed)


@hooks.REQUEST
def streamed_response_not_stored(body: Json, request: ClientRequest) -> Json:
    stored = request.api == "chat" or not request.streaming
    return body if stored else body | {"store": False}


@hooks.REQUEST_MESSAGE
def system_parts_as_objects(message: Json, _: ClientRequest) -> Json:
    parts = message.get("content")
    if message.get("role") not in ("system", "developer") or not isinstance(parts, list):
        return message
    return message | {"content": ",".join("[object Object]" for _ in parts)}
