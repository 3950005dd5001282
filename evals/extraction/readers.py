"""What the rules on final answers know of one eval, and a place that states an answer."""

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

FOUR = "D"
"""The last of the letters in the patterns of this package."""


@cache
def up_to(last: str, pattern: re.Pattern[str]) -> re.Pattern[str]:
    """Return a pattern with the letters from A to `last`; alone, `I` is also a pronoun."""
    if last == FOUR or "[A-D]" not in pattern.pattern:
        return pattern
    source = pattern.pattern.replace("[A-D]", f"[A-{last}]").replace("(?!A (", "(?![AI] (")
    return re.compile(source, pattern.flags)


class AnswerReader(ABC):
    """The recognition of the answers of one eval. Every method returns None without an answer."""

    last: str = FOUR
    """The letter of the last choice."""

    @abstractmethod
    def whole(self, line: str) -> str | None:
        """Return the answer of a line that contains nothing else."""

    @abstractmethod
    def stated(self, text: str) -> str | None:
        """Return the answer at the beginning of a text that follows a label."""

    @abstractmethod
    def concluded(self, sentence: str, claims: Sequence[str]) -> str | None:
        """Return what a last sentence chooses; `claims` are its clauses that deny nothing."""

    @abstractmethod
    def names_other(self, remark: str, answer: str) -> bool:
        """Return whether a remark names another answer than this one."""

    def boxed(self, content: str) -> str | None:
        """Return the answer in a box."""
        return self.stated(content)

    def without_choices(self, sentence: str) -> str:
        """Return a sentence without the texts of choices."""
        return sentence


@dataclass(frozen=True)
class Statement:
    """A place of a text that states an answer, or that none is given; `at` counts characters."""

    line: int
    at: int
    answer: str | None
    box: bool = False
