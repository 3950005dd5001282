"""The checks of a run as the page lists them: by family, those with most to say first."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.records.analysis import CheckResult
from harness.records.families import short_title
from reports import words

_NOTED = "noted"
"""What the page calls a check that passed and has something to say all the same."""
_STATUSES: Mapping[str, tuple[str, str]] = {
    "failed": ("✕", "failed"),
    "warned": ("!", "warned"),
    "declared": ("§", "declared"),
    _NOTED: ("i", "for information"),
    "passed": ("✓", "passed"),
    "not_verifiable": ("?", "not verifiable"),
    "skipped": ("–", "skipped"),
}
_SPEAKING = ("failed", "warned", "declared", _NOTED)


@dataclass(frozen=True)
class Count:
    """How many have one status; `shown` says whether these are what a reader looks for first."""

    status: str
    sign: str
    said: str
    count: int
    shown: bool


@dataclass(frozen=True)
class Listed:
    """One check or probe; `share` says how many of the attempts it could judge had a finding."""

    result: CheckResult
    status: str
    sign: str
    said: str
    share: str
    search: str


@dataclass(frozen=True)
class Family:
    """Checks and probes about one thing, with how many of them have each status."""

    title: str
    counts: tuple[Count, ...]
    listed: tuple[Listed, ...]


def families(results: Sequence[CheckResult]) -> tuple[Family, ...]:
    """All families, in the order in which they first occur."""
    grouped: dict[str, list[CheckResult]] = defaultdict(list)
    for result in results:
        grouped[result.check.family].append(result)
    return tuple(
        Family(
            short_title(name),
            statuses(members),
            tuple(_listed(result) for result in sorted(members, key=_rank)),
        )
        for name, members in grouped.items()
    )


def statuses(results: Sequence[CheckResult]) -> tuple[Count, ...]:
    """Each status that occurs, and how often. Where nothing has much to say, passes are shown."""
    counts = Counter(map(_status, results))
    quiet = not any(counts[status] for status in _SPEAKING)
    first = ("passed",) if quiet else _SPEAKING
    return tuple(
        Count(status, sign, said, counts[status], status in first)
        for status, (sign, said) in _STATUSES.items()
        if counts[status]
    )


def _status(result: CheckResult) -> str:
    return _NOTED if result.status == "passed" and result.findings else result.status


def _listed(result: CheckResult) -> Listed:
    about = result.check
    status = _status(result)
    sign, said = _STATUSES[status]
    applicable = words.counted(result.applicable, "attempt") if result.applicable else ""
    return Listed(
        result=result,
        status=status,
        sign=sign,
        said=said,
        share=words.share(result) if result.findings else applicable,
        search=f"{about.id} {about.summary} {about.family}".lower(),
    )


def _rank(result: CheckResult) -> tuple[int, int, str]:
    return list(_STATUSES).index(_status(result)), -result.failures, result.check.id
