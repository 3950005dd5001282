"""`tool_choice`: which tools the model sees, and how the server enforces the choice.

The model writes its analysis freely. When it starts a message that the request does not allow, the
server replaces that message by a different header, and the model continues from there:

- required or a named function: the header of a call. With several functions, the header stops
  before the name, and the model picks one. The nearest allowed name replaces a name that is not
  allowed.
- none, or no tools: the header of a final answer instead of a call. With none, the prompt still
  describes the tools, as vLLM's does by default: the model saw no call without tools in training.

With auto, the server only removes calls of functions that are not in `allowed_tools`. It returns a
call of an unknown function unchanged.

Calls of tools that the server runs are allowed up to a maximum number; after that, the header of a
final answer replaces them.
"""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from harmony.conversation import FunctionTool
from harmony.parse import CHANNEL, END, START, STOP_TOKENS, Started
from harmony.vocabulary import encode
from reference_engine.server.api_error import invalid

_FINAL = "<|channel|>final<|message|>"
_ANY_CALL = "<|channel|>commentary to=functions"
_CALL = "<|channel|>commentary to=functions.{name} <|constrain|>json<|message|>"
_UNFIT_ENDS = STOP_TOKENS | {START, CHANNEL}


@dataclass(frozen=True)
class ToolPolicy:
    """The messages that a request allows."""

    mode: Literal["auto", "required", "forbidden"] = "auto"
    """Whether the model may, must or must not call a function."""
    names: tuple[str, ...] = ()  # the functions that a required call may name
    withheld: tuple[str, ...] = ()  # the functions of the request that no call may name
    builtin: tuple[str, ...] = ()  # the tools that the server runs: `browser` and `python`
    used_up: bool = False  # whether the model has made the maximum number of these calls

    def allows(self, message: Started) -> bool:
        """Return whether the model may write this message."""
        if message.kind == "call" and message.name.partition(".")[0] in self.builtin:
            return not self.used_up
        match self.mode:
            case "auto":
                return message.name not in self.withheld
            case "forbidden":
                return message.kind != "call"
            case "required":
                if message.kind == "call":
                    return message.name in self.names
                return message.kind != "answer"

    def header(self, disallowed: Started | None, *, again: bool) -> str:
        """Return the header that replaces a disallowed message, or that follows the last one.

        It names a function if the model has already had a chance to pick one (`again`).
        """
        if self.mode != "required":
            return _FINAL
        if len(self.names) > 1 and not again:
            return _ANY_CALL
        nearest = list(self.names)
        if disallowed and disallowed.name:
            nearest = difflib.get_close_matches(disallowed.name, nearest, n=1, cutoff=0)
        return _CALL.format(name=nearest[0])


def continuation(before: Sequence[int], header: str) -> tuple[list[int], list[int]]:
    """Return the completion up to a complete message, and the header that the model continues.

    `before` is empty while the prompt's `<|start|>assistant` is still open.
    """
    if not before:
        return [], encode(header)
    kept = list(before[:-1] if before[-1] in _UNFIT_ENDS else before)
    if kept[-1:] != [END]:
        kept.append(END)
    return kept, encode("<|start|>assistant" + header)


ChoiceMode = Literal["none", "auto", "required"]


@dataclass(frozen=True)
class OfferedTool:
    """A function tool and its path in the request."""

    tool: FunctionTool
    place: str


@dataclass(frozen=True)
class Choice:
    """A tool choice of either API."""

    mode: ChoiceMode  # whether the model may, must or must not call a function
    chosen: str | None = None  # the named function, if there is one
    allowed: tuple[str, ...] | None = None
    """The functions that `allowed_tools` lists, or None for all. Harmony cannot mark tools as
    disallowed, so the model does not see the others."""

    def applied(self, tools: Sequence[OfferedTool]) -> tuple[tuple[FunctionTool, ...], ToolPolicy]:
        """Return the tools that the model sees, and the policy. Raises ApiError."""
        self._check(tools)
        seen = tuple(
            offered.tool
            for offered in tools
            if self.allowed is None or offered.tool.name in self.allowed
        )
        names = (self.chosen,) if self.chosen else tuple(tool.name for tool in seen)
        if self.mode == "required":
            return seen, ToolPolicy("required", names)
        if self.mode == "none":
            return seen, ToolPolicy("forbidden")
        withheld = tuple(offered.tool.name for offered in tools if offered.tool not in seen)
        return seen, ToolPolicy(withheld=withheld) if seen else ToolPolicy("forbidden")

    def _check(self, tools: Sequence[OfferedTool]) -> None:
        names: set[str] = set()
        for offered in tools:
            if offered.tool.name in names:
                raise invalid(offered.place, f"There are two tools named '{offered.tool.name}'.")
            names.add(offered.tool.name)
        if self.mode == "required" and not names:
            raise invalid("tool_choice", "'tool_choice' requires a call but 'tools' is empty.")
        for name in (self.chosen, *(self.allowed or ())):
            if name is not None and name not in names:
                message = f"'tool_choice' names '{name}', which is not in 'tools'."
                raise invalid("tool_choice", message)
