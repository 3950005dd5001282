"""Collect the bytes of one response with their arrival times, and split streams into events.

The arrival times are recorded before anything else handles the bytes.
"""

from __future__ import annotations

import asyncio
import re
import time
from array import array
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self, cast

import aiohttp

from harness.records.rollouts import Response, StreamPart
from harness.transport.redact import Redactor

MEBIBYTE = 2**20
BYTES_AT_ONCE = 16 * 1024  # bytes that `Tap` passes on together
EVENT_STREAM = "text/event-stream"
STREAM_BEGINNINGS = (b"data:", b"event:", b"id:", b":")
BLANK_LINE = re.compile(rb"\n\n|\r\n\r\n|\r\r|\n\r\n")


@dataclass(frozen=True)
class ResponseLimits:
    """Time and size limits of one response.

    `idle` is the longest time in seconds between two bytes. Of a body that exceeds its limit, the
    first `kept_bytes` are recorded. Even a short event of a stream takes hundreds of bytes of
    memory, so `stream_lines` limits the number of lines; the longest reply of gpt-oss has fewer.
    """

    connect: float = 10
    idle: float = 300
    body_bytes: int = 32 * MEBIBYTE
    stream_bytes: int = 256 * MEBIBYTE
    stream_lines: int = 2_000_000
    kept_bytes: int = 64 * 1024


def without_surrogates(text: str) -> str:
    """Replace the surrogates that aiohttp uses for invalid UTF-8 with U+FFFD."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


@dataclass(slots=True)
class Receiver:
    """Collects the bytes of one response and their arrival times.

    Nothing is parsed before the response is complete, so that recording an event costs as little as
    possible while others arrive.
    """

    limits: ResponseLimits
    wants_stream: bool
    sent: float = field(default_factory=time.perf_counter)
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    streaming: bool = False
    too_large: bool = False
    lines: int = 0
    received: bytearray = field(default_factory=bytearray)
    times: array[float] = field(default_factory=lambda: array("d"))
    extents: array[int] = field(default_factory=lambda: array("q"))

    @property
    def limit(self) -> int:
        """The size limit of the body in bytes."""
        return self.limits.stream_bytes if self.streaming else self.limits.body_bytes

    def elapsed(self) -> float:
        """Seconds since the request was sent, rounded to microseconds."""
        return round(time.perf_counter() - self.sent, 6)

    def begin(self, status: int, headers: Mapping[str, str], content_type: str) -> None:
        """Take the status, the headers (joined where a name repeats) and the media type."""
        self.status = status
        for name, value in headers.items():
            key, text = name.lower(), without_surrogates(value)
            self.headers[key] = f"{self.headers[key]}, {text}" if key in self.headers else text
        self.streaming = content_type == EVENT_STREAM

    def arrived(self, at: float, extent: int) -> None:
        """Record that `extent` bytes of the body had arrived at time `at` (`perf_counter`)."""
        self.times.append(at)
        self.extents.append(extent)

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes of the body."""
        if self.too_large:
            return
        first = not self.received
        if first and self.wants_stream and chunk.lstrip().startswith(STREAM_BEGINNINGS):
            self.streaming = True
        self.received += chunk
        if self.streaming:
            self.lines += chunk.count(b"\n") + chunk.count(b"\r")
        if len(self.received) > self.limit or self.lines > self.limits.stream_lines:
            self.too_large = True
            del self.received[self.limits.kept_bytes :]

    def excess(self) -> str:
        """Return the limit that a response exceeds, as the end of a sentence."""
        if self.lines > self.limits.stream_lines:
            return f"has more than {self.limits.stream_lines:,} lines"
        return f"is larger than {self.limit / MEBIBYTE:g} MiB"

    def response(self, redactor: Redactor, *, complete: bool) -> Response | None:
        """Return the response as far as it was received, or None."""
        if self.status is None:
            return None
        body, parts = None, []
        if self.streaming:
            parts = self._parts(redactor)
        else:
            body = redactor.text(self.received.decode(errors="replace"))
        return Response(
            status=self.status,
            headers=redactor.headers(self.headers),
            body=body,
            parts=tuple(parts),
            complete=complete,
        )

    def _parts(self, redactor: Redactor) -> list[StreamPart]:
        """Return the blocks of a stream, each with the arrival time of its last byte."""
        parts: list[StreamPart] = []
        arrival, last = 0, len(self.times) - 1
        for block, extent in blocks(self.received):
            while arrival < last and self.extents[arrival] < extent:
                arrival += 1
            at = round(self.times[arrival] - self.sent, 6)
            parts.append(StreamPart(at, redactor.text(block)))
        return parts


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
        """Return the provider closed its side."""
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


def blocks(stream: bytearray) -> Iterator[tuple[str, int]]:
    """Yield the blocks of an event stream as text, without the blank lines between them.

    Each comes with its extent: the number of bytes after which the block is known to be complete.
    Bytes after the last blank line are also a block. Invalid UTF-8 becomes U+FFFD.
    """
    start = 0
    for end, extent in _blank_lines(stream):
        block = stream[start:end].decode(errors="replace").lstrip("\r\n")
        if block:
            yield block, extent
        start = extent
    rest = stream[start:].decode(errors="replace").strip("\r\n")
    if rest:
        yield rest, len(stream)


def _blank_lines(stream: bytearray) -> Iterator[tuple[int, int]]:
    """Yield the start and end of each blank line."""
    if b"\r" in stream:
        yield from (match.span() for match in BLANK_LINE.finditer(stream))
        return
    start = stream.find(b"\n\n")
    while start >= 0:
        yield start, start + 2
        start = stream.find(b"\n\n", start + 2)
