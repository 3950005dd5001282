"""What `tool_choice` of both dialects comes to: the tools that are shown, and the policy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Discriminator, Tag

from harmony.conversation import FunctionTool
from reference_engine.server.errors import invalid
from reference_engine.server.steering import ToolPolicy

ChoiceMode = Literal["none", "auto", "required"]


def _form(choice: object) -> str:
    """The tag of a tool choice; capital letters keep it out of the error's path."""
    if not isinstance(choice, dict):
        return "Mode"
    return "Allowed" if choice.get("type") == "allowed_tools" else "Named"


MODE, NAMED, ALLOWED = Tag("Mode"), Tag("Named"), Tag("Allowed")
FORM = Discriminator(_form)
Mode = Annotated[ChoiceMode, MODE]


@dataclass(frozen=True)
class Offered:
    """A function tool, and where in the request it stands."""

    tool: FunctionTool
    place: str


@dataclass(frozen=True)
class Choice:
    """A tool choice in either dialect's words.

    Attributes:
        mode: Whether a call must come, or must not.
        chosen: The one function to call, if one is named.
        allowed: The functions that `allowed_tools` leaves, or None for all. harmony knows no such
            mark on a tool, so the others are not shown to the model.
    """

    mode: ChoiceMode
    chosen: str | None = None
    allowed: tuple[str, ...] | None = None

    def applied(self, tools: Sequence[Offered]) -> tuple[tuple[FunctionTool, ...], ToolPolicy]:
        """The tools to show, and what the model may call.

        Raises:
            ApiError: Two tools have one name, or the tools cannot meet the choice.
        """
        self._check([each.tool.name for each in tools], tools)
        left = tuple(
            each.tool for each in tools if self.allowed is None or each.tool.name in self.allowed
        )
        withheld = tuple(each.tool.name for each in tools if each.tool not in left)
        policy = ToolPolicy.of(left, self.mode, self.chosen, withheld)
        return (() if self.mode == "none" else left), policy

    def _check(self, names: Sequence[str], tools: Sequence[Offered]) -> None:
        seen: set[str] = set()
        for each in tools:
            if each.tool.name in seen:
                raise invalid(each.place, f"There are two tools named '{each.tool.name}'.")
            seen.add(each.tool.name)
        if self.mode == "required" and not names:
            raise invalid("tool_choice", "'tool_choice' asks for a call but 'tools' is empty.")
        for name in (self.chosen, *(self.allowed or ())):
            if name is not None and name not in seen:
                message = f"'tool_choice' names '{name}', which is not in 'tools'."
                raise invalid("tool_choice", message)
