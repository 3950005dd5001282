"""The input items of a Responses request, as items of a conversation."""

from __future__ import annotations

import secrets
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BeforeValidator, Discriminator, Field, Tag, TypeAdapter, ValidationError
from pydantic_core import PydanticCustomError

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
from reference_engine.server.fields import Ignored, RequestModel, Text

_MARK = "gpt-oss-summary-1:"


def encode_summary(text: str) -> str:
    """The `encrypted_content` of a compaction item: encoded, not encrypted."""
    return b64encode(f"{_MARK}{text}".encode()).decode()


def _opened(content: object) -> object:
    if not isinstance(content, str):
        return content
    try:
        text = b64decode(content, validate=True).decode()
    except ValueError:
        text = ""
    if not text.startswith(_MARK):
        raise PydanticCustomError("sealed", "it does not come from a compaction by this server")
    return text.removeprefix(_MARK)


Summary = Annotated[str, BeforeValidator(_opened)]
"""The `encrypted_content` of a request, decoded to its text."""


_SUMMARY_HEADING = "Our conversation so far, in short:\n\n"


class MessageItem(RequestModel):
    """A message. `phase` distinguishes an assistant's preamble from its final answer."""

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
    """A chain of thought. Summaries have no effect because the model did not write them."""

    type: Literal["reasoning"]
    content: list[ReasoningText] = Field(default_factory=list)
    id: Ignored = None
    summary: Ignored = None
    encrypted_content: Ignored = None
    status: Ignored = None


class CallItem(RequestModel):
    """A function call."""

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


class WebSearchItem(RequestModel):
    """A call of the browser. Only the server knows what it displayed."""

    type: Literal["web_search_call"]
    id: str
    action: Ignored = None
    status: Ignored = None


class CodeInterpreterLogs(RequestModel):
    """The output of a program."""

    type: Literal["logs"]
    logs: str


class CodeInterpreterItem(RequestModel):
    """A program that Python ran. Without outputs, only the server knows what it printed."""

    type: Literal["code_interpreter_call"]
    id: str
    code: str = ""
    outputs: list[CodeInterpreterLogs] | None = None
    container_id: Ignored = None
    status: Ignored = None


class ReferenceItem(RequestModel):
    """A reference to an item of a stored response."""

    type: Literal["item_reference"] = "item_reference"
    id: str


class CompactionItem(RequestModel):
    """The summary of a compacted conversation."""

    type: Literal["compaction"]
    encrypted_content: Summary
    id: Ignored = None
    created_by: Ignored = None


def _kind(item: object) -> str | None:
    """The tag of an item: its type, or the type that its role or id implies."""
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
    | Annotated[WebSearchItem, Tag("web_search_call")]
    | Annotated[CodeInterpreterItem, Tag("code_interpreter_call")]
    | Annotated[ReferenceItem, Tag("item_reference")]
    | Annotated[CompactionItem, Tag("compaction")],
    Discriminator(
        _kind,
        custom_error_type="item_type",
        custom_error_message="the item's type is not supported; supported are message, reasoning, "
        "function_call, function_call_output, web_search_call, code_interpreter_call, "
        "item_reference and compaction",
    ),
]


StoredItem = Callable[[str], tuple[tuple[ConversationItem, ...], str | None] | None]


def history_of(
    items: Sequence[Item],
    earlier: Sequence[ConversationItem],
    calls: dict[str, str],
    stored_item: StoredItem,
) -> tuple[ConversationItem, ...]:
    """The earlier conversation items, then those of the input.

    Args:
        items: The input.
        earlier: The conversation of the previous response.
        calls: Its calls without a result, name by call id. Updated in place.
        stored_item: Finds the conversation items of an output item, with the call id of a call.

    Raises:
        ApiError: A reference is unknown, or calls and results do not match.
    """
    history: list[ConversationItem] = list(earlier)
    for at, (item, calls_next) in enumerate(zip(items, _calls_next(items), strict=True)):
        match item:
            case MessageItem():
                history.append(_message(item, calls_next=calls_next))
            case ReasoningItem():
                history += _reasoning(item)
            case CallItem():
                history.append(Call(item.name, item.arguments))
                calls[item.call_id] = item.name
            case ResultItem():
                history.append(_result(item, at, calls))
            case CompactionItem():
                history.append(Answer(_SUMMARY_HEADING + item.encrypted_content))
            case ReferenceItem():
                history += _referenced(item, at, calls, stored_item)
            case WebSearchItem() | CodeInterpreterItem():
                history += _builtin(item, stored_item)
    if calls:
        message = f"No function_call_output answers the function call '{next(iter(calls))}'."
        raise invalid("input", message)
    return tuple(history)


def _reasoning(item: ReasoningItem) -> tuple[Reasoning, ...]:
    text = "".join(part.text for part in item.content)
    return (Reasoning(text),) if text else ()


def _calls_next(items: Sequence[Item]) -> list[bool]:
    """For each item, whether the next item except reasoning is a call."""
    after = []
    calls = False
    for item in reversed(items):
        after.append(calls)
        if not isinstance(item, ReasoningItem):
            calls = isinstance(item, CallItem)
    return after[::-1]


def _message(item: MessageItem, *, calls_next: bool) -> ConversationItem:
    """Without a phase, an assistant's message is a preamble if a call follows."""
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
    """The call and its result; nothing if the result is not known."""
    if found := stored_item(item.id):
        return found[0]
    if isinstance(item, WebSearchItem) or item.outputs is None:
        return ()
    output = "".join(each.logs for each in item.outputs)
    return BuiltinCall("python", item.code), BuiltinResult("python", output)


T = TypeVar("T")
_LIMIT: TypeAdapter[int] = TypeAdapter(Annotated[int, Field(ge=1, le=100)])
_ORDER: TypeAdapter[str] = TypeAdapter(Literal["asc", "desc"])
_DEFAULTS = {"limit": "20", "order": "desc"}


def page(items: Sequence[dict[str, Any]], query: Mapping[str, str]) -> dict[str, Any]:
    """The part of the list that `limit`, `order` and `after` select.

    Raises:
        ApiError: A query parameter is invalid.
    """
    options = _DEFAULTS | dict(query)
    limit = _checked(_LIMIT, "limit", options)
    in_order = list(items if _checked(_ORDER, "order", options) == "asc" else reversed(items))
    if after := options.get("after"):
        places = [at for at, item in enumerate(in_order) if item["id"] == after]
        if not places:
            raise invalid("after", f"'after' is '{after}', but no input item has this id.")
        in_order = in_order[places[0] + 1 :]
    shown = in_order[:limit]
    return {
        "object": "list",
        "data": shown,
        "first_id": shown[0]["id"] if shown else None,
        "last_id": shown[-1]["id"] if shown else None,
        "has_more": len(in_order) > limit,
    }


def _checked(adapter: TypeAdapter[T], name: str, options: Mapping[str, str]) -> T:
    try:
        return adapter.validate_python(options[name])
    except ValidationError as error:
        reason = error.errors(include_url=False)[0]["msg"]
        raise invalid(name, f"Invalid value for '{name}': {reason}.") from error


def listed(item: Item) -> dict[str, Any]:
    """An item with the fields of `openai.types.responses.ResponseItem`; references stay as is.

    Fills in the id and the status that its request omitted.
    """
    match item:
        case MessageItem():
            kind = "output_text" if item.role == "assistant" else "input_text"
            part: dict[str, Any] = {"type": kind, "text": item.content}
            if item.role == "assistant":
                part["annotations"] = []
            phase = {"phase": item.phase} if item.phase else {}
            return _head(item, "msg") | {"role": item.role, "content": [part], **phase}
        case ReasoningItem():
            content = [part.model_dump() for part in item.content]
            return _head(item, "rs") | {"summary": [], "content": content}
        case CallItem():
            call = {"call_id": item.call_id, "name": item.name, "arguments": item.arguments}
            return _head(item, "fc") | call
        case ResultItem():
            return _head(item, "fco") | {"call_id": item.call_id, "output": item.output}
        case CompactionItem():
            return _head(item, "cmp") | {
                "encrypted_content": encode_summary(item.encrypted_content)
            }
        case ReferenceItem():
            return {"id": item.id, "type": item.type}
        case WebSearchItem() | CodeInterpreterItem():
            return item.model_dump()


def _head(
    item: MessageItem | ReasoningItem | CallItem | ResultItem | CompactionItem, prefix: str
) -> dict[str, Any]:
    given = item.id if isinstance(item.id, str) and item.id else None
    item_id = given or f"{prefix}_{secrets.token_hex(16)}"
    return {"id": item_id, "type": item.type, "status": "completed"}
