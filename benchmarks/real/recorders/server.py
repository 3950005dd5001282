"""A scripted server on loopback: healthy replies over both APIs, whole, streamed, and as messages.

The first part of the path says how: `/plain/v1`, `/gzip/v1` (compressed), `/broken/v1` (every
stream breaks off after four events, and its connection is closed).
"""

import asyncio
import gzip
import json
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

from aiohttp import WSMsgType, web
from replies import Reply, blocks, responses_events, whole

KINDS = ("plain", "gzip", "broken")
_EVENTS = 4  # of a stream that breaks off


def _said(body: dict[str, object], number: int) -> Reply:
    asked = json.dumps(body.get("messages") or body.get("input"))
    times = next((n for n in range(99, 1, -1) if f"times {n}?" in asked), 7)
    return Reply(
        text=f"It is {6 * times}.",
        reasoning=f"The user wants six times {times}, which is {6 * times}.",
        mark=f"{number}",
        model=str(body.get("model")),
    )


async def _page(_: web.Request) -> web.Response:
    return web.Response(text="A page.", content_type="text/html")


class _Server:
    def __init__(self) -> None:
        self.number = 0

    async def reply(self, request: web.Request) -> web.StreamResponse:
        kind, chat = request.match_info["kind"], request.path.endswith("completions")
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await self.messages(request)
        body = await request.json()
        self.number += 1
        said = _said(body, self.number)
        compressed = kind == "gzip" and "gzip" in request.headers.get("Accept-Encoding", "")
        encoding = {"Content-Encoding": "gzip"} if compressed else {}
        if not body.get("stream"):
            content = json.dumps(whole(said, chat=chat)).encode()
            content = gzip.compress(content) if compressed else content
            return web.Response(body=content, content_type="application/json", headers=encoding)
        headers = {"Content-Type": "text/event-stream; charset=utf-8", **encoding}
        response = web.StreamResponse(headers=headers)
        await response.prepare(request)
        packer = zlib.compressobj(wbits=31)
        for number, block in enumerate(blocks(said, chat=chat)):
            if kind == "broken" and number == _EVENTS:
                assert request.transport is not None
                request.transport.abort()
                return response
            text = f"{block}\n\n".encode()
            packed = packer.compress(text) + packer.flush(zlib.Z_SYNC_FLUSH)
            await response.write(packed if compressed else text)
            await asyncio.sleep(0.005)
        if compressed:
            await response.write(packer.flush())
        return response

    async def messages(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            if message.type != WSMsgType.TEXT:
                break
            self.number += 1
            for event in responses_events(_said(json.loads(message.data), self.number)):
                await socket.send_str(json.dumps(event))
        return socket


@contextmanager
def serving() -> Iterator[str]:
    """Serve on a free port of loopback; the value is the address."""
    loop, ready = asyncio.new_event_loop(), threading.Event()
    address: list[str] = []

    async def start() -> None:
        app = web.Application()
        server = _Server()
        for path in ("chat/completions", "responses"):
            app.router.add_route("*", f"/{{kind}}/v1/{path}", server.reply)
        app.router.add_get("/{kind}/v1/page", _page)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        address.append(f"http://127.0.0.1:{runner.addresses[0][1]}")
        ready.set()

    def run() -> None:
        loop.run_until_complete(start())
        loop.run_forever()

    threading.Thread(target=run, daemon=True).start()
    ready.wait()
    yield address[0]
    loop.call_soon_threadsafe(loop.stop)
