"""The only retry layer: it repeats requests that failed temporarily and records every wait.

tenacity does not fit: its stop condition counts all attempts together, but this policy counts them
by cause.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from harness.api.chat import names_newer_limit, with_newer_limit
from harness.api.statuses import Trouble, trouble_of
from harness.records.rollouts import SDK, Exchange, Retry, Sender
from harness.transport.interface import Payload, Transport

Retrying = Callable[[Exchange, int], None]
"""Called before a retry with the failed exchange and the number of the retry."""
RETRIES: Mapping[Trouble, int] = {"overloaded": 15, "passing": 5, "unconnected": 5, "broken": 0}


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
    longest_retry_after: float = 60

    def wait(self, attempt: int, retry_after: float | None) -> float:
        """Seconds to wait after failed attempt number `attempt`, counted from 0."""
        if retry_after:
            return min(retry_after, self.longest_retry_after)
        longest: float = min(self.first_wait * 2**attempt, self.longest_wait)
        return longest * random.uniform(0.5, 1)  # noqa: S311 (not a secret)


NO_RETRIES = RetryPolicy({})


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

    async def send(self, path: str, body: Payload = None, *, sender: Sender = SDK) -> Exchange:
        """See `Transport`."""
        retries: list[Retry] = []
        troubles: Counter[Trouble] = Counter()
        renamed = with_newer_limit(body) if self._renames else None
        while True:
            exchange = await self._inner.send(path, renamed or body, sender=sender)
            response = exchange.response
            status, headers = (response.status, response.headers) if response else (None, {})
            if renamed is None and names_newer_limit(exchange):
                renamed = with_newer_limit(body)
                retries.append(Retry(status=status, waited=0))
                continue
            trouble = trouble_of(exchange)
            if trouble is None or troubles[trouble] >= self._policy.retries.get(trouble, 0):
                break
            waited = self._policy.wait(troubles[trouble], retry_after(headers))
            troubles[trouble] += 1
            retries.append(
                Retry(
                    status=status,
                    failure=exchange.failure,
                    overloaded=trouble == "overloaded",
                    waited=round(waited, 3),
                )
            )
            self._retrying(exchange, len(retries))
            await asyncio.sleep(waited)
        if renamed and response is not None and response.good_status:
            self._renames = True
        return exchange.model_copy(update={"retries": tuple(retries)}) if retries else exchange
