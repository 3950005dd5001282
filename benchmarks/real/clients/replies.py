"""Recorded replies of the reference server, and a server that sends them with a damage."""

import asyncio
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, NamedTuple
from zlib import crc32

from corpus import healthy, reply_of, with_fault

from harness.api.parsed_rollout import parse_rollout
from harness.records.conditions import Api
from harness.records.rollouts import Rollout
from reference_engine.faults import http
from reference_engine.faults.catalogue import CATALOGUE
from reference_engine.faults.fault import ALLOWED
from reference_engine.faults.replies import damaged

DAMAGES = {
    name.removeprefix(ALLOWED): name for name, fault in CATALOGUE.items() if "clients" in fault.use
}
"""The faults that clients are shown, by the names that the tables have for them."""
_JSON = {"content-type": "application/json"}
_MOST_REQUESTS = 8
"""Requests of one conversation, after which the server refuses more: a client may ask for ever."""
_ENDLESS = "The conversation does not end."
"""The refusal. Some clients try again, and wait ever longer, where a message is about a rate."""


class Conversation(NamedTuple):
    """The recorded replies of an API in a mode: a call of get_weather, and a text."""

    rollout: Rollout
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
            place = _place(rollout.api, streams=rollout.condition.streaming)
            found.setdefault(place, Conversation(rollout, first.reasoning))
    return found


def _place(api: Api, *, streams: bool) -> str:
    return f"{api} {'streaming' if streams else 'non-streaming'}"


def plan(replies: Replies, damages: Sequence[str]) -> Mapping[str, list[str]]:
    """Return, by damage, the places whose replies it changes; '' is no damage."""
    return {
        damage: [
            place
            for place, made in replies.items()
            if not damage
            or any(with_fault(one, DAMAGES[damage]) is not one for one in made.rollout.exchanges)
        ]
        for damage in ("", *damages)
    }


def only_call(conversation: Conversation, damage: str) -> bool:
    """Whether a damage changes nothing but the reply with the call."""
    answered = conversation.rollout.exchanges[1]
    return with_fault(answered, DAMAGES[damage]) is answered


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
        self._send(http.Reply(426 if upgrade else 404, _JSON, b"{}"))

    def do_POST(self) -> None:
        """Answer, or refuse what OpenAI's API refuses."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        api: http.Api = "responses" if "responses" in self.path else "chat"
        self.server.requests.append((api, body))
        given = items(body)
        endless = len(self.server.requests) > _MOST_REQUESTS
        if why := _ENDLESS if endless else refusal(given):
            error = {"error": {"message": why, "type": "invalid_request_error"}}
            self._send(http.Reply(400, _JSON, json.dumps(error).encode()))
            return
        offered = (tool.get("function", tool).get("name") for tool in body.get("tools") or ())
        # Semantic Kernel writes the name of its plugin before it.
        named = any(str(name).endswith("get_weather") for name in offered)
        asked = named and not any(map(is_result, given))
        place = _place(api, streams=bool(body.get("stream")))
        response = self.server.replies[place].rollout.exchanges[not asked].response
        assert response is not None
        reply = reply_of(response)
        first = self.path.strip("/").partition("/")[0]
        if damage := self.headers.get("X-Damage") or (first if first in DAMAGES else ""):
            request = http.ClientRequest(api, body, "gpt-oss", gzip=True)
            faults = [DAMAGES[damage]]
            reply = asyncio.run(damaged(faults, request, reply, crc32(reply.body)))
        self._send(reply)

    def _send(self, reply: http.Reply) -> None:
        self.send_response(reply.status)
        for name in ("content-type", "content-encoding"):
            if name in reply.headers:
                self.send_header(name.title(), reply.headers[name])
        self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        self.wfile.write(reply.body)

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
