"""A conversation before it is put into either dialect's JSON.

The turns are harmony's: what the model thinks, calls and says are turns of their own. Chat
Completions joins them into assistant messages, Responses has an item for each.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Role = Literal["system", "developer", "user", "assistant"]


@dataclass(frozen=True)
class Message:
    """Text by one role; as an assistant's, it is a final answer. A tuple is sent as text parts."""

    role: Role
    text: str | tuple[str, ...]


@dataclass(frozen=True)
class Thought:
    """Raw chain of thought (CoT) of the assistant."""

    text: str


@dataclass(frozen=True)
class ToolCall:
    """A tool call of the assistant. `arguments` is the raw string, valid JSON or not."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True)
class ToolResult:
    """What a called tool gave back. A tuple is sent as text parts."""

    call_id: str
    text: str | tuple[str, ...]


ConversationItem = Message | Thought | ToolCall | ToolResult
