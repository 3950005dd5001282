"""Requests that no rollout records: preflight, `doctor`, `init` and launch readiness."""

import asyncio
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp

from harness.errors import ProviderUnreachableError
from harness.providers.entries import Provider, access
from harness.transport.http import HttpTransport, open_session
from harness.transport.pacing import OVERLOAD_STATUSES
from harness.transport.retry import retry_after

TRIES = 4
FIRST_WAIT = 0.5  # seconds before the second try; each further wait is twice as long
TEMPORARY_STATUSES = OVERLOAD_STATUSES | {502, 504}
LONGEST_RETRY_AFTER = 3.0
READY_TIMEOUT = 5.0


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

    A request that a gateway or an overloaded server rejects is sent up to `TRIES` times; `say` gets
    a sentence about each retry.

    Raises ConfigurationError if an environment variable of the provider is not set, and
    ProviderUnreachableError if no response came.
    """
    for attempt in range(1, TRIES + 1):
        answer = await _request(provider, path, body)
        if answer.status not in TEMPORARY_STATUSES or attempt == TRIES:
            break
        doubled = FIRST_WAIT * 2 ** (attempt - 1) * random.uniform(0.8, 1)  # noqa: S311
        wait = retry_after(answer.headers) or doubled
        say(f"{path} answered with status {answer.status}: try {attempt + 1} of {TRIES}")
        await asyncio.sleep(min(wait, LONGEST_RETRY_AFTER))
    return answer


async def is_ready(url: str) -> bool:
    """Whether a GET of `url` returns 200."""
    timeout = aiohttp.ClientTimeout(total=READY_TIMEOUT)
    try:
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url) as response:
            return response.status == 200
    except (aiohttp.ClientError, OSError, ValueError):
        return False


async def _request(provider: Provider, path: str, body: Mapping[str, Any] | None) -> Answer:
    """Send once, over a new connection: a server may drop the one that it just failed on.

    An incomplete response is an answer: the run will record it as a finding.
    """
    keys = access(provider)
    async with open_session(provider) as session:
        exchange = await HttpTransport(session, provider, keys).send(path, body)
    response, failure = exchange.response, exchange.failure
    if response is not None:
        text = response.body or "\n\n".join(part.raw for part in response.parts)
        return Answer(response.status, response.headers, text, exchange.elapsed)
    assert failure is not None
    kind = NotConnectedError if failure.kind == "connect" else ProviderUnreachableError
    raise kind(
        f"provider {provider.name} does not answer at {exchange.request.url}: {failure.message}; "
        "check that it is running and its base_url"
    )
