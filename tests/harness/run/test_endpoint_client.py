"""Requests outside a run, over real sockets: headers, proxies, and clear errors."""

import math
from typing import Any

import mock_provider as mock
import pytest
from mock_provider import MockProvider
from replies import MODEL

from harness.errors import ProviderUnreachableError
from harness.providers.entries import Provider, adhoc_provider, changed
from harness.run import launch
from harness.run.client import NotConnectedError, request
from harness.run.launch import is_ready

BODY = {"model": MODEL, "messages": [{"role": "user", "content": "Hi"}]}


def provider(base_url: str, **changes: Any) -> Provider:
    return changed(adhoc_provider(base_url, MODEL, ["chat"]), **{"timeout": 20, **changes})


async def test_the_answer_is_returned_and_headers_are_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEAM_KEY", "a-very-long-secret")
    reply = mock.text('{"echo": "a-very-long-secret"}')
    async with MockProvider(script=[reply]) as server:
        headers = {"X-Team": "Zürich", "X-Key": "${TEAM_KEY}"}
        body = {"model": MODEL, "temperature": math.nan}
        answer = await request(
            provider(server.base_url, headers=headers), "/chat/completions", body
        )
    assert (answer.status, answer.text) == (200, '{"echo": "[redacted]"}')
    (received,) = server.received
    assert received.body == {"model": MODEL, "temperature": None}
    assert received.headers["user-agent"].startswith("gpt-oss-verify/")
    assert received.headers["x-key"] == "a-very-long-secret"


async def test_an_overloaded_provider_gets_four_tries() -> None:
    busy = mock.status(429, Retry_After="0.01")
    async with MockProvider(script=[busy, busy, busy]) as server:
        assert (await request(provider(server.base_url), "/chat/completions", BODY)).status == 200
    assert len(server.posts) == 4
    async with MockProvider(always=busy) as server:
        assert (await request(provider(server.base_url), "/chat/completions", BODY)).status == 429
    assert len(server.posts) == 4


async def test_an_incomplete_response_counts_as_an_answer() -> None:
    cut = mock.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this")
    async with MockProvider(always=cut) as server:
        answer = await request(provider(server.base_url), "/chat/completions", BODY)
    assert (answer.status, answer.text) == (200, "only this")


async def test_a_stream_is_returned_as_text() -> None:
    async with MockProvider(
        always=mock.text("data: 1\n\ndata: 2\n\n", "text/event-stream")
    ) as server:
        answer = await request(provider(server.base_url), "/chat/completions", BODY)
    assert answer.text == "data: 1\n\ndata: 2"


async def test_a_connection_closed_without_a_response_is_an_error() -> None:
    async with MockProvider(always=mock.raw(b"")) as server:
        with pytest.raises(
            ProviderUnreachableError, match="connection was closed before"
        ) as caught:
            await request(provider(server.base_url), "/chat/completions", BODY)
    assert not isinstance(caught.value, NotConnectedError)


async def test_a_key_in_the_url_is_redacted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEAM_KEY", "a-very-long-secret")
    keyed = provider("http://127.0.0.1:9/a-very-long-secret/v1", api_key_env="TEAM_KEY")
    with pytest.raises(NotConnectedError, match=r"at http://127.0.0.1:9/\[redacted\]/v1/models"):
        await request(keyed, "/models")


async def test_an_unreachable_proxy_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    async with MockProvider() as closed:
        port = closed.base_url.split(":")[2].partition("/")[0]
    monkeypatch.setenv("http_proxy", f"http://user:secret@127.0.0.1:{port}")
    with pytest.raises(NotConnectedError) as caught:
        await request(provider("http://provider.example/v1"), "/models")
    assert str(caught.value) == (
        "provider provider.example does not answer at http://provider.example/v1/models: could not "
        f"connect through the proxy 127.0.0.1:{port}: Connection refused; check that it is running "
        "and its base_url"
    )


async def test_an_endpoint_is_ready_if_it_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "READY_SECONDS", 1.0)
    async with MockProvider() as server:
        assert await is_ready(f"{server.base_url}/models")
        assert not await is_ready(f"{server.base_url.replace('http', 'https')}/models")
    assert not await is_ready(f"{server.base_url}/models")
    async with MockProvider(models=None) as server:
        assert not await is_ready(f"{server.base_url}/models")
