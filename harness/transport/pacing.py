"""When requests are sent: rate limits, and fewer in flight while the provider is overloaded.

The token bucket is implemented here because the tokens of a request are known only afterwards and
may exceed the bucket; aiolimiter and other limiters reject that instead of carrying it as debt.
"""

import asyncio
import re
from collections.abc import Callable

import orjson
from anyio import CapacityLimiter

from harness.api.statuses import overloaded
from harness.providers.entries import CHARACTERS_PER_TOKEN
from harness.records.rollouts import SDK, Exchange, Sender
from harness.transport.interface import Payload, Transport
from harness.transport.retry import LONGEST_RETRY_AFTER, retry_after

LimitChanged = Callable[[int, int], None]
"""Called with the number of requests now allowed in flight and the configured maximum."""


class AdaptiveTransport:
    """Additive increase, multiplicative decrease (Chiu and Jain 1989) of the requests in flight.

    A status that reports overload halves the limit, once for all requests that were in flight at
    that time. As many successful responses as the limit raise it by one. Failed connections and
    other errors do not indicate load and change nothing. Requests on one WebSocket connection that
    are sent together count as one.

    A Retry-After of such a status holds back all requests, up to `longest_retry_after`. Then one
    request is sent alone, and the others follow if it is not answered so again.
    """

    def __init__(
        self,
        inner: Transport,
        *,
        most: int,
        changed: LimitChanged | None = None,
        longest_retry_after: float = LONGEST_RETRY_AFTER,
    ) -> None:
        """Send through `inner`; the limit starts at its maximum, `most`."""
        self._inner = inner
        self._changed = changed or (lambda limit, most: None)
        self._most = most
        self._limiter = CapacityLimiter(most)
        self._decreases = 0
        self._successes = 0
        self._longest_retry_after = longest_retry_after
        self._held_until: float | None = None  # time of the event loop; None if nothing is held
        self._turn = asyncio.Lock()
        self._first: dict[str, asyncio.Event] = {}
        """By connection, set once the first of the requests in flight may be sent."""

    @property
    def limit(self) -> int:
        """The number of requests now allowed in flight."""
        return int(self._limiter.total_tokens)

    async def send(self, path: str, body: Payload = None, *, sender: Sender = SDK) -> Exchange:
        """See `Transport`."""
        if (first := self._first.get(sender.socket)) is not None:
            await first.wait()
            return await self._inner.send(path, body, sender=sender)
        began = asyncio.Event()
        if sender.socket:
            self._first[sender.socket] = began
        try:
            async with self._limiter:
                began.set()
                return await self._adapted(path, body, sender)
        finally:
            began.set()
            self._first.pop(sender.socket, None)

    async def _adapted(self, path: str, body: Payload, sender: Sender) -> Exchange:
        """Send a request, and adapt the limit to its response."""
        decreases = self._decreases
        exchange = await self._send_in_turn(path, body, sender)
        response = exchange.response
        if overloaded(exchange):
            if decreases == self._decreases:
                self._decreases += 1
                self._set(max(1, self.limit // 2))
        elif response is not None and response.good_status and self.limit < self._most:
            self._successes += 1
            if self._successes >= self.limit:
                self._set(self.limit + 1)
        return exchange

    async def _send_in_turn(self, path: str, body: Payload, sender: Sender) -> Exchange:
        """Send a request now, or alone once the provider may be asked again."""
        if self._held_until is not None:
            async with self._turn:
                if self._held_until is not None:
                    left = self._held_until - asyncio.get_running_loop().time()
                    await asyncio.sleep(max(0.0, left))
                    exchange = await self._inner.send(path, body, sender=sender)
                    self._held_until = None
                    self._hold(exchange)
                    return exchange
        exchange = await self._inner.send(path, body, sender=sender)
        self._hold(exchange)
        return exchange

    def _hold(self, exchange: Exchange) -> None:
        """Hold back all requests for as long as an overloaded provider asks for."""
        response = exchange.response
        asked = retry_after(response.headers) if response and overloaded(exchange) else None
        if asked:
            until = asyncio.get_running_loop().time() + min(asked, self._longest_retry_after)
            self._held_until = max(until, self._held_until or 0.0)

    def _set(self, limit: int) -> None:
        self._successes = 0
        self._limiter.total_tokens = limit
        self._changed(limit, self._most)


BURST_SECONDS = 5
USAGE_WITHIN_LAST_PARTS = 4
_TOTAL = re.compile(r'"total_tokens": ?(\d+)')  # not in a text, where its quotes are escaped


class Bucket:
    """A token bucket whose level may become negative; requests then wait until it is zero."""

    def __init__(self, per_minute: int) -> None:
        """Start with a full bucket, whose capacity is the inflow of a few seconds."""
        self._rate = per_minute / 60
        self._size = max(1.0, self._rate * BURST_SECONDS)
        self._level = self._size
        self._filled_at = 0.0

    def take(self, amount: float, now: float) -> float:
        """Take `amount`, and return the seconds until the level is back at zero."""
        if self._filled_at:
            self._level = min(self._size, self._level + (now - self._filled_at) * self._rate)
        self._filled_at = now
        self._level -= amount
        return max(0.0, -self._level / self._rate)


class RateLimitedTransport:
    """Delays requests to `rpm` and `tpm`; tokens delay the requests that follow."""

    def __init__(self, inner: Transport, *, rpm: int | None, tpm: int | None) -> None:
        self._inner = inner
        self._requests = Bucket(rpm) if rpm else None
        self._tokens = Bucket(tpm) if tpm else None

    async def send(self, path: str, body: Payload = None, *, sender: Sender = SDK) -> Exchange:
        """See `Transport`."""
        now = asyncio.get_running_loop().time
        wait = max(
            self._requests.take(1, now()) if self._requests else 0,
            self._tokens.take(0, now()) if self._tokens else 0,
        )
        if wait > 0:
            await asyncio.sleep(wait)
        exchange = await self._inner.send(path, body, sender=sender)
        if self._tokens:
            self._tokens.take(tokens_used(exchange), now())
        return exchange


def tokens_used(exchange: Exchange) -> int:
    """Return the tokens that the provider reports, or an estimate from the request's length."""
    response = exchange.response
    if response is not None:
        last = [part.raw for part in response.parts[-USAGE_WITHIN_LAST_PARTS:]]
        if reported := _TOTAL.findall("\n".join([*last, response.body or ""])):
            return int(reported[-1])
    return len(orjson.dumps(exchange.request.body)) // CHARACTERS_PER_TOKEN
