"""Conversations, independent of the API; `render` converts them to harmony tokens."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Effort = Literal["low", "medium", "high"]
Builtin = Literal["browser", "python"]
"""The tools that gpt-oss was trained with: `browser.search`, `.open` and `.find`, and `python`."""


@dataclass(frozen=True)
class FunctionTool:
    """A function that the model may call.

    `parameters` is a JSON schema, or None without parameters. If `strict`, calls must follow it.
    """

    name: str
    description: str = ""
    parameters: Mapping[str, Any] | None = None
    strict: bool = False


@dataclass(frozen=True)
class Developer:
    """Instructions: an API message of role system or developer, or Responses `instructions`."""

    text: str


@dataclass(frozen=True)
class User:
    """What the user writes: an API message of role user."""

    text: str


@dataclass(frozen=True)
class Reasoning:
    """A chain of thought (channel analysis)."""

    text: str


@dataclass(frozen=True)
class Preamble:
    """Text for the user before a tool call (channel commentary)."""

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
    """The result of a call of the function `name`."""

    name: str
    output: str


@dataclass(frozen=True)
class BuiltinCall:
    """A call of `browser.search`, `browser.open`, `browser.find` or `python` in the analysis.

    `content` is JSON for the browser and code for Python.
    """

    name: str
    content: str


@dataclass(frozen=True)
class BuiltinResult:
    """The output of the built-in tool `name`."""

    name: str
    output: str


ConversationItem = (
    Developer | User | Reasoning | Preamble | Answer | Call | Result | BuiltinCall | BuiltinResult
)


def texts_of(item: ConversationItem) -> tuple[str, ...]:
    """Return the texts of an item, with the name of its tool."""
    match item:
        case Developer() | User() | Reasoning() | Preamble() | Answer():
            return (item.text,)
        case Call(name, text) | Result(name, text):
            return name, text
        case BuiltinCall(name, text) | BuiltinResult(name, text):
            return name, text


@dataclass(frozen=True)
class AnswerFormat:
    """The JSON schema that the final answer should follow, exactly if `strict`."""

    name: str
    schema: Mapping[str, Any]
    description: str = ""
    strict: bool = False


@dataclass(frozen=True)
class Conversation:
    """The content of a prompt: the items so far, the tools and the system settings.

    `current_date` is an ISO date for the system message, or None for no date line. The system
    message declares the tools in `builtin`.
    """

    items: tuple[ConversationItem, ...]
    tools: tuple[FunctionTool, ...] = ()
    effort: Effort = "medium"
    answer_format: AnswerFormat | None = None
    current_date: str | None = None
    builtin: tuple[Builtin, ...] = ()
