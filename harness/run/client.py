"""Requests that are not recorded: those of preflight and `init`."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from harness.errors import ProviderUnreachableError
from harness.providers.entries import Provider, access
from harness.records.rollouts import Exchange
from harness.transport import NO_RETRIES, RetryPolicy, open_transport
from harness.transport.pacing import OVERLOAD_STATUSES
from harness.transport.redact import Redactor
from harness.transport.retry import retry_after

TRIES = 4
WAITS = RetryPolicy(first_wait=0.6, longest_retry_after=3)
TEMPORARY_STATUSES = OVERLOAD_STATUSES | {502, 504}


class NotConnectedError(ProviderUnreachableError):
    """No connection to the provider could be opened."""


@dataclass(frozen=True)
class Answer:
    """A response without secrets; `elapsed` is in seconds."""

    status: int
    headers: Mapping[str, str]
    text: str
    elapsed: float


Say = Callable[[str], None]  # tells the user something


async def request(
    provider: Provider,
    path: str,
    body: Mapping[str, Any] | None = None,
    say: Say = lambda _: None,
) -> Answer:
    """POST `body` to `path` below the base URL, or GET without a body.

    A request that a gateway or an overloaded server rejects is sent up to `TRIES` times; `say`
    receives a sentence about each retry. Connections are not retried, so that a wrong base URL is
    reported at once.

    Raises ConfigurationError if an environment variable of the provider is not set, and
    ProviderUnreachableError if there was no response.
    """
    for attempt in range(TRIES):
        # A new connection, because a server may drop the one on which it failed.
        async with open_transport(provider, retries=NO_RETRIES) as transport:
            answer = _answer(provider, await transport.send(path, body))
        if answer.status not in TEMPORARY_STATUSES or attempt + 1 == TRIES:
            break
        say(f"{path} returned status {answer.status}; starting try {attempt + 2} of {TRIES}")
        await asyncio.sleep(WAITS.wait(attempt, retry_after(answer.headers)))
    return answer


def _answer(provider: Provider, exchange: Exchange) -> Answer:
    """Return the response, complete or not: a run records an incomplete one as a finding."""
    response, failure = exchange.response, exchange.failure
    if response is None:
        connected = failure is None or failure.kind != "connect"
        url = Redactor(access(provider).secrets).text(exchange.request.url)
        raise (ProviderUnreachableError if connected else NotConnectedError)(
            f"provider {provider.name} does not answer at {url}: "
            f"{failure and failure.message}; check that it is running and its base_url"
        )
    text = response.body or "\n\n".join(part.raw for part in response.parts)
    return Answer(response.status, response.headers, text, exchange.elapsed)
