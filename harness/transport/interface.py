"""The interface through which the rest of the harness uses the network."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar

from harness.records.rollouts import SDK, Exchange, Sender

LARGE = 32 * 1024
"""Bytes of a response that are processed in a thread: a stream of 10,000 events takes 50 ms, in
which no other arrival would be recorded. A handover to a thread costs as much as a short reply."""
T = TypeVar("T")
Payload = Mapping[str, Any] | str | None
"""POSTed as JSON; a string is POSTed unchanged, valid JSON or not. GET if None."""


class Transport(Protocol):
    """Sends requests to one provider. Failures are recorded in the exchange, not raised."""

    async def send(self, path: str, body: Payload = None, *, sender: Sender = SDK) -> Exchange:
        """Send one request to a path below the provider's base URL.

        With a wrong `key` or none, the request contains no secret at all.
        """


async def processed(size: int, work: Callable[[], T]) -> T:
    """Return the result of `work` on a response of `size` bytes; in a thread if it is large."""
    return await asyncio.to_thread(work) if size > LARGE else work()
