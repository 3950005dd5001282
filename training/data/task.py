"""A training example before it is converted to tokens."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any, Literal

from harmony.conversation import Builtin, ConversationItem, Effort, FunctionTool


@dataclass(frozen=True)
class Setting:
    """The system and developer messages, which the examples of one group share.

    Attributes:
        builtin: the built-in tools that the system message declares.
    """

    tools: tuple[FunctionTool, ...] = ()
    effort: Effort = "medium"
    current_date: str | None = None
    instructions: str = ""
    builtin: tuple[Builtin, ...] = ()


@dataclass(frozen=True)
class Ask:
    """A user's request that one tool serves; strings in `arguments` are marked for copying."""

    text: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


Asker = Callable[[Random, FunctionTool], Ask]
"""Writes a request for one tool."""


def parameter_names(tool: FunctionTool) -> tuple[str, ...]:
    """The parameters of a tool, in order."""
    return tuple((tool.parameters or {}).get("properties", {}))


Prefill = Literal["", "commentary to=functions.", "header"]
"""What a server writes to force a call: nothing, up to the name, or all except the arguments."""


@dataclass(frozen=True)
class Task:
    """The turns so far, and the turns that the model must add."""

    skill: str
    turns: tuple[ConversationItem, ...]
    reply: tuple[ConversationItem, ...]
    prefill: Prefill = ""
