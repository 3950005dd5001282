"""What the reference engine knows of a conversation, whichever API it came through.

The server turns a Chat Completions or Responses request into a `Conversation`; `render` turns
that into harmony tokens. Nothing here knows of HTTP, of tokens, or of the model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Effort = Literal["low", "medium", "high"]


@dataclass(frozen=True)
class FunctionTool:
    """A function the model may call; `parameters` is a JSON schema, or None for no arguments."""

    name: str
    description: str = ""
    parameters: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Developer:
    """Instructions: an API message of role system or developer, or Responses `instructions`."""

    text: str


@dataclass(frozen=True)
class User:
    """What the user said."""

    text: str


@dataclass(frozen=True)
class Reasoning:
    """Raw chain of thought (channel analysis)."""

    text: str


@dataclass(frozen=True)
class Preamble:
    """Text the assistant shows the user between tool calls (channel commentary)."""

    text: str


@dataclass(frozen=True)
class Answer:
    """A final answer (channel final)."""

    text: str


@dataclass(frozen=True)
class Call:
    """A function call by the assistant; `name` has no `functions.` prefix, `arguments` is JSON."""

    name: str
    arguments: str


@dataclass(frozen=True)
class Result:
    """What the function `name` returned."""

    name: str
    output: str


ConversationItem = Developer | User | Reasoning | Preamble | Answer | Call | Result


@dataclass(frozen=True)
class AnswerFormat:
    """The JSON schema that the final answer is asked to follow."""

    name: str
    schema: Mapping[str, Any]
    description: str = ""


@dataclass(frozen=True)
class Conversation:
    """A whole prompt: the turns so far, the tools on offer, and the system settings.

    `current_date` is an ISO date for the system message, or None to leave the line out.
    """

    items: tuple[ConversationItem, ...]
    tools: tuple[FunctionTool, ...] = ()
    effort: Effort = "medium"
    answer_format: AnswerFormat | None = None
    current_date: str | None = None
