"""Providers that the tool starts itself and stops again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from harness.providers import Provider


@asynccontextmanager
async def launched(provider: Provider, log: Path) -> AsyncIterator[Provider]:
    """Start the provider's `launch` command if it has one, and stop it on the way out.

    Yields the provider with its real port in `base_url`. Its output goes to the file `log`.

    Raises:
        LaunchError: It could not be started, ended early or did not become ready in time.
    """
    raise NotImplementedError
    yield
