"""Recorded HTTP requests to a provider: rate limits, adaptive concurrency and one retry layer."""

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager

from harness.providers.entries import Provider
from harness.transport.connections import allow_open_files, open_session
from harness.transport.http import HttpTransport
from harness.transport.interface import Transport
from harness.transport.pacing import AdaptiveTransport, LimitChanged, RateLimitedTransport
from harness.transport.retry import NO_RETRIES, RETRIES, Retrying, RetryingTransport, RetryPolicy

SPARE_FILES = 100
__all__ = ["NO_RETRIES", "RETRIES", "RetryPolicy", "Transport", "open_transport"]


@asynccontextmanager
async def open_transport(
    provider: Provider,
    *,
    retries: RetryPolicy | None = None,
    limit_changed: LimitChanged | None = None,
    retrying: Retrying | None = None,
    watch: Callable[[Transport], Transport] | None = None,
) -> AsyncIterator[Transport]:
    """A transport with the provider's key, headers, rate limits and concurrency.

    A request that waits for its next try is not in flight. `limit_changed` is called whenever the
    number of requests allowed in flight changes, and `retrying` before a retry; `watch` wraps the
    transport that sends single tries.

    Raises ConfigurationError if an environment variable of the provider is not set, or its proxy is
    not an HTTP proxy.
    """
    allow_open_files(provider.concurrency + SPARE_FILES)
    async with (
        open_session(provider.base_url) as session,
        aclosing(HttpTransport(session, provider)) as http,
    ):
        transport: Transport = http
        if watch is not None:
            transport = watch(transport)
        if provider.rpm or provider.tpm:
            transport = RateLimitedTransport(transport, rpm=provider.rpm, tpm=provider.tpm)
        policy = retries or RetryPolicy()
        adaptive = AdaptiveTransport(
            transport,
            most=provider.concurrency,
            changed=limit_changed,
            longest_retry_after=policy.longest_retry_after,
        )
        yield RetryingTransport(adaptive, policy, retrying)
