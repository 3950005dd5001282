"""The state of a watched provider: rounds with their counts, and incidents."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

TOOL_CALLS, AVAILABILITY = "tool calls", "availability"
"""Signals other than families of rules; each has one stream of the same name."""


@dataclass(frozen=True)
class Round:
    """One round of samples of a provider."""

    id: int
    provider: str
    started: float  # seconds since the epoch, like all times here
    folder: str  # run folder; empty if the provider could not be reached
    planned: tuple[str, ...] = ()  # streams to observe
    counts: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """Failures and trials of each stream, once the round is judged."""
    requests: int = 0
    cost: float = 0.0  # dollars, for providers with prices

    def of(self, stream: str) -> tuple[int, int]:
        """Failures and trials of a stream."""
        return self.counts.get(stream, (0, 0))

    @property
    def rules(self) -> dict[str, bool]:
        """Whether each judged rule failed."""
        others = (TOOL_CALLS, AVAILABILITY)
        return {name: each[0] > 0 for name, each in self.counts.items() if name not in others}


@dataclass(frozen=True)
class Incident:
    """A signal of a provider got worse."""

    id: int  # 0 until it is stored
    provider: str
    signal: str  # `tool calls`, `availability` or a family of rules
    stream: str  # what got worse most clearly
    noticed: float  # when the evidence sufficed
    since: float  # when it probably began; the next two are its 90 % interval
    earliest: float
    latest: float
    chance: float  # upper bound on the probability of such evidence within a month without a change
    before: tuple[int, int]  # failures and trials before it began
    after: tuple[int, int]  # from then until it was noticed
    ended: float | None = None  # when the rate was back at the earlier one, or was accepted
    accepted: bool = False  # by an operator; the new rate became the usual one


@dataclass(frozen=True)
class Past:
    """The sums of pruned rounds."""

    until: float = 0.0  # when the last pruned round began
    rounds: int = 0
    counts: Mapping[str, tuple[int, int]] = field(default_factory=dict)  # without incidents


@dataclass(frozen=True)
class Watched:
    """The state of a provider."""

    provider: str
    rounds: Sequence[Round] = ()  # judged ones, oldest first
    incidents: Sequence[Incident] = ()  # oldest first
    past: Past = Past()

    @property
    def made(self) -> int:
        """The number of judged rounds, pruned ones included."""
        return self.past.rounds + len(self.rounds)

    @property
    def open(self) -> list[Incident]:
        """The incidents that have not ended."""
        return [each for each in self.incidents if each.ended is None]
