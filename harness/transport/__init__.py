"""Recorded HTTP requests to a provider: rate limits, adaptive concurrency and one retry layer."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from harness.providers.entries import Provider, access
from harness.transport.http import HttpTransport, open_session
from harness.transport.interface import Transport
from harness.transport.outage import Outage, WatchedTransport
from harness.transport.pacing import AdaptiveTransport, LimitChanged, RateLimitedTransport
from harness.transport.receiver import ResponseLimits
from harness.transport.retry import NO_RETRIES, RetryingTransport, RetryPolicy

__all__ = ["NO_RETRIES", "ResponseLimits", "RetryPolicy", "Transport", "open_transport"]


@asynccontextmanager
async def open_transport(
    provider: Provider,
    *,
    retries: RetryPolicy | None = None,
    limits: ResponseLimits | None = None,
    limit_changed: LimitChanged | None = None,
    outage: Outage | None = None,
) -> AsyncIterator[Transport]:
    """A transport with the provider's key, headers, rate limits and concurrency.

    A request that waits for its next try is not in flight. `limit_changed` is called
    whenever the number of requests allowed in flight changes; `outage` counts every try.

    Raises ConfigurationError if an environment variable of the provider is not set. With `outage`,
    a request may raise StoppedAnsweringError.
    """
    keys = access(provider)
    async with open_session(provider) as session:
        transport: Transport = HttpTransport(session, provider, keys, limits)
        if outage is not None:
            transport = WatchedTransport(transport, outage)
        if provider.rpm or provider.tpm:
            transport = RateLimitedTransport(transport, rpm=provider.rpm, tpm=provider.tpm)
        adaptive = AdaptiveTransport(transport, most=provider.concurrency, changed=limit_changed)
        yield RetryingTransport(adaptive, retries or RetryPolicy())
