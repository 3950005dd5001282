"""Wait for another task or process."""

import asyncio
import time
from collections.abc import Callable


async def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Wait until `condition` is true; fail after `seconds`."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 (nobody could set an event)
            await asyncio.sleep(0.01)


def wait_for(condition: Callable[[], bool], seconds: float = 10) -> None:
    """Block until `condition` is true; fail after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
