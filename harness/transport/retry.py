"""The only retry layer: it repeats requests that failed temporarily and records every wait.

tenacity does not fit: its stop condition counts all attempts together, but this policy counts them
by cause.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Literal

from harness.api.statuses import meaning
from harness.records.rollouts import Exchange, Key, Retry
from harness.transport.interface import Payload, Transport

Trouble = Literal["overloaded", "passing", "unconnected", "broken"]
Retrying = Callable[[Exchange, int], None]
"""Called before a retry with the failed exchange and the number of the retry."""
_CONFLICT = 409


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
        renamed = _renamed(body) if self._renames else None
        while True:
            exchange = await self._inner.send(path, renamed or body, key=key)
            if renamed is None and _names_other_limit(exchange):
                renamed = _renamed(body)
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


_LIMIT, _OTHER_LIMIT = "max_tokens", "max_completion_tokens"


def _renamed(body: Payload) -> dict[str, Any] | None:
    """Return a body with the newer name of its token limit; None if it has no limit, or both."""
    if not isinstance(body, Mapping) or _LIMIT not in body or _OTHER_LIMIT in body:
        return None
    return {_OTHER_LIMIT if name == _LIMIT else name: value for name, value in body.items()}


def _names_other_limit(exchange: Exchange) -> bool:
    """Return whether a response refuses the older name of the token limit, and names the newer."""
    response, body = exchange.response, exchange.request.body or {}
    refused = response is not None and meaning(response) == "refusal"
    named = response is not None and _OTHER_LIMIT in (response.body or "")
    return refused and named and _renamed(body) is not None


_WITHOUT_RESPONSE: Mapping[str | None, Trouble] = {
    "connect": "unconnected",
    "cut": "passing",
    "timeout": "broken",
}


def trouble_of(exchange: Exchange) -> Trouble | None:
    """Return why an exchange failed, if the same request may succeed later; otherwise None.

    "broken" is a response that ended early after a good status, or timed out.
    """
    kind = None if exchange.failure is None else exchange.failure.kind
    if exchange.response is None:
        return _WITHOUT_RESPONSE.get(kind)
    said = meaning(exchange.response)
    if said == "overload":
        return "overloaded"
    if said == "server_error" or exchange.response.status == _CONFLICT:
        return "passing"
    return "broken" if kind in {"cut", "timeout"} else None


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the wait in seconds that a response requests; the header has seconds or a date."""
    value = headers.get("retry-after")
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
