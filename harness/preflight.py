"""A few cheap requests before a run, so that a hopeless one is not begun."""

from __future__ import annotations

from collections.abc import Sequence

from harness.providers import Provider
from harness.records import Api
from harness.transport.base import Transport


async def preflight(provider: Provider, transport: Transport, apis: Sequence[Api]) -> None:
    """See that the provider answers, takes our key and knows the model on each of `apis`.

    Raises:
        ProviderUnavailableError: It does not; the sentence says which and how to mend it.
    """
    raise NotImplementedError
