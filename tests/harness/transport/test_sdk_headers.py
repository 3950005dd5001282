"""Our requests and those of OpenAI's Python SDK on a real socket: only the User-Agent differs."""

import asyncio
from typing import Any

import openai
import pytest

from harness.api import DIALECTS
from harness.api.items import Message, RequestSettings, Tool
from harness.providers.entries import adhoc_provider, changed
from harness.records.conditions import BOTH_APIS, Api
from harness.records.rollouts import Sender
from harness.transport import NO_RETRIES, open_transport

TOOL = Tool("get_tide", "Tides of a harbour.", {"type": "object", "properties": {}}, "{}")
TEXT = 'é \u2028 \x85 \x7f <b> / "\\" 😀'


class Recording:
    """A server that keeps the bytes of each request, and answers each with 404."""

    def __init__(self) -> None:
        self.heads: list[list[str]] = []
        self.bodies: list[bytes] = []

    async def __aenter__(self) -> str:
        self._server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/v1"

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[:-2]
        length = next(
            (int(line[16:]) for line in lines if line.lower().startswith("content-length: ")), 0
        )
        self.heads.append(lines)
        self.bodies.append(await reader.readexactly(length))
        writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()


def body_of(api: Api, *, streaming: bool) -> dict[str, Any]:
    return DIALECTS[api].first_request(
        (Message("user", TEXT),),
        instructions="Be brief.",
        tools=(TOOL,),
        streaming=streaming,
        settings=RequestSettings("m", "low", 0.5, 0.9, 16),
    )


def without_agent(head: list[str]) -> list[str]:
    return [line for line in head if not line.startswith("user-agent: ")]


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("api", BOTH_APIS)
async def test_requests_are_those_of_the_sdk(
    api: Api, streaming: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOCK_KEY", "sk-0123456789")
    body = body_of(api, streaming=streaming)
    recording = Recording()
    async with recording as url:
        entry = changed(adhoc_provider(url, "m", [api]), api_key_env="MOCK_KEY", timeout=600)
        async with open_transport(entry, retries=NO_RETRIES) as transport:
            exchange = await transport.send(DIALECTS[api].path, body)
        async with openai.AsyncOpenAI(
            base_url=url, api_key="sk-0123456789", max_retries=0
        ) as client:
            create = client.chat.completions.create if api == "chat" else client.responses.create
            with pytest.raises(openai.NotFoundError):
                await create(**body)
    assert exchange.request.body == body
    ours, theirs = map(without_agent, recording.heads)
    assert ours == theirs
    assert recording.bodies[0] == recording.bodies[1]
    agents = [line for head in recording.heads for line in head if line.startswith("user-agent")]
    assert agents[0].startswith("user-agent: gpt-oss-verify/")


async def test_a_get_is_that_of_the_sdk() -> None:
    recording = Recording()
    async with recording as url:
        entry = adhoc_provider(url, "m", ["chat"])
        async with open_transport(entry, retries=NO_RETRIES) as transport:
            await transport.send("/models")
        async with openai.AsyncOpenAI(base_url=url, api_key="k", max_retries=0) as client:
            with pytest.raises(openai.NotFoundError):
                await client.models.list()
    ours, theirs = map(without_agent, recording.heads)
    assert ours == [line for line in theirs if line != "authorization: Bearer k"]


async def test_another_accept_and_the_headers_of_an_entry_replace_ours() -> None:
    recording = Recording()
    async with recording as url:
        entry = changed(adhoc_provider(url, "m", ["chat"]), headers={"User-Agent": "mine"})
        async with open_transport(entry, retries=NO_RETRIES) as transport:
            await transport.send("/chat/completions", {}, sender=Sender(accept="*/*"))
    (head,) = recording.heads
    assert "accept: */*" in head
    assert "user-agent: mine" in head
    assert not any(line.lower().startswith("accept: application") for line in head)
    assert sum(line.lower().startswith("user-agent") for line in head) == 1
