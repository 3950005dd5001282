"""The interface through which the rest of the harness uses the network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from harness.records.rollouts import Exchange, Key


class Transport(Protocol):
    """Sends requests to one provider. The exchange records every failure; none is raised."""

    async def send(
        self, path: str, body: Mapping[str, Any] | str | None = None, *, key: Key = "right"
    ) -> Exchange:
        """Send one request.

        Args:
            path: Path below the provider's base URL.
            body: POSTed as JSON; a string is POSTed unchanged, valid JSON or not. GET if None.
            key: Whether to send the right key, a wrong one or none. In the latter two cases the
                request contains no secret at all.
        """
        ...
