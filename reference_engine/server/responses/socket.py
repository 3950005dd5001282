"""Serves /v1/responses over WebSocket: one message for each request, and one for each event.

Follows https://developers.openai.com/api/docs/guides/websocket-mode. A message has the type
`response.create` and the members of a POST; the events are those of its stream. An error before the
first event is an event of the type `error` with a status, and the connection stays open.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Annotated, Any, Literal

import orjson
from pydantic import Field
from starlette.websockets import WebSocket, WebSocketDisconnect

from reference_engine.server.api_error import ApiError, internal_error
from reference_engine.server.connection import Json, RequestContext
from reference_engine.server.fields import parse_request
from reference_engine.server.responses.handler import (
    ResponsesHandler,
    ResponsesReply,
    ResponseStore,
)
from reference_engine.server.responses.request import ResponsesRequest

logger = logging.getLogger(__name__)
Say = Callable[[Json], Awaitable[None]]

_LONGEST = 3600.0
"""Seconds after which a connection takes no more requests, as OpenAI's."""
_WAITING = 32  # requests that wait for the one in flight; the next one is read when one has ended


class SocketRequest(ResponsesRequest):
    """A message that creates a response.

    `stream` has no effect, because every response is streamed. Without `generate`, the response is
    empty, and can be continued by its id. Events repeat `stream_id`, but streams share one turn.
    """

    type: Literal["response.create"]
    generate: bool = True
    stream_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,256}$")] | None = None


class SocketReply(ResponsesReply):
    """The reply to one message, whose events are lines of JSON."""

    stream_id: str | None = None

    def encode(self, events: Iterable[Json]) -> bytes:
        """Encode events with their sequence numbers."""
        named = {} if self.stream_id is None else {"stream_id": self.stream_id}
        return b"".join(orjson.dumps(event | named) + b"\n" for event in self.numbered(events))


class ResponsesSocket:
    """Serves connections; each knows its own responses, also those that are not stored."""

    def __init__(self, context: RequestContext, handler: ResponsesHandler) -> None:
        self._context = context
        self._handler = handler

    async def serve(self, websocket: WebSocket) -> None:
        """Serve a connection until the client closes it, or uvicorn, which does when it stops."""
        await websocket.accept()
        messages: asyncio.Queue[str] = asyncio.Queue(_WAITING)
        tasks = [
            asyncio.create_task(_read(websocket, messages)),
            asyncio.create_task(self._work(websocket, messages)),
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _work(self, websocket: WebSocket, messages: asyncio.Queue[str]) -> None:
        """Answer the messages one after another."""
        settings, opened = self._context.settings, time.monotonic()
        memory = ResponseStore(
            settings.stored_responses, settings.stored_bytes, behind=self._handler.store
        )
        while True:
            text = await messages.get()
            if time.monotonic() - opened > _LONGEST:
                message = "The connection has reached its limit of 60 minutes; open a new one."
                error = ApiError(400, message, code="websocket_connection_limit_reached")
                await websocket.send_text(_error(error, None))
                await websocket.close()
                return
            await self._answer(websocket, text, memory)

    async def _answer(self, websocket: WebSocket, text: str, memory: ResponseStore) -> None:
        """Send the events of one response, or the error of its request."""
        body: SocketRequest | None = None
        reply: SocketReply | None = None
        started = False

        async def emit(encoded: bytes) -> None:
            nonlocal started
            for line in encoded.splitlines():
                started = True
                await websocket.send_text(line.decode())

        try:
            body = self._parsed(text)
            reply = await self._handler.reply(body, memory, SocketReply)
            reply.stream_id = body.stream_id
            if body.generate:
                await reply.stream(emit)
            else:
                await emit(reply.encode([*reply.opening(), *reply.closing()]))
        except WebSocketDisconnect:
            return
        except ApiError as caught:
            error = caught
        except Exception:
            logger.exception("a response over a WebSocket failed")
            error = internal_error()
        else:
            return
        if body is not None and body.previous_response_id is not None:
            memory.delete(body.previous_response_id)
        if started and reply is not None:
            await emit(reply.failure(error))
        else:
            stream_id = None if body is None else body.stream_id
            await websocket.send_text(_error(error, stream_id))

    def _parsed(self, text: str) -> SocketRequest:
        """Read a message. Raises ApiError."""
        limit = self._context.settings.max_body_bytes
        if len(encoded := text.encode("utf-8", "surrogatepass")) > limit:
            message = f"The message is larger than {limit} bytes."
            raise ApiError(413, message, code="request_too_large")
        body = parse_request(SocketRequest, encoded)
        self._context.require_model(body.model)
        return body


async def _read(websocket: WebSocket, messages: asyncio.Queue[str]) -> None:
    """Receive messages until the client closes the connection."""
    while (message := await websocket.receive())["type"] == "websocket.receive":
        text = message.get("text")
        await messages.put(message["bytes"].decode(errors="replace") if text is None else text)


def _error(error: ApiError, stream_id: str | None) -> str:
    """Return the event of an error."""
    event: dict[str, Any] = {"type": "error", "status": error.status, **error.body()}
    named = {} if stream_id is None else {"stream_id": stream_id}
    return orjson.dumps(event | named).decode()
