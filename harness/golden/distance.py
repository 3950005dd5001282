"""How far the log probabilities of a reply are from the golden ones. Pure.

Tokens are compared one by one as long as they are the golden ones: up to and including the first
other token, both models have read the same text (teacher forcing by agreement). All alternatives
that both list are compared, not only the token itself: where a model is sure, its own token says
nothing, and the unlikely ones still tell one model from another.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from harness.golden.records import Distance, HealthyRun, Token, Tolerance
from harness.golden.tokens import bytes_of

_MARGIN = 1.5
"""A provider may be this many times as far as the farthest healthy run."""
LEAST_VALUES = 40
"""So many differences are needed to say how far something is."""
LEAST_ALONE = 100
"""So many are needed of one reply alone: five tokens with all their alternatives.

A reply that goes another way sooner may have been asked in another of the healthy renderings.
"""


@dataclass(frozen=True)
class Entry:
    """A token as a provider reports it: its bytes, and the log probabilities of alternatives."""

    name: bytes
    top: Mapping[bytes, float]


@dataclass(frozen=True)
class Compared:
    """What came of comparing tokens: absolute differences, and how many had the same best one."""

    tokens: int = 0
    agreeing: int = 0
    differences: tuple[float, ...] = ()

    def __add__(self, other: Compared) -> Compared:
        return Compared(
            self.tokens + other.tokens,
            self.agreeing + other.agreeing,
            self.differences + other.differences,
        )


def compare(golden: Iterable[Token], entries: Iterable[Entry]) -> Compared:
    """Compare the tokens of one reply with the golden ones, as long as they are the same."""
    tokens = agreeing = 0
    differences: list[float] = []
    for token, entry in zip(golden, entries, strict=False):
        top = {bytes_of(each): value for each, value in token.top}
        shared = [abs(value - entry.top[name]) for name, value in top.items() if name in entry.top]
        if shared:
            tokens += 1
            differences += shared
            agreeing += max(entry.top, key=lambda name: entry.top[name]) == next(iter(top))
        if entry.name != bytes_of(token.id):
            break
    return Compared(tokens, agreeing, tuple(differences))


def distance(compared: Compared, gaps: Iterable[float] = ()) -> Distance:
    """The summary of everything that was compared; at least one difference is needed."""
    median, p95, p99 = np.quantile(compared.differences, (0.5, 0.95, 0.99)).tolist()
    return Distance(
        tokens=compared.tokens,
        values=len(compared.differences),
        median=median,
        p95=p95,
        p99=p99,
        agreement=compared.agreeing / compared.tokens,
        gap=max(gaps, default=0.0),
    )


def tolerance(healthy: Sequence[HealthyRun]) -> Tolerance:
    """What to allow, learned from healthy runs: their largest figures with a margin.

    Where two log probabilities may each be off by the tolerated 99th percentile, the best token
    may be another if it was less than twice as far ahead. Where no healthy reply was long enough to
    be judged alone, a provider's may be as far as the 99th percentile of all.
    """
    worst = [run.distance for run in healthy]
    p99 = _MARGIN * max(each.p99 for each in worst)
    return Tolerance(
        median=_MARGIN * max(each.median for each in worst),
        p95=_MARGIN * max(each.p95 for each in worst),
        p99=p99,
        request_p95=_MARGIN * max(run.farthest for run in healthy) or p99,
        gap=max(2 * p99, _MARGIN * max(each.gap for each in worst)),
    )


def shown(figures: Distance | Tolerance) -> str:
    """The figures in words."""
    return f"median {figures.median:.3f}, 95 % {figures.p95:.3f}, 99 % {figures.p99:.3f} nats apart"
