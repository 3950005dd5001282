"""HTTP to a provider: limits, one layer of retries, and a record of every byte, keys apart."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from harness.providers.entries import Provider, access
from harness.transport.adaptive import AdaptiveTransport, LimitChanged
from harness.transport.base import Transport
from harness.transport.http import HttpTransport, open_session
from harness.transport.rate import RateLimitedTransport
from harness.transport.receiver import Limits
from harness.transport.retry import NO_RETRIES, RetryingTransport, RetryPolicy

__all__ = ["NO_RETRIES", "Limits", "RetryPolicy", "Transport", "open_transport"]


@asynccontextmanager
async def open_transport(
    provider: Provider,
    *,
    retries: RetryPolicy | None = None,
    limits: Limits | None = None,
    limit_changed: LimitChanged | None = None,
) -> AsyncIterator[Transport]:
    """A transport to `provider` with its key, headers, rate limits and retries.

    At most its `concurrency` are in flight, fewer when it is overloaded, which
    `limit_changed` is told. Who waits for another try is not in flight.

    Raises:
        ConfigurationError: An environment variable the provider needs is not set.
    """
    keys = access(provider)
    async with open_session(provider) as session:
        transport: Transport = HttpTransport(session, provider, keys, limits)
        if provider.rpm or provider.tpm:
            transport = RateLimitedTransport(transport, rpm=provider.rpm, tpm=provider.tpm)
        adaptive = AdaptiveTransport(transport, most=provider.concurrency, changed=limit_changed)
        yield RetryingTransport(adaptive, retries or RetryPolicy())
