"""Notes when the bytes of a response arrive, before anything else is done with them."""

from __future__ import annotations

import asyncio
import time
from types import TracebackType
from typing import Self, cast

import aiohttp

from harness.transport.receiver import Receiver

BYTES_AT_ONCE = 16 * 1024


class Tap(asyncio.Protocol):
    """Stands between the connection of a response and its HTTP parser; a context manager.

    To await every piece would cost more than all else that is done with an event, and of many
    streams that send at once the last would be noticed after the others were worked on. Here an
    event costs a look at the clock and a count of bytes; the bytes are taken many pieces at a time.
    """

    def __init__(self, response: aiohttp.ClientResponse, receiver: Receiver) -> None:
        """Take what has come of the body of `response` so far."""
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

        Raises:
            TimeoutError: For `idle` seconds nothing came, the first byte being there.
            aiohttp.ClientError: The response broke off.
            ValueError: Its body is not framed as HTTP wants it.
        """
        while not self._done.is_set():
            begun = self._content.total_bytes > 0
            left = self._receiver.times[-1] + idle - time.perf_counter() if begun else idle
            if left <= 0:
                raise TimeoutError
            await self._done_within(left)
        if self._problem is not None:
            raise self._problem
        if not (self._receiver.too_large or self._content.is_eof()):
            raise ValueError("the chunks of its body are not well-formed")  # aiohttp hid the error.
        while not self._receiver.too_large and (chunk := await self._content.readany()):
            self._receiver.feed(chunk)

    def data_received(self, data: bytes) -> None:
        """Bytes have come."""
        at = time.perf_counter()
        self._parser.data_received(data)
        if not self._done.is_set():
            self._note(at)
            if self._content.total_bytes - len(self._receiver.received) >= BYTES_AT_ONCE:
                self._take()
            if self._at_end():
                self._finish()

    def eof_received(self) -> bool | None:
        """The provider sends no more."""
        return self._parser.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is closed; the parser forgets what was not taken before it hears of it."""
        self._take()
        self._parser.connection_lost(exc)
        self._finish()

    def pause_writing(self) -> None:
        """The request is sent faster than the provider takes it."""
        self._parser.pause_writing()

    def resume_writing(self) -> None:
        """The provider has taken some of it."""
        self._parser.resume_writing()

    async def _done_within(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._done.wait()
        except TimeoutError:
            return

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
        """Take what is left and step aside."""
        if self._done.is_set():
            return
        self._take()
        self._problem = self._content.exception()
        self._done.set()
        transport = self._transport
        if transport is not None and transport.get_protocol() is self:
            transport.set_protocol(self._parser)
