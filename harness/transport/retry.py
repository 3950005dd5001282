"""The one layer of retries: what may pass by itself is tried again, all else is final."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Literal

from harness.records.rollouts import Exchange, Key, Retry
from harness.transport.adaptive import OVERLOAD_STATUSES, overloaded
from harness.transport.base import Transport

Trouble = Literal["overloaded", "passing", "broken"]
TRANSIENT_STATUSES = OVERLOAD_STATUSES | {408, 409, 425, 500, 502, 504, 507, 520, 521, 522, 524}


@dataclass(frozen=True)
class RetryPolicy:
    """How often to repeat and how long to wait, in seconds.

    A provider that says it is overloaded is asked more often than one that fails: it takes a
    while to find out how many requests at once are right for it.

    The wait doubles from `first_wait` up to `longest_wait`, each time shortened at random by up
    to half so that many clients spread out. A Retry-After is honoured up to `longest_retry_after`,
    unless it asks for no wait at all, as it seems to where the clocks differ.

    An answer that breaks off or takes too long is a finding about the provider, so it is not
    repeated unless `retries_when_broken` says so, for those who want the answer.
    """

    retries: int = 5
    first_wait: float = 0.5
    longest_wait: float = 20
    longest_retry_after: float = 60
    retries_when_overloaded: int = 15
    retries_when_broken: int = 0

    def allowed(self, trouble: Trouble) -> int:
        """How often to repeat a request because of this."""
        match trouble:
            case "overloaded":
                return self.retries_when_overloaded
            case "passing":
                return self.retries
        return self.retries_when_broken

    def wait(self, attempt: int, retry_after: float | None) -> float:
        """Seconds to wait after failed attempt number `attempt`, counted from 0."""
        if retry_after:
            return min(retry_after, self.longest_retry_after)
        longest: float = min(self.first_wait * 2**attempt, self.longest_wait)
        return longest * random.uniform(0.5, 1)  # noqa: S311 (nothing secret about it)


NO_RETRIES = RetryPolicy(retries=0, retries_when_overloaded=0)


class RetryingTransport:
    """Repeats what failed in passing. The exchange is the last one; `retries` tells of the rest."""

    def __init__(self, inner: Transport, policy: RetryPolicy) -> None:
        """Send through `inner`."""
        self._inner = inner
        self._policy = policy

    async def send(
        self, path: str, body: Mapping[str, Any] | str | None = None, *, key: Key = "right"
    ) -> Exchange:
        """See `Transport`."""
        retries: list[Retry] = []
        troubles: Counter[Trouble] = Counter()
        while True:
            exchange = await self._inner.send(path, body, key=key)
            trouble = trouble_of(exchange)
            if trouble is None or troubles[trouble] >= self._policy.allowed(trouble):
                break
            response = exchange.response
            waited = self._policy.wait(troubles[trouble], retry_after(exchange))
            troubles[trouble] += 1
            retries.append(
                Retry(
                    status=response.status if response else None,
                    failure=exchange.failure,
                    waited=round(waited, 3),
                )
            )
            await asyncio.sleep(waited)
        return exchange.model_copy(update={"retries": tuple(retries)}) if retries else exchange


def trouble_of(exchange: Exchange) -> Trouble | None:
    """What kept an exchange from success, if the same request may well succeed a little later.

    "broken" is an answer that broke off after a good status, or took too long.
    """
    if overloaded(exchange):
        return "overloaded"
    kind = None if exchange.failure is None else exchange.failure.kind
    if exchange.response is None:
        if kind in {"connect", "cut"}:
            return "passing"
        return "broken" if kind == "timeout" else None
    if exchange.response.status in TRANSIENT_STATUSES:
        return "passing"
    return "broken" if kind in {"cut", "timeout"} else None


def retry_after(exchange: Exchange) -> float | None:
    """Seconds the provider asks us to wait, given as seconds or as a date."""
    value = exchange.response.headers.get("retry-after") if exchange.response else None
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            date = parsedate_to_datetime(value)
        except (ValueError, OverflowError):
            return None
        if date.tzinfo is None:
            date = date.replace(tzinfo=UTC)
        seconds = (date - datetime.now(UTC)).total_seconds()
    return max(0.0, seconds)
