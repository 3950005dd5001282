"""Failures to connect are named: TLS, certificates, proxies."""

import asyncio
import ssl
from pathlib import Path

import mock_provider as mock
import pytest
from mock_provider import MockProvider

from harness.errors import ConfigurationError
from harness.providers.entries import Provider
from harness.records.rollouts import TransportFailure
from harness.transport import open_transport
from harness.transport.connections import _connection_error
from harness.transport.retry import NO_RETRIES

ELSEWHERE = "provider.example/v1"


async def failure_at(base_url: str) -> TransportFailure:
    entry = {"name": "p", "base_url": base_url, "model": "m", "apis": ["chat"], "timeout": 20}
    async with open_transport(Provider.model_validate(entry), retries=NO_RETRIES) as transport:
        exchange = await transport.send("/chat/completions", {"model": "m"})
    assert exchange.failure.kind == "connect"
    return exchange.failure


async def test_tls_to_a_server_without_tls_is_reported() -> None:
    async def speak_plainly(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(speak_plainly, "127.0.0.1", 0) as server:
        failure = await failure_at(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1")
    assert "TLS" in failure.message


def test_an_untrusted_certificate_is_reported() -> None:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_message = "self-signed certificate"
    assert (
        _connection_error(error) == "its TLS certificate is not trusted (self-signed certificate)"
    )


async def test_an_unreachable_proxy_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    async with MockProvider() as closed:
        port = closed.base_url.split(":")[2].partition("/")[0]
    monkeypatch.setenv("http_proxy", f"http://user:secret@127.0.0.1:{port}")
    failure = await failure_at(f"http://{ELSEWHERE}")
    assert failure.message == (
        f"could not connect through the proxy 127.0.0.1:{port}: Connection refused"
    )


async def test_credentials_from_the_environment_are_not_sent(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login somebody password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    entry = {"name": "p", "base_url": f"http://{ELSEWHERE}", "model": "m", "apis": ["chat"]}
    async with MockProvider(script=[mock.text("{}")]) as proxy:
        monkeypatch.setenv("http_proxy", proxy.base_url.removesuffix("/v1"))
        async with open_transport(Provider.model_validate(entry), retries=NO_RETRIES) as transport:
            exchange = await transport.send("/chat/completions", {"model": "m"})
    assert exchange.failure is None
    assert "authorization" not in proxy.received[0].headers


async def test_a_proxy_that_refuses_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    refusal = mock.raw(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
    async with MockProvider(script=[refusal]) as proxy:
        monkeypatch.setenv("https_proxy", proxy.base_url.removesuffix("/v1"))
        failure = await failure_at(f"https://{ELSEWHERE}")
    assert failure.message.endswith(": 403 Forbidden")


async def test_an_unknown_host_of_a_proxy_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://user:secret@no-such-host.invalid:1/")
    failure = await failure_at(f"http://{ELSEWHERE}")
    assert failure.message.startswith("could not connect through the proxy no-such-host.invalid:1:")


@pytest.mark.parametrize("port", ["99999", "x"])
async def test_an_invalid_port_of_a_proxy_is_reported(
    port: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", f"http://user:secret@127.0.0.1:{port}")
    failure = await failure_at(f"http://{ELSEWHERE}")
    assert failure.message == (
        f"could not connect through the proxy 127.0.0.1:{port}: the URL is not valid"
    )


@pytest.mark.parametrize("proxy", ["socks5://u:secret@127.0.0.1:1", "gopher://h:1", "127.0.0.1:1"])
async def test_other_kinds_of_proxies_are_rejected(
    proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", proxy)
    with pytest.raises(ConfigurationError, match="HTTP_PROXY is not the URL") as caught:
        await failure_at(f"http://{ELSEWHERE}")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("host", ["a..b", "a" * 70 + ".example"])
async def test_an_invalid_host_is_reported(host: str) -> None:
    failure = await failure_at(f"http://{host}/v1")
    assert failure.message == "could not connect: the URL is not valid"
