"""The recording proxy over real sockets: clients get the server's bytes; recordings import."""

import asyncio
import gzip
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import httpx
import openai
import pytest
from background import in_background
from healthy import provider_of
from mock_provider import MockProvider, hang_up, raw, stream, text
from replies import MODEL, Reply, blocks
from waiting import until

from gpt_oss_verify.app import run
from harness.errors import ConfigurationError
from harness.traffic.conversations import read_traffic
from harness.traffic.proxy import Recorder, forward

KEY = "sk-test-0123456789abcdefghij"
ASK = {"model": MODEL, "messages": [{"role": "user", "content": "What is two plus two?"}]}


@asynccontextmanager
async def proxied(upstream: str, recording: Path) -> AsyncIterator[str]:
    """The base URL of a proxy for a mock provider."""
    address: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    origin = upstream.removesuffix("/v1")
    with recording.open("xb") as file:
        running = asyncio.create_task(forward(origin, 0, Recorder(file), address.set_result))
        yield f"{await address}/v1"
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


async def test_the_openai_client_gets_the_same_replies_and_both_import(tmp_path: Path):
    recording = tmp_path / "tap.jsonl"
    async with (
        MockProvider(always=provider_of(), models=[MODEL], api_key=KEY) as mock,
        proxied(mock.base_url, recording) as base_url,
        openai.AsyncOpenAI(base_url=base_url, api_key=KEY) as client,
    ):
        assert [each.id async for each in await client.models.list()] == [MODEL]
        reply = await client.chat.completions.create(**ASK)  # type: ignore[call-overload]
        stream = await client.responses.create(model=MODEL, input=ASK["messages"], stream=True)
        events = [event.type async for event in stream]
        assert mock.received[-1].headers["authorization"] == f"Bearer {KEY}"
    assert reply.choices[0].message.content
    assert events[-1] == "response.completed"
    assert KEY not in recording.read_text(encoding="utf-8")
    traffic = read_traffic([recording])
    assert {each.condition.api for each in traffic.rollouts} == {"chat", "responses"}
    assert list(traffic.hosts) == [httpx.URL(mock.base_url).netloc.decode()]


async def test_bodies_and_headers_pass_unchanged(tmp_path: Path):
    body = gzip.compress(b'{"choices": [], "model": "gpt-oss-20b"}')
    reply = text(body, "application/json", **{"content-encoding": "gzip", "x-request-id": "r1"})
    events = b'data: {"a": 1}\r\n\r\n: ping\n\ndata: [DONE]\n\n'
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
    recording = tmp_path / "tap.jsonl"
    async with (
        MockProvider(script=[reply, raw(head + events)], models=[MODEL]) as mock,
        proxied(mock.base_url, recording) as base_url,
        httpx.AsyncClient(base_url=base_url) as client,
    ):
        sent = '{"model":"gpt-oss-20b",  "messages":[], "text":"ä\\u00e4"}'.encode()
        async with client.stream("POST", "/chat/completions?x=%2F", content=sent) as first:
            assert b"".join([part async for part in first.aiter_raw()]) == body
            assert first.headers["x-request-id"] == "r1"
        second = await client.post("/chat/completions", content=sent)
        assert second.content == events
        assert mock.posts[0].path.endswith("/chat/completions?x=%2F")
    assert mock.posts[0].body == json.loads(sent)
    lines = [json.loads(line) for line in recording.read_bytes().splitlines()]
    assert [each["request"]["body"] for each in lines] == [sent.decode()] * 2
    assert len(read_traffic([recording]).rollouts) == 2


@pytest.mark.parametrize("path", ["/chat/completions", "/responses"])
async def test_a_stream_that_the_client_leaves_after_its_last_event_is_recorded(
    path: str, tmp_path: Path
):
    """Codex closes the connection after response.completed, before the end of the body."""
    events = blocks(Reply(text="Four."), chat=path == "/chat/completions")
    *first, last = (f"{block}\n\n".encode() for block in events)
    sent = [b"".join(first), last]
    recording = tmp_path / "tap.jsonl"
    async with (
        MockProvider(always=stream(sent, pause=0.3), models=[MODEL]) as mock,
        proxied(mock.base_url, recording) as base_url,
        httpx.AsyncClient(base_url=base_url) as client,
    ):
        for awaited in sent:
            async with client.stream("POST", path, json=ASK | {"stream": True}) as reply:
                seen = b""
                async for part in reply.aiter_raw():
                    seen += part
                    if awaited in seen:
                        break
        await until(lambda: bool(recording.read_bytes()))
    (line,) = recording.read_bytes().splitlines()
    assert json.loads(line)["response"]["body"] == b"".join(sent).decode()


async def test_a_closed_upstream_connection_is_a_502(tmp_path: Path):
    recording = tmp_path / "tap.jsonl"
    async with (
        MockProvider(script=[hang_up], models=[MODEL]) as mock,
        proxied(mock.base_url, recording) as base_url,
        httpx.AsyncClient(base_url=base_url) as client,
    ):
        reply = await client.post("/chat/completions", json=ASK)
    assert reply.status_code == 502
    assert "cannot reach" in reply.json()["error"]["message"]


async def test_a_recording_that_cannot_be_written_stops_the_proxy():
    ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    with open("/dev/full", "wb", buffering=0) as full:  # noqa: ASYNC230
        async with MockProvider(always=provider_of(), models=[MODEL]) as mock:
            origin = mock.base_url.removesuffix("/v1")
            running = asyncio.create_task(forward(origin, 0, Recorder(full), ready.set_result))
            async with httpx.AsyncClient(base_url=await ready) as client:
                reply = await client.post("/v1/chat/completions", json=ASK)
            assert reply.status_code == 200
            with pytest.raises(ConfigurationError, match="cannot be written: No space left"):
                await running


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--upstream", "http://me:secret@localhost/v1"], "must not have a user name"),
        (["--upstream", "http://localhost:port/v1"], "takes a URL"),
        (["--upstream", "localhost:8000"], "takes a URL"),
        (["--upstream", "http://localhost/v1", "--port", "99999"], "Must be <= 65535"),
    ],
)
def test_bad_addresses_are_reported_in_one_sentence(
    arguments: list[str], named: str, capsys: pytest.CaptureFixture[str]
):
    assert run(["tap", *arguments]) == 2
    err = capsys.readouterr().err
    assert named in " ".join(err.split())
    assert "secret" not in err


def test_a_port_in_use_leaves_no_recording(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        arguments = ["--upstream", "http://localhost/v1", "--port", port, "--out", str(tmp_path)]
        assert run(["tap", *arguments]) == 2
    assert "choose another" in " ".join(capsys.readouterr().err.split())
    assert not list(tmp_path.iterdir())


def test_the_command_judges_what_it_recorded(tmp_path: Path):
    start = "from gpt_oss_verify.app import main; main()"
    command = [sys.executable, "-c", start, "tap", "--port", "0", "--json"]
    with in_background(MockProvider(always=provider_of(), models=[MODEL])) as mock:
        process = subprocess.Popen(
            [*command, "--upstream", mock.base_url, "--verdict"],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        assert process.stderr is not None
        base_url = process.stderr.readline().split()[-1]
        assert httpx.post(f"{base_url}/chat/completions", json=ASK).status_code == 200
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 4, err
    assert "1 requests recorded" in err
    (reason,) = json.loads(out)["verdict"]["reasons"]
    assert reason.startswith("1 of the recorded replies were judged.")
