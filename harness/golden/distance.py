"""Δ logprob between a reply and the golden answer. No I/O.

Tokens are compared one by one up to and including the first different token, because until then
both models read the same text (teacher forcing by agreement). All alternatives that both list are
compared: where a model is certain, its chosen token carries no information, while unlikely tokens
still tell models apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any

from harmony.vocabulary import bytes_of
from harness.api import DIALECTS
from harness.api.fields import objects
from harness.api.items import Reply
from harness.api.logprob_entries import entry_bytes
from harness.api.parsed_rollout import ParsedExchange
from harness.golden.content import Distance, HealthyRun, Token, Tolerance

_MARGIN = 2.0
"""The factor by which a provider may differ more than the most different healthy run.

vLLM and transformers, which round at more places, differed up to 1.6 times as much as the reference
engine with the same number formats (docs/numerics.md).
"""
_NEAR = 5.0
"""Alternatives at most this many nats below the best one can become the best through noise."""
_NO_VALUE = -9999.0
LEAST_VALUES = 40  # the number of differences needed for a judgement
LEAST_ALONE = 100
"""The number needed to judge one reply alone, without the token that differs most: five tokens
with all their alternatives.

A reply that diverges earlier may have been rendered in another healthy way.
"""


@dataclass(frozen=True)
class ReportedToken:
    """A token as a provider reports it: its bytes, and the logprobs of the alternatives."""

    name: bytes
    top: Mapping[bytes, float]


@dataclass(frozen=True)
class ComparedToken:
    """A token that was compared.

    `at` is its place among the given tokens. `changes` is the reply's logprob minus the golden one
    for each golden alternative, in order; None where the reply does not list the alternative.
    `near` marks alternatives that noise can make the most probable. `agrees` is whether the most
    probable alternative is the same.
    """

    at: int
    changes: tuple[float | None, ...]
    near: tuple[bool, ...]
    agrees: bool

    @property
    def differences(self) -> list[float]:
        """The |Δ logprob| values, in nats."""
        return [abs(change) for change in self.changes if change is not None]


def differences(compared: Iterable[ComparedToken]) -> list[float]:
    """All |Δ logprob| values of several tokens, in nats."""
    return [value for token in compared for value in token.differences]


def without_farthest(compared: Sequence[ComparedToken]) -> Sequence[ComparedToken]:
    """Return all tokens but the farthest one: rounding can change all logprobs of a token."""
    far = max(compared, key=lambda token: max(token.differences), default=None)
    return [token for token in compared if token is not far]


def compare(golden: Iterable[Token], entries: Iterable[ReportedToken]) -> Sequence[ComparedToken]:
    """Compare the tokens of one reply with the golden ones up to the first different token.

    Only steady tokens of the answer count, whether or not the server returns the logprobs of
    others: markers and CoT have other alternatives, and differ more.
    """
    compared: list[ComparedToken] = []
    for at, (token, entry) in enumerate(zip(golden, entries, strict=False)):
        values = [(entry.top.get(bytes_of(id_)), value) for id_, value in token.top]
        changes = tuple(None if came is None else came - value for came, value in values)
        if token.comparable and any(change is not None for change in changes):
            best, highest = token.top[0]
            near = tuple(value >= highest - _NEAR for _, value in values)
            agrees = max(entry.top, key=lambda name: entry.top[name]) == bytes_of(best)
            compared.append(ComparedToken(at, changes, near, agrees))
        if entry.name != bytes_of(token.id):
            break
    return compared


def distance(compared: Sequence[ComparedToken], gaps: Iterable[float] = ()) -> Distance:
    """Summarize a comparison with at least one difference."""
    import numpy as np  # only where distances are judged: it takes 0.1 s

    values = differences(compared)
    pairs = (pair for token in compared for pair in zip(token.changes, token.near, strict=True))
    close = [abs(change) for change, near in pairs if near and change is not None]
    median, p95, p99 = np.quantile(values, (0.5, 0.95, 0.99)).tolist()
    return Distance(
        tokens=len(compared),
        values=len(values),
        median=median,
        p95=p95,
        p99=p99,
        near_p99=float(np.quantile(close or [0.0], 0.99)),
        agreement=sum(token.agrees for token in compared) / len(compared),
        gap=max(gaps, default=0.0),
    )


def tolerance(healthy: Sequence[HealthyRun]) -> Tolerance:
    """Return the tolerance learned from healthy runs: their largest figures plus a margin.

    If the logprobs of two likely alternatives are each off by the 99th percentile, independently,
    their difference is off by √2 times that, and the most probable token may change if it was ahead
    by less. If no healthy reply was long enough to be judged alone, the 99th percentile of all
    applies to a single reply.
    """
    worst = [run.distance for run in healthy]
    p99 = _MARGIN * max(figures.p99 for figures in worst)
    return Tolerance(
        median=_MARGIN * max(figures.median for figures in worst),
        p95=_MARGIN * max(figures.p95 for figures in worst),
        p99=p99,
        request_p95=_MARGIN * max(run.farthest for run in healthy) or p99,
        gap=_MARGIN * max(max(sqrt(2) * figures.near_p99, figures.gap) for figures in worst),
    )


def shown(figures: Distance | Tolerance) -> str:
    """Return the figures as text."""
    return (
        f"|Δ logprob| median {figures.median:.3f}, 95% {figures.p95:.3f}, "
        f"99% {figures.p99:.3f} nats"
    )


def entries_of(exchange: ParsedExchange, reply: Reply) -> list[ReportedToken]:
    """Return the logprob entries of the tokens of the answer."""
    return [reported(entry) for entry in DIALECTS[exchange.api].logprobs(reply.raw)]


def reported(entry: Mapping[str, Any]) -> ReportedToken:
    """Read the logprob entry of one token, without members that are not values.

    OpenAI's API defines -9999.0 for tokens outside the most probable ones; llama.cpp sends the
    lowest float32.
    """
    listed = [entry, *objects(entry.get("top_logprobs"))]
    values = {
        entry_bytes(listing): float(value)
        for listing in listed
        if isinstance(value := listing.get("logprob"), int | float) and value > _NO_VALUE
    }
    return ReportedToken(entry_bytes(entry), values)
