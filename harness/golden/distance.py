"""|Δ logprob| between a reply and the golden answer. Pure.

Tokens are compared one by one up to and including the first different token, because until then
both models read the same text (teacher forcing by agreement). All alternatives that both list are
compared: where a model is certain, its chosen token carries no information, while unlikely tokens
still tell models apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.api.base import Reply
from harness.golden.records import Distance, HealthyRun, Token, Tolerance
from harness.golden.tokens import bytes_of
from harness.parsing.events import objects
from harness.parsing.rollout import ParsedExchange

_MARGIN = 1.5
"""A provider may differ this many times as much as the most different healthy run."""
LEAST_VALUES = 40
"""The number of differences needed for a judgement."""
LEAST_ALONE = 100
"""The number needed to judge one reply alone: five tokens with all their alternatives.

A reply that diverges earlier may have been rendered in another healthy way.
"""


@dataclass(frozen=True)
class Entry:
    """A token as a provider reports it: its bytes, and the logprobs of the alternatives."""

    name: bytes
    top: Mapping[bytes, float]


@dataclass(frozen=True)
class Compared:
    """Compared tokens: their |Δ logprob| values, and how many agree in the most probable one."""

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
    """Compare the tokens of one reply with the golden ones up to the first different token."""
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
    """Summarize a comparison with at least one difference."""
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
    """The tolerance learned from healthy runs: their largest figures plus a margin.

    If two logprobs may each be off by the tolerated 99th percentile, the most probable token may
    change if it was ahead by less than twice that. If no healthy reply was long enough to be judged
    alone, the 99th percentile of all applies to a single reply.
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
    """The figures as text."""
    return (
        f"|Δ logprob| median {figures.median:.3f}, 95 % {figures.p95:.3f}, "
        f"99 % {figures.p99:.3f} nats"
    )


def raw_entries(exchange: ParsedExchange, reply: Reply) -> list[Mapping[str, Any]]:
    """The logprob entry of each token of the answer, as the API returns it."""
    if exchange.api == "chat":
        choices = objects(reply.raw.get("choices"))
        logprobs = choices[0].get("logprobs") if choices else None
        return objects(logprobs.get("content")) if isinstance(logprobs, dict) else []
    messages = [i for i in objects(reply.raw.get("output")) if i.get("type") == "message"]
    parts = [part for item in messages for part in objects(item.get("content"))]
    return [entry for part in parts for entry in objects(part.get("logprobs"))]


def entries_of(exchange: ParsedExchange, reply: Reply) -> list[Entry]:
    """The logprob entries by token bytes, with only numeric values."""
    return [_entry(each) for each in raw_entries(exchange, reply)]


def entry_bytes(entry: Mapping[str, Any]) -> bytes:
    """The bytes of one token: the given ones, or those of its text."""
    raw = entry.get("bytes")
    given = isinstance(raw, list) and all(type(byte) is int and 0 <= byte < 256 for byte in raw)
    return bytes(raw or ()) if given else str(entry.get("token")).encode()


def _entry(entry: Mapping[str, Any]) -> Entry:
    listed = [entry, *objects(entry.get("top_logprobs"))]
    values = {
        entry_bytes(each): float(value)
        for each in listed
        if isinstance(value := each.get("logprob"), int | float)
    }
    return Entry(entry_bytes(entry), values)
