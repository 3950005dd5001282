"""Missing evidence: when a probe judges nothing, and why."""

from collections.abc import Iterable, Sequence
from typing import TypeVar

from harness.records.reasons import Reason

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


def repeated(trials: Iterable[T | None]) -> Sequence[T | None]:
    """Return the trials; those with a problem only if these are at least two."""
    made = list(trials)
    problems = sum(trial is not None for trial in made)
    return [trial for trial in made if trial is None or problems >= _FEWEST_PROBLEMS]
