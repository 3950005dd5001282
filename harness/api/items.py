"""The types that both APIs share. The items of a conversation follow harmony."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Role = Literal["system", "developer", "user", "assistant"]
Finish = Literal["stop", "tool_calls", "length", "content_filter", "unknown"]
Follow = Literal["retrieve", "cancel"]
History = Literal["sent", "response", "items", "conversation"]
"""How a request refers to the earlier conversation: it contains all of it, or names the earlier
response, the reasoning and messages of earlier responses, or nothing but the `conversation` that
its options name (all three only in Responses)."""


@dataclass(frozen=True)
class Message:
    """Text by one role; with role `assistant`, a final answer. A tuple is sent as text parts."""

    role: Role
    text: str | tuple[str, ...]


@dataclass(frozen=True)
class Reasoning:
    """Raw chain of thought (CoT) of the assistant."""

    text: str


@dataclass(frozen=True)
class ToolCall:
    """A tool call of the assistant. `arguments` is the raw string, which may be invalid JSON."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True)
class ToolResult:
    """The output of a tool call. A tuple is sent as text parts."""

    call_id: str
    text: str | tuple[str, ...]


ConversationItem = Message | Reasoning | ToolCall | ToolResult
Items = Sequence[ConversationItem]
Body = dict[str, Any]  # the body of a request, or the object of a response


def text_parts(text: str | tuple[str, ...], kind: str) -> str | list[dict[str, Any]]:
    """A text as it is sent; a tuple becomes parts of this type."""
    return text if isinstance(text, str) else [{"type": kind, "text": part} for part in text]


class UnreadableReplyError(Exception):
    """A response does not follow its API; the message names the place and the problem."""


@dataclass(frozen=True)
class Tool:
    """A function tool with a JSON schema; each call gets `output`, or the result of `run`."""

    name: str
    description: str
    parameters: Mapping[str, Any]
    output: str = ""
    run: Callable[[str], Awaitable[str]] | None = None


@dataclass(frozen=True)
class Usage:
    """Token counts that the provider reports; None for a count that it omits."""

    input_tokens: int | None
    output_tokens: int | None
    reasoning_tokens: int | None
    total_tokens: int | None
    cached_tokens: int | None = None


@dataclass(frozen=True)
class Reply:
    """One assistant reply, streaming or not, in terms that both APIs share.

    `reasoning` is the raw CoT, whichever field carried it. `raw` is the complete JSON object: for
    a stream, the final object of Responses or the reassembled Chat completion. `others` are the
    further choices of a Chat completion with `n` above 1. `calls` are those of functions, and
    `custom_calls` those of custom tools, whose arguments are a text of any form. A reply with a
    `refusal` ended by `content_filter`, whatever its finish reason says: a filter wrote it, not the
    model.
    """

    reasoning: str
    text: str
    calls: tuple[ToolCall, ...]
    finish: Finish
    usage: Usage | None
    raw: Mapping[str, Any]
    others: tuple[Reply, ...] = ()
    custom_calls: tuple[ToolCall, ...] = ()

    @property
    def generated(self) -> str:
        """Everything that the model wrote: CoT, text, and name and arguments of each call."""
        calls = (f"{call.name} {call.arguments}" for call in (*self.calls, *self.custom_calls))
        return "\n".join((self.reasoning, self.text, *calls))

    @property
    def input_tokens(self) -> int | None:
        """Reported prompt tokens, or None."""
        return None if self.usage is None else self.usage.input_tokens

    @property
    def output_tokens(self) -> int | None:
        """Reported completion tokens (CoT and answer), or None."""
        return None if self.usage is None else self.usage.output_tokens


@dataclass(frozen=True)
class RequestSettings:
    """The parts of a request other than its conversation.

    `seed` and `cot_field`, the member of a message that sends CoT back, apply only to Chat
    Completions. With a `history` that is not sent, the provider must store its replies.
    """

    model: str
    reasoning_effort: str | None = None
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    seed: int | None = None
    history: History = "sent"
    cot_field: str = "reasoning"
    omits: frozenset[str] = frozenset()  # members of the body that are left out
    extra_body: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Sample:
    """The part of a test case or dataset row that sampling needs.

    `turns` is the conversation that the model continues, oldest item first; `then` holds further
    user messages, sent one after each answer. `raw` is sent instead of the first request body.
    `later_instructions` and `later_tools`, if set, replace the instructions and the offered tools
    in all but the first request (Responses). `later` has members that these requests have instead
    of its own; the conversation then also goes on after a reply without text. `follow` says what is
    done with the first response by its id: it is retrieved until it is finished, or cancelled
    (Responses). `together` has members of the bodies of further requests, which are otherwise like
    the first one: they are sent over the same connection before the first is answered.
    """

    id: str
    turns: tuple[ConversationItem, ...]
    tools: tuple[Tool, ...] = ()
    instructions: str | None = None
    then: tuple[str, ...] = ()
    later_instructions: str | None = None
    later_tools: tuple[Tool, ...] | None = None
    later: Mapping[str, Any] = field(default_factory=dict)
    raw: str | None = None
    follow: Follow | None = None
    together: tuple[Mapping[str, Any], ...] = ()
