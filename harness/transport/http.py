"""Send one HTTP request, and record it as it was on the wire.

This uses aiohttp because the client's own cost distorts the recorded timing: with 1,000 connections
1,000 requests take 0.13 CPU seconds with aiohttp, 14.4 with httpx 0.28 and 2.4 with the OpenAI SDK;
a stream event takes 4 µs with aiohttp and 92 µs with the SDK.
"""

import asyncio
import os
import re
import resource
import ssl
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from io import BytesIO
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import orjson
from aiohttp.http_exceptions import ContentEncodingError

from harness.errors import ConfigurationError
from harness.providers.entries import Access, Provider
from harness.records.rollouts import Exchange, FailureKind, Key, Request, TransportFailure
from harness.transport.interface import Payload
from harness.transport.receiver import (
    EVENT_STREAM,
    Receiver,
    ResponseLimits,
    Tap,
    without_surrogates,
)
from harness.transport.redact import REDACTED, Redactor, secrets_in

LOOPBACK = {"localhost", "127.0.0.1", "::1"}
SPARE_FILES = 100
_PROXY = re.compile(r"https?://(?:.*@)?([^@/]+)(?:/.*)?", re.IGNORECASE)  # the group: host and port
WRONG_KEY = "gpt-oss-verify-sends-a-wrong-key"
USER_AGENT = f"gpt-oss-verify/{version('gpt-oss-verify')}"


def open_session(provider: Provider) -> aiohttp.ClientSession:
    """Return a connection pool for one provider, to be used as a context manager.

    The pool uses the proxies of the environment, except for this machine, but not the credentials
    in `~/.netrc`, which no record would show. It closes idle connections earlier than servers
    usually do, so that no request is sent over a closed connection.
    """
    allow_open_files(provider.concurrency + SPARE_FILES)
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=4),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None),
        proxy=proxy_for(provider.base_url),
    )


def proxy_for(url: str) -> str | None:
    """Return the proxy that the environment specifies for a URL, if any.

    Raises ConfigurationError if its URL is not that of an HTTP proxy.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    if host in LOOPBACK or proxy_bypass(host):
        return None
    proxy = getproxies().get(parts.scheme)
    if proxy and not _PROXY.fullmatch(proxy):
        raise ConfigurationError(
            f"{parts.scheme.upper()}_PROXY is not the URL of an HTTP proxy, such as "
            f"http://proxy.example:3128; correct it, or add {host} to NO_PROXY"
        )
    return proxy


def allow_open_files(count: int) -> None:
    """Raise the limit of open files and sockets to `count`, or as far as the system allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


class HttpTransport:
    """Sends each request once."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        provider: Provider,
        access: Access,
        limits: ResponseLimits | None = None,
    ) -> None:
        """Send to `provider` with the headers in `access`."""
        self._session = session
        self._base_url = provider.base_url
        proxy = _PROXY.fullmatch(proxy_for(provider.base_url) or "")
        self._through = f" through the proxy {proxy[1]}" if proxy else ""
        self._timeout = provider.timeout
        self._limits = limits or ResponseLimits()
        self._connecting = aiohttp.ClientTimeout(total=None, sock_connect=self._limits.connect)
        self._redactor = Redactor(access.secrets | secrets_in(access.headers))
        self._headers = {
            "Accept": f"application/json, {EVENT_STREAM}",
            "Accept-Encoding": "identity",
            "User-Agent": USER_AGENT,
            **access.headers,
        }

    async def send(self, path: str, body: Payload = None, *, key: Key = "right") -> Exchange:
        """See `Transport`."""
        headers, data = self._headers_with(key), b""
        if body is not None:
            data = body.encode() if isinstance(body, str) else orjson.dumps(body)
            headers["Content-Type"] = "application/json"
        request = Request(
            method="GET" if body is None else "POST",
            url=self._base_url + path,
            headers=self._redactor.headers(headers),
            body=self._redactor.body(body, data) if isinstance(body, Mapping) else None,
            text=self._redactor.text(body) if isinstance(body, str) else None,
        )
        started_at = datetime.now(UTC).isoformat(timespec="milliseconds")
        streaming = isinstance(body, Mapping) and bool(body.get("stream"))
        receiver = Receiver(self._limits, wants_stream=streaming)
        failure = await self._receive(receiver, request.method, request.url, headers, data or None)
        elapsed = receiver.elapsed()
        # In a thread: a stream of 10,000 events takes 50 ms, in which no arrival would be recorded.
        response = await asyncio.to_thread(
            receiver.response, self._redactor, complete=failure is None
        )
        return Exchange(
            request=request,
            response=response,
            failure=failure,
            started_at=started_at,
            elapsed=elapsed,
        )

    def _headers_with(self, key: Key) -> dict[str, str]:
        """Return the headers of a request; without secrets, unless `key` is right."""
        if key == "right":
            return dict(self._headers)
        shown = self._redactor.headers(self._headers)
        kept = {name: value for name, value in shown.items() if value != REDACTED}
        return kept | ({"Authorization": f"Bearer {WRONG_KEY}"} if key == "wrong" else {})

    async def _receive(
        self, receiver: Receiver, method: str, url: str, headers: dict[str, str], data: bytes | None
    ) -> TransportFailure | None:
        """Send the request, pass the response to `receiver`, and return the failure, if any."""
        now = asyncio.get_running_loop().time
        deadline = now() + self._timeout
        try:
            async with (
                asyncio.timeout_at(deadline),
                self._session.request(
                    method,
                    url,
                    data=None if data is None else BytesIO(data),
                    headers=headers,
                    allow_redirects=False,
                    timeout=self._connecting,
                ) as response,
            ):
                receiver.begin(response.status, response.headers, response.content_type)
                with Tap(response, receiver) as tap:
                    await tap.rest(self._limits.idle)
        except TimeoutError as error:
            return self._timed_out(error, expired_at=now(), deadline=deadline)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            kind, detail = _explained(error)
            detail = self._redactor.text(without_surrogates(detail))
            through = self._through if kind == "connect" else ""
            return TransportFailure(kind=kind, message=f"{_SENTENCES[kind]}{through}: {detail}")
        if receiver.too_large:
            return TransportFailure(kind="too_large", message=f"the response {receiver.excess()}")
        return None

    def _timed_out(
        self, error: TimeoutError, *, expired_at: float, deadline: float
    ) -> TransportFailure:
        if isinstance(error, aiohttp.ConnectionTimeoutError):
            message = f"no connection within {self._limits.connect:g} s"
            return TransportFailure(kind="connect", message=message)
        if expired_at >= deadline:
            message = f"the response was not complete within {self._timeout:g} s"
        else:
            message = f"no data for {self._limits.idle:g} s in the middle of the response"
        return TransportFailure(kind="timeout", message=message)


_SENTENCES: dict[FailureKind, str] = {
    "connect": "could not connect",
    "cut": "the connection was closed before the response was complete",
    "protocol": "the response is not well-formed HTTP",
}


def _explained(error: Exception) -> tuple[FailureKind, str]:
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return "connect", f"{error.status} {error.message}"
    if isinstance(error, aiohttp.ClientConnectorError):
        return "connect", _connection_error(error.os_error)
    if isinstance(error, aiohttp.InvalidURL | UnicodeError):  # UnicodeError: IDNA
        return "connect", "the URL is not valid"
    # The status in the text of this error is aiohttp's own.
    told = error.message if isinstance(error, aiohttp.ClientResponseError) else str(error)
    text = " ".join(told.rstrip(" ^.").split()) or type(error).__name__
    if isinstance(error.__cause__, ContentEncodingError):
        return "protocol", text
    cut = isinstance(error, aiohttp.ClientConnectionError | aiohttp.ClientPayloadError)
    cut = cut or not isinstance(error, aiohttp.ClientError | ValueError)
    return "cut" if cut else "protocol", text


def _connection_error(error: OSError) -> str:
    """Explain why a connection failed; the errno of a TLS error is not the system's."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its TLS certificate is not trusted ({error.verify_message})"
    if isinstance(error, ssl.SSLError):
        reason = (error.reason or "no reason given").lower().replace("_", " ")
        return f"TLS failed ({reason})"
    number, text = error.errno, error.strerror
    return os.strerror(number) if number and number > 0 else text or str(error)
