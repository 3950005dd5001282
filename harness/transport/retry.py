"""The only retry layer: it repeats requests that failed temporarily and records every wait.

tenacity does not fit: its stop condition counts all attempts together, but this policy counts them
by cause.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from harness.api.chat import names_newer_limit, with_newer_limit
from harness.api.statuses import Trouble, retry_after, trouble_of
from harness.records.rollouts import Exchange, Key, Retry
from harness.transport.interface import Payload, Transport

Retrying = Callable[[Exchange, int], None]
"""Called before a retry with the failed exchange and the number of the retry."""


@dataclass(frozen=True)
class RetryPolicy:
    """The number of retries and the waits between them, in seconds.

    An overloaded provider gets more retries than a failing one, because the adaptive limit needs
    time to settle.

    The wait doubles from `first_wait` up to `longest_wait` and is shortened at random by up to
    half, so that many clients spread out. Retry-After is obeyed up to `longest_retry_after`; a
    value of zero, which may come from a wrong clock, is ignored.

    A response that ends early or times out is a finding about the provider, so by default it is
    not repeated (`retries_when_broken`).
    """

    retries: int = 5
    retries_when_unconnected: int | None = None  # None: as many as `retries`
    first_wait: float = 0.5
    longest_wait: float = 20
    longest_retry_after: float = 60
    retries_when_overloaded: int = 15
    retries_when_broken: int = 0

    def allowed(self, trouble: Trouble) -> int:
        """Return the number of retries for this cause."""
        counts = {
            "overloaded": self.retries_when_overloaded,
            "unconnected": self.retries_when_unconnected,
            "broken": self.retries_when_broken,
        }
        count = counts.get(trouble)
        return self.retries if count is None else count

    def wait(self, attempt: int, retry_after: float | None) -> float:
        """Seconds to wait after failed attempt number `attempt`, counted from 0."""
        if retry_after:
            return min(retry_after, self.longest_retry_after)
        longest: float = min(self.first_wait * 2**attempt, self.longest_wait)
        return longest * random.uniform(0.5, 1)  # noqa: S311 (not a secret)


NO_RETRIES = RetryPolicy(retries=0, retries_when_overloaded=0)


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
        self._retrying = retrying or (lambda exchange, number: None)
        self._renames = False

    async def send(self, path: str, body: Payload = None, *, key: Key = "right") -> Exchange:
        """See `Transport`."""
        retries: list[Retry] = []
        troubles: Counter[Trouble] = Counter()
        renamed = with_newer_limit(body) if self._renames else None
        while True:
            exchange = await self._inner.send(path, renamed or body, key=key)
            if renamed is None and names_newer_limit(exchange):
                renamed = with_newer_limit(body)
                retries.append(
                    Retry(status=exchange.response and exchange.response.status, waited=0)
                )
                continue
            trouble = trouble_of(exchange)
            if trouble is None or troubles[trouble] >= self._policy.allowed(trouble):
                break
            response = exchange.response
            headers = response.headers if response else {}
            waited = self._policy.wait(troubles[trouble], retry_after(headers))
            troubles[trouble] += 1
            retries.append(
                Retry(
                    status=response.status if response else None,
                    failure=exchange.failure,
                    overloaded=trouble == "overloaded",
                    waited=round(waited, 3),
                )
            )
            self._retrying(exchange, len(retries))
            await asyncio.sleep(waited)
        if renamed and exchange.response is not None and exchange.response.good_status:
            self._renames = True
        return exchange.model_copy(update={"retries": tuple(retries)}) if retries else exchange
