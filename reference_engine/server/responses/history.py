"""The input items of a Responses request, as items of a conversation."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from harmony.conversation import (
    Answer,
    BuiltinCall,
    BuiltinResult,
    Call,
    ConversationItem,
    Developer,
    Preamble,
    Reasoning,
    Result,
    User,
)
from reference_engine.server.errors import invalid
from reference_engine.server.responses.items import (
    CUSTOM_INPUT,
    NOT_OURS,
    CallItem,
    CodeInterpreterItem,
    CustomCallItem,
    Item,
    MessageItem,
    ReasoningItem,
    ReferenceItem,
    ResultItem,
    WebSearchItem,
    decode_text,
)


@dataclass(frozen=True)
class _Unread:
    """A chain of thought that this server did not write, and its place in the input."""

    at: int


StoredItem = Callable[[str], tuple[tuple[ConversationItem, ...], str | None] | None]


def history_of(
    items: Sequence[Item],
    earlier: Sequence[ConversationItem],
    calls: dict[str, str],
    stored_item: StoredItem,
) -> tuple[ConversationItem, ...]:
    """The earlier conversation items, then those of the input. Raises ApiError.

    `calls` maps the call ids of earlier calls without a result to names; it is updated in place.
    `stored_item` finds the conversation items of an output item and, for a call, the call id.
    """
    history: list[ConversationItem | _Unread] = list(earlier)
    for at, (item, calls_next) in enumerate(zip(items, _calls_next(items), strict=True)):
        match item:
            case MessageItem():
                history.append(_message(item, calls_next=calls_next))
            case ReasoningItem():
                history += _reasoning(item, at, stored_item)
            case CallItem() | CustomCallItem():
                history.append(_call(item))
                calls[item.call_id] = item.name
            case ResultItem():
                history.append(_result(item, at, calls))
            case ReferenceItem():
                history += _referenced(item, at, calls, stored_item)
            case WebSearchItem() | CodeInterpreterItem():
                history += _builtin(item, stored_item)
    if calls:
        message = f"No function_call_output answers the function call '{next(iter(calls))}'."
        raise invalid("input", message)
    return _readable(history)


def _readable(history: Sequence[ConversationItem | _Unread]) -> tuple[ConversationItem, ...]:
    """The items without unread CoT, which prompts contain only after the last final answer."""
    for entry in reversed(history):
        if isinstance(entry, Answer):
            break
        if isinstance(entry, _Unread):
            param = f"input[{entry.at}].encrypted_content"
            message = f"The chain of thought cannot be read: {NOT_OURS}."
            raise invalid(param, message, "invalid_encrypted_content")
    return tuple(entry for entry in history if not isinstance(entry, _Unread))


def _call(item: CallItem | CustomCallItem) -> Call:
    if isinstance(item, CallItem):
        return Call(item.name, item.arguments)
    return Call(item.name, json.dumps({CUSTOM_INPUT: item.input}, ensure_ascii=False))


def _reasoning(
    item: ReasoningItem, at: int, stored_item: StoredItem
) -> tuple[Reasoning | _Unread, ...]:
    """The text of the item or, if a client dropped it, that of the stored or the encoded item."""
    if text := "".join(part.text for part in item.content):
        return (Reasoning(text),)
    if isinstance(item.id, str) and (found := stored_item(item.id)):
        return tuple(entry for entry in found[0] if isinstance(entry, Reasoning))
    if not isinstance(item.encrypted_content, str):
        return ()
    decoded = decode_text(item.encrypted_content)
    if decoded is None:
        return (_Unread(at),)
    return (Reasoning(decoded),) if decoded else ()


def _calls_next(items: Sequence[Item]) -> list[bool]:
    """For each item, whether the next item except reasoning is a call."""
    after = []
    calls = False
    for item in reversed(items):
        after.append(calls)
        if not isinstance(item, ReasoningItem):
            calls = isinstance(item, CallItem | CustomCallItem)
    return after[::-1]


def _message(item: MessageItem, *, calls_next: bool) -> ConversationItem:
    """The item of a message; without a phase, the assistant's is a preamble if a call follows."""
    match item.role:
        case "user":
            return User(item.content)
        case "assistant":
            preamble = item.phase == "commentary" or (item.phase is None and calls_next)
            return Preamble(item.content) if preamble else Answer(item.content)
        case _:
            return Developer(item.content)


def _result(item: ResultItem, at: int, calls: dict[str, str]) -> Result:
    name = calls.pop(item.call_id, None)
    if name is None:
        raise invalid(
            f"input[{at}].call_id",
            f"No function call with the call_id '{item.call_id}' is waiting for an output.",
        )
    return Result(name, item.output)


def _referenced(
    item: ReferenceItem, at: int, calls: dict[str, str], stored_item: StoredItem
) -> tuple[ConversationItem, ...]:
    found = stored_item(item.id)
    if found is None:
        raise invalid(f"input[{at}].id", f"No stored item has the id '{item.id}'.")
    entries, call_id = found
    for entry in entries:
        if isinstance(entry, Call) and call_id:
            calls[call_id] = entry.name
    return entries


def _builtin(
    item: WebSearchItem | CodeInterpreterItem, stored_item: StoredItem
) -> tuple[ConversationItem, ...]:
    """The call and its result; empty if the result is unknown."""
    if found := stored_item(item.id):
        return found[0]
    if isinstance(item, WebSearchItem) or item.outputs is None:
        return ()
    output = "".join(each.logs for each in item.outputs)
    return BuiltinCall("python", item.code), BuiltinResult("python", output)
