"""The state of a watched provider: rounds with their counts, and incidents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

TOOL_CALLS, AVAILABILITY = "tool calls", "availability"
"""Signals beside the families of rules; each is its only stream."""


@dataclass(frozen=True)
class Round:
    """One round of samples of a provider.

    Attributes:
        id: Its number in the state.
        provider: The provider.
        started: Seconds since the epoch.
        folder: The run's; empty if the provider could not be reached.
        planned: The streams that it planned to observe.
        counts: Failures and trials of each stream; None until it was judged.
        requests: Requests that were made.
        cost: Dollars, for providers with prices.
    """

    id: int
    provider: str
    started: float
    folder: str
    planned: tuple[str, ...] = ()
    counts: Mapping[str, tuple[int, int]] | None = None
    requests: int = 0
    cost: float = 0.0


@dataclass(frozen=True)
class Incident:
    """A signal of a provider got worse.

    Attributes:
        id: Its number in the state; 0 until it is there.
        provider: The provider.
        signal: `tool calls`, `availability` or a family of rules.
        stream: What got worse most clearly.
        noticed: When the evidence sufficed; times are seconds since the epoch.
        since: When it probably began.
        earliest: The earliest time at which it may have begun, with a probability of 90 %.
        latest: The latest one.
        chance: Probability at most of such evidence within a month without a change.
        before: Failures and trials before it began.
        after: Failures and trials from then until it was noticed.
        ended: When the rate was that of before again, or was accepted; None until then.
        accepted: Whether an operator accepted the new rate, which is then the usual one.
    """

    id: int
    provider: str
    signal: str
    stream: str
    noticed: float
    since: float
    earliest: float
    latest: float
    chance: float
    before: tuple[int, int]
    after: tuple[int, int]
    ended: float | None = None
    accepted: bool = False


@dataclass(frozen=True)
class Past:
    """Rounds that were pruned, summed.

    Attributes:
        until: When the last of them began.
        rounds: How many there were.
        counts: Failures and trials of each stream, without those during incidents.
    """

    until: float = 0.0
    rounds: int = 0
    counts: Mapping[str, tuple[int, int]] = field(default_factory=dict)


@dataclass(frozen=True)
class Watched:
    """The state of a provider.

    Attributes:
        provider: Its name.
        rounds: Judged rounds, oldest first.
        incidents: Oldest first.
        past: The rounds before, which were pruned.
    """

    provider: str
    rounds: Sequence[Round] = ()
    incidents: Sequence[Incident] = ()
    past: Past = Past()

    @property
    def made(self) -> int:
        """The number of judged rounds, pruned ones included."""
        return self.past.rounds + len(self.rounds)

    @property
    def open(self) -> list[Incident]:
        """The incidents that have not ended."""
        return [each for each in self.incidents if each.ended is None]
