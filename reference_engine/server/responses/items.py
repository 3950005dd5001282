"""The input items of a Responses request, as items of a conversation."""

import json
import secrets
from base64 import b64decode, b64encode
from collections.abc import Callable, Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field
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

CUSTOM_INPUT = "input"  # the parameter of the function that the model sees for a custom tool

_SUMMARY_HEADING = "Our conversation so far, in short:\n\n"


class InputItem(RequestModel):
    """An item of the input."""

    prefix: ClassVar[str]  # how ids of items of this type start
    hidden: ClassVar[frozenset[str]] = frozenset({"id", "status", "namespace", "caller", "async_"})

    id: Ignored = None
    status: Ignored = None

    def listed(self) -> dict[str, Any]:
        """The item as `openai.types.responses.ResponseItem`, always with an id and a status."""
        given = self.id if isinstance(self.id, str) and self.id else None
        identity = given or f"{self.prefix}_{secrets.token_hex(16)}"
        return {"id": identity, "status": "completed", **self.shown()}

    def shown(self) -> dict[str, Any]:
        """The other fields that have an effect."""
        return self.model_dump(exclude=set(self.hidden))


class MessageItem(InputItem):
    """A message. `phase` distinguishes an assistant's preamble from its final answer."""

    prefix = "msg"

    type: Literal["message"] = "message"
    role: Literal["user", "assistant", "system", "developer"]
    content: Text
    phase: Literal["commentary", "final_answer"] | None = None

    def shown(self) -> dict[str, Any]:
        """The text as a part of the message."""
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

    prefix = "rs"

    type: Literal["reasoning"]
    content: list[ReasoningText] = Field(default_factory=list)
    summary: Ignored = None
    encrypted_content: Ignored = None

    def shown(self) -> dict[str, Any]:
        """The text without the summary."""
        return self.model_dump(include={"type", "content"}) | {"summary": []}


class _ClientToolItem(InputItem):
    """A call that the client answers, or its result."""

    call_id: str
    namespace: Ignored = None
    caller: Ignored = None


class CallItem(_ClientToolItem):
    """A function call."""

    prefix = "fc"

    type: Literal["function_call"]
    name: str
    arguments: str
    async_: Ignored = Field(default=None, alias="async")


class ResultItem(_ClientToolItem):
    """The result of a function call."""

    prefix = "fco"
    hidden = InputItem.hidden | {"name"}

    type: Literal["function_call_output"]
    output: Text
    name: Ignored = None


class CustomCallItem(_ClientToolItem):
    """A call of a custom tool."""

    prefix = "ctc"

    type: Literal["custom_tool_call"]
    name: str
    input: str
    async_: Ignored = Field(default=None, alias="async")


class CustomResultItem(ResultItem):
    """The result of a call of a custom tool."""

    prefix = "ctco"

    type: Literal["custom_tool_call_output"]  # type: ignore[assignment]


class _ServedItem(InputItem):
    """An item about a tool that the server ran; it is listed unchanged."""

    def listed(self) -> dict[str, Any]:
        """The item as the client sent it."""
        return self.model_dump()


class WebSearchItem(_ServedItem):
    """A call of the browser. Only the server knows what it displayed."""

    type: Literal["web_search_call"]
    id: str
    action: Ignored = None


class CodeInterpreterLogs(RequestModel):
    """The output of a program."""

    type: Literal["logs"]
    logs: str


class CodeInterpreterItem(_ServedItem):
    """A program that Python ran. Without outputs, only the server knows what it printed."""

    type: Literal["code_interpreter_call"]
    id: str
    code: str = ""
    outputs: list[CodeInterpreterLogs] | None = None
    container_id: Ignored = None


class McpCallItem(_ServedItem):
    """A call of a tool of an MCP server, with its result."""

    type: Literal["mcp_call"]
    name: str
    arguments: str
    server_label: Ignored = None
    id: str = ""
    output: str | None = None
    error: dict[str, Any] | None = None
    approval_request_id: Ignored = None


class McpListItem(_ServedItem):
    """The tools of an MCP server. They are listed again for each response."""

    type: Literal["mcp_list_tools"]
    server_label: Ignored = None
    tools: Ignored = None
    error: Ignored = None


class ReferenceItem(RequestModel):
    """A reference to an item of a stored response."""

    type: Literal["item_reference"] = "item_reference"
    id: str

    def listed(self) -> dict[str, Any]:
        """The reference itself."""
        return self.model_dump()


class CompactionItem(InputItem):
    """The summary of a compacted conversation."""

    prefix = "cmp"

    type: Literal["compaction"]
    encrypted_content: Summary
    created_by: Ignored = None

    def shown(self) -> dict[str, Any]:
        """The summary as the client sent it."""
        return {"type": self.type, "encrypted_content": encode_summary(self.encrypted_content)}


def _typed(item: object) -> object:
    """The item with the type that its role or id implies if it has none."""
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
    | CustomResultItem
    | WebSearchItem
    | CodeInterpreterItem
    | McpCallItem
    | McpListItem
    | ReferenceItem
    | CompactionItem,
    Field(discriminator="type"),
    BeforeValidator(_typed),
]

StoredItem = Callable[[str], tuple[tuple[ConversationItem, ...], str | None] | None]


def history_of(
    items: Sequence[Item],
    earlier: Sequence[ConversationItem],
    calls: dict[str, str],
    stored_item: StoredItem,
) -> tuple[ConversationItem, ...]:
    """The earlier conversation items, then those of the input. Raises ApiError.

    `calls` are the earlier calls without a result, name by call id, and are updated in place.
    `stored_item` finds the conversation items of an output item, with the call id of a call.
    """
    history: list[ConversationItem] = list(earlier)
    for at, (item, calls_next) in enumerate(zip(items, _calls_next(items), strict=True)):
        match item:
            case MessageItem():
                history.append(_message(item, calls_next=calls_next))
            case ReasoningItem():
                history += _reasoning(item)
            case CallItem() | CustomCallItem():
                history.append(_call(item))
                calls[item.call_id] = item.name
            case ResultItem():
                history.append(_result(item, at, calls))
            case CompactionItem():
                history.append(Answer(_SUMMARY_HEADING + item.encrypted_content))
            case ReferenceItem():
                history += _referenced(item, at, calls, stored_item)
            case WebSearchItem() | CodeInterpreterItem() | McpCallItem():
                history += _builtin(item, stored_item)
    if calls:
        message = f"No function_call_output answers the function call '{next(iter(calls))}'."
        raise invalid("input", message)
    return tuple(history)


def _call(item: CallItem | CustomCallItem) -> Call:
    if isinstance(item, CallItem):
        return Call(item.name, item.arguments)
    return Call(item.name, json.dumps({CUSTOM_INPUT: item.input}, ensure_ascii=False))


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
            calls = isinstance(item, CallItem | CustomCallItem | McpCallItem)
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
    item: WebSearchItem | CodeInterpreterItem | McpCallItem, stored_item: StoredItem
) -> tuple[ConversationItem, ...]:
    """The call and its result; nothing if the result is not known."""
    if found := stored_item(item.id):
        return found[0]
    if isinstance(item, McpCallItem):
        output = item.output if item.error is None else json.dumps(item.error)
        if output is None:
            return ()
        return Call(item.name, item.arguments), Result(item.name, output)
    if isinstance(item, WebSearchItem) or item.outputs is None:
        return ()
    output = "".join(each.logs for each in item.outputs)
    return BuiltinCall("python", item.code), BuiltinResult("python", output)
