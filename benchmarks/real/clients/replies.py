"""Recorded replies of the reference server, and a server that sends them with a damage."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, NamedTuple

from corpus import healthy

from harness.api.parsed_rollout import parse_rollout
from harness.records.conditions import Api
from harness.records.rollouts import Response, Rollout
from real.damages import BYTES, DAMAGES, Wire, damaged

EVERY_DAMAGE: Sequence[str] = [*BYTES, *DAMAGES]
_MOST_REQUESTS = 8
"""Requests of one conversation, after which the server refuses more: a client may ask for ever."""
_ENDLESS = "The conversation does not end."
"""The refusal. Some clients try again, and wait ever longer, where a message is about a rate."""


class Conversation(NamedTuple):
    """The recorded replies of an API in a mode: a call of get_weather, and a text."""

    rollout: Rollout
    wires: Sequence[Wire]
    thought: str  # the CoT of the first reply


Replies = Mapping[str, Conversation]
"""One conversation for each place: an API and a mode, such as "chat streaming"."""


def recorded() -> Replies:
    """Return one conversation for each API and mode."""
    found: dict[str, Conversation] = {}
    for rollout in healthy().rollouts:
        if rollout.task != "tool_calling" or len(rollout.exchanges) != 2:
            continue
        first, second = (exchange.reply for exchange in parse_rollout(rollout).exchanges)
        weather = first and [call.name for call in first.calls] == ["get_weather"]
        if first and weather and second and second.text:
            wires = [_wire(e.response) for e in rollout.exchanges if e.response]
            place = _place(rollout.api, streams=rollout.condition.streaming)
            found.setdefault(place, Conversation(rollout, wires, first.reasoning))
    return found


def _place(api: Api, *, streams: bool) -> str:
    return f"{api} {'streaming' if streams else 'non-streaming'}"


def _wire(response: Response) -> Wire:
    headers = {name.lower(): value for name, value in response.headers.items()}
    text = response.text + ("\n\n" if response.parts else "")
    return Wire(headers["content-type"], "", text.encode())


def plan(replies: Replies, damages: Sequence[str]) -> Mapping[str, list[str]]:
    """Return, by damage, the places whose replies it changes; '' is no damage."""
    return {
        damage: [
            place
            for place, made in replies.items()
            if not damage or any(damaged(damage, wire) != wire for wire in made.wires)
        ]
        for damage in ("", *damages)
    }


def only_call(conversation: Conversation, damage: str) -> bool:
    """Whether a damage changes nothing but the reply with the call."""
    return damaged(damage, conversation.wires[1]) == conversation.wires[1]


class Server(ThreadingHTTPServer):
    """Answers conversations with recorded replies, and keeps the requests."""

    daemon_threads = True

    def __init__(self, replies: Replies) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.replies = replies
        self.requests: list[tuple[Api, dict[str, Any]]] = []

    @property
    def url(self) -> str:
        """The base URL for clients."""
        return f"http://127.0.0.1:{self.server_port}/v1"


@contextmanager
def served(replies: Replies) -> Iterator[Server]:
    """Serve the replies until the block ends."""
    with Server(replies) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


class _Handler(BaseHTTPRequestHandler):
    """Answers with the recorded replies, with the damage that the header or the path names."""

    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        """Refuse the upgrade to WebSocket and lists of models, as most servers do."""
        upgrade = "websocket" in (self.headers.get("Upgrade") or "").lower()
        self._send(426 if upgrade else 404, Wire("application/json", "", b"{}"))

    def do_POST(self) -> None:
        """Answer, or refuse what OpenAI's API refuses."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        api: Api = "responses" if "responses" in self.path else "chat"
        self.server.requests.append((api, body))
        given = items(body)
        endless = len(self.server.requests) > _MOST_REQUESTS
        if why := _ENDLESS if endless else refusal(given):
            error = {"error": {"message": why, "type": "invalid_request_error"}}
            self._send(400, Wire("application/json", "", json.dumps(error).encode()))
            return
        offered = (tool.get("function", tool).get("name") for tool in body.get("tools") or ())
        # Semantic Kernel writes the name of its plugin before it.
        named = any(str(name).endswith("get_weather") for name in offered)
        asked = named and not any(map(is_result, given))
        place = _place(api, streams=bool(body.get("stream")))
        wire = self.server.replies[place].wires[not asked]
        first = self.path.strip("/").partition("/")[0]
        damage = self.headers.get("X-Damage") or (first if first in EVERY_DAMAGE else "")
        self._send(200, damaged(damage, wire))

    def _send(self, status: int, wire: Wire) -> None:
        self.send_response(status)
        self.send_header("Content-Type", wire.media)
        self.send_header("Content-Length", str(len(wire.body)))
        if wire.encoding:
            self.send_header("Content-Encoding", wire.encoding)
        self.end_headers()
        self.wfile.write(wire.body)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


def items(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the messages or input items of a request."""
    given = body.get("messages") or body.get("input")
    return [item for item in given if isinstance(item, dict)] if isinstance(given, list) else []


def is_result(item: Mapping[str, Any]) -> bool:
    """Whether a message or item is the result of a call."""
    return item.get("role") == "tool" or item.get("type") == "function_call_output"


def refusal(given: Sequence[Mapping[str, Any]]) -> str | None:
    """Return why OpenAI's API refuses calls and results, as the reference server does."""
    for item in given:
        parts = [*(item.get("tool_calls") or ()), *([item] if is_result(item) else ())]
        parts += [item] if item.get("type") == "function_call" else []
        for part in parts:
            name = "tool_call_id" if part.get("role") == "tool" else "call_id"
            name = "id" if "function" in part else name
            arguments = part.get("function", part).get("arguments", "")
            if not (isinstance(part.get(name), str) and part[name]):
                return f"Missing required parameter: {name!r}."
            if not isinstance(arguments, str):
                return "Invalid type for 'arguments'."
    return None
