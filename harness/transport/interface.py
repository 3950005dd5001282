"""The interface through which the rest of the harness uses the network."""

from collections.abc import Mapping
from typing import Any, Protocol

from harness.records.rollouts import Exchange, Key

Payload = Mapping[str, Any] | str | None
"""POSTed as JSON; a string is POSTed unchanged, valid JSON or not. GET if None."""


class Transport(Protocol):
    """Sends requests to one provider. Failures are recorded in the exchange, not raised."""

    async def send(self, path: str, body: Payload = None, *, key: Key = "right") -> Exchange:
        """Send one request to a path below the provider's base URL.

        With a wrong `key` or none, the request contains no secret at all.
        """
        ...
