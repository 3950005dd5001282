"""Holding the model to `tool_choice`, by writing the harmony header for it where it goes astray.

The model first writes its analysis as ever. Only when it begins a message that the request rules
out is that message taken back, and a header put in its place, after which the model goes on:

- required or named: the header of a call; where several functions are allowed, only up to the
  recipient's name, so that the model picks. A name that is not allowed after all is replaced by the
  nearest one that is.
- none (where the tools are left out of the prompt too), or no tools at all: the header of a final
  answer in place of a call.

With `auto`, only a call to a function that `allowed_tools` leaves out is taken back. One to a
function that does not exist is reported as it is.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from harmony.conversation import FunctionTool
from harmony.parse import CHANNEL, END, START, STOP_TOKENS, Started
from harmony.vocabulary import harmony_encoding

_FINAL = "<|channel|>final<|message|>"
_ANY_CALL = "<|channel|>commentary to=functions"
_CALL = "<|channel|>commentary to=functions.{name} <|constrain|>json<|message|>"
_UNFIT_ENDS = STOP_TOKENS | {START, CHANNEL}


@dataclass(frozen=True)
class ToolPolicy:
    """What the request allows.

    Attributes:
        names: The functions that a required call may go to.
        withheld: The functions of the request that no call may go to.
    """

    mode: Literal["auto", "required", "forbidden"] = "auto"
    names: tuple[str, ...] = ()
    withheld: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        tools: Sequence[FunctionTool],
        mode: str,
        chosen: str | None,
        withheld: tuple[str, ...] = (),
    ) -> ToolPolicy:
        """The policy of a tool choice: `none`, `auto` or `required`, or the function it names."""
        names = (chosen,) if chosen else tuple(tool.name for tool in tools)
        if chosen or mode == "required":
            return cls("required", names)
        return cls("forbidden") if mode == "none" or not names else cls(withheld=withheld)

    def allows(self, message: Started) -> bool:
        """Whether the model may write this message."""
        match self.mode:
            case "auto":
                return message.name not in self.withheld
            case "forbidden":
                return message.kind != "call"
            case "required":
                if message.kind == "call":
                    return message.name in self.names
                return message.kind != "answer"

    def header(self, astray: Started | None, *, again: bool) -> str:
        """The header to write in place of a message that is not allowed, or of none at all.

        Args:
            astray: The message that the model began, or None if it ended its turn without a call.
            again: The model has had its chance to pick a function.
        """
        if self.mode != "required":
            return _FINAL
        if len(self.names) > 1 and not again:
            return _ANY_CALL
        nearest = list(self.names)
        if astray and astray.name:
            nearest = difflib.get_close_matches(astray.name, nearest, n=1, cutoff=0)
        return _CALL.format(name=nearest[0])


def continuation(before: Sequence[int], header: str) -> tuple[list[int], list[int]]:
    """The completion up to a message boundary, mended if need be, and the header to go on with.

    `before` is empty where the prompt's own `<|start|>assistant` is still open.
    """
    encoding = harmony_encoding()
    if not before:
        return [], encoding.encode(header, allowed_special="all")
    kept = list(before[:-1] if before[-1] in _UNFIT_ENDS else before)
    if kept[-1:] != [END]:
        kept.append(END)
    return kept, encoding.encode("<|start|>assistant" + header, allowed_special="all")
