"""One thing looked at, and what to do about it.

Of the standard library only: what is missing may be any other package.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "note", "warning", "problem"]
"""A note is worth knowing; a warning may spoil a run; a problem prevents it."""

EXIT_PROBLEM = 2
EXIT_UNREACHABLE = 3


@dataclass(frozen=True)
class Line:
    """`exit_code` is what the command ends with because of it; 0 but for problems."""

    topic: str
    state: State
    text: str
    remedy: str | None = None
    exit_code: int = 0


def ok(topic: str, text: str) -> Line:
    """All is well."""
    return Line(topic, "ok", text)


def note(topic: str, text: str, remedy: str | None = None) -> Line:
    """Worth knowing, such as what is not there and need not be."""
    return Line(topic, "note", text, remedy)


def warning(topic: str, text: str, remedy: str | None = None) -> Line:
    """May spoil a run. Without a remedy, the text holds it, as the messages of errors do."""
    return Line(topic, "warning", text, remedy)


def problem(topic: str, text: str, remedy: str | None = None, code: int = EXIT_PROBLEM) -> Line:
    """Prevents a run; the remedy as in a warning."""
    return Line(topic, "problem", text, remedy, code)


def exit_code(lines: Sequence[Line]) -> int:
    """0 without a problem, 3 where a provider cannot be reached, else 2."""
    return max((line.exit_code for line in lines), default=0)
