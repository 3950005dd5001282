"""Responses over a WebSocket: each message is a POST /v1/responses.

A connection serves one message at a time and stores its last response, so that
`previous_response_id` works without `store`. Source: "WebSocket Transport" of Open Responses
2026-04-24, https://www.openresponses.org/specification/2026-04-24.
"""

import asyncio
import contextlib
from typing import Any
from urllib.parse import urlsplit

import orjson
from starlette.types import Message, Receive, Scope
from starlette.websockets import WebSocket, WebSocketDisconnect

from reference_engine.server.errors import ApiError, invalid
from reference_engine.server.responses.store import ResponseStore
from reference_engine.server.settings import AppSettings

CONNECTION_STORE = "connection_store"
"""The key of the connection's store in the state of a WebSocket request."""

_MOST_WAITING = 16
_POLICY_VIOLATION = 1008


async def serve_websocket(settings: AppSettings, websocket: WebSocket) -> None:
    """Serve one client until it disconnects or reaches the time limit.

    Browsers let pages of any site connect and read the responses, so only the server's own origin
    and those of the settings are accepted.
    """
    origin = websocket.headers.get("origin")
    own = not origin or urlsplit(origin).netloc == websocket.headers.get("host")
    if not own and not {origin, "*"}.intersection(settings.allowed_origins):
        message = f"Connections from the origin {origin} are not allowed."
        error = ApiError(403, message, code="wrong_origin")
        await websocket.send_denial_response(error.response())
        return
    await websocket.accept()
    connection = _Connection(websocket, ResponseStore(1, settings.stored_bytes))
    reading = asyncio.create_task(connection.read())
    try:
        await connection.answer(settings.websocket_seconds)
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)


class _Connection:
    """One client: its waiting messages and its last response."""

    def __init__(self, websocket: WebSocket, store: ResponseStore) -> None:
        self._websocket = websocket
        self._store = store
        self._waiting: asyncio.Queue[str | bytes | None] = asyncio.Queue()
        self._gone = asyncio.Event()

    async def read(self) -> None:
        """Receive messages until the client disconnects or too many messages wait."""
        while (message := await self._websocket.receive())["type"] == "websocket.receive":
            if self._waiting.qsize() == _MOST_WAITING:
                await self._close(_POLICY_VIOLATION, "Too many messages are waiting.")
                break
            self._waiting.put_nowait(message.get("text") or message.get("bytes") or "")
        self._gone.set()
        self._waiting.put_nowait(None)

    async def answer(self, seconds: float) -> None:
        """Answer the messages in order until the time limit."""
        end = asyncio.get_running_loop().time() + seconds
        while not self._gone.is_set():
            try:
                async with asyncio.timeout_at(end):
                    message = await self._waiting.get()
            except TimeoutError:
                text = f"This connection reached its limit of {seconds:g} seconds: open a new one."
                await self._refuse(ApiError(400, text, code="websocket_connection_limit_reached"))
                await self._close()
                return
            if message is not None:
                await self._turn(message)

    async def say(self, text: str) -> None:
        """Send a message if the client is still connected."""
        if self._gone.is_set():
            return
        try:
            await self._websocket.send_text(text)
        except WebSocketDisconnect:
            self._gone.set()

    async def _close(self, code: int = 1000, reason: str = "") -> None:
        self._gone.set()
        with contextlib.suppress(WebSocketDisconnect):
            await self._websocket.close(code, reason)

    async def _turn(self, message: str | bytes) -> None:
        try:
            previous, body = _request(message)
        except ApiError as error:
            await self._refuse(error)
            return
        status, rest = 200, b""

        async def send(part: Message) -> None:
            nonlocal status, rest
            if part["type"] == "http.response.start":
                status = part["status"]
                return
            rest += part.get("body", b"")
            if status == 200:
                *lines, rest = rest.split(b"\n")
                for line in lines:
                    if line.startswith(b"data: "):
                        await self.say(line.removeprefix(b"data: ").decode())

        await self._websocket.app(self._scope(), self._receive(body), send)
        if status != 200:
            await self._send_error(status, orjson.loads(rest))
        # Unless the request failed, the new response has already replaced this one.
        self._store.delete(previous)

    def _scope(self) -> Scope:
        state = self._websocket.scope.get("state", {}) | {CONNECTION_STORE: self._store}
        changed = {"type": "http", "method": "POST", "http_version": "1.1", "state": state}
        return {**self._websocket.scope, **changed}

    def _receive(self, body: bytes) -> Receive:
        first: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> Message:
            if first:
                return first.pop()
            await self._gone.wait()
            return {"type": "http.disconnect"}

        return receive

    async def _refuse(self, error: ApiError) -> None:
        await self._send_error(error.status, error.body())

    async def _send_error(self, status: int, body: dict[str, Any]) -> None:
        error = body["error"]
        named = error | {"code": error["code"] or error["type"]}
        event = {"type": "error", "status": status, "error": named}
        await self.say(orjson.dumps(event).decode())


def _request(message: str | bytes) -> tuple[str, bytes]:
    """The `previous_response_id` of a `response.create` message, and the body of its request.

    `stream: true` is optional; openai-agents sends it. Raises ApiError.
    """
    try:
        data = orjson.loads(message)
    except orjson.JSONDecodeError as error:
        raise ApiError(400, f"The message is not valid JSON: {error}.") from error
    if not isinstance(data, dict):
        raise ApiError(400, "The message must be a JSON object.")
    kind = data.pop("type", None)
    if kind != "response.create":
        raise invalid("type", "Invalid value for 'type': only 'response.create' is supported.")
    if data.get("stream") is False:
        raise invalid("stream", "Invalid value for 'stream': a WebSocket always streams.")
    try:
        return str(data.get("previous_response_id")), orjson.dumps(data | {"stream": True})
    except orjson.JSONEncodeError as error:
        raise ApiError(400, "The message is nested too deeply.") from error
