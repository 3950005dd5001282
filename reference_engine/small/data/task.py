"""What one training example is before it becomes tokens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from reference_engine.harmony.conversation import Effort, FunctionTool, Turn


@dataclass(frozen=True)
class Setting:
    """What the examples of one group share: the system and developer messages."""

    tools: tuple[FunctionTool, ...] = ()
    effort: Effort = "medium"
    current_date: str | None = None
    instructions: str = ""


@dataclass(frozen=True)
class Ask:
    """A user's request that one tool serves; strings in `arguments` are marked for copying."""

    text: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Task:
    """The turns so far and the turns the model must add; `forced` leaves it only the arguments."""

    skill: str
    turns: tuple[Turn, ...]
    reply: tuple[Turn, ...]
    forced: bool = False
