"""Errors that are reported before a run that could not succeed."""

import asyncio
from dataclasses import replace
from typing import Any

import mock_provider as mock
import pytest
from mock_provider import MockProvider
from replies import MODEL

from harness.errors import (
    ModelNotFoundError,
    ProviderUnauthorizedError,
    ProviderUnavailableError,
    ProviderUnreachableError,
)
from harness.providers.entries import adhoc_provider, changed
from harness.records.conditions import Api
from harness.run import client
from harness.run.client import Say
from harness.run.preflight import preflight
from harness.transport.retry import NO_RETRIES

APIS: tuple[Api, ...] = ("responses", "chat")


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "POLICY", replace(client.POLICY, first_wait=0.01))


async def check(
    provider: MockProvider, *, model: str = MODEL, say: Say = lambda _: None, **changes: Any
) -> None:
    await preflight(changed(adhoc_provider(provider.base_url, model, APIS), **changes), APIS, say)


async def test_a_provider_that_asks_to_wait_for_an_hour_is_asked_once() -> None:
    async with MockProvider(get=mock.status(429, Retry_After="3600")) as provider:
        with pytest.raises(ProviderUnreachableError, match="60 minutes that it asks to wait"):
            await check(provider)
    assert (len(provider.received), provider.posts) == (1, [])


@pytest.mark.parametrize("models", [[MODEL], ["another name"], None])
async def test_a_good_provider_passes(models: list[str] | None) -> None:
    async with MockProvider(models=models) as provider:
        await check(provider)
    assert [request.path for request in provider.received] == [
        "/v1/models",
        "/v1/responses",
        "/v1/chat/completions",
    ]


@pytest.mark.parametrize("code", [400, 422, 429, 500])
async def test_rejected_requests_do_not_end_the_run_early(code: int) -> None:
    message = f"Unknown parameter 'store' for model {MODEL}"
    async with MockProvider(always=mock.status(code, message)) as provider:
        await check(provider)
    assert len({post.path for post in provider.posts}) == 2


async def test_a_provider_that_is_not_running_is_unreachable() -> None:
    async with MockProvider() as provider:
        pass
    with pytest.raises(ProviderUnreachableError, match="could not connect: Connection refused"):
        await check(provider)


async def test_an_account_without_credit_is_asked_once() -> None:
    message = "You exceeded your current quota (insufficient_quota); check your billing details"
    async with MockProvider(always=mock.status(429, message)) as provider:
        with pytest.raises(ProviderUnauthorizedError, match="no credit left: 429"):
            await check(provider)
    assert len(provider.posts) == 1


async def test_an_address_with_tls_of_a_server_without_it_says_so() -> None:
    async def refuse(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        address = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        with pytest.raises(ProviderUnreachableError, match="its address begins with http://"):
            await preflight(adhoc_provider(address, "m", APIS), APIS)


async def test_an_unresolvable_name_is_reported() -> None:
    described = adhoc_provider("http://no-such-host.invalid/v1", "m", APIS)
    with pytest.raises(ProviderUnreachableError, match="could not connect"):
        await preflight(described, APIS)


async def test_a_provider_that_hangs_is_unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Long before the timeout of the run."""
    async with MockProvider(always=mock.hang) as provider:
        for longest, timeout in ((20, 0.3), (0.3, 600)):
            monkeypatch.setattr("harness.run.preflight.LONGEST_WAIT", longest)
            with pytest.raises(ProviderUnreachableError, match=r"not complete within 0.3 s"):
                await check(provider, timeout=timeout)


async def test_slow_model_lists_and_loading_models_are_accepted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("harness.run.preflight.LONGEST_LIST", 0.2)
    async with MockProvider(delay=0.4, models_delay=0.4) as provider:
        await check(provider)
    assert len(provider.posts) == 2


@pytest.mark.parametrize("code", [502, 503, 504])
async def test_a_gateway_without_a_server_is_unreachable(code: int) -> None:
    async with MockProvider(always=mock.status(code, "loading model")) as provider:
        with pytest.raises(
            ProviderUnreachableError, match=f"answered {code} .*loading model.* in 4 tries"
        ):
            await check(provider)
    assert len(provider.posts) == 4


async def test_one_gateway_error_is_retried() -> None:
    said: list[str] = []
    async with MockProvider(script=[mock.status(502, "Bad gateway")]) as provider:
        await check(provider, say=said.append)
    assert len(provider.posts) == 3
    assert said == ["/responses returned status 502; starting try 2 of 4"]


async def test_a_missing_or_wrong_key_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = "sk-this-is-a-wrong-key"
    monkeypatch.setenv("MOCK_KEY", wrong)
    async with MockProvider(api_key="right") as provider:
        with pytest.raises(ProviderUnauthorizedError, match="your key with --api-key-env"):
            await check(provider)
        with pytest.raises(
            ProviderUnauthorizedError, match=r"401.*check the key in MOCK_KEY"
        ) as no:
            await check(provider, api_key_env="MOCK_KEY")
        assert wrong not in str(no.value)
        monkeypatch.setenv("MOCK_KEY", "right")
        await check(provider, api_key_env="MOCK_KEY")


@pytest.mark.parametrize(
    ("reply", "error", "says"),
    [
        *(
            (mock.status(code, text), ModelNotFoundError, "no model 'gpt-oss-mok'.*it has gpt-oss-")
            for code, text in [
                (404, "The model `gpt-oss-mok` does not exist"),
                (404, "There is no gpt-oss-mok here: not found"),
                (400, "Unknown model"),
                (404, "Not Found"),
            ]
        ),
        (mock.text("<html>", "text/html"), ProviderUnavailableError, "web page.*path of base_url"),
        (
            mock.raw(
                b"HTTP/1.1 404 Not Found\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n"
                b"<p>gpt-oss-mok was not found on this server</p>"
            ),
            ProviderUnavailableError,
            r"web page \(status 404\).*path of base_url.*leave responses out",
        ),
        (
            mock.status(403, "Country, region, or territory not supported"),
            ProviderUnauthorizedError,
            "refuses requests from here, not the key",
        ),
        (mock.status(403, "Forbidden"), ProviderUnauthorizedError, "--api-key-env"),
        (
            mock.raw(
                b"HTTP/1.1 403 Forbidden\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n"
                b"<html><head><title>Attention&nbsp;Required!</title></head><body>no</body></html>"
            ),
            ProviderUnauthorizedError,
            r"403 \('Attention Required! no'\); a firewall or gateway",
        ),
        (
            mock.status(429, "100 requests per day", Retry_After="3600"),
            ProviderUnreachableError,
            "429 .*per day.*60 minutes that it asks to wait",
        ),
        (
            mock.status(301, Location="https://h/v2/responses"),
            ProviderUnavailableError,
            "to https://h/v2/responses: set base_url to https://h/v2$",
        ),
        (
            mock.status(302, Location="/login?next=/v1"),
            ProviderUnavailableError,
            "to /login.*: that is no address of this API, but for example a login page",
        ),
        (mock.raw(b""), ProviderUnreachableError, "connection was closed before"),
    ],
)
async def test_what_the_provider_cannot_serve_is_reported(
    reply: mock.Handler, error: type[Exception], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.run.client.POLICY", NO_RETRIES)
    async with MockProvider(always=reply) as provider:
        with pytest.raises(error, match=says):
            await check(provider, model="gpt-oss-mok")


async def test_only_some_of_many_models_are_listed() -> None:
    models = [f"other-{number}" for number in range(100)]
    async with MockProvider(models=models, always=mock.status(404)) as provider:
        with pytest.raises(ModelNotFoundError, match="other-15 and 92 more"):
            await check(provider, model="zzz")


@pytest.mark.parametrize("status", [404, 501])
async def test_an_unsupported_api_is_reported(status: int) -> None:
    async with MockProvider(script=[mock.status(status, "Not Found")]) as provider:
        with pytest.raises(ProviderUnavailableError, match=r"/responses.*leave responses out"):
            await check(provider)


@pytest.mark.parametrize("body", ["", "<html>gone</html>", "[]", '{"detail": "gone"}', '"gone"'])
async def test_unusual_error_bodies_are_quoted(body: str) -> None:
    async def handle(_: mock.Received, writer: mock.asyncio.StreamWriter) -> None:
        mock.write_text(writer, body, status=401)

    async with MockProvider(always=handle) as provider:
        with pytest.raises(ProviderUnauthorizedError, match=r"gone|no explanation|\[\]") as caught:
            await check(provider)
    assert "\n" not in str(caught.value)


async def test_malformed_model_lists_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    async with MockProvider() as provider:
        for listing in ([1], {"data": [1]}, {"data": None}):
            monkeypatch.setattr(provider, "models", None)
            monkeypatch.setattr(mock, "error", lambda _, given=listing: given)
            await check(provider)


async def test_a_connection_dropped_after_an_error_response_is_accepted() -> None:
    """Uvicorn does so after an exception in a handler, without announcing it in its answer."""

    async def one_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 2\r\n\r\n{}")
        await writer.drain()
        await reader.read(1)
        writer.transport.abort()

    server = await asyncio.start_server(one_answer, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        await preflight(adhoc_provider(f"http://127.0.0.1:{port}/v1", MODEL, APIS), APIS)
