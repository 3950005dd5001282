"""The messages of a Chat Completions request, and their conversation items.

`system` and `developer` messages are both instructions; the server itself writes the harmony system
message. Assistant text with or before tool calls is a preamble. Other assistant text is an answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

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


class InstructionMessage(RequestModel):
    """A message of role system or developer."""

    role: Literal["system", "developer"]
    content: Text
    name: Ignored = None


class UserMessage(RequestModel):
    """A message of role user."""

    role: Literal["user"]
    content: Text
    name: Ignored = None


class CalledFunction(RequestModel):
    """The name and the JSON arguments of a call."""

    name: str
    arguments: str
    parsed_arguments: Ignored = None


class ToolCall(RequestModel):
    """A call in an assistant message."""

    id: str
    type: Literal["function"] = "function"
    function: CalledFunction
    index: Ignored = None


class AssistantMessage(RequestModel):
    """A message of role assistant. `reasoning_content` is an alias of `reasoning`."""

    role: Literal["assistant"]
    content: Text = ""
    reasoning: str = ""
    reasoning_content: str = ""
    tool_calls: list[ToolCall] = Field(default_factory=list)
    refusal: str = ""
    name: Ignored = None
    parsed: Ignored = None
    annotations: Ignored = None
    reasoning_details: Ignored = None
    provider_specific_fields: Ignored = None

    def history(self, *, calls_next: bool) -> Iterator[ConversationItem]:
        """The reasoning, the text and the calls, in this order."""
        if reasoning := self.reasoning or self.reasoning_content:
            yield Reasoning(reasoning)
        if said := self.content or self.refusal:
            preamble = self.tool_calls or calls_next
            yield Preamble(said) if preamble else Answer(said)
        for call in self.tool_calls:
            yield Call(call.function.name, call.function.arguments)


class ToolMessage(RequestModel):
    """The result of a call."""

    role: Literal["tool"]
    content: Text
    tool_call_id: str
    name: Ignored = None


Message = Annotated[
    InstructionMessage | UserMessage | AssistantMessage | ToolMessage, Field(discriminator="role")
]


_ASSISTANT_SAYS = frozenset({"content", "refusal", "reasoning", "reasoning_content", "tool_calls"})


def history_of(messages: Sequence[Message]) -> tuple[ConversationItem, ...]:
    """The conversation items of the messages.

    Raises:
        ApiError: Calls and results do not match.
    """
    history: list[ConversationItem] = []
    unanswered: dict[str, str] = {}
    for at, (message, calls_next) in enumerate(zip(messages, _calls_next(messages), strict=True)):
        if isinstance(message, ToolMessage):
            history.append(_result(message, at, unanswered))
            continue
        _require_answered(unanswered, at)
        if isinstance(message, InstructionMessage):
            history.append(Developer(message.content))
        elif isinstance(message, UserMessage):
            history.append(User(message.content))
        else:
            if not message.model_fields_set & _ASSISTANT_SAYS:
                problem = f"messages[{at}] of the assistant has no content and no tool_calls."
                raise invalid(f"messages[{at}].content", problem)
            history += message.history(calls_next=calls_next)
            for call in message.tool_calls:
                if call.id in unanswered:
                    problem = f"Two tool calls of messages[{at}] have the id '{call.id}'."
                    raise invalid(f"messages[{at}]", problem)
                unanswered[call.id] = call.function.name
    _require_answered(unanswered, len(messages))
    return tuple(history)


def _calls_next(messages: Sequence[Message]) -> list[bool]:
    """For each message, whether a call of the assistant follows before another role."""
    after = []
    calls = False
    for message in reversed(messages):
        after.append(calls)
        calls = isinstance(message, AssistantMessage) and (calls or bool(message.tool_calls))
    return after[::-1]


def _result(message: ToolMessage, at: int, unanswered: dict[str, str]) -> Result:
    name = unanswered.pop(message.tool_call_id, None)
    if name is None:
        raise invalid(
            f"messages[{at}].tool_call_id",
            f"messages[{at}].tool_call_id is '{message.tool_call_id}', but the preceding assistant "
            "message has no unanswered call with this id.",
        )
    return Result(name, message.content)


def _require_answered(unanswered: dict[str, Any], at: int) -> None:
    if unanswered:
        ids = ", ".join(f"'{call}'" for call in unanswered)
        raise invalid(
            f"messages[{at - 1}]",
            f"The tool calls {ids} before messages[{at}] have no result: a message of role 'tool' "
            "with the tool_call_id must follow each call directly.",
        )
