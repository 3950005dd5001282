"""One HTTP request over aiohttp, recorded as it was on the wire."""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import orjson
from aiohttp.http_exceptions import ContentEncodingError

from harness.providers import Access, Provider
from harness.records import Exchange, FailureKind, Request, Response, StreamPart, TransportFailure
from harness.transport.blocks import BlockSplitter
from harness.transport.redact import Redactor, secrets_in

MEBIBYTE = 2**20
EVENT_STREAM = "text/event-stream"
STREAM_BEGINNINGS = (b"data:", b"event:", b"id:", b":")
LOOPBACK = {"localhost", "127.0.0.1", "::1"}


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


@asynccontextmanager
async def open_session(provider: Provider) -> AsyncIterator[aiohttp.ClientSession]:
    """A connection pool for one provider. Proxy settings of the environment count, but not here.

    The pool forgets idle connections before servers commonly do, lest a request meet a closed one.
    """
    local = urlsplit(provider.base_url).hostname in LOOPBACK
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=4),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None),
        trust_env=not local,
    ) as session:
        yield session


class HttpTransport:
    """Sends each request once."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        provider: Provider,
        access: Access,
        limits: Limits | None = None,
    ) -> None:
        """Prepare to send to `provider`."""
        self._session = session
        self._base_url = provider.base_url
        self._timeout = provider.timeout
        self._limits = limits or Limits()
        self._redactor = Redactor(access.secrets | secrets_in(access.headers))
        self._headers = {
            "Accept": f"application/json, {EVENT_STREAM}",
            "Accept-Encoding": "identity",
            "User-Agent": f"gpt-oss-verify/{version('gpt-oss-verify')}",
            **access.headers,
        }

    async def send(self, path: str, body: Mapping[str, Any] | None = None) -> Exchange:
        """POST `body` as JSON to `path` below the provider's base URL; GET without a body."""
        method, headers, data = "GET", dict(self._headers), b""
        if body is not None:
            method, data = "POST", orjson.dumps(body)
            headers["Content-Type"] = "application/json"
        url = self._base_url + path
        request = Request(
            method=method,
            url=url,
            headers=self._redactor.headers(headers),
            body=None if body is None else self._redactor.body(body, data),
        )
        started_at = datetime.now(UTC).isoformat(timespec="milliseconds")
        receiver = _Receiver(self._limits, wants_stream=bool(body and body.get("stream")))
        failure = await self._receive(receiver, method, url, headers, data or None)
        return Exchange(
            request=request,
            response=receiver.response(self._redactor, complete=failure is None),
            failure=failure,
            started_at=started_at,
            elapsed=receiver.elapsed(),
        )

    async def _receive(
        self,
        receiver: _Receiver,
        method: str,
        url: str,
        headers: dict[str, str],
        data: bytes | None,
    ) -> TransportFailure | None:
        """Send, hand all that comes to `receiver`, and say what went wrong if anything did."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._timeout
        timeouts = aiohttp.ClientTimeout(total=None, sock_connect=self._limits.connect)
        try:
            async with (
                asyncio.timeout_at(deadline) as timer,
                self._session.request(
                    method,
                    url,
                    data=data,
                    headers=headers,
                    allow_redirects=False,
                    timeout=timeouts,
                ) as response,
            ):
                receiver.begin(response)
                async for chunk in response.content.iter_any():
                    timer.reschedule(min(deadline, loop.time() + self._limits.idle))
                    receiver.feed(chunk)
        except _TooLargeError as error:
            return TransportFailure(kind="too_large", message=str(error))
        except TimeoutError as error:
            return self._timed_out(error, expired_at=loop.time(), deadline=deadline)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            kind = _kind(error)
            detail = self._redactor.text(_detail(error))
            return TransportFailure(kind=kind, message=f"{_SENTENCES[kind]}: {detail}")
        return None

    def _timed_out(
        self, error: TimeoutError, *, expired_at: float, deadline: float
    ) -> TransportFailure:
        if isinstance(error, aiohttp.ConnectionTimeoutError):
            message = f"no connection within {self._limits.connect:g} s"
            return TransportFailure(kind="connect", message=message)
        if expired_at >= deadline:
            message = f"the response was not complete within {self._timeout:g} s"
        else:
            message = f"nothing came for {self._limits.idle:g} s in the middle of the response"
        return TransportFailure(kind="timeout", message=message)


_SENTENCES: dict[FailureKind, str] = {
    "connect": "could not connect",
    "cut": "the connection was closed before the response was complete",
    "protocol": "the response is not well-formed HTTP",
}


def _kind(error: Exception) -> FailureKind:
    if isinstance(error, (aiohttp.ClientConnectorError, aiohttp.ClientConnectorDNSError)):
        return "connect"
    if isinstance(error.__cause__, ContentEncodingError):
        return "protocol"
    if isinstance(error, aiohttp.ClientConnectionError | aiohttp.ClientPayloadError):
        return "cut"
    return "protocol" if isinstance(error, aiohttp.ClientError | ValueError) else "cut"


def _detail(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorError):
        number, text = error.os_error.errno, error.os_error.strerror
        return os.strerror(number) if number and number > 0 else text or str(error)
    return str(error) or type(error).__name__


class _TooLargeError(Exception):
    """The response exceeds the limit."""


@dataclass
class _Receiver:
    """Takes the bytes of one response and keeps them with their arrival times."""

    limits: Limits
    wants_stream: bool
    sent: float = field(default_factory=time.perf_counter)
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    streaming: bool = False
    size: int = 0
    body: bytearray = field(default_factory=bytearray)
    blocks: list[tuple[float, bytes]] = field(default_factory=list)
    splitter: BlockSplitter = field(default_factory=BlockSplitter)

    def elapsed(self) -> float:
        """Seconds since the request was sent, in microseconds' precision."""
        return round(time.perf_counter() - self.sent, 6)

    def begin(self, response: aiohttp.ClientResponse) -> None:
        """Take status and headers."""
        self.status = response.status
        for name, value in response.headers.items():
            key = name.lower()
            self.headers[key] = f"{self.headers[key]}, {value}" if key in self.headers else value
        self.streaming = response.content_type == EVENT_STREAM

    def feed(self, chunk: bytes) -> None:
        """Take some bytes of the body. Raises _TooLargeError."""
        if self.size == 0 and self.wants_stream and chunk.lstrip().startswith(STREAM_BEGINNINGS):
            self.streaming = True
        self.size += len(chunk)
        limit = self.limits.stream_bytes if self.streaming else self.limits.body_bytes
        if self.size > limit:
            del self.body[self.limits.kept_bytes :]
            sizes = itertools.accumulate(len(block) for _, block in self.blocks)
            del self.blocks[sum(size <= self.limits.kept_bytes for size in sizes) :]
            raise _TooLargeError(f"the response is larger than {limit / MEBIBYTE:g} MiB")
        if not self.streaming:
            self.body += chunk
            return
        at = self.elapsed()
        self.blocks.extend((at, block) for block in self.splitter.feed(chunk))

    def response(self, redactor: Redactor, *, complete: bool) -> Response | None:
        """What was received, if anything was."""
        if self.status is None:
            return None
        rest = bytes(self.splitter.rest).strip(b"\r\n")
        if rest:
            self.blocks.append((self.elapsed(), rest[: self.limits.kept_bytes]))
        return Response(
            status=self.status,
            headers=redactor.headers(self.headers),
            body=None if self.streaming else redactor.text(self.body.decode(errors="replace")),
            parts=tuple(
                StreamPart(at=at, raw=redactor.text(block.decode(errors="replace")))
                for at, block in self.blocks
            ),
            complete=complete,
        )
