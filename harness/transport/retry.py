"""The only retry layer: it repeats requests that failed temporarily and records every wait.

tenacity does not fit: its stop condition counts all attempts together, but this policy counts them
by cause.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial

from harness.api.chat import names_newer_limit, with_newer_limit
from harness.api.statuses import Trouble, lockout, meaning, trouble_of
from harness.records.rollouts import SDK, Exchange, Response, Retry, Sender
from harness.transport.interface import Payload, Transport

Retrying = Callable[[Exchange, int, float], None]
"""Called before a retry with the failed exchange, the number of the retry, and its wait in s."""
RETRIES: Mapping[Trouble, int] = {
    "overloaded": 15,
    "locked_out": 15,
    "passing": 5,
    "unconnected": 5,
    "broken": 0,
}

LONGEST_RETRY_AFTER = 60.0  # seconds
LONGEST_PAUSE = 600.0  # seconds that an overloaded provider may ask to wait


@dataclass(frozen=True)
class RetryPolicy:
    """The number of retries by cause, and the waits between them, in seconds.

    An overloaded provider gets more retries than a failing one, because the adaptive limit needs
    time to settle. A response that ends early or times out is a finding about the provider, so by
    default it is not repeated.

    The wait doubles from `first_wait` up to `longest_wait` and is shortened at random by up to
    half, so that many clients spread out. Retry-After is obeyed up to `longest_retry_after`; a
    value of zero, which may come from a wrong clock, is ignored.
    """

    retries: Mapping[Trouble, int] = field(default_factory=lambda: RETRIES)
    first_wait: float = 0.5
    longest_wait: float = 20
    longest_retry_after: float = LONGEST_RETRY_AFTER

    def wait(self, attempt: int, retry_after: float | None) -> float:
        """Seconds to wait after failed attempt number `attempt`, counted from 0."""
        if retry_after:
            return min(retry_after, self.longest_retry_after)
        longest: float = min(self.first_wait * 2**attempt, self.longest_wait)
        return longest * random.uniform(0.5, 1)  # noqa: S311 (not a secret)


NO_RETRIES = RetryPolicy({})
LONGEST_LOCKOUT = 60.0  # seconds for which one rejection is believed to last
ALL_LOCKOUTS = 1800.0  # seconds that a transport waits for all rejections together
_MARGIN = 0.5  # seconds by which a server's clock may be late


class Lockout:
    """Waits while a server answers every request with the rejection of one (see `statuses`).

    Once a request was served, the next one with such a response is the one that was rejected: it
    keeps its response. Others are sent again afterwards, one at a time until one is served. One of
    these that gets the response again, for the whole time, was rejected itself.
    """

    def __init__(self) -> None:
        self._until: float | None = None  # time of the event loop; None if nothing is known
        self._longest = 0.0  # seconds that a response named
        self._waited = 0.0
        self._served = False
        self._turn = asyncio.Lock()

    async def send(self, once: Callable[[], Awaitable[Exchange]]) -> tuple[Exchange, float | None]:
        """Send a request once, after a lockout; also return the seconds to wait before a retry."""
        if self._until is not None:
            async with self._turn:
                if self._until is not None:
                    left = max(0.0, self._until - asyncio.get_running_loop().time())
                    self._waited += left
                    await asyncio.sleep(left)
                    exchange = await once()
                    return exchange, self._noted(exchange, alone=True)
        exchange = await once()
        return exchange, self._noted(exchange, alone=False)

    def _noted(self, exchange: Exchange, *, alone: bool) -> float | None:
        response = exchange.response
        named = None if response is None else lockout(response)
        if named is None or self._waited >= ALL_LOCKOUTS:
            self._served = self._served or (response is not None and response.good_status)
            self._until = None if alone else self._until
            return None
        rejected = self._served and (named >= self._longest if alone else self._until is None)
        seconds = min(named, LONGEST_LOCKOUT) + _MARGIN
        self._longest = max(self._longest, named)
        self._until = max(self._until or 0.0, asyncio.get_running_loop().time() + seconds)
        return None if rejected else seconds


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the wait in seconds that a response requests; the header has seconds or a date."""
    value = headers.get("retry-after", "")
    with suppress(ValueError):
        return max(0.0, float(value))
    with suppress(ValueError, OverflowError):
        date = parsedate_to_datetime(value)
        date = date if date.tzinfo else date.replace(tzinfo=UTC)
        return max(0.0, (date - datetime.now(UTC)).total_seconds())
    return None


def waits_too_long(response: Response) -> bool:
    """Return whether an overloaded provider asks for a longer wait than any run makes."""
    long = (retry_after(response.headers) or 0) > LONGEST_PAUSE
    return long and meaning(response) == "overload"


class RetryingTransport:
    """Repeats requests that failed temporarily; the last exchange lists the others in `retries`.

    A provider that refuses `max_tokens` and names `max_completion_tokens`, as OpenAI's reasoning
    models do, gets the same request with this field, and so do all requests after its first reply.
    """

    def __init__(
        self, inner: Transport, policy: RetryPolicy, retrying: Retrying | None = None
    ) -> None:
        self._inner = inner
        self._policy = policy
        self._retrying = retrying or (lambda exchange, number, waited: None)
        self._renames = False
        self._lockout = Lockout()

    async def send(self, path: str, body: Payload = None, *, sender: Sender = SDK) -> Exchange:
        """See `Transport`."""
        retries: list[Retry] = []
        troubles: Counter[Trouble] = Counter()
        renamed = with_newer_limit(body) if self._renames else None
        while True:
            once = partial(self._inner.send, path, renamed or body, sender=sender)
            exchange, locked = await self._lockout.send(once)
            response = exchange.response
            status, headers = (response.status, response.headers) if response else (None, {})
            if renamed is None and names_newer_limit(exchange):
                renamed = with_newer_limit(body)
                retries.append(Retry(status=status, waited=0))
                continue
            trouble = trouble_of(exchange) if locked is None else "locked_out"
            if (
                trouble is None
                or troubles[trouble] >= self._policy.retries.get(trouble, 0)
                or (response and waits_too_long(response))
            ):
                break
            waited = locked or self._policy.wait(troubles[trouble], retry_after(headers))
            troubles[trouble] += 1
            retries.append(
                Retry(
                    status=status,
                    failure=exchange.failure,
                    overloaded=trouble == "overloaded",
                    locked_out=trouble == "locked_out",
                    waited=round(waited, 3),
                )
            )
            self._retrying(exchange, len(retries), waited)
            if locked is None:  # otherwise the next try waits
                await asyncio.sleep(waited)
        if renamed and response is not None and response.good_status:
            self._renames = True
        return exchange.model_copy(update={"retries": tuple(retries)}) if retries else exchange
