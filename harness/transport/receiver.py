"""Collect the bytes of one response with their arrival times."""

from __future__ import annotations

import time
from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field

from harness.api.sse import blocks
from harness.records.rollouts import Response, StreamPart
from harness.transport.redact import Redactor

MEBIBYTE = 2**20
EVENT_STREAM = "text/event-stream"
STREAM_BEGINNINGS = (b"data:", b"event:", b"id:", b":")


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


class TooLargeError(Exception):
    """A response exceeds its limits, in a sentence."""


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
    lines: int = 0
    received: bytearray = field(default_factory=bytearray)
    times: array[float] = field(default_factory=lambda: array("d"))
    extents: array[int] = field(default_factory=lambda: array("q"))

    def elapsed(self) -> float:
        """Seconds since the request was sent, rounded to microseconds."""
        return round(time.perf_counter() - self.sent, 6)

    def begin(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Take the status and the headers, which are joined where a name repeats."""
        self.status = status
        for name, value in headers:
            key, text = name.decode(errors="replace").lower(), value.decode(errors="replace")
            self.headers[key] = f"{self.headers[key]}, {text}" if key in self.headers else text
        media_type = self.headers.get("content-type", "").partition(";")[0]
        self.streaming = media_type.strip().lower() == EVENT_STREAM

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes of the body, which arrive now. Raises TooLargeError."""
        self.times.append(time.perf_counter())
        first = not self.received
        if first and self.wants_stream and chunk.lstrip().startswith(STREAM_BEGINNINGS):
            self.streaming = True
        self.received += chunk
        self.extents.append(len(self.received))
        if self.streaming:
            self.lines += chunk.count(b"\n") + chunk.count(b"\r")
        limits = self.limits
        most = limits.stream_bytes if self.streaming else limits.body_bytes
        many_lines = self.lines > limits.stream_lines
        if many_lines or len(self.received) > most:
            del self.received[limits.kept_bytes :]
            lines, size = f"has more than {limits.stream_lines:,} lines", most / MEBIBYTE
            excess = lines if many_lines else f"is larger than {size:g} MiB"
            raise TooLargeError(f"the response {excess}")

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
