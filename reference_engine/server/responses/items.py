"""The input items of a Responses request."""

import secrets
from base64 import b64decode, b64encode
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field

from reference_engine.server.fields import Ignored, RequestModel, Text

_MARK = "gpt-oss-text-1:"
NOT_OURS = "it was not written by this server"


def encode_text(text: str) -> str:
    """The `encrypted_content` of a reasoning item: encoded, not encrypted."""
    return b64encode(f"{_MARK}{text}".encode()).decode()


def decode_text(content: str) -> str | None:
    """The text of an `encrypted_content`; None if it was not written by `encode_text`."""
    try:
        text = b64decode(content, validate=True).decode()
    except ValueError:
        return None
    return text.removeprefix(_MARK) if text.startswith(_MARK) else None


CUSTOM_INPUT = "input"  # the parameter of the function that the model sees for a custom tool


class InputItem(RequestModel):
    """An item of the input."""

    prefix: ClassVar[str]  # the prefix of ids of this type
    hidden: ClassVar[frozenset[str]] = frozenset({"id", "status", "namespace", "caller", "async_"})

    id: Ignored = None
    status: Ignored = None

    def listed(self) -> dict[str, Any]:
        """The item as `openai.types.responses.ResponseItem`, always with an id and a status."""
        given = self.id if isinstance(self.id, str) and self.id else None
        identity = given or f"{self.prefix}_{secrets.token_hex(16)}"
        return {"id": identity, "status": "completed", **self.shown()}

    def shown(self) -> dict[str, Any]:
        """The other effective fields."""
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
        """The reference itself."""
        return self.model_dump()


def _typed(item: object) -> object:
    """The item, with the type that its role or id implies if the type is missing."""
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
    | ReferenceItem,
    Field(discriminator="type"),
    BeforeValidator(_typed),
]
