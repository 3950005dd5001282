"""Concurrent streams from a server: when each token arrives.

The client runs in its own process and needs only Python's standard library. It looks for a marker
in each event and does not parse it, which takes a few microseconds of CPU time: a general client
takes more than ten times as long, and would limit the speed that it measures.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import pairwise
from typing import Any, cast

END = b"0\r\n\r\n"
_TIMEOUT = 400
"""Seconds for all streams."""


@dataclass(frozen=True)
class Requests:
    """Streaming requests that are sent together, and the bytes that an event with a token has."""

    port: int
    path: str
    bodies: Sequence[dict[str, Any]]
    marker: str


@dataclass(frozen=True)
class Streams:
    """When each request was sent, and when each of its tokens arrived, in seconds.

    The clock is `time.perf_counter`, which all processes of a machine share.
    """

    sent: Sequence[float]
    tokens: Sequence[Sequence[float]]

    @property
    def count(self) -> int:
        """The number of tokens."""
        return sum(map(len, self.tokens))

    @property
    def rate(self) -> float:
        """Tokens per second from the first request to the last token."""
        return self.count / (max(times[-1] for times in self.tokens if times) - min(self.sent))

    @property
    def first(self) -> float:
        """Median seconds from a request to its first token."""
        return quantile(
            (times[0] - at for at, times in zip(self.sent, self.tokens, strict=True) if times), 0.5
        )

    def between(self, share: float) -> float:
        """The quantile of the seconds between two tokens of a stream."""
        gaps = (after - before for times in self.tokens for before, after in pairwise(times))
        return quantile(gaps, share)


def quantile(values: Iterable[float], share: float) -> float:
    """The smallest value that is at least as large as this share of all; 0 without values."""
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)] if ordered else 0.0


def receive(requests: Requests) -> Streams:
    """Send requests from a separate process, and wait until every stream has ended."""
    output = subprocess.run(
        [sys.executable, __file__],
        input=json.dumps(asdict(requests)),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=_TIMEOUT,
    ).stdout
    return Streams(**json.loads(output))


class _Stream(asyncio.Protocol):
    """One request, and the arrival times of its tokens."""

    def __init__(self, path: str, body: dict[str, Any], marker: bytes) -> None:
        data = json.dumps(body).encode()
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        self._request = head.encode() + b"Content-Length: %d\r\n\r\n" % len(data) + data
        self._marker = marker
        self._rest = b""
        self._begun = False
        self.sent = 0.0
        self.tokens: list[float] = []
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the connection; the request is sent when all connections are open."""
        self._transport = cast("asyncio.Transport", transport)

    def send(self) -> None:
        """Send the request."""
        self.sent = time.perf_counter()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Record the arrival of the tokens in complete events."""
        now = time.perf_counter()
        if not self._begun:
            self._begun = True
            if not data.startswith(b"HTTP/1.1 200"):
                self._fail(data)
        complete, _, self._rest = (self._rest + data).rpartition(b"\n\n")
        self.tokens += [now] * complete.count(self._marker)
        if self._rest.endswith(END) and not self.ended.done():
            self.ended.set_result(None)
            self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        """Fail if the stream has not ended."""
        self._fail(self._rest)

    def _fail(self, data: bytes) -> None:
        if not self.ended.done():
            self.ended.set_exception(ConnectionError(f"The stream failed: {data[:500]!r}"))


async def _receive_here(requests: Requests) -> Streams:
    loop = asyncio.get_running_loop()
    marker = requests.marker.encode()
    streams: list[_Stream] = []
    for body in requests.bodies:
        make = partial(_Stream, requests.path, body, marker)
        _, stream = await loop.create_connection(make, "127.0.0.1", requests.port)
        streams.append(stream)
    for stream in streams:
        stream.send()
    await asyncio.gather(*(stream.ended for stream in streams))
    return Streams([stream.sent for stream in streams], [stream.tokens for stream in streams])


def main() -> None:
    requests = Requests(**json.load(sys.stdin))
    json.dump(asdict(asyncio.run(_receive_here(requests))), sys.stdout)


if __name__ == "__main__":
    main()
