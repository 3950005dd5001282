"""A provider over a real socket that answers as told, down to the bytes of a broken response.

A handler gets the request and a writer and may do anything. Without a handler, the mock behaves
well: it calls the first offered tool once, then answers.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

MODEL = "gpt-oss-mock"
COT = "The user wants something; I call a tool."


@dataclass
class Received:
    method: str
    path: str
    headers: dict[str, str]
    body: dict[str, Any] | None
    content: bytes = b""


Handler = Callable[[Received, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class MockProvider:
    """Use as an async context manager. `script` has the handlers of the first POSTs in order, and
    `always` handles the rest.
    """

    script: list[Handler] = field(default_factory=list)
    always: Handler | None = None
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
        port = self._server.sockets[0].getsockname()[1]
        self.base_url = f"http://127.0.0.1:{port}/v1"
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
    if request.path.endswith("/chat/completions"):
        reply = chat_reply(request.body)
        blocks = [*map(data, chat_chunks(reply)), "data: [DONE]"]
    else:
        reply = responses_reply(request.body)
        blocks = [f"event: {event['type']}\n{data(event)}" for event in responses_events(reply)]
    if request.body.get("stream"):
        write_head(writer, {"Content-Type": "text/event-stream"})
        for block in blocks:
            write_chunk(writer, f"{block}\n\n".encode())
        write_chunk(writer, b"")
    else:
        write_json(writer, reply)


def chat_reply(body: dict[str, Any]) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": None, "reasoning": COT}
    if body["messages"][-1]["role"] == "tool" or not body.get("tools"):
        message |= {"content": "Done: café ✓"}
        finish = "stop"
    else:
        function = {"name": body["tools"][0]["function"]["name"], "arguments": '{"a": "b"}'}
        message["tool_calls"] = [{"id": "call_1", "type": "function", "function": function}]
        finish = "tool_calls"
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": body["model"],
        "choices": [{"index": 0, "message": message, "finish_reason": finish}],
        "usage": {
            "prompt_tokens": 50,
            "completion_tokens": 20,
            "total_tokens": 70,
            "completion_tokens_details": {"reasoning_tokens": 9},
        },
    }


def chat_chunks(reply: dict[str, Any]) -> Iterator[dict[str, Any]]:
    choice = reply["choices"][0]
    base = {**reply, "object": "chat.completion.chunk", "usage": None}

    def chunk(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
        return {**base, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}

    yield chunk({"role": "assistant"})
    for word in halves(choice["message"]["reasoning"]):
        yield chunk({"reasoning": word})
    for word in halves(choice["message"]["content"] or ""):
        yield chunk({"content": word})
    for index, call in enumerate(choice["message"].get("tool_calls", [])):
        start = {**call, "index": index, "function": {**call["function"], "arguments": ""}}
        yield chunk({"tool_calls": [start]})
        for piece in halves(call["function"]["arguments"]):
            yield chunk({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
    yield chunk({}, choice["finish_reason"])
    yield {**base, "choices": [], "usage": reply["usage"]}


def responses_reply(body: dict[str, Any]) -> dict[str, Any]:
    content = [{"type": "reasoning_text", "text": COT}]
    output: list[dict[str, Any]] = [
        {"type": "reasoning", "id": "rs_1", "summary": [], "content": content}
    ]
    if body["input"][-1]["type"] == "function_call_output" or not body.get("tools"):
        text = {"type": "output_text", "text": "Done: café ✓", "annotations": []}
        message = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed"}
        output.append({**message, "content": [text]})
    else:
        call = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "status": "completed"}
        output.append({**call, "name": body["tools"][0]["name"], "arguments": '{"a": "b"}'})
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "status": "completed",
        "error": None,
        "model": body["model"],
        "output": output,
        "usage": {
            "input_tokens": 50,
            "output_tokens": 20,
            "total_tokens": 70,
            "output_tokens_details": {"reasoning_tokens": 9},
        },
    }


def responses_events(reply: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Only the events that clients of the final object need."""
    yield {"type": "response.created", "response": {**reply, "output": [], "status": "in_progress"}}
    for index, item in enumerate(reply["output"]):
        yield {"type": "response.output_item.added", "output_index": index, "item": item}
        yield {"type": "response.output_item.done", "output_index": index, "item": item}
    yield {"type": "response.completed", "response": reply}


def halves(text: str) -> list[str]:
    middle = len(text) // 2
    return [half for half in (text[:middle], text[middle:]) if half]


# --- Bytes


def data(value: object) -> str:
    return "data: " + json.dumps(value, ensure_ascii=False)


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
