"""The input items of a Responses request, and the turns they stand for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

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
from reference_engine.server.errors import invalid
from reference_engine.server.fields import Ignored, RequestModel, Text
from reference_engine.server.responses.sealed import Opened

_IN_SHORT = "Our conversation so far, in short:\n\n"


class MessageItem(RequestModel):
    """A message; `phase` tells an assistant's preamble from its final answer."""

    type: Literal["message"] = "message"
    role: Literal["user", "assistant", "system", "developer"]
    content: Text
    phase: Literal["commentary", "final_answer"] | None = None
    id: Ignored = None
    status: Ignored = None


class ReasoningText(RequestModel):
    """A part of a reasoning item."""

    type: Literal["reasoning_text"]
    text: str


class ReasoningItem(RequestModel):
    """A chain of thought, as it was returned; summaries are not the model's own and not used."""

    type: Literal["reasoning"]
    content: list[ReasoningText] = Field(default_factory=list)
    id: Ignored = None
    summary: Ignored = None
    encrypted_content: Ignored = None
    status: Ignored = None


class CallItem(RequestModel):
    """A function call, as it was returned."""

    type: Literal["function_call"]
    call_id: str
    name: str
    arguments: str
    namespace: Ignored = None
    caller: Ignored = None
    id: Ignored = None
    status: Ignored = None


class ResultItem(RequestModel):
    """The result of a function call."""

    type: Literal["function_call_output"]
    call_id: str
    output: Text
    name: Ignored = None
    namespace: Ignored = None
    caller: Ignored = None
    id: Ignored = None
    status: Ignored = None


class ReferenceItem(RequestModel):
    """An item of a stored response, by its id."""

    type: Literal["item_reference"] = "item_reference"
    id: str


class CompactionItem(RequestModel):
    """The summary of an earlier conversation, as a compaction returned it."""

    type: Literal["compaction"]
    encrypted_content: Opened
    id: Ignored = None
    created_by: Ignored = None


def _kind(item: object) -> str | None:
    """The tag of an item: its type, or what its role or its id alone make of it."""
    if isinstance(item, dict):
        kind = item.get("type")
        if kind is None and item.get("role") is not None:
            return "message"
        if kind is None and item.get("id") is not None:
            return "item_reference"
        return kind if isinstance(kind, str) else None
    return getattr(item, "type", None)


Item = Annotated[
    Annotated[MessageItem, Tag("message")]
    | Annotated[ReasoningItem, Tag("reasoning")]
    | Annotated[CallItem, Tag("function_call")]
    | Annotated[ResultItem, Tag("function_call_output")]
    | Annotated[ReferenceItem, Tag("item_reference")]
    | Annotated[CompactionItem, Tag("compaction")],
    Discriminator(
        _kind,
        custom_error_type="item_type",
        custom_error_message="the item's type is not supported; supported are message, reasoning, "
        "function_call, function_call_output, item_reference and compaction",
    ),
]


def turns_of(
    items: Sequence[Item],
    earlier: Sequence[ConversationItem],
    calls: dict[str, str],
    stored_item: Callable[[str], tuple[ConversationItem, str | None] | None],
) -> tuple[ConversationItem, ...]:
    """The earlier turns, then those that the items stand for.

    Args:
        items: The input.
        earlier: The turns of the previous response.
        calls: Its calls without a result, name by call id; holds those of the whole input after.
        stored_item: Finds the turn, and the call id if it is a call, of an item reference.

    Raises:
        ApiError: A reference is unknown, or calls and results do not belong together.
    """
    turns: list[ConversationItem] = list(earlier)
    for at, (item, calls_next) in enumerate(zip(items, _calls_next(items), strict=True)):
        match item:
            case MessageItem():
                turns.append(_message(item, calls_next=calls_next))
            case ReasoningItem():
                if text := "".join(part.text for part in item.content):
                    turns.append(Reasoning(text))
            case CallItem():
                turns.append(Call(item.name, item.arguments))
                calls[item.call_id] = item.name
            case ResultItem():
                turns.append(_result(item, at, calls))
            case CompactionItem():
                turns.append(Answer(_IN_SHORT + item.encrypted_content))
            case ReferenceItem():
                turns.append(_referenced(item, at, calls, stored_item))
    if calls:
        message = f"No function_call_output answers the function call '{next(iter(calls))}'."
        raise invalid("input", message)
    return tuple(turns)


def _calls_next(items: Sequence[Item]) -> list[bool]:
    """For each item, whether the next one that is not a thought is a call."""
    after = []
    calls = False
    for item in reversed(items):
        after.append(calls)
        if not isinstance(item, ReasoningItem):
            calls = isinstance(item, CallItem)
    return after[::-1]


def _message(item: MessageItem, *, calls_next: bool) -> ConversationItem:
    """An assistant's message of no stated phase is a preamble where a call comes next."""
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
    item: ReferenceItem, at: int, calls: dict[str, str], stored_item: Callable[[str], Any]
) -> ConversationItem:
    found = stored_item(item.id)
    if found is None:
        raise invalid(f"input[{at}].id", f"No stored item has the id '{item.id}'.")
    turn: ConversationItem = found[0]
    if isinstance(turn, Call):
        calls[found[1]] = turn.name
    return turn
