"""A Responses reply as server-sent events."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing
from typing import Any

import orjson

from reference_engine.server.errors import ApiError
from reference_engine.server.generation import Generation
from reference_engine.server.responses.output import Event, OutputWriter
from reference_engine.server.responses.reply import Reply


class ResponseStream:
    """Streams one response: numbers the events and knows how to end them."""

    def __init__(
        self,
        reply: Reply,
        generation: Generation,
        writer: OutputWriter,
        keep: Callable[[dict[str, Any]], None],
    ) -> None:
        self._reply = reply
        self._generation = generation
        self._writer = writer
        self._keep = keep
        self._sent = 0

    async def pieces(self) -> AsyncGenerator[bytes]:
        """The encoded events, those that come at the same time in one piece."""
        opening = self._encode(
            {"type": kind, "response": self._reply.running()}
            for kind in ("response.created", "response.in_progress")
        )
        async with aclosing(self._generation.run()) as batches:
            async for parts in batches:
                if piece := opening + self._encode(self._writer.events(parts)):
                    yield piece
                opening = b""
        response = self._reply.finished(self._writer.items, self._generation)
        self._keep(response)
        last = {"type": f"response.{response['status']}", "response": response}
        yield opening + self._encode([last])

    def failure(self, error: ApiError) -> bytes:
        """The event that ends a stream which cannot go on."""
        response = self._reply.failed(self._writer.items, error)
        return self._encode([{"type": "response.failed", "response": response}])

    def _encode(self, events: Iterable[Event]) -> bytes:
        encoded = b""
        for event in events:
            numbered = event | {"sequence_number": self._sent}
            self._sent += 1
            encoded += b"event: %b\ndata: %b\n\n" % (event["type"].encode(), orjson.dumps(numbered))
        return encoded
