"""What comes back for one request, kept as it arrives."""

from __future__ import annotations

import time
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field

from harness.records.rollouts import Response, StreamPart
from harness.steps import ITEMS_IN_A_STEP, Steps
from harness.transport.blocks import blocks
from harness.transport.redact import Redactor

MEBIBYTE = 2**20
EVENT_STREAM = "text/event-stream"
STREAM_BEGINNINGS = (b"data:", b"event:", b"id:", b":")


@dataclass(frozen=True)
class Limits:
    """How long and how large an answer may be.

    `idle` seconds may pass without a byte once the first has come. Of a body that is too large
    only its beginning is kept.
    """

    connect: float = 10
    idle: float = 300
    body_bytes: int = 32 * MEBIBYTE
    stream_bytes: int = 256 * MEBIBYTE
    kept_bytes: int = 64 * 1024


def without_surrogates(text: str) -> str:
    """Bytes that are no UTF-8, kept by aiohttp as surrogates, as replacement characters."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


@dataclass(slots=True)
class Receiver:
    """Takes the bytes of one response, and apart from them when they arrived.

    Nothing is made of them until the response has ended, so that taking an event costs as little
    as possible while others are on their way.
    """

    limits: Limits
    wants_stream: bool
    sent: float = field(default_factory=time.perf_counter)
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    streaming: bool = False
    too_large: bool = False
    received: bytearray = field(default_factory=bytearray)
    times: array[float] = field(default_factory=lambda: array("d"))
    extents: array[int] = field(default_factory=lambda: array("q"))

    @property
    def limit(self) -> int:
        """How many bytes the body may have."""
        return self.limits.stream_bytes if self.streaming else self.limits.body_bytes

    def elapsed(self) -> float:
        """Seconds since the request was sent, in microseconds' precision."""
        return round(time.perf_counter() - self.sent, 6)

    def begin(self, status: int, headers: Mapping[str, str], content_type: str) -> None:
        """Take status, headers (several of one name are joined) and media type."""
        self.status = status
        for name, value in headers.items():
            key, said = name.lower(), without_surrogates(value)
            self.headers[key] = f"{self.headers[key]}, {said}" if key in self.headers else said
        self.streaming = content_type == EVENT_STREAM

    def arrived(self, at: float, extent: int) -> None:
        """Note that `extent` bytes of the body were there by the time `at` (`perf_counter`)."""
        self.times.append(at)
        self.extents.append(extent)

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes of the body; of one that is too large only the beginning is kept."""
        if self.too_large:
            return
        first = not self.received
        if first and self.wants_stream and chunk.lstrip().startswith(STREAM_BEGINNINGS):
            self.streaming = True
        self.received += chunk
        if len(self.received) > self.limit:
            self.too_large = True
            del self.received[self.limits.kept_bytes :]

    def response(self, redactor: Redactor, *, complete: bool) -> Steps[Response | None]:
        """What was received, if anything was; in small steps."""
        if self.status is None:
            return None
        body, parts = None, []
        if self.streaming:
            parts = yield from self._parts(redactor)
        else:
            body = redactor.text(self.received.decode(errors="replace"))
        return Response(
            status=self.status,
            headers=redactor.headers(self.headers),
            body=body,
            parts=tuple(parts),
            complete=complete,
        )

    def _parts(self, redactor: Redactor) -> Steps[list[StreamPart]]:
        """The blocks of a stream, each with the time at which the last of its bytes came."""
        parts: list[StreamPart] = []
        arrival, last = 0, len(self.times) - 1
        for block, extent in blocks(self.received):
            while arrival < last and self.extents[arrival] < extent:
                arrival += 1
            at = round(self.times[arrival] - self.sent, 6)
            parts.append(StreamPart(at, redactor.text(block)))
            if len(parts) % ITEMS_IN_A_STEP == 0:
                yield
        return parts
