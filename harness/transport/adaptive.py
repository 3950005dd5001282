"""Adaptive concurrency: fewer requests in flight while the provider is overloaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from anyio import CapacityLimiter

from harness.records.rollouts import Exchange, Key
from harness.transport.base import Transport

LimitChanged: TypeAlias = Callable[[int, int], None]
"""Called with the number of requests now allowed in flight, and with the configured maximum."""

OVERLOAD_STATUSES = frozenset({429, 503, 529})


def overloaded(exchange: Exchange) -> bool:
    """Whether the provider reports that it is overloaded."""
    return exchange.response is not None and exchange.response.status in OVERLOAD_STATUSES


class AdaptiveTransport:
    """Additive increase, multiplicative decrease (Chiu and Jain 1989) of the requests in flight.

    A status that reports overload halves the limit, once for all requests that were in flight at
    that time. As many successful responses as the limit raise it by one. Failed connections and
    other errors do not indicate load and change nothing.
    """

    def __init__(self, inner: Transport, *, most: int, changed: LimitChanged | None = None) -> None:
        """Send through `inner`; the limit starts at its maximum, `most`."""
        self._inner = inner
        self._changed = changed
        self._most = most
        self._limiter = CapacityLimiter(most)
        self._decreases = 0
        self._successes = 0

    @property
    def limit(self) -> int:
        """The number of requests now allowed in flight."""
        return int(self._limiter.total_tokens)

    async def send(
        self, path: str, body: Mapping[str, Any] | str | None = None, *, key: Key = "right"
    ) -> Exchange:
        """See `Transport`."""
        async with self._limiter:
            decreases = self._decreases
            exchange = await self._inner.send(path, body, key=key)
            self._adapt(exchange, decreases)
        return exchange

    def _adapt(self, exchange: Exchange, decreases: int) -> None:
        """Adapt to an exchange; `decreases` is how many there were when its request was sent."""
        limit = self.limit
        if overloaded(exchange):
            if decreases == self._decreases:
                self._decreases += 1
                self._successes = 0
                self._set(max(1, limit // 2))
        elif limit < self._most and exchange.response and 200 <= exchange.response.status < 300:
            self._successes += 1
            if self._successes >= limit:
                self._successes = 0
                self._set(limit + 1)

    def _set(self, limit: int) -> None:
        self._limiter.total_tokens = limit
        if self._changed is not None:
            self._changed(limit, self._most)
