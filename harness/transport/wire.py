"""Record the arrival times of the bytes of a response before anything else handles them."""

import asyncio
import time
from contextlib import suppress
from types import TracebackType
from typing import Self, cast

import aiohttp

from harness.transport.receiver import Receiver

BYTES_AT_ONCE = 16 * 1024


class Tap(asyncio.Protocol):
    """Sits between the connection of a response and its HTTP parser; a context manager.

    Awaiting every chunk would cost more than all other work on an event, and if many streams send
    concurrently, the last would be timed after the others were processed. Here, an event costs one
    clock read and one byte count; the bytes are taken many chunks at a time.
    """

    def __init__(self, response: aiohttp.ClientResponse, receiver: Receiver) -> None:
        """Take the part of the body of `response` that has arrived."""
        connection = response.connection
        self._transport = None if connection is None else connection.transport
        self._content = response.content
        self._receiver = receiver
        self._done = asyncio.Event()
        self._problem: BaseException | None = None
        self._note(time.perf_counter())
        self._take()

    def __enter__(self) -> Self:
        if self._transport is not None and not self._at_end():
            self._parser = cast("asyncio.Protocol", self._transport.get_protocol())
            self._transport.set_protocol(self)
        else:
            self._finish()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._finish()

    async def rest(self, idle: float) -> None:
        """Take the rest of the response.

        Raises TimeoutError if no byte came for `idle` seconds, aiohttp.ClientError if the response
        ended early, and ValueError if the framing of the body violates HTTP.
        """
        while not self._done.is_set():
            begun = self._content.total_bytes > 0
            left = self._receiver.times[-1] + idle - time.perf_counter() if begun else idle
            if left <= 0:
                raise TimeoutError
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._done.wait()
        if self._problem is not None:
            raise self._problem
        if not (self._receiver.too_large or self._content.is_eof()):
            raise ValueError("its chunked body is malformed")  # aiohttp hides the error.
        while not self._receiver.too_large and (chunk := await self._content.readany()):
            self._receiver.feed(chunk)

    def data_received(self, data: bytes) -> None:
        """Record the arrival of bytes."""
        at = time.perf_counter()
        self._parser.data_received(data)
        if not self._done.is_set():
            self._note(at)
            if self._content.total_bytes - len(self._receiver.received) >= BYTES_AT_ONCE:
                self._take()
            if self._at_end():
                self._finish()

    def eof_received(self) -> bool | None:
        """The provider closed its side."""
        return self._parser.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is closed: take the bytes before the parser is notified and drops them."""
        self._take()
        self._parser.connection_lost(exc)
        self._finish()

    def pause_writing(self) -> None:
        """The provider reads the request more slowly than it is sent."""
        self._parser.pause_writing()

    def resume_writing(self) -> None:
        """The provider caught up."""
        self._parser.resume_writing()

    def _note(self, at: float) -> None:
        self._receiver.arrived(at, self._content.total_bytes)

    def _take(self) -> None:
        if self._content.exception() is None:
            while chunk := self._content.read_nowait():
                self._receiver.feed(chunk)

    def _at_end(self) -> bool:
        content = self._content
        return content.is_eof() or self._receiver.too_large or content.exception() is not None

    def _finish(self) -> None:
        """Take the remaining bytes and restore the parser."""
        if self._done.is_set():
            return
        self._take()
        self._problem = self._content.exception()
        self._done.set()
        transport = self._transport
        if transport is not None and transport.get_protocol() is self:
            transport.set_protocol(self._parser)
