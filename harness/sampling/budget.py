"""The budget of one call of the tool: dollars, requests and time, kept where requests begin.

No request is begun beyond a limit; what was begun ends and is counted. What a request costs is
known when it has ended, so those under way are taken to cost what the others did, and the last
of them may exceed the sum. A request that is sent again after an overload is one more request,
counted when its exchange has ended.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from harness.api.base import Dialect, UnreadableReplyError
from harness.errors import ConfigurationError
from harness.providers.entries import CHARACTERS_PER_TOKEN, Prices, Provider
from harness.records.rollouts import Exchange, Key
from harness.records.runs import Limits
from harness.sampling.attempts import Attempt
from harness.steps import interleaved
from harness.transport.base import Transport

USUAL_TURNS = 2
"""Requests that an attempt with tools takes if all goes well: for the call, and for the answer."""


class SpentError(Exception):
    """A request was not sent, since a limit is reached. Never leaves `run_attempts`."""


class Budget:
    """What may be used, and what has been.

    Attributes:
        limits: What may be used; time counts from the making of this.
        requests: Requests that were begun.
        cost: Dollars, for providers with prices.
    """

    def __init__(
        self, limits: Limits | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Begin to count. Without limits everything is allowed."""
        self.limits = limits or Limits()
        self.requests = 0
        self.cost = 0.0
        self._clock = clock
        self._began = clock()
        self._reserved = 0
        self._under_way = 0
        self._reached: str | None = None

    @property
    def elapsed(self) -> float:
        """Seconds since the budget began."""
        return self._clock() - self._began

    @property
    def stopped(self) -> str | None:
        """What kept something from being begun and what was spent, in a sentence; None so far."""
        if self._reached is None:
            return None
        spent = f"{self.requests} requests in {self.elapsed:.0f} s"
        spent += f" for ${self.cost:,.4f}" if self.cost else ""
        return f"Stopped by the budget, {self._reached}: {spent}; finish it with --resume RUN."

    @property
    def noted(self) -> Limits | None:
        """The limits, where there are any."""
        return None if self.limits == Limits() else self.limits

    def of(self, provider: Provider) -> Allowance | None:
        """The budget with what requests to this provider cost; None where nothing is limited."""
        return None if self.noted is None else Allowance(self, provider.prices)

    def foreseen(self, requests: int, rpm: int | None, cost: float | None = None) -> str | None:
        """Why so many requests cannot all be made, in a sentence; None if they may be.

        Args:
            requests: How many are planned at least.
            rpm: How many the provider allows a minute.
            cost: What they are expected to cost.
        """
        most, deadline = self.limits.max_requests, self.limits.deadline
        if most is not None and requests > most:
            why = f"{requests:,} requests or more are planned, {self._named('max_requests')}"
        elif deadline is not None and rpm and requests / rpm * 60 > deadline:
            minutes = f"{requests / rpm:,.0f} minutes or more at {rpm} a minute"
            why = f"{requests:,} requests take {minutes}, {self._named('deadline')}"
        elif cost is not None and _at_least(cost, self.limits.max_cost):
            why = f"it is expected to cost about ${cost:,.2f}, {self._named('max_cost')}"
        else:
            return None
        return f"The budget is too small for the plan: {why}. The run goes as far as it allows."

    def check(self, provider: Provider) -> None:
        """Refuse a provider whose cost cannot be counted. Raises ConfigurationError."""
        if self.limits.max_cost is not None and provider.prices is None:
            raise ConfigurationError(
                f"provider {provider.name} has no prices, so {self._named('max_cost')} cannot be "
                "kept; give prices: {input: …, output: …}, in dollars a million tokens, in its "
                "entry of providers.yaml"
            )

    def note(self, requests: int) -> None:
        """Count requests that were not asked for here."""
        self.requests += requests

    def allows(self, requests: int = 1) -> bool:
        """Whether so many requests more may be begun; if not, that is why the run stops."""
        reached = next((name for name, full in self._full(requests) if full), None)
        if reached is not None:
            self._reached = self._named(reached)
        return reached is None

    def reserve(self, requests: int) -> None:
        """Keep requests for an attempt that has begun; a negative number gives them back."""
        self._reserved += requests

    def begun(self) -> None:
        """Count a request that is sent now."""
        self.requests += 1
        self._under_way += 1

    def ended(self, retries: int, cost: float) -> None:
        """Count what a request came to."""
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
        said = {"max_cost": f"${value:,g}", "deadline": f"{value:g} s"}.get(name, f"{value:,}")
        return f"{name} {said} ({where})"


@dataclass(frozen=True)
class Allowance:
    """A budget, and the prices of the provider that is asked."""

    budget: Budget
    prices: Prices | None

    def metered(self, transport: Transport, attempt: Attempt, dialect: Dialect) -> Metered:
        """The transport of one attempt; to be entered before its first request."""
        return Metered(transport, self, attempt, dialect)


class Metered:
    """The transport of one attempt, within a budget."""

    def __init__(
        self, transport: Transport, allowance: Allowance, attempt: Attempt, dialect: Dialect
    ) -> None:
        """Send through `transport`, as far as the allowance goes."""
        self._transport = transport
        self._budget = allowance.budget
        self._prices = allowance.prices
        self._dialect = dialect
        self._reserved = min(USUAL_TURNS, attempt.max_turns)

    def __enter__(self) -> Metered:
        """Reserve what the attempt usually takes. Raises SpentError if that is too much."""
        if not self._budget.allows(self._reserved):
            raise SpentError
        self._budget.reserve(self._reserved)
        return self

    def __exit__(self, *_: object) -> None:
        self._budget.reserve(-self._reserved)

    async def send(
        self, path: str, body: Mapping[str, Any] | str | None = None, *, key: Key = "right"
    ) -> Exchange:
        """Send if the budget allows it. Raises SpentError."""
        if self._reserved:
            self._reserved -= 1
            self._budget.reserve(-1)
        if not self._budget.allows():
            raise SpentError
        self._budget.begun()
        retries, cost = 0, 0.0
        try:
            exchange = await self._transport.send(path, body, key=key)
            retries = len(exchange.retries)
            if self._prices is not None:
                cost = await self._cost(exchange, self._prices)
        finally:
            self._budget.ended(retries, cost)
        return exchange

    async def _cost(self, exchange: Exchange, prices: Prices) -> float:
        if exchange.response is None or exchange.response.status >= 300:
            return 0.0
        try:
            usage = (await interleaved(self._dialect.reading(exchange))).usage
        except UnreadableReplyError:
            usage = None
        given = usage.input_tokens if usage else None
        made = usage.output_tokens if usage else None
        if given is None:
            given = len(orjson.dumps(exchange.request.body)) // CHARACTERS_PER_TOKEN
        if made is None:
            parts = (len(part.raw) for part in exchange.response.parts)
            made = (len(exchange.response.body or "") + sum(parts)) // CHARACTERS_PER_TOKEN
        return prices.dollars(given, made)


def _at_least(value: float, limit: float | None) -> bool:
    return limit is not None and value >= limit
