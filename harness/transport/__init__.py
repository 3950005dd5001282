"""HTTP to a provider: limits, one layer of retries, and a record of every byte, keys apart."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from harness.providers import Provider, access
from harness.transport.base import Transport
from harness.transport.http import HttpTransport, Limits, open_session
from harness.transport.rate import RateLimitedTransport
from harness.transport.retry import NO_RETRIES, RetryingTransport, RetryPolicy

__all__ = ["NO_RETRIES", "Limits", "RetryPolicy", "Transport", "open_transport"]


@asynccontextmanager
async def open_transport(
    provider: Provider, *, retries: RetryPolicy | None = None, limits: Limits | None = None
) -> AsyncIterator[Transport]:
    """A transport to `provider` with its key, headers, rate limits and retries.

    Raises:
        ConfigurationError: An environment variable the provider needs is not set.
    """
    keys = access(provider)
    async with open_session(provider) as session:
        once = HttpTransport(session, provider, keys, limits)
        limited = RateLimitedTransport(once, rpm=provider.rpm, tpm=provider.tpm)
        yield RetryingTransport(limited, retries or RetryPolicy())
