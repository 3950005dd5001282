"""Requests over WebSocket: one message for each, and one for each event of its response.

A response is recorded as a stream whose parts are the messages, with the status 101 of the upgrade.
An error that comes instead of a stream, and has a status, is recorded as a response with it.
"""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import aiohttp

from harness.api.fields import json_object, nested
from harness.api.responses import FINAL_EVENTS
from harness.records.redact import Redactor
from harness.records.rollouts import SWITCHING, Response, StreamPart, TransportFailure
from harness.transport.connections import parsed_url
from harness.transport.receiver import BODY_BYTES, STREAM_BYTES

_SECONDS_IDLE = 10.0  # after which a connection without requests is closed
_ENDS = frozenset({*FINAL_EVENTS, "error"})
_NOT_OF_UPGRADES = frozenset({"accept-encoding", "connection", "content-type"})
_TEXTS = (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY)

Received = tuple[Response | None, TransportFailure | None]


class _Connection:
    """An open connection. Requests are sent at once, and the responses come in their order."""

    def __init__(self) -> None:
        self.sending, self.reading = asyncio.Lock(), asyncio.Lock()
        self.socket: aiohttp.ClientWebSocketResponse | None = None
        self.waiting = 0
        self.timer: asyncio.TimerHandle | None = None


@dataclass
class Sockets:
    """The connections of a session by name; `idle_timeout` is that between two messages, in s."""

    session: aiohttp.ClientSession
    redactor: Redactor
    idle_timeout: float
    _open: dict[str, _Connection] = field(default_factory=dict)
    _closing: set[asyncio.Task[None]] = field(default_factory=set)

    async def request(
        self, name: str, url: str, headers: Mapping[str, str], message: str
    ) -> Received:
        """Send a message over the connection of this name, which is opened if there is none.

        Its failure closes the connection. Raises the errors of aiohttp.
        """
        connection = self._open.setdefault(name, _Connection())
        connection.waiting += 1
        if connection.timer is not None:
            connection.timer.cancel()
        keeps = False
        try:
            async with connection.sending:
                if connection.socket is None:
                    upgrade = {
                        name: value
                        for name, value in headers.items()
                        if name.lower() not in _NOT_OF_UPGRADES
                    }
                    connection.socket = await self.session.ws_connect(
                        parsed_url(url), headers=upgrade, max_msg_size=BODY_BYTES
                    )
                sent = time.perf_counter()
                await connection.socket.send_str(message)
            async with connection.reading:
                parts, failure = await self._read(connection.socket, sent)
            keeps = failure is None
            return _response(parts, complete=keeps), failure
        except aiohttp.WSServerHandshakeError as error:
            if error.status == SWITCHING:
                raise
            given = {key.lower(): value for key, value in (error.headers or {}).items()}
            refused = Response(status=error.status, headers=self.redactor.headers(given), body="")
            return refused, None
        finally:
            connection.waiting -= 1
            if not keeps:
                await self._close(name, connection)
            elif not connection.waiting:
                connection.timer = asyncio.get_running_loop().call_later(
                    _SECONDS_IDLE, self._retire, name, connection
                )

    async def _read(
        self, socket: aiohttp.ClientWebSocketResponse, sent: float
    ) -> tuple[list[StreamPart], TransportFailure | None]:
        """Return the messages up to the end of a response, and why there are no more."""
        parts: list[StreamPart] = []
        size = 0
        while True:
            try:
                message = await socket.receive(self.idle_timeout)
            except TimeoutError:
                silence = f"no message for {self.idle_timeout:g} s; the client gave up"
                return parts, TransportFailure(kind="timeout", message=silence)
            if message.type not in _TEXTS:
                said = self.redactor.text(str(message.extra or ""))[:200]
                closed = f"the server closed the connection with code {socket.close_code}"
                closed += f": {said}" if said else ""
                return parts, TransportFailure(kind="cut", message=closed)
            data = message.data
            text = data if isinstance(data, str) else bytes(data).decode(errors="replace")
            parts.append(StreamPart(round(time.perf_counter() - sent, 6), self.redactor.text(text)))
            size += len(text)
            if nested(json_object(text), "type") in _ENDS:
                return parts, None
            if size > STREAM_BYTES:
                large = f"the response is larger than {STREAM_BYTES / 2**20:g} MiB"
                return parts, TransportFailure(kind="too_large", message=large)

    async def close(self) -> None:
        """Close all connections."""
        for name, connection in list(self._open.items()):
            if connection.timer is not None:
                connection.timer.cancel()
            await self._close(name, connection)
        await asyncio.gather(*self._closing, return_exceptions=True)

    def _retire(self, name: str, connection: _Connection) -> None:
        closing = asyncio.create_task(self._close(name, connection))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    async def _close(self, name: str, connection: _Connection) -> None:
        if self._open.get(name) is connection:
            del self._open[name]
        if connection.socket is not None:
            await connection.socket.close()
            # After a connection was lost, aiohttp 3.14 takes itself for closed and keeps it.
            connection.socket._response.close()


def _response(parts: list[StreamPart], *, complete: bool) -> Response | None:
    """Return what came as a response; None if nothing came."""
    first = json_object(parts[0].raw) if len(parts) == 1 else None
    status = nested(first, "status")
    if nested(first, "type") == "error" and isinstance(status, int):
        return Response(status=status, headers={}, body=parts[0].raw)
    if not parts:
        return None
    return Response(status=SWITCHING, headers={}, parts=tuple(parts), complete=complete)
