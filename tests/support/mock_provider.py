"""A provider over a real socket that answers as told, down to the bytes of a broken response.

A handler gets the request and a writer and may do anything. Without a handler, the mock behaves
well: it calls the first offered tool once, then answers.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from replies import MODEL, Reply, blocks, whole

COT = "The user wants something; I call a tool."


@dataclass
class Received:
    method: str
    path: str
    headers: dict[str, str]
    body: dict[str, Any] | None
    content: bytes = b""

    @property
    def is_chat(self) -> bool:
        return self.path.endswith("/chat/completions")


Handler = Callable[[Received, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class MockProvider:
    """Use as an async context manager. `script` has the handlers of the first POSTs in order, and
    `always` handles the rest.
    """

    script: list[Handler] = field(default_factory=list)
    always: Handler | None = None
    get: Handler | None = None
    models: list[str] | None = field(default_factory=lambda: [MODEL])
    api_key: str | None = None
    delay: float = 0
    models_delay: float = 0
    received: list[Received] = field(default_factory=list)
    in_flight: int = 0
    most_in_flight: int = 0
    base_url: str = ""

    async def __aenter__(self) -> MockProvider:
        self._connections: set[asyncio.Task[None]] = set()
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.base_url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/v1"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        await self._server.wait_closed()

    @property
    def posts(self) -> list[Received]:
        return [request for request in self.received if request.method == "POST"]

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            while (request := await _read(reader)) is not None:
                self.received.append(request)
                self.in_flight += 1
                self.most_in_flight = max(self.most_in_flight, self.in_flight)
                try:
                    await self._answer(request, writer)
                    await writer.drain()
                finally:
                    self.in_flight -= 1
                if writer.is_closing():
                    break
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._connections.discard(task)
            writer.close()
            with suppress(ConnectionError, asyncio.CancelledError):
                await writer.wait_closed()

    async def _answer(self, request: Received, writer: asyncio.StreamWriter) -> None:
        if self.api_key and request.headers.get("authorization") != f"Bearer {self.api_key}":
            shown = request.headers.get("authorization", "none")
            write_json(writer, error(f"Incorrect API key provided: {shown}"), status=401)
        elif request.method == "GET" and self.get is not None:
            await self.get(request, writer)
        elif request.method == "GET":
            await asyncio.sleep(self.models_delay)
            if self.models is None:
                write_json(writer, error("not found"), status=404)
            else:
                write_json(writer, {"data": [{"id": model} for model in self.models]})
        elif self.script:
            await self.script.pop(0)(request, writer)
        else:
            await asyncio.sleep(self.delay)
            await (self.always or well_behaved)(request, writer)


async def _read(reader: asyncio.StreamReader) -> Received | None:
    head = await reader.readuntil(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").rstrip().split("\r\n")
    headers = {key.lower(): value for key, _, value in (line.partition(": ") for line in lines)}
    method, path, _ = first.split(" ")
    content = await reader.readexactly(int(headers.get("content-length", 0)))
    body = None
    with suppress(json.JSONDecodeError):
        body = json.loads(content)
    return Received(method, path, headers, body, content)


# --- Well-behaved replies


async def well_behaved(request: Received, writer: asyncio.StreamWriter) -> None:
    assert request.body is not None
    write_reply(request, writer, usual_reply(request.body))


def usual_reply(body: dict[str, Any]) -> Reply:
    """A call of the first offered tool, or an answer after its result or without tools."""
    last = (body.get("messages") or body["input"])[-1]
    answered = last.get("role") == "tool" or last.get("type") == "function_call_output"
    if answered or not body.get("tools"):
        return Reply(text="Done: café ✓", reasoning=COT, model=body["model"])
    tool = body["tools"][0]
    name = tool.get("function", tool)["name"]
    return Reply(call=(name, '{"a": "b"}'), reasoning=COT, model=body["model"])


def write_reply(request: Received, writer: asyncio.StreamWriter, reply: Reply) -> None:
    """Write a reply as the request asks: of its API, streaming or not."""
    if not (request.body or {}).get("stream"):
        write_json(writer, whole(reply, chat=request.is_chat))
        return
    write_head(writer, {"Content-Type": "text/event-stream"})
    for block in blocks(reply, chat=request.is_chat):
        write_chunk(writer, f"{block}\n\n".encode())
    write_chunk(writer, b"")


# --- Bytes


def error(message: str, code: str | None = None) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error", "code": code}}


def write_head(
    writer: asyncio.StreamWriter,
    headers: dict[str, str],
    status: int = 200,
    length: int | None = None,
) -> None:
    framing = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    lines = [f"HTTP/1.1 {status} X", framing, *(f"{key}: {headers[key]}" for key in headers)]
    writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())


def write_chunk(writer: asyncio.StreamWriter, content: bytes) -> None:
    writer.write(b"%x\r\n%b\r\n" % (len(content), content))


def write_json(
    writer: asyncio.StreamWriter,
    content: object,
    status: int = 200,
    headers: dict[str, str] | None = None,
) -> None:
    write_text(writer, json.dumps(content), "application/json", status, headers)


def write_text(
    writer: asyncio.StreamWriter,
    content: str | bytes,
    content_type: str = "application/json",
    status: int = 200,
    headers: dict[str, str] | None = None,
) -> None:
    encoded = content.encode() if isinstance(content, str) else content
    write_head(writer, {"Content-Type": content_type, **(headers or {})}, status, len(encoded))
    writer.write(encoded)


# --- Misbehavior


def status(code: int, message: str = "no", **headers: str) -> Handler:
    """An error status with a body in OpenAI's format."""
    named = {key.replace("_", "-"): value for key, value in headers.items()}

    async def handle(_: Received, writer: asyncio.StreamWriter) -> None:
        write_json(writer, error(message), code, named)

    return handle


def text(content: str | bytes, content_type: str = "application/json", **headers: str) -> Handler:
    """A 200 with any body."""
    named = {key.replace("_", "-"): value for key, value in headers.items()}

    async def handle(_: Received, writer: asyncio.StreamWriter) -> None:
        write_text(writer, content, content_type, headers=named)

    return handle


async def hang(_: Received, writer: asyncio.StreamWriter) -> None:
    """Never answer."""
    await asyncio.sleep(3600)


async def hang_up(_: Received, writer: asyncio.StreamWriter) -> None:
    """Close before the first byte."""
    writer.close()


def raw(content: bytes) -> Handler:
    """Any bytes at all, then close."""

    async def handle(_: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(content)
        await writer.drain()
        writer.close()

    return handle


def stream(
    pieces: list[bytes],
    *,
    pause: float = 0,
    end: bool = True,
    content_type: str = "text/event-stream",
) -> Handler:
    """A chunked 200 of these pieces, `pause` seconds apart; cut off unless `end`."""

    async def handle(_: Received, writer: asyncio.StreamWriter) -> None:
        write_head(writer, {"Content-Type": content_type})
        for piece in pieces:
            write_chunk(writer, piece)
            await writer.drain()
            await asyncio.sleep(pause)
        if end:
            write_chunk(writer, b"")
        else:
            writer.close()

    return handle


def endless(piece: bytes, content_type: str = "application/json") -> Handler:
    """A 200 whose body never ends."""

    async def handle(_: Received, writer: asyncio.StreamWriter) -> None:
        write_head(writer, {"Content-Type": content_type})
        while not writer.is_closing():
            write_chunk(writer, piece)
            await writer.drain()

    return handle
