"""The budget of one session: dollars, requests and time, enforced where requests start.

No request starts beyond a limit; requests in flight finish and count, except at the deadline, when
the session cancels them. The cost of a request is
known when it has finished, so requests in flight are assumed to cost as much as the others, and the
last of them may exceed the limit. A request that is repeated after an overload counts again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import orjson

from harness.api.dialect import Dialect, events_of
from harness.api.items import UnreadableReplyError, Usage
from harness.api.stream_events import texts_of
from harness.errors import ConfigurationError
from harness.providers.entries import CHARACTERS_PER_TOKEN, Prices, Provider
from harness.records.rollouts import SDK, Exchange, Sender
from harness.records.settings import Limits
from harness.run.attempts import Attempt
from harness.transport.interface import Payload, Transport


class SpentError(Exception):
    """A request was not sent because a limit is reached; `run_attempts` handles it."""


class Budget:
    """What a session may use, and what it has used; time counts from its creation."""

    def __init__(
        self, limits: Limits | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.limits = limits or Limits()
        self.requests = 0  # those that were started
        self.cost = 0.0  # dollars, for providers with prices
        self._clock = clock
        self._began = clock()
        self._reserved = 0
        self._under_way = 0
        self._reached: str | None = None

    @property
    def elapsed(self) -> float:
        """Seconds since the budget was created."""
        return self._clock() - self._began

    @property
    def seconds_left(self) -> float | None:
        """Seconds until the deadline, at least 0; None without one."""
        deadline = self.limits.deadline
        return None if deadline is None else max(0.0, deadline - self.elapsed)

    def deadline_passed(self) -> None:
        """Note that the deadline has stopped the session."""
        self._reached = self._named("deadline")

    @property
    def stopped(self) -> str | None:
        """The limit that stopped the session, and what was used; None without one."""
        if self._reached is None:
            return None
        spent = f"{self.requests} requests in {self.elapsed:.0f} s"
        spent += f" for ${self.cost:,.4f}" if self.cost else ""
        return f"{self._reached}: {spent}"

    @property
    def recorded_limits(self) -> Limits | None:
        """The limits as `run.json` has them: None without any."""
        return None if self.limits == Limits() else self.limits

    def foreseen(self, requests: int, rpm: int | None, cost: float | None = None) -> str | None:
        """Return why a plan exceeds the budget, in one sentence; None if it fits.

        `requests` is the smallest number of planned requests, `rpm` what the provider allows, and
        `cost` the expected dollars.
        """
        most, deadline = self.limits.max_requests, self.limits.deadline
        if most is not None and requests > most:
            why = f"at least {requests:,} requests are planned, {self._named('max_requests')}"
        elif deadline is not None and rpm and requests / rpm * 60 > deadline:
            minutes = f"at least {requests / rpm:,.0f} minutes at {rpm} per minute"
            why = f"{requests:,} requests take {minutes}, {self._named('deadline')}"
        elif cost is not None and _at_least(cost, self.limits.max_cost):
            why = f"the expected cost is about ${cost:,.2f}, {self._named('max_cost')}"
        else:
            return None
        return f"The budget is too small for the plan: {why}. The run stops when it is used up."

    def check(self, provider: Provider) -> None:
        """Refuse a provider without prices if cost is limited. Raises ConfigurationError."""
        if self.limits.max_cost is not None and provider.prices is None:
            raise ConfigurationError(
                f"provider {provider.name} has no prices, so {self._named('max_cost')} cannot be "
                "enforced; set prices: {input: …, output: …}, in dollars per million tokens, in "
                "its entry of providers.yaml"
            )

    def add_requests(self, requests: int) -> None:
        """Count requests that were made elsewhere."""
        self.requests += requests

    def allows(self, requests: int = 1) -> bool:
        """Return whether this many more requests may start; if not, the limit stops the session."""
        reached = next((name for name, full in self._full(requests) if full), None)
        if reached is not None:
            self._reached = self._named(reached)
        return reached is None

    def reserve(self, requests: int) -> None:
        """Reserve requests for an attempt in flight; a negative number releases them."""
        self._reserved += requests

    def begun(self) -> None:
        """Count a request that starts now."""
        self.requests += 1
        self._under_way += 1

    def ended(self, retries: int, cost: float) -> None:
        """Count a finished request."""
        self.requests += retries
        self.cost += cost
        self._under_way -= 1

    def _full(self, requests: int) -> list[tuple[str, bool]]:
        limits = self.limits
        done = self.requests - self._under_way
        expected = self.cost + (self._under_way * self.cost / done if done else 0)
        begun = self.requests + self._reserved
        return [
            ("max_requests", _at_least(begun + requests - 1, limits.max_requests)),
            ("max_cost", _at_least(expected, limits.max_cost)),
            ("deadline", _at_least(self.elapsed, limits.deadline)),
        ]

    def _named(self, name: str) -> str:
        value, where = getattr(self.limits, name), self.limits.origins.get(name, "the limit")
        dollars, seconds = f"${round(value, 4):,g}", f"{value:g} s"
        amount = {"max_cost": dollars, "deadline": seconds}.get(name, f"{value:,}")
        return f"{name} {amount} ({where})"


class Metered:
    """The transport of one attempt, within a budget."""

    def __init__(
        self,
        transport: Transport,
        budget: Budget,
        prices: Prices | None,
        attempt: Attempt,
        dialect: Dialect,
    ) -> None:
        """Send through `transport`; enter before the first request."""
        self._transport = transport
        self._budget = budget
        self._prices = prices
        self._dialect = dialect
        self._reserved = attempt.usual_requests

    def __enter__(self) -> Metered:
        """Reserve the usual requests of an attempt. Raises SpentError if a limit forbids them."""
        if not self._budget.allows(self._reserved):
            raise SpentError
        self._budget.reserve(self._reserved)
        return self

    def __exit__(self, *_: object) -> None:
        self._budget.reserve(-self._reserved)

    async def send(self, path: str, body: Payload = None, *, sender: Sender = SDK) -> Exchange:
        """Send within the budget. Raises SpentError."""
        if self._reserved:
            self._reserved -= 1
            self._budget.reserve(-1)
        if not self._budget.allows():
            raise SpentError
        self._budget.begun()
        retries, cost = 0, 0.0
        try:
            exchange = await self._transport.send(path, body, sender=sender)
            retries = len(exchange.retries)
            if self._prices is not None:
                cost = await self._cost(exchange, self._prices)
        finally:
            self._budget.ended(retries, cost)
        return exchange

    async def _cost(self, exchange: Exchange, prices: Prices) -> float:
        if exchange.response is None or exchange.response.status >= 300:
            return 0.0
        usage, text = await asyncio.to_thread(_usage_and_text, self._dialect, exchange)
        given = usage.input_tokens if usage else None
        made = usage.output_tokens if usage else None
        if given is None:
            given = len(orjson.dumps(exchange.request.body)) // CHARACTERS_PER_TOKEN
        if made is None:
            made = len(text) // CHARACTERS_PER_TOKEN
        return prices.dollars(given, made, (usage and usage.cached_tokens) or 0)


def _usage_and_text(dialect: Dialect, exchange: Exchange) -> tuple[Usage | None, str]:
    """Return the counts of a reply, and what the model wrote, without the events around it.

    Of a stream that cannot be read, it is what arrived; of any other reply, the body.
    """
    try:
        reply = dialect.read(exchange)
    except UnreadableReplyError:
        pieces = [text for event in events_of(exchange) for text in texts_of(event)]
        body = exchange.response and exchange.response.body
        return None, body or "".join(pieces)
    return reply.usage, reply.generated


def _at_least(value: float, limit: float | None) -> bool:
    return limit is not None and value >= limit
