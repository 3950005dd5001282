"""What the rules on final answers know of one eval, and a place that states an answer."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Protocol

FOUR = "D"
"""The last of the letters in the patterns of this package."""


@cache
def up_to(last: str, pattern: re.Pattern[str]) -> re.Pattern[str]:
    """Return a pattern with the letters from A to `last`; alone, `I` is also a pronoun."""
    if last == FOUR or "[A-D]" not in pattern.pattern:
        return pattern
    source = pattern.pattern.replace("[A-D]", f"[A-{last}]").replace("(?!A (", "(?![AI] (")
    return re.compile(source, pattern.flags)


class AnswerReader(Protocol):
    """The recognition of the answers of one eval. Every method returns None without an answer."""

    @property
    def last(self) -> str:
        """The letter of the last choice."""
        ...

    @property
    def asks_for_letter(self) -> bool:
        """Whether the answer is a letter; if so, a letter that follows from a box replaces it."""
        ...

    def boxed(self, content: str) -> str | None:
        """Return the answer in a box."""
        ...

    def stated(self, text: str) -> str | None:
        """Return the answer at the beginning of a text that follows a label."""
        ...

    def whole(self, line: str) -> str | None:
        """Return the answer of a line that contains nothing else."""
        ...

    def concluded(self, sentence: str, claims: Sequence[str]) -> str | None:
        """Return what a last sentence chooses; `claims` are its clauses that deny nothing."""
        ...

    def without_choices(self, sentence: str) -> str:
        """Return a sentence without the texts of choices."""
        ...

    def names_other(self, remark: str, answer: str) -> bool:
        """Return whether a remark names another answer than this one."""
        ...


@dataclass(frozen=True)
class Statement:
    """A place of a text that states an answer, or that none is given; `at` counts characters."""

    line: int
    at: int
    answer: str | None
    box: bool = False
