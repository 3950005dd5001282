"""The HTTP side of a request: reading its body, watching its client, streaming events to it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from reference_engine.server.errors import ApiError, internal_error, stopping

logger = logging.getLogger(__name__)
T = TypeVar("T")

# How much of a refused body is read and thrown away, so that the client gets to read the reply.
_DRAINED_BYTES = 256 * 2**20


async def read_body(request: Request, limit: int) -> bytes:
    """The request's body.

    Raises:
        ApiError: It has more than `limit` bytes.
        ClientDisconnect: The client went away.
    """
    body = bytearray()
    size = 0
    async for piece in request.stream():
        size += len(piece)
        if size <= limit:
            body += piece
        else:
            body.clear()
        if size > limit + _DRAINED_BYTES:
            break
    if size > limit:
        message = f"The request body is larger than {limit} bytes."
        raise ApiError(413, message, code="request_too_large", headers={"Connection": "close"})
    return bytes(body)


async def while_wanted(receive: Receive, stop: asyncio.Event, work: Coroutine[Any, Any, T]) -> T:
    """Do the work, but cancel it when the client goes away or the server stops.

    Raises:
        ClientDisconnect: The client went away.
        ApiError: The server is stopping.
    """
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_disconnected(receive))
    stopped = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({task, gone, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        if stopped.done():
            raise stopping()
        raise ClientDisconnect
    finally:
        for each in (task, gone, stopped):
            each.cancel()
        await asyncio.gather(task, gone, stopped, return_exceptions=True)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


class EventStream(Response):
    """Server-sent events.

    The status line waits for the first piece, so that an error before it gets a status of its own.
    A later error becomes one last event, as `last_event` writes it.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        pieces: AsyncGenerator[bytes],
        stop: asyncio.Event,
        last_event: Callable[[ApiError], bytes],
    ) -> None:
        super().__init__(headers={"Cache-Control": "no-cache"})
        del self.headers["content-length"]
        self._pieces = pieces
        self._stop = stop
        self._last_event = last_event
        self._started = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the pieces until they end, the client goes away or the server stops."""
        try:
            await while_wanted(receive, self._stop, self._send_pieces(send))
        except ClientDisconnect:
            return
        except ApiError as error:
            await self._fail(error, scope, receive, send)
        except Exception:
            logger.exception("a streamed reply failed")
            await self._fail(internal_error(), scope, receive, send)

    async def _send_pieces(self, send: Send) -> None:
        async with aclosing(self._pieces) as pieces:
            async for piece in pieces:
                if not self._started:
                    await self._start(send)
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _start(self, send: Send) -> None:
        self._started = True
        start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        await send(start)

    async def _fail(self, error: ApiError, scope: Scope, receive: Receive, send: Send) -> None:
        if self._started:
            body = self._last_event(error)
            await send({"type": "http.response.body", "body": body, "more_body": False})
        else:
            await error.response()(scope, receive, send)
