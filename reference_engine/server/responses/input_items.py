"""The input items of a Responses request, and the conversation items that they stand for."""

import secrets
from base64 import b64decode, b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field

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
from reference_engine.server.api_error import invalid
from reference_engine.server.custom_tools import custom_call
from reference_engine.server.fields import Ignored, RequestModel, Text

_MARK = "gpt-oss-text-1:"
_NOT_OURS = "it was not written by this server"


def encode_text(text: str) -> str:
    """Return the `encrypted_content` of a reasoning item: encoded, not encrypted."""
    return b64encode(f"{_MARK}{text}".encode()).decode()


def decode_text(content: str) -> str | None:
    """Return the text of an `encrypted_content`; None if it was not written by `encode_text`."""
    try:
        text = b64decode(content, validate=True).decode()
    except ValueError:
        return None
    return text.removeprefix(_MARK) if text.startswith(_MARK) else None


_ID_PREFIXES = {
    "message": "msg",
    "reasoning": "rs",
    "function_call": "fc",
    "function_call_output": "fco",
    "custom_tool_call": "ctc",
    "custom_tool_call_output": "ctco",
}
"""The prefixes of ids, by the type of the item."""


class InputItem(RequestModel):
    """An item of the input."""

    hidden: ClassVar[frozenset[str]] = frozenset(
        {"id", "status", "namespace", "caller", "async_", "parsed_arguments"}
    )

    id: Ignored = None
    status: Ignored = None

    def listed(self) -> dict[str, Any]:
        """Return an `openai.types.responses.ResponseItem`, always with an id and a status."""
        given = self.id if isinstance(self.id, str) and self.id else None
        shown = self.shown()
        identity = given or f"{_ID_PREFIXES[shown['type']]}_{secrets.token_hex(16)}"
        return {"id": identity, "status": "completed", **shown}

    def shown(self) -> dict[str, Any]:
        """Return the other effective fields."""
        return self.model_dump(exclude=set(self.hidden))


class MessageItem(InputItem):
    """A message. `phase` distinguishes an assistant's preamble from its final answer."""

    type: Literal["message"] = "message"
    role: Literal["user", "assistant", "system", "developer"]
    content: Text
    phase: Literal["commentary", "final_answer"] | None = None

    def shown(self) -> dict[str, Any]:
        """Return the text as a part of the message."""
        part: dict[str, Any] = {"type": "input_text", "text": self.content}
        if self.role == "assistant":
            part |= {"type": "output_text", "annotations": []}
        phase = {"phase": self.phase} if self.phase else {}
        return {"type": self.type, "role": self.role, "content": [part], **phase}


class ReasoningText(RequestModel):
    """A part of a reasoning item."""

    type: Literal["reasoning_text"]
    text: str


class ReasoningItem(InputItem):
    """A chain of thought. Summaries have no effect because the model did not write them."""

    type: Literal["reasoning"]
    content: list[ReasoningText] = Field(default_factory=list)
    summary: Ignored = None
    encrypted_content: Ignored = None

    def shown(self) -> dict[str, Any]:
        """Return the text without the summary."""
        return self.model_dump(include={"type", "content"}) | {"summary": []}


class _ClientToolItem(InputItem):
    """A call that the client answers, or its result."""

    call_id: str
    namespace: Ignored = None
    caller: Ignored = None


class _NamedCallItem(_ClientToolItem):
    """A call of a function or a custom tool."""

    name: str
    async_: Ignored = Field(default=None, alias="async")


class CallItem(_NamedCallItem):
    """A function call."""

    type: Literal["function_call"]
    arguments: str
    parsed_arguments: Ignored = None

    def call(self) -> Call:
        """Return the call as the model wrote it."""
        return Call(self.name, self.arguments)


class CustomCallItem(_NamedCallItem):
    """A call of a custom tool, which the model sees as a function with one parameter."""

    type: Literal["custom_tool_call"]
    input: str

    def call(self) -> Call:
        """Return the call of the function."""
        return custom_call(self.name, self.input)


class ResultItem(_ClientToolItem):
    """The result of a call of a function or a custom tool."""

    hidden = InputItem.hidden | {"name"}

    type: Literal["function_call_output", "custom_tool_call_output"]
    output: Text
    name: Ignored = None


class _ServedItem(InputItem):
    """An item about a tool that the server ran; it is listed unchanged."""

    def listed(self) -> dict[str, Any]:
        """Return the item as the client sent it."""
        return self.model_dump()


class WebSearchItem(_ServedItem):
    """A browser call. Only the server knows what the browser displayed."""

    type: Literal["web_search_call"]
    id: str
    action: Ignored = None


class CodeInterpreterLogs(RequestModel):
    """The output of a program."""

    type: Literal["logs"]
    logs: str


class CodeInterpreterItem(_ServedItem):
    """A Python program that was run. Without `outputs`, only the server knows its output."""

    type: Literal["code_interpreter_call"]
    id: str
    code: str = ""
    outputs: list[CodeInterpreterLogs] | None = None
    container_id: Ignored = None


class ReferenceItem(RequestModel):
    """A reference to an item of a stored response."""

    type: Literal["item_reference"] = "item_reference"
    id: str

    def listed(self) -> dict[str, Any]:
        """Return the reference itself."""
        return self.model_dump()


def _typed(item: object) -> object:
    """Add the type that the role or id of an item implies, if the type is missing."""
    if not isinstance(item, dict) or item.get("type") is not None:
        return item
    implied = {"role": "message", "id": "item_reference"}
    kind = next((kind for field, kind in implied.items() if item.get(field) is not None), None)
    return item | {"type": kind} if kind else item


Item = Annotated[
    MessageItem
    | ReasoningItem
    | CallItem
    | ResultItem
    | CustomCallItem
    | WebSearchItem
    | CodeInterpreterItem
    | ReferenceItem,
    Field(discriminator="type"),
    BeforeValidator(_typed),
]


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
    """Return the earlier conversation items, then those of the input. Raises ApiError.

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
                history.append(item.call())
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
    """Return the items without unread CoT; prompts contain CoT only after the last final answer."""
    for entry in reversed(history):
        if isinstance(entry, Answer):
            break
        if isinstance(entry, _Unread):
            param = f"input[{entry.at}].encrypted_content"
            message = f"The chain of thought cannot be read: {_NOT_OURS}."
            raise invalid(param, message, "invalid_encrypted_content")
    return tuple(entry for entry in history if not isinstance(entry, _Unread))


def _reasoning(
    item: ReasoningItem, at: int, stored_item: StoredItem
) -> tuple[Reasoning | _Unread, ...]:
    """Return the text or, if a client dropped it, that of the stored or the encoded item."""
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
    """Return, by item, whether the next item except reasoning is a call."""
    after = []
    calls = False
    for item in reversed(items):
        after.append(calls)
        if not isinstance(item, ReasoningItem):
            calls = isinstance(item, CallItem | CustomCallItem)
    return after[::-1]


def _message(item: MessageItem, *, calls_next: bool) -> ConversationItem:
    """Convert a message; without a phase, the assistant's is a preamble if a call follows."""
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
    """Return the call and its result; empty if the result is unknown."""
    if found := stored_item(item.id):
        return found[0]
    if isinstance(item, WebSearchItem) or item.outputs is None:
        return ()
    output = "".join(part.logs for part in item.outputs)
    return BuiltinCall("python", item.code), BuiltinResult("python", output)
