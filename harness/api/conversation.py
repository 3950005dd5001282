"""A conversation, independent of the API that carries it.

The items follow harmony: CoT, tool calls and final answers are separate items. Chat Completions
merges them into assistant messages; Responses has one item for each.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Role = Literal["system", "developer", "user", "assistant"]


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
