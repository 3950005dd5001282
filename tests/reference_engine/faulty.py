"""For tests of faults: a request to a scripted server with and without a fault, and its effect."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import httpx
from scripted import ANSWER, Script, ScriptedEngine

from reference_engine.faults.catalogue import CATALOGUE
from reference_engine.faults.server import faulty_parts
from reference_engine.server.settings import AppSettings

MODEL = "gpt-oss-small"
HI = {"role": "user", "content": "Hi"}
JSON_HI = {"role": "user", "content": "Say hi in JSON."}
_PREVIOUS = "PREVIOUS"
_RESPONSE_ID = re.compile("resp_[0-9a-f]+")


@dataclass(frozen=True)
class ScriptedRequest:
    """A request; `said` is what the model says, `before` is a request that is sent first."""

    path: str
    body: dict[str, Any]
    said: Script | str | list[int] = ANSWER
    before: ScriptedRequest | None = None
    accept: str = "application/json"


def chat(
    *messages: dict, said: Any = ANSWER, accept: str = "application/json", **fields: Any
) -> ScriptedRequest:
    """Return a Chat Completions request."""
    body = {"messages": list(messages) or [HI], **fields}
    return ScriptedRequest("chat/completions", body, said, accept=accept)


def respond(given: Any = "Hi", said: Any = ANSWER, **fields: Any) -> ScriptedRequest:
    """Return a Responses request."""
    return ScriptedRequest("responses", {"input": given, **fields}, said)


def after(before: ScriptedRequest, given: Any, **fields: Any) -> ScriptedRequest:
    """Return a Responses request that continues another one by its id."""
    body = {"input": given, "previous_response_id": _PREVIOUS, **fields}
    return ScriptedRequest("responses", body, before.said, before)


@dataclass(frozen=True)
class Result:
    """The result of a request."""

    status: int
    headers: dict[str, str]
    text: str
    prompts: list[str] = field(default_factory=list)
    params: list[Any] = field(default_factory=list)

    @property
    def prompt(self) -> str:
        return self.prompts[-1]

    @property
    def json(self) -> dict[str, Any]:
        return json.loads(self.text)

    @property
    def message(self) -> dict[str, Any]:
        return self.json["choices"][0]["message"]

    @property
    def finish(self) -> str:
        return self.json["choices"][0]["finish_reason"]

    @property
    def call(self) -> dict[str, Any]:
        return self.message["tool_calls"][0]

    @property
    def output(self) -> list[dict[str, Any]]:
        return self.json["output"]

    @property
    def events(self) -> list[dict[str, Any]]:
        """The JSON of all events of a stream; an error event has a key `error`."""
        lines = [line for line in self.text.splitlines() if line.startswith("data: {")]
        return [json.loads(line.removeprefix("data: ")) for line in lines]

    @property
    def types(self) -> list[str]:
        return [event.get("type", "") for event in self.events]

    @property
    def deltas(self) -> list[dict[str, Any]]:
        return [choice["delta"] for event in self.events for choice in event.get("choices", ())]

    @property
    def finishes(self) -> list[str]:
        choices = [choice for event in self.events for choice in event.get("choices", ())]
        return [choice["finish_reason"] for choice in choices if choice["finish_reason"]]

    def said(self, key: str = "content") -> str:
        """Return the text of a streamed Chat message."""
        return "".join(delta.get(key) or "" for delta in self.deltas)


async def send(
    ask: ScriptedRequest,
    *faults: str,
    settings: AppSettings | None = None,
    accepts: str = "gzip, deflate",
) -> Result:
    """Send a request, and those before it, to a server with these faults."""
    engine = ScriptedEngine()
    transport = httpx.ASGITransport(app=faulty_parts(faults).app(engine, settings or AppSettings()))
    async with httpx.AsyncClient(transport=transport, base_url="http://server/v1/") as client:
        previous = ""
        for request in filter(None, (ask.before, ask)):
            engine.script = request.said if callable(request.said) else _always(request.said)
            body = json.dumps({"model": MODEL, **request.body}).replace(_PREVIOUS, previous)
            reply = await client.post(
                request.path,
                content=body,
                headers={"Accept-Encoding": accepts, "Accept": request.accept},
            )
            if found := _RESPONSE_ID.search(reply.text):
                previous = found[0]
    return Result(reply.status_code, dict(reply.headers), reply.text, engine.prompts, engine.params)


def _always(said: str | list[int]) -> Script:
    return lambda *_: said


@dataclass(frozen=True)
class Row:
    """A request on which a fault acts, and what must be true only of the faulty reply."""

    ask: ScriptedRequest
    shows: Callable[[Result], bool]


async def check(name: str, row: Row) -> None:
    """Check that a fault of each request has the effect of its row, and no fault has not."""
    healthy, faulty = await send(row.ask), await send(row.ask, f"{name}:1")
    assert not row.shows(healthy), healthy
    assert row.shows(faulty), faulty


def names_of(*layers: str, allowed: bool = False) -> Iterable[str]:
    """Return the names of the faults of these layers."""
    return {
        fault.name
        for fault in CATALOGUE.values()
        if fault.layer in layers and fault.allowed == allowed
    }
