"""The answers of a request with `n` choices, generated side by side."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from reference_engine.server.generation import Generation
from reference_engine.server.shown import Part

_Item = tuple[int, list[Part]] | BaseException | None


async def numbered(
    generations: Sequence[Generation],
) -> AsyncGenerator[tuple[int, list[Part]]]:
    """The batches of all generations as they come, each with the index of its choice."""
    if len(generations) == 1:
        async with aclosing(generations[0].run()) as batches:
            async for parts in batches:
                yield 0, parts
        return
    inbox: asyncio.Queue[_Item] = asyncio.Queue()
    tasks = [
        asyncio.create_task(_forward(index, generation, inbox))
        for index, generation in enumerate(generations)
    ]
    try:
        running = len(tasks)
        while running:
            item = await inbox.get()
            if isinstance(item, BaseException):
                raise item
            if item is None:
                running -= 1
            else:
                yield item
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _forward(index: int, generation: Generation, inbox: asyncio.Queue[_Item]) -> None:
    try:
        async with aclosing(generation.run()) as batches:
            async for parts in batches:
                inbox.put_nowait((index, parts))
    except Exception as error:  # noqa: BLE001 - raised again by the reader
        inbox.put_nowait(error)
    else:
        inbox.put_nowait(None)
