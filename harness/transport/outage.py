"""Notice that a server has stopped answering, and end the run instead of counting its failures.

A try at a request is unanswered if no response came (no connection, a connection that was closed
before the response began, a timeout), if its status says that the server cannot answer now (429,
500, 502, 503 and similar), or if the server refuses access (401, 403, 407 or a redirect), as when a
key expires. The run ends if all of these are true:

- `FEWEST_TRIES` tries or more were unanswered, and none that was sent since was answered;
- nothing was answered for `SILENCE` seconds, or for `OVERLOAD` seconds if the server reports an
  overload, because rate limits count by the minute;
- no request is in flight that was sent before these tries, because it may still be answered;
- the smallest request over the API is not answered either (`CONFIRMING_TRIES` tries), nor the one
  that the server answered fastest before, unless the smallest timed out. A server may fail on
  just the smallest request. Meanwhile no other request starts, and those in flight get `SILENCE`
  seconds to end: a server that fails only under load answers now.

These requests are the line between a server that stopped and one that fails often: a server that
answers one is up, so `harness.verdict.gate` judges how many attempts got no reply.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress

from harness.api.statuses import explanation, overloaded, refuses_access, unanswered
from harness.errors import StoppedAnsweringError
from harness.records.rollouts import SDK, Exchange, FailureKind, Sender
from harness.transport.interface import Payload, Transport
from harness.transport.retry import retry_after

FEWEST_TRIES = 3
SILENCE = 15.0
OVERLOAD = 90.0
CONFIRMING_TRIES = 3
PAUSE = 1.0  # seconds between these tries

_FAILURES: Mapping[FailureKind, str] = {
    "connect": "no connection",
    "timeout": "timeout",
    "cut": "cut off",
    "too_large": "too large",
    "protocol": "no HTTP",
    "encoding": "undecodable body",
    "left": "left by the client",
}

SmallestRequest = Callable[[], Awaitable[Exchange]]
"""Sends the smallest request once, with a short timeout."""


def reason_of(exchange: Exchange) -> str:
    """Return why an exchange is unanswered, with what the server said."""
    if exchange.failure is not None:
        return exchange.failure.message
    response = exchange.response
    wait = response and retry_after(response.headers)
    asked = f"; it asks to wait {wait:.0f} s" if wait else ""
    return (
        f"status {response.status} ({explanation(response)}){asked}" if response else "no response"
    )


class Outage:
    """What the tries of one run say about whether the server still answers."""

    def __init__(self, smallest: SmallestRequest, replies: Counter[str] | None = None) -> None:
        """Confirm an outage with `smallest`; count the tries in `replies`, by status or failure."""
        self._smallest = smallest
        self._replies = Counter[str]() if replies is None else replies
        self._confirming = asyncio.Lock()
        self._idle = asyncio.Event()
        self._answered = 0
        self._answered_at: float | None = None
        self._clock_time = time.time()
        self._in_flight: dict[int, float] = {}
        self._next = 0
        self._failed = 0
        self._since = 0.0
        self._overloaded = False
        self._last: Exchange | None = None
        self._fastest = float("inf")
        self._known_good: tuple[str, Payload, Sender] | None = None
        self._inner: Transport | None = None

    @property
    def suspected(self) -> bool:
        """Whether the last try was unanswered, and the server was not seen to be up since."""
        return self._failed > 0

    async def begin(self) -> int:
        """Note that a try is sent, once no outage is being confirmed; return its number."""
        async with self._confirming:
            self._next += 1
            self._in_flight[self._next] = _now()
            self._idle.clear()
            if self._answered_at is None:
                self._answered_at = _now()
            return self._next

    def end(
        self, number: int, exchange: Exchange | None, request: tuple[str, Payload, Sender]
    ) -> None:
        """Note how a try of a request ended; None if it was cancelled."""
        sent = self._in_flight.pop(number)
        if not self._in_flight:
            self._idle.set()
        if exchange is None:
            return
        self._replies[_kind_of(exchange)] += 1
        if not unanswered(exchange):
            self._answered += 1
            self._answered_at = _now()
            self._clock_time = time.time()
            served = exchange.response is not None and exchange.response.good_status
            if served and not request[2].socket and exchange.elapsed < self._fastest:
                self._fastest, self._known_good = exchange.elapsed, request
            if sent >= self._since:
                self._forget()
            return
        if not self._failed:
            self._since = _now()
        self._failed += 1
        self._overloaded = self._overloaded or overloaded(exchange)
        self._last = exchange

    def watch(self, inner: Transport) -> Transport:
        """Return a transport that sends each try through `inner` and notes how it ended.

        A request may then raise StoppedAnsweringError.
        """
        self._inner = inner
        return _WatchedTransport(inner, self)

    async def check(self) -> None:
        """Raise StoppedAnsweringError if the rule is met and the smallest request is unanswered."""
        if self._due():
            await self.confirm()

    async def confirm(self) -> None:
        """Send both requests if an outage is suspected. Raises StoppedAnsweringError."""
        async with self._confirming:
            if self.suspected and self._in_flight:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._idle.wait(), SILENCE)
            for number in range(CONFIRMING_TRIES):
                if not self.suspected:
                    return
                exchange = await self._smallest()
                if unanswered(exchange) and not _timed_out(exchange):
                    exchange = await self._known_answer() or exchange
                if not unanswered(exchange):
                    self._answered_at = _now()
                    self._forget()
                    return
                if _timed_out(exchange):
                    break
                if number + 1 < CONFIRMING_TRIES:
                    await asyncio.sleep(PAUSE)
            if self.suspected:
                raise StoppedAnsweringError(self._sentence())

    async def _known_answer(self) -> Exchange | None:
        """Send the request that was answered fastest once more, if there is one."""
        if self._known_good is None or self._inner is None:
            return None
        path, body, sender = self._known_good
        return await self._inner.send(path, body, sender=sender)

    def _due(self) -> bool:
        if self._failed < FEWEST_TRIES or self._answered_at is None:
            return False
        silence = OVERLOAD if self._overloaded else SILENCE
        earlier = any(sent < self._since for sent in self._in_flight.values())
        return _now() - self._answered_at >= silence and not earlier

    def _sentence(self) -> str:
        reason = "" if self._last is None else reason_of(self._last)
        if not self._answered:
            return f"the server answered no request: {reason}"
        requests = "1 request" if self._answered == 1 else f"{self._answered:,} requests"
        at = time.strftime("%H:%M", time.localtime(self._clock_time))
        if self._last is not None and refuses_access(self._last):
            return f"the server refused access from {at} on, after {requests}: {reason}"
        return f"the server stopped answering at {at} after {requests}: {reason}"

    def _forget(self) -> None:
        self._failed = 0
        self._since = 0.0
        self._overloaded = False
        self._last = None


class _WatchedTransport:
    """Tells an `Outage` how each try ended; may raise StoppedAnsweringError."""

    def __init__(self, inner: Transport, outage: Outage) -> None:
        self._inner = inner
        self._outage = outage

    async def send(self, path: str, body: Payload = None, *, sender: Sender = SDK) -> Exchange:
        """See `Transport`."""
        number, exchange = await self._outage.begin(), None
        try:
            exchange = await self._inner.send(path, body, sender=sender)
        finally:
            self._outage.end(number, exchange, (path, body, sender))
        await self._outage.check()
        return exchange


def _kind_of(exchange: Exchange) -> str:
    """Return the status of a try, or what became of it instead."""
    if exchange.failure is not None:
        return _FAILURES[exchange.failure.kind]
    return "no response" if exchange.response is None else str(exchange.response.status)


def _timed_out(exchange: Exchange) -> bool:
    return exchange.failure is not None and exchange.failure.kind == "timeout"


def _now() -> float:
    return asyncio.get_running_loop().time()
