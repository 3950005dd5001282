"""As many requests at once as the provider takes: fewer when it is overloaded, then more again."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from harness.records.rollouts import Exchange, Key
from harness.transport.base import Transport

LimitChanged: TypeAlias = Callable[[int, int], None]
"""Told how many requests may be in flight from now on, and how many at most ever."""

OVERLOAD_STATUSES = frozenset({429, 503, 529})


def overloaded(exchange: Exchange) -> bool:
    """Whether the provider says that it has too much to do."""
    return exchange.response is not None and exchange.response.status in OVERLOAD_STATUSES


class Slots:
    """Places for requests in flight, their number changeable at any time; first come first served.

    Lowering the limit takes no place away from who has one.
    """

    def __init__(self, limit: int) -> None:
        """Start with that many places."""
        self._limit = limit
        self._taken = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def limit(self) -> int:
        """How many places there are."""
        return self._limit

    @limit.setter
    def limit(self, limit: int) -> None:
        self._limit = limit
        self._admit()

    async def take(self) -> None:
        """Wait for a place."""
        if not self._waiting and self._taken < self._limit:
            self._taken += 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.give_back()
            raise

    def give_back(self) -> None:
        """Leave a place to the next."""
        self._taken -= 1
        self._admit()

    def _admit(self) -> None:
        while self._waiting and self._taken < self._limit:
            turn = self._waiting.popleft()
            if not turn.done():
                self._taken += 1
                turn.set_result(None)


class AdaptiveTransport:
    """Additive increase, multiplicative decrease (Chiu and Jain 1989) of the requests in flight.

    An answer that says "overloaded" halves their number, once for all requests that were under
    way by then; a round of good answers raises it by one. Failed connections and other errors
    say nothing of load and change nothing.
    """

    def __init__(self, inner: Transport, *, most: int, changed: LimitChanged | None = None) -> None:
        """Send through `inner`, beginning with the `most` that there may ever be in flight."""
        self._inner = inner
        self._changed = changed
        self._most = most
        self._slots = Slots(most)
        self._decreases = 0
        self._good_answers = 0

    @property
    def limit(self) -> int:
        """How many requests may be in flight at present."""
        return self._slots.limit

    async def send(
        self, path: str, body: Mapping[str, Any] | str | None = None, *, key: Key = "right"
    ) -> Exchange:
        """See `Transport`."""
        await self._slots.take()
        decreases = self._decreases
        try:
            exchange = await self._inner.send(path, body, key=key)
            self._learn(exchange, seen=decreases)
        finally:
            self._slots.give_back()
        return exchange

    def _learn(self, exchange: Exchange, *, seen: int) -> None:
        """Adapt to an answer; `seen` decreases had been made when its request was sent."""
        limit = self._slots.limit
        if overloaded(exchange):
            if seen == self._decreases:
                self._decreases += 1
                self._good_answers = 0
                self._move_to(max(1, limit // 2))
        elif limit < self._most and _good(exchange):
            self._good_answers += 1
            if self._good_answers >= limit:
                self._good_answers = 0
                self._move_to(limit + 1)

    def _move_to(self, limit: int) -> None:
        self._slots.limit = limit
        if self._changed is not None:
            self._changed(limit, self._most)


def _good(exchange: Exchange) -> bool:
    return exchange.response is not None and 200 <= exchange.response.status < 300
