"""A proxy that forwards requests unchanged and records them in a form that `import` reads.

A record is written after the client has its reply, so it costs the client no time. If the client
closes the connection earlier, as Codex does after the last event of a stream, the exchange is
recorded only if the reply of the server was complete.
"""

import asyncio
import base64
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import aclosing, closing
from datetime import UTC, datetime
from typing import Any, BinaryIO

import aiohttp
from aiohttp import ClientConnectionResetError, web
from multidict import CIMultiDict
from yarl import URL

from harness.api.responses import FINAL_EVENTS
from harness.api.sse import stream_events
from harness.errors import ConfigurationError
from harness.records.redact import Scrubber
from harness.records.rollouts import StreamPart
from harness.traffic.exchanges import without_keys
from harness.transport.connections import body_of, failure_of, open_session

LARGEST_REQUEST = 256 * 1024 * 1024  # bytes of a request body; a larger one gets status 413
# Headers of a single connection (RFC 9110, section 7.6.1), and those that each side sets itself.
_OF_THE_CONNECTION = frozenset(
    "connection keep-alive proxy-authenticate proxy-authorization proxy-connection te trailer "
    "transfer-encoding upgrade host content-length".split()
)
_RECORDED = ("/chat/completions", "/responses")


class Recorder:
    """Appends one JSON line per exchange to an open file, without keys, and counts them."""

    def __init__(self, file: BinaryIO) -> None:
        """Append to `file`, without the secrets in headers."""
        self._file = file
        self._scrubber = Scrubber(())
        self.count = 0

    def add(self, request: dict[str, Any], response: dict[str, Any], began: datetime) -> None:
        """Append an exchange: method, URL, headers and body, and status, headers and body."""
        recorded = {"started_at": began.isoformat(), "request": request, "response": response}
        line = without_keys(recorded, self._scrubber)
        self._file.write(line.encode() + b"\n")
        self._file.flush()
        self.count += 1


async def forward(
    origin: str, port: int, recorder: Recorder, ready: Callable[[str], object]
) -> None:
    """Forward all requests to the same paths of `origin` until cancelled.

    `recorder` receives every exchange with Chat Completions or Responses, and `ready` the address
    of the proxy; port 0 is any free port. Raises ConfigurationError if the port is in use, or the
    recording cannot be written.
    """
    async with open_session(origin, decompress=False) as session:
        proxy = _Proxy(origin, session, recorder)
        app = web.Application(client_max_size=LARGEST_REQUEST)
        app.router.add_route("*", "/{path:.*}", proxy.handle)
        runner = web.AppRunner(app, handler_cancellation=True, access_log=None)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", port)
            try:
                await site.start()
            except OSError as error:
                raise ConfigurationError(
                    f"The proxy cannot listen on port {port}: {error.strerror}; choose another "
                    "with --port."
                ) from None
            ready(f"http://127.0.0.1:{runner.addresses[0][1]}")
            await proxy.stopped
        finally:
            await runner.cleanup()


class _Proxy:
    """Handles requests; `stopped` fails when an exchange cannot be recorded."""

    def __init__(self, origin: str, session: aiohttp.ClientSession, recorder: Recorder) -> None:
        self._origin = origin
        self._session = session
        self._recorder = recorder
        self.stopped: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Forward one request; a server that cannot be reached becomes status 502."""
        began = datetime.now(UTC)
        body = await request.read()
        try:
            answer = await self._session.request(
                request.method,
                URL(self._origin + request.raw_path, encoded=True),
                headers=CIMultiDict(_forwarded(request.headers)),
                data=body or None,
                allow_redirects=False,
            )
        except (aiohttp.ClientError, OSError, ValueError) as error:
            problem = {"message": f"The proxy cannot reach {self._origin}: {failure_of(error)[1]}"}
            return web.json_response({"error": problem}, status=502)
        reply = web.StreamResponse(
            status=answer.status,
            reason=answer.reason,
            headers=CIMultiDict(_forwarded(answer.headers)),
        )
        length = answer.headers.get("Content-Length")
        if length is not None:
            reply.content_length = int(length)
        parts: list[bytes] = []
        try:
            with closing(answer):
                await _copy(request, answer, reply, parts)
        except (asyncio.CancelledError, ClientConnectionResetError):  # The client left.
            content = b"".join(parts)
            if str(len(content)) == length or _has_last_event(content):
                self._record(request, body, answer, parts, began)
            raise
        self._record(request, body, answer, parts, began)
        return reply

    def _record(
        self,
        request: web.Request,
        body: bytes,
        answer: aiohttp.ClientResponse,
        parts: Sequence[bytes],
        began: datetime,
    ) -> None:
        if request.method != "POST" or not request.path.rstrip("/").endswith(_RECORDED):
            return
        try:
            self._recorder.add(
                {
                    "method": request.method,
                    "url": self._origin + request.raw_path.partition("?")[0],
                    "headers": _plain(request.headers),
                    "body": body.decode("utf-8", "replace"),
                },
                {
                    "status": answer.status,
                    "headers": _plain(answer.headers),
                    "body": _body(b"".join(parts), answer.headers),
                },
                began,
            )
        except OSError as error:
            if not self.stopped.done():
                problem = f"The recording cannot be written: {error.strerror}."
                self.stopped.set_exception(ConfigurationError(problem))


async def _copy(
    request: web.Request,
    answer: aiohttp.ClientResponse,
    reply: web.StreamResponse,
    parts: list[bytes],
) -> None:
    """Forward the body as it arrives, and append it to `parts`; a broken body stays broken."""
    await reply.prepare(request)
    try:
        async with aclosing(body_of(answer)) as body:
            async for part in body:
                parts.append(part)
                await reply.write(part)
        await reply.write_eof()
    except ClientConnectionResetError:  # The client left.
        raise
    except aiohttp.ClientError:
        if request.transport is not None:
            request.transport.abort()


def _has_last_event(content: bytes) -> bool:
    """Return whether a body is a stream up to its last event; only its end can follow."""
    *_, last, rest = ["", *content.decode("utf-8", "replace").replace("\r\n", "\n").split("\n\n")]
    events = stream_events([StreamPart(0.0, last)])
    return not rest and any(event.is_done or event.type in FINAL_EVENTS for event in events)


def _forwarded(headers: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the headers to forward, in order; repeated ones stay repeated."""
    for name, value in headers.items():
        if name.lower() not in _OF_THE_CONNECTION:
            yield name, value


def _plain(headers: Mapping[str, str]) -> dict[str, str]:
    return {str(name): value for name, value in headers.items()}


def _body(content: bytes, headers: Mapping[str, str]) -> object:
    """Return a body as text; a compressed one as base64."""
    if headers.get("content-encoding"):
        return {"base64_string": base64.b64encode(content).decode()}
    return content.decode("utf-8", "replace")
