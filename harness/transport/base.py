"""The one thing the rest of the harness knows of the network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from harness.records.rollouts import Exchange, Key


class Transport(Protocol):
    """Sends requests to one provider. Whatever goes wrong is in the exchange, never raised."""

    async def send(
        self, path: str, body: Mapping[str, Any] | str | None = None, *, key: Key = "right"
    ) -> Exchange:
        """POST `body` as JSON to `path` below the provider's base URL; GET without a body.

        A text is sent as it is, JSON or not. Instead of the right key a wrong one may be sent, or
        none: nothing is sent then that would have to be kept out of the record.
        """
        ...
