"""Requests that are not recorded: preflight, `doctor`, `init` and launch readiness, by httpx."""

import asyncio
import random
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import httpx
import orjson

from harness.errors import ProviderUnreachableError
from harness.providers.entries import Provider, access
from harness.transport.http import USER_AGENT, connection_error, proxy_for
from harness.transport.pacing import OVERLOAD_STATUSES
from harness.transport.redact import Redactor, secrets_in
from harness.transport.retry import retry_after

SECONDS_TO_CONNECT = 10.0
MOST_BYTES = 32 * 2**20
TRIES = 4
FIRST_WAIT = 0.5  # seconds before the second try; each further wait is twice as long
TEMPORARY_STATUSES = OVERLOAD_STATUSES | {502, 504}
LONGEST_RETRY_AFTER = 3.0
READY_TIMEOUT = 5.0
FAILURES = (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError, ImportError)
"""ValueError: an invalid header or proxy. ImportError: a SOCKS proxy without `socksio`."""


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
    receives a sentence about each retry.

    Raises ConfigurationError if an environment variable of the provider is not set, and
    ProviderUnreachableError if there was no response.
    """
    for attempt in range(1, TRIES + 1):
        answer = await _request(provider, path, body)
        if answer.status not in TEMPORARY_STATUSES or attempt == TRIES:
            break
        doubled = FIRST_WAIT * 2 ** (attempt - 1) * random.uniform(0.8, 1)  # noqa: S311
        wait = retry_after(answer.headers) or doubled
        say(f"{path} returned status {answer.status}; starting try {attempt + 1} of {TRIES}")
        await asyncio.sleep(min(wait, LONGEST_RETRY_AFTER))
    return answer


async def is_ready(url: str) -> bool:
    """Whether a GET of `url` returns 200."""
    try:
        async with httpx.AsyncClient(
            verify=_tls(), timeout=READY_TIMEOUT, follow_redirects=True, trust_env=False
        ) as client:
            return (await client.get(url)).status_code == 200
    except FAILURES:
        return False


async def _request(provider: Provider, path: str, body: Mapping[str, Any] | None) -> Answer:
    """Send once, over a new connection, because a server may drop the one on which it failed."""
    keys = access(provider)
    redactor = Redactor(keys.secrets | secrets_in(keys.headers))
    url = provider.base_url + path
    data = None if body is None else orjson.dumps(body)
    start = time.perf_counter()
    status, headers, received = 0, {}, bytearray()
    try:
        # httpx limits each read; this timeout limits the whole request, as in a run.
        async with (
            asyncio.timeout(provider.timeout),
            _client(provider, keys.headers) as client,
            client.stream("GET" if body is None else "POST", url, content=data) as response,
        ):
            status, headers = response.status_code, dict(response.headers)
            async for chunk in response.aiter_bytes():
                received += chunk
                if len(received) > MOST_BYTES:
                    break
    except FAILURES as error:
        # An incomplete response is left to the run, which records it as a finding.
        if not status:
            raise _unreachable(provider, redactor.text(url), error, redactor) from None
    elapsed = time.perf_counter() - start
    text = redactor.text(received.decode(errors="replace"))
    return Answer(status, redactor.headers(headers), text, elapsed)


def _client(provider: Provider, headers: Mapping[str, str]) -> httpx.AsyncClient:
    """A client with the same proxy, certificates and headers as a run."""
    own = {"Content-Type": "application/json", "User-Agent": USER_AGENT}
    return httpx.AsyncClient(
        headers=httpx.Headers(own | dict(headers), encoding="utf-8"),
        proxy=proxy_for(provider.base_url),
        verify=_tls(),
        timeout=httpx.Timeout(None, connect=SECONDS_TO_CONNECT),
        trust_env=False,
    )


@cache
def _tls() -> ssl.SSLContext:
    """The certificates of the system, as in a run; loading takes 30 ms."""
    return ssl.create_default_context()


def _unreachable(
    provider: Provider, url: str, error: Exception, redactor: Redactor
) -> ProviderUnreachableError:
    kind, detail = ProviderUnreachableError, str(error).rstrip(".") or type(error).__name__
    if isinstance(error, TimeoutError):
        reason = f"the response was not complete within {provider.timeout:g} s"
    elif isinstance(error, httpx.ConnectTimeout):
        kind, reason = NotConnectedError, f"no connection within {SECONDS_TO_CONNECT:g} s"
    elif isinstance(error, httpx.ConnectError | httpx.ProxyError):
        cause = _first_cause(error)
        detail = connection_error(cause) if isinstance(cause, OSError) else detail
        proxy = httpx.URL(proxy_for(provider.base_url) or "")
        through = f" through the proxy {proxy.host}:{proxy.port}" if proxy.host else ""
        kind, reason = NotConnectedError, f"could not connect{through}: {detail}"
    else:
        reason = f"the connection failed before a response arrived: {detail}"
    return kind(
        f"provider {provider.name} does not answer at {url}: {redactor.text(reason)}; "
        "check that it is running and its base_url"
    )


def _first_cause(error: BaseException) -> BaseException:
    """The error of the operating system below those of httpx, httpcore and anyio."""
    while cause := error.__cause__ or error.__context__:
        error = cause.exceptions[0] if isinstance(cause, BaseExceptionGroup) else cause
    return error
