"""Collect the bytes of one response with their arrival times."""

from __future__ import annotations

import re
import time
from array import array
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field

from harness.api.sse import blocks
from harness.records.redact import Redactor
from harness.records.rollouts import Response, StreamPart

BODY_BYTES = 32 * 2**20
STREAM_BYTES = 256 * 2**20
STREAM_LINES = 2_000_000
"""Limits of one response. Even a short event of a stream takes hundreds of bytes of memory, so its
number of lines is limited; the longest reply of gpt-oss has fewer."""
KEPT_BYTES = 64 * 1024  # of a body that exceeds its limit
SECONDS_TO_CLOSE = 1.0  # from a request to the notice that its connection was already closed
EVENT_STREAM = "text/event-stream"
BEGINNINGS = (b"data:", b"event:", b"id:", b":")  # of a stream
_LAST_EVENT = re.compile(
    rb'(?:^|\n)data: ?\[DONE\]|"type": ?"response\.(?:completed|incomplete|failed)"'
)
"""The last event of a stream of either API; in a text, its quotes and line breaks are escaped."""

_TEXT = re.compile(
    rb'"(?:content|reasoning(?:_content)?|arguments|delta|text)"\s*:\s*"((?:[^"\\]|\\.)*)"'
)
"""A piece of text in an event of either API, or of raw completions."""
_ESCAPED = re.compile(rb"\\(?:u[0-9a-fA-F]{4}|.)")


class TooLargeError(Exception):
    """A response exceeds its limits, in a sentence."""


@dataclass(slots=True)
class InFlight:
    """The memory of all responses that are being received, in bytes.

    When it exceeds `most`, a response that holds more than an equal share of it is ended, so that
    servers whose replies do not end cannot take more, and others are read on.
    """

    most: int
    held: int = 0
    responses: int = 0

    def exceeded(self, size: int) -> bool:
        """Whether all responses together are too large, and one of this size is a cause."""
        return self.held > self.most and size > self.most / self.responses


@dataclass(slots=True)
class Receiver:
    """Collects the bytes of one response and their arrival times.

    Nothing is parsed before the response is complete, so that recording an event costs as little as
    possible while others arrive.
    """

    wants_stream: bool
    all: InFlight = field(default_factory=lambda: InFlight(STREAM_BYTES))
    sent: float = field(default_factory=time.perf_counter)
    reused: bool = False  # whether the connection was idle before
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    streaming: bool = False
    ended: bool = False  # whether the last event of a stream arrived, or its beginning
    lines: int = 0
    received: bytearray = field(default_factory=bytearray)
    times: array[float] = field(default_factory=lambda: array("d"))
    extents: array[int] = field(default_factory=lambda: array("q"))
    counted: tuple[int, int] = (0, 0)  # bytes of events whose text is counted, and its characters

    def elapsed(self) -> float:
        """Seconds since the request was sent, rounded to microseconds."""
        return round(time.perf_counter() - self.sent, 6)

    def closed_idle(self) -> bool:
        """Whether a connection was closed because it was idle, while the request was on its way.

        Then it was closed at once and without a reply, and RFC 9112 (9.3.1, 9.5) lets a client
        send the request again.
        """
        reused, self.reused = self.reused, False
        return reused and self.status is None and self.elapsed() < SECONDS_TO_CLOSE

    def begin(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Take the status and the headers, which are joined where a name repeats."""
        self.status = status
        self.all.responses += 1
        for name, value in headers:
            key, text = name.decode(errors="replace").lower(), value.decode(errors="replace")
            self.headers[key] = f"{self.headers[key]}, {text}" if key in self.headers else text
        media_type = re.split("[;,]", self.headers.get("content-type", ""))[0]
        self.streaming = media_type.strip().lower() == EVENT_STREAM

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes of the body, which arrive now. Raises TooLargeError."""
        self.times.append(time.perf_counter())
        if self.wants_stream and not self.received and chunk.lstrip().startswith(BEGINNINGS):
            self.streaming = True
        self.received += chunk
        self.all.held += len(chunk)
        self.extents.append(len(self.received))
        if self.streaming:
            self.ended = self.ended or _LAST_EVENT.search(chunk) is not None
            self.lines += chunk.count(b"\n") + chunk.count(b"\r")
        most = STREAM_BYTES if self.streaming else BODY_BYTES
        size = len(self.received)
        if self.lines > STREAM_LINES:
            excess = f"has more than {STREAM_LINES:,} lines"
        elif size > most:
            excess = f"is larger than {most / 2**20:g} MiB"
        elif self.all.exceeded(size):
            shown = f"{size / 2**20:.3g} MiB, and all in flight than {self.all.most / 2**20:g} MiB"
            excess = f"is larger than {shown}"
        else:
            return
        self.all.held -= max(0, size - KEPT_BYTES)
        del self.received[KEPT_BYTES:]
        raise TooLargeError(f"the response {excess}; the tool ended it")

    def release(self) -> None:
        """Hold no more memory; the bytes are recorded, or lost."""
        self.all.held -= len(self.received)
        self.all.responses -= self.status is not None
        self.received = bytearray()

    def characters(self) -> int:
        """Return how many characters of text a stream has brought so far; 0 without a stream.

        It may be called in another thread. What was counted is not read again.
        """
        start, count = self.counted
        if not self.streaming:
            return 0
        new = bytes(self.received[start:])
        end = new.rfind(b"\n") + 1
        texts = _TEXT.findall(new[:end])
        count += sum(len(_ESCAPED.sub(b".", text).decode(errors="replace")) for text in texts)
        self.counted = start + end, count
        return count

    def response(self, redactor: Redactor, *, complete: bool) -> Response | None:
        """Return the response as far as it was received, or None."""
        if self.status is None:
            return None
        text = None if self.streaming else redactor.text(self.received.decode(errors="replace"))
        return Response(
            status=self.status,
            headers=redactor.headers(self.headers),
            body=text,
            parts=tuple(self._parts(redactor)) if self.streaming else (),
            complete=complete,
        )

    def _parts(self, redactor: Redactor) -> Iterator[StreamPart]:
        """Yield the blocks of a stream, each with the arrival time of its last byte."""
        arrival, last = 0, len(self.times) - 1
        for block, extent in blocks(self.received):
            while arrival < last and self.extents[arrival] < extent:
                arrival += 1
            yield StreamPart(round(self.times[arrival] - self.sent, 6), redactor.text(block))


@dataclass(slots=True)
class Arrival:
    """What an attempt receives now: the request in flight, or the last one."""

    receiver: Receiver | None = None


ARRIVAL: ContextVar[Arrival] = ContextVar("arrival")
"""Where requests of the current task note their receiver; unset, nobody reads it."""
