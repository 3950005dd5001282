"""A `MockProvider` in a separate thread, for tests that run the command line."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from mock_provider import MockProvider


@contextmanager
def in_background(mock: MockProvider) -> Iterator[MockProvider]:
    """Serve until the end of the `with` block."""
    loop = asyncio.new_event_loop()
    ready, stop = threading.Event(), asyncio.Event()

    async def serve() -> None:
        async with mock:
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    ready.wait(10)
    try:
        yield mock
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.close()
