"""Missing evidence: when a probe judges nothing, and why."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from harness.records.reasons import Reason
from harness.records.scores import never_blank
from harness.rules.rule import Problem, excerpt

T = TypeVar("T")
_FEWEST_PROBLEMS = 2  # problems that are more than chance


class NotVerifiableError(Exception):
    """The responses do not allow a judgement; `reason` says why."""

    def __init__(self, reason: Reason | str, **values: str | float) -> None:
        """State a reason, or its code (a key of `harness/data/reasons.yaml`) with its values."""
        self.reason = Reason(code=reason, values=values) if isinstance(reason, str) else reason
        super().__init__(self.reason.text)


def required(parts: Iterable[T], code: str, **values: str | float) -> Sequence[T]:
    """All items. Raises NotVerifiableError with the reason of this code if there are none."""
    items = list(parts)
    if not items:
        raise NotVerifiableError(code, **values)
    return items


@dataclass(frozen=True)
class Unlike:
    """A reply that lacks what it should have, and has `got`; nothing tells who wrote this.

    It is no trial, but its probe passes in part only.
    """

    got: str


def unlike(got: str) -> Unlike:
    """Return what a reply has instead, on one line."""
    return Unlike(excerpt(" \N{RETURN SYMBOL} ".join(never_blank(got).splitlines())))


def repeated(trials: Iterable[Problem | Unlike | None]) -> Sequence[Problem | Unlike | None]:
    """Return the trials; a single problem may be chance: it is only unlike what passes.

    Nothing if no trial passes, and at most one has a problem.
    """
    made = list(trials)
    problems = [trial for trial in made if isinstance(trial, Problem)]
    if len(problems) >= _FEWEST_PROBLEMS:
        return made
    if None not in made:
        return []
    return [unlike(trial.got) if isinstance(trial, Problem) else trial for trial in made]
