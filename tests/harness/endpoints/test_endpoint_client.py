"""Requests outside a run, over real sockets: headers, proxies, and clear errors."""

import asyncio
import math
import ssl
from typing import Any

import httpx
import mock_provider as mock
import pytest
from mock_provider import MODEL, MockProvider

from harness.endpoints import client
from harness.endpoints.client import Answer, NotConnectedError, is_ready, request
from harness.errors import ProviderUnreachableError
from harness.providers.entries import Provider, adhoc_provider, changed

ELSEWHERE = "provider.example/v1"
BODY = {"model": MODEL, "messages": [{"role": "user", "content": "Hi"}]}


def provider(base_url: str, **changes: Any) -> Provider:
    return changed(adhoc_provider(base_url, MODEL, ["chat"]), **{"timeout": 20, **changes})


async def failure_at(base_url: str) -> str:
    with pytest.raises(NotConnectedError) as caught:
        await request(provider(base_url), "/models")
    return str(caught.value)


async def test_the_answer_is_returned_and_headers_are_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEAM_KEY", "a-very-long-secret")
    reply = mock.text('{"echo": "a-very-long-secret"}')
    async with MockProvider(script=[reply]) as server:
        headers = {"X-Team": "Zürich", "X-Key": "${TEAM_KEY}"}
        body = {"model": MODEL, "temperature": math.nan}
        answer = await request(
            provider(server.base_url, headers=headers), "/chat/completions", body
        )
    assert isinstance(answer, Answer)
    assert (answer.status, answer.text) == (200, '{"echo": "[redacted]"}')
    assert 0 < answer.elapsed < 20
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


async def test_a_connection_closed_without_a_response_is_an_error() -> None:
    async with MockProvider(always=mock.raw(b"")) as server:
        with pytest.raises(ProviderUnreachableError, match="before a response arrived") as caught:
            await request(provider(server.base_url), "/chat/completions", BODY)
    assert not isinstance(caught.value, NotConnectedError)


async def test_tls_to_a_server_without_tls_is_reported() -> None:
    async def answer_in_plain_text(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(answer_in_plain_text, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        assert "TLS failed" in await failure_at(f"https://127.0.0.1:{port}/v1")


def test_an_untrusted_certificate_is_reported() -> None:
    cause = ssl.SSLCertVerificationError(1, "certificate verify failed")
    cause.verify_message = "self-signed certificate"
    error = httpx.ConnectError("failed")
    error.__cause__ = cause
    redactor = client.Redactor(())
    told = client._unreachable(provider("https://h/v1"), "https://h/v1", error, redactor)
    assert "its TLS certificate is not trusted (self-signed certificate)" in str(told)


async def test_an_unreachable_proxy_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    async with MockProvider() as closed:
        port = closed.base_url.split(":")[2].partition("/")[0]
    monkeypatch.setenv("http_proxy", f"http://user:secret@127.0.0.1:{port}")
    message = await failure_at(f"http://{ELSEWHERE}")
    assert f"through the proxy 127.0.0.1:{port}: Connection refused" in message
    assert "secret" not in message


async def test_a_proxy_that_refuses_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    refusal = mock.raw(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
    async with MockProvider(script=[refusal]) as proxy:
        monkeypatch.setenv("https_proxy", proxy.base_url.removesuffix("/v1"))
        assert "403 Forbidden" in await failure_at(f"https://{ELSEWHERE}")


async def test_an_unknown_proxy_scheme_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "gopher://127.0.0.1:1")
    with pytest.raises(ProviderUnreachableError, match="gopher"):
        await request(provider(f"http://{ELSEWHERE}"), "/models")


async def test_an_endpoint_is_ready_if_it_answers() -> None:
    async with MockProvider() as server:
        assert await is_ready(f"{server.base_url}/models")
        assert not await is_ready(f"{server.base_url.replace('http', 'https')}/models")
    assert not await is_ready(f"{server.base_url}/models")
