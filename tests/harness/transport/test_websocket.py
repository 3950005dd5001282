"""Requests over WebSocket, to the reference server and to others on real sockets."""

import asyncio
import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from http import HTTPStatus
from typing import Any

import pytest
from scripted import CALL, FLAT_TOOL, ScriptedEngine, running
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Response as Answer
from websockets.sync.server import ServerConnection, serve

from harness.api import DIALECTS
from harness.api.items import Message, RequestSettings, Sample, Tool, UnreadableReplyError
from harness.api.parsed_rollout import parse_rollout
from harness.providers.entries import Provider
from harness.records.conditions import Condition
from harness.records.rollouts import SDK, Exchange
from harness.run.attempts import Attempt
from harness.run.tool_loop import run_attempt
from harness.transport import open_transport, websocket

RESPONSES = DIALECTS["responses"]
BODY = {"type": "response.create", "model": "gpt-oss-small", "input": "Hi", "store": False}
OWN = replace(SDK, socket="one")


def provider_at(url: str, **members: Any) -> Provider:
    return Provider.model_validate({"name": "p", "base_url": url, "model": "m", **members})


async def sent(url: str, *bodies: Any, together: bool = False, sender: Any = OWN) -> list[Exchange]:
    """The exchanges of messages on one connection."""
    async with open_transport(provider_at(url, concurrency=1)) as transport:
        if together:
            sends = (transport.send("/responses", body, sender=sender) for body in bodies)
            return list(await asyncio.gather(*sends))
        return [await transport.send("/responses", body, sender=sender) for body in bodies]


async def test_a_response_is_recorded_as_a_stream_of_messages() -> None:
    with running(ScriptedEngine()) as url:
        (exchange,) = await sent(url, BODY)
    assert exchange.request.url == f"ws{url.removeprefix('http')}/responses"
    assert exchange.request.body == BODY
    response = exchange.response
    assert (response.status, response.good_status, response.complete) == (101, True, True)
    assert json.loads(response.parts[0].raw)["type"] == "response.created"
    times = [part.at for part in response.parts]
    assert times == sorted(times)
    reply = RESPONSES.read(exchange)
    assert (reply.text, reply.finish) == ("Hello there.", "stop")


async def test_an_attempt_continues_on_its_connection() -> None:
    engine = ScriptedEngine(lambda prompt, _: CALL if "21" not in prompt else "<|channel|>final"
                            "<|message|>It is 21.<|return|>")  # fmt: skip
    tool = Tool("get_weather", "Weather.", FLAT_TOOL["parameters"], "21")
    options = {"type": "response.create", "store": False}
    attempt = Attempt(
        "state/x/1",
        "state",
        Sample("x", (Message("user", "What is the weather?"),), (tool,)),
        Condition(model="gpt-oss-small", api="responses", mode="streaming"),
        1,
        RequestSettings(
            "gpt-oss-small",
            history="response",
            omits=frozenset({"stream"}),
            extra_body=options,
        ),
        max_turns=2,
        sender=replace(SDK, socket="own"),
    )
    with running(engine) as url:
        async with open_transport(provider_at(url)) as transport:
            done = await run_attempt(attempt, transport, RESPONSES)
    assert done.end == "answered"
    parsed = parse_rollout(done)
    assert [reply.text for _, reply in parsed.replies] == ["", "It is 21."]
    assert not any(exchange.violations for exchange in parsed.exchanges)
    assert all(exchange.request.stream for exchange in parsed.exchanges)
    assert "previous_response_id" in (done.exchanges[1].request.body or {})


async def test_requests_that_are_sent_together_are_in_flight_at_once() -> None:
    """Also if only one request may be in flight; each gets the events of its own response."""
    engine = ScriptedEngine(lambda prompt, _: "<|channel|>final<|message|>"
                            f"{prompt.split('<|end|>')[-2][-3:]}<|return|>")  # fmt: skip
    engine.pause = 0.02
    with running(engine) as url:
        bodies = [BODY | {"input": f"Say {word}"} for word in ("one", "two", "six")]
        wrong = BODY | {"previous_response_id": "resp_0"}
        exchanges = await sent(url, bodies[0], wrong, *bodies[1:], together=True)
    statuses = [exchange.response and exchange.response.status for exchange in exchanges]
    assert statuses == [101, 400, 101, 101]
    assert [RESPONSES.read(exchanges[at]).text for at in (0, 2, 3)] == ["one", "two", "six"]


async def test_an_error_is_a_response_with_its_status() -> None:
    with running(ScriptedEngine()) as url:
        wrong, right = await sent(url, BODY | {"previous_response_id": "resp_0"}, BODY)
    assert (wrong.response.status, wrong.failure) == (400, None)
    assert "previous_response_not_found" in wrong.response.text
    assert RESPONSES.read(right).text == "Hello there."


async def test_an_idle_connection_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "_SECONDS_IDLE", 0.01)
    with running(ScriptedEngine()) as url:
        async with open_transport(provider_at(url)) as transport:
            first = await transport.send("/responses", BODY, sender=OWN)
            await asyncio.sleep(0.2)
            known = RESPONSES.read(first).raw["id"]
            lost = await transport.send(
                "/responses", BODY | {"previous_response_id": known}, sender=OWN
            )
    assert lost.response.status == 400


@pytest.mark.parametrize("status", [426, 403, 404, 500])
async def test_a_refused_upgrade_is_a_response(status: int) -> None:
    refuse = lambda *_: Answer(status, HTTPStatus(status).phrase, _headers())  # noqa: E731
    with odd_server(lambda _: None, process_request=refuse) as url:
        (exchange,) = await sent(url, BODY)
    assert (exchange.response.status, exchange.failure) == (status, None)
    assert exchange.retries == ()


async def test_a_server_without_websockets() -> None:
    """The scripted server has no such route for Chat, and answers as Starlette does."""
    with running(ScriptedEngine()) as url:
        async with open_transport(provider_at(url)) as transport:
            exchange = await transport.send("/chat/completions", BODY, sender=OWN)
    assert exchange.response.status == 403


@pytest.mark.parametrize(
    ("script", "kind", "said"),
    [
        (lambda c: c.close(1011, "worker died"), "cut", "closed the connection with code 1011"),
        (lambda c: (c.send('{"type": "response.created"}'), c.close(1000)), "cut", "code 1000"),
        (lambda c: c.send(b"\xff\xfe"), "timeout", "no message for 0.5 s"),
        (lambda c: None, "timeout", "no message for 0.5 s"),
    ],
)
async def test_how_a_response_can_fail(script: Any, kind: str, said: str) -> None:
    with odd_server(script) as url:
        async with open_transport(provider_at(url, idle_timeout=0.5)) as transport:
            exchange = await transport.send("/responses", BODY, sender=OWN)
    assert exchange.failure.kind == kind
    assert said in exchange.failure.message


async def test_messages_that_are_no_events_are_recorded() -> None:
    """They are what came, as the lines of a stream that are no JSON."""
    final = {"type": "response.completed", "response": {"output": []}}

    def script(connection: ServerConnection) -> None:
        for message in ("hello", b'{"type": "x"}', "[]", json.dumps(final)):
            connection.send(message)

    with odd_server(script) as url:
        (exchange,) = await sent(url, BODY)
    assert [part.raw for part in exchange.response.parts[:3]] == ["hello", '{"type": "x"}', "[]"]
    with pytest.raises(UnreadableReplyError):
        RESPONSES.read(exchange)


async def test_a_key_is_sent_and_not_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THE_KEY", "sk-very-secret-key")
    seen: list[Any] = []

    def script(connection: ServerConnection) -> None:
        seen.append(connection.request.headers["Authorization"])
        error = {"message": "the key sk-very-secret-key is wrong"}
        connection.send(json.dumps({"type": "error", "status": 400, "error": error}))

    with odd_server(script) as url:
        async with open_transport(provider_at(url, api_key_env="THE_KEY")) as transport:
            exchange = await transport.send("/responses", BODY, sender=OWN)
    assert seen == ["Bearer sk-very-secret-key"]
    assert "very-secret" not in exchange.model_dump_json()


def _headers() -> Any:
    from websockets.datastructures import Headers

    return Headers({"Content-Length": "0", "Connection": "close"})


@contextlib.contextmanager
def odd_server(
    script: Callable[[ServerConnection], Any], process_request: Any = None
) -> Iterator[str]:
    """A server that follows a script after the first message of a connection."""

    def handle(connection: ServerConnection) -> None:
        with contextlib.suppress(ConnectionClosed, OSError):
            connection.recv()
            script(connection)
            connection.recv()

    with serve(handle, "127.0.0.1", 0, process_request=process_request) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.socket.getsockname()[1]}/v1"
        finally:
            server.shutdown()
            thread.join()
