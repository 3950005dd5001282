"""The result of one check by `doctor`.

Uses the standard library only, because any other package may be missing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from harness.errors import EXIT_USAGE

State = Literal["ok", "note", "warning", "problem"]
"""A note is information; a warning may affect a run; a problem prevents it."""


@dataclass(frozen=True)
class Line:
    """One result; `remedy` is None if the text has it, `exit_code` is that of a problem."""

    topic: str
    state: State
    text: str
    remedy: str | None = None
    exit_code: int = 0


def problem(topic: str, text: str, remedy: str | None = None, code: int = EXIT_USAGE) -> Line:
    """The result of a check that found a problem, which prevents a run."""
    return Line(topic, "problem", text, remedy, code)


def exit_code(lines: Sequence[Line]) -> int:
    """0 without a problem, 3 if a provider cannot be used, otherwise 2."""
    return max((line.exit_code for line in lines), default=0)
