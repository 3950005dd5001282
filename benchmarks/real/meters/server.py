"""A scripted server for load testers: streams with known times, and replies that fail.

The first part of the path says how: `/cot/v1` (over Chat, the CoT is in `reasoning`), `/content/v1`
(in `reasoning_content`), `/refused/v1` (every third request gets status 429), `/event/v1` (an error
event in mid-stream), `/ended/v1` (the stream ends in its CoT, without `[DONE]` or a last event),
`/aborted/v1` (there, the connection breaks), `/call/v1` (a tool call, the same times).
"""

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from aiohttp import web
from replies import Reply, blocks, data, whole

KINDS = ("cot", "content", "refused", "event", "ended", "aborted", "call")
COT_AT, ANSWER_AT, LAST_AT = 0.3, 3.0, 3.6
"""When the first token of the CoT, the first of the answer, and the last one arrive, in seconds."""
_ERROR = {"message": "EngineCore encountered an issue.", "type": "InternalServerError", "code": 500}
_LIMIT = {"message": "Rate limit reached", "type": "requests", "code": "rate_limit_exceeded"}


class Scripted:
    """What the server was sent: the number of requests of each kind, and the bodies."""

    def __init__(self) -> None:
        self.bodies: list[tuple[str, dict[str, Any]]] = []

    async def reply(self, request: web.Request) -> web.StreamResponse:
        """Answer a request over either API."""
        kind, chat = request.match_info["kind"], request.path.endswith("completions")
        body = await request.json()
        self.bodies.append((f"{kind} {request.path.rpartition('/v1')[2]}", body))
        number = len(self.bodies)
        if kind == "refused" and sum(each[0].startswith(kind) for each in self.bodies) % 3 == 0:
            return web.json_response({"error": _LIMIT}, status=429)
        call = ("get_weather", '{"location": "Lisbon"}') if kind == "call" else None
        said = Reply(
            text=None if call else "Six times seven is forty-two, as everybody knows by now.",
            reasoning="The user wants six times seven, and that is forty-two.",
            call=call,
            mark=f"{number}",
            model=str(body.get("model")),
        )
        if not body.get("stream"):
            await asyncio.sleep(LAST_AT)
            return web.json_response(whole(said, chat=chat))
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await self._stream(request, response, kind, blocks(said, chat=chat))
        return response

    async def _stream(
        self, request: web.Request, response: web.StreamResponse, kind: str, events: list[str]
    ) -> None:
        began = asyncio.get_running_loop().time()
        places = [_place(event) for event in events]
        of_cot, others = places.count("cot"), places.count("answer")
        sent = {"cot": 0, "answer": 0}
        for event, place in zip(events, places, strict=True):
            if place == "answer" and kind in ("event", "ended", "aborted"):
                break
            if place in sent:
                start, length, count = (
                    (COT_AT, ANSWER_AT - 0.1 - COT_AT, of_cot)
                    if place == "cot"
                    else (ANSWER_AT, LAST_AT - ANSWER_AT, others)
                )
                due = start + length * sent[place] / max(1, count - 1)
                sent[place] += 1
                await asyncio.sleep(began + due - asyncio.get_running_loop().time())
            event = event.replace('"reasoning":', '"reasoning_content":', kind == "content")
            await response.write(f"{event}\n\n".encode())
        if kind == "event":
            await response.write(f"{data({'error': _ERROR})}\n\n".encode())
            await response.write(b"data: [DONE]\n\n")
        elif kind == "aborted":
            assert request.transport is not None
            request.transport.abort()


def _place(event: str) -> str:
    """Return what an event has of a reply: a piece of its CoT or of its answer, or nothing."""
    value = json.loads(text) if (text := event.rpartition("data: ")[2]).startswith("{") else {}
    deltas = [choice["delta"] for choice in value.get("choices") or ()]
    if any("reasoning" in delta for delta in deltas):
        return "cot"
    if any(delta.get("content") or delta.get("tool_calls") for delta in deltas):
        return "answer"
    kind = str(value.get("type"))
    if not kind.endswith(".delta"):
        return ""
    return "cot" if "reasoning" in kind else "answer"


async def _models(_: web.Request) -> web.Response:
    return web.json_response({"object": "list", "data": [{"id": "gpt-oss-20b", "object": "model"}]})


@contextmanager
def serving() -> Iterator[tuple[str, Scripted]]:
    """Serve on a free port of loopback; the value is the address, and what was sent."""
    loop, ready = asyncio.new_event_loop(), threading.Event()
    address: list[str] = []
    scripted = Scripted()

    async def start() -> None:
        app = web.Application()
        for path in ("chat/completions", "responses"):
            app.router.add_post(f"/{{kind}}/v1/{path}", scripted.reply)
        app.router.add_get("/{kind}/v1/models", _models)
        app.router.add_get("/{kind}/health", _models)
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
    yield address[0], scripted
    loop.call_soon_threadsafe(loop.stop)
