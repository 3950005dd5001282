"""HTTP to a provider: limits, one layer of retries, and a record of every byte, keys apart."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from harness.providers import Provider
from harness.transport.base import Transport

__all__ = ["Transport", "open_transport"]


@asynccontextmanager
async def open_transport(provider: Provider) -> AsyncIterator[Transport]:
    """A transport to `provider` with its key, headers, rate limits and retries.

    Raises:
        ConfigurationError: An environment variable the provider needs is not set.
    """
    raise NotImplementedError
    yield
