"""Connections to one server by aiohttp, which needs a third of the CPU time of httpx."""

import asyncio
import os
import re
import resource
import ssl
from collections.abc import AsyncGenerator
from functools import lru_cache
from types import SimpleNamespace
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from aiohttp import hdrs
from aiohttp.http_exceptions import ContentEncodingError
from yarl import URL

from harness.errors import ConfigurationError
from harness.records.rollouts import FailureKind

LOOPBACK = {"localhost", "127.0.0.1", "::1"}
PROXY = re.compile(r"https?://(?:.*@)?([^@/]+)(?:/.*)?", re.IGNORECASE)  # the group: host and port
SECONDS_TO_CONNECT = 10.0
_WITHOUT_TLS = {"wrong version number", "record layer failure", "packet length too long"}
"""What OpenSSL says if a server answers the handshake with plain HTTP."""
BYTES_AT_ONCE = 16 * 1024
SECONDS_BETWEEN_LOOKS = 1.0


def proxy_for(url: str) -> str | None:
    """Return the proxy that the environment specifies for a URL, if any; none for this machine.

    Raises ConfigurationError if its URL is not that of an HTTP proxy.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    if host in LOOPBACK or proxy_bypass(host):
        return None
    proxy = getproxies().get(parts.scheme)
    if proxy and not PROXY.fullmatch(proxy):
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


def open_session(url: str) -> aiohttp.ClientSession:
    """Return a session for one server, to be used as a context manager. Raises as `proxy_for`.

    It sends each request once, with its own headers only, over as many connections as needed, and
    returns no cookies, which no record shows and which bind all requests to one replica. Idle
    connections are closed earlier than servers usually do, so that few requests are sent over a
    closed connection. A request over an idle connection sets `reused` of its request
    context (`trace_request_ctx`).
    """
    trace = aiohttp.TraceConfig()
    trace.on_connection_reuseconn.append(_reused)
    return aiohttp.ClientSession(
        trace_configs=[trace],
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=4),
        cookie_jar=aiohttp.DummyCookieJar(),
        skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
        proxy=proxy_for(url),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=SECONDS_TO_CONNECT),
    )


async def _reused(_session: object, trace: SimpleNamespace, _parameters: object) -> None:
    if trace.trace_request_ctx is not None:  # as for WebSockets
        trace.trace_request_ctx.reused = True


@lru_cache(maxsize=256)
def parsed_url(url: str) -> URL:
    """Return a URL for a session. Raises aiohttp.InvalidURL."""
    try:
        return URL(url)
    except ValueError as error:
        raise aiohttp.InvalidURL(url) from error


async def body_of(response: aiohttp.ClientResponse) -> AsyncGenerator[bytes]:
    """Yield the bytes of a body as they arrive.

    A body without a length and without chunks ends with its connection, so that no end of it is
    malformed.

    Raises MalformedBodyError if the rest of the body cannot be parsed, and the errors of aiohttp.
    """
    watch = _Watch(response)
    try:
        async for chunk in response.content.iter_chunked(BYTES_AT_ONCE):
            yield chunk
    except aiohttp.ClientConnectionError as error:
        if watch.malformed:
            raise MalformedBodyError("its framing is malformed") from error
        raise
    finally:
        watch.end()


class _Watch:
    """Ends the wait for a body whose connection is closed.

    aiohttp closes a connection whose framing it cannot parse, but does not tell the reader. A
    connection that the server closed is closing, too, until the loop has told the reader: so only
    one that still is at the next look counts.
    """

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.malformed = False
        self._response = response
        self._closing = False
        headers = response.headers
        self._framed = hdrs.CONTENT_LENGTH in headers or hdrs.TRANSFER_ENCODING in headers
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(SECONDS_BETWEEN_LOOKS, self._look)

    def _look(self) -> None:
        connection = self._response.connection
        if connection is None or not self._framed:  # or the body is complete
            return
        transport = connection.transport
        before, self._closing = self._closing, transport is None or transport.is_closing()
        if not (before and self._closing):
            self._timer = self._loop.call_later(SECONDS_BETWEEN_LOOKS, self._look)
        elif self._response.content.exception() is None:
            self.malformed = True
            self._response.close()

    def end(self) -> None:
        """Look no longer."""
        self._timer.cancel()
        del self._timer  # otherwise a cycle, left to the garbage collector


class MalformedBodyError(aiohttp.ClientError):
    """The rest of a body cannot be read, because its framing is not that of HTTP."""


def failure_of(error: Exception, *, begun: bool = True) -> tuple[FailureKind, str]:
    """Return the kind of an error of aiohttp, or of the system below it, and its text.

    Before the response has `begun`, a coding that cannot be decoded is one that nobody asked for.
    """
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return "connect", "the time limit has passed"
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return "connect", f"{error.status} {error.message}"
    if isinstance(error, aiohttp.ClientConnectorError):
        return "connect", _connection_error(error.os_error)
    if isinstance(error, aiohttp.InvalidURL | UnicodeError):  # UnicodeError: IDNA
        return "connect", "the URL is not valid"
    if isinstance(error.__cause__, ContentEncodingError):
        return "protocol", error.__cause__.message
    if not begun and "content-encoding" in _text(error):  # aiohttp keeps only the text
        return "encoding", _text(error)
    if isinstance(error, OSError | aiohttp.ClientConnectionError | aiohttp.ClientPayloadError):
        return "cut", _text(error)
    return "protocol", _text(error)


def _text(error: Exception) -> str:
    """Return the text of an error in one line; the status in the text of some is aiohttp's own."""
    text = error.message if isinstance(error, aiohttp.ClientResponseError) else str(error)
    return " ".join(text.rstrip(" ^.").split()) or type(error).__name__


def _connection_error(error: OSError) -> str:
    """Explain why a connection failed; the errno of a TLS error is not the system's."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its TLS certificate is not trusted ({error.verify_message})"
    if isinstance(error, ssl.SSLError):
        reason = (error.reason or "no reason given").lower().replace("_", " ")
        plain = (
            "; if the server has no TLS, its address begins with http://"
            if reason in _WITHOUT_TLS
            else ""
        )
        return f"TLS failed ({reason}){plain}"
    number, text = error.errno, error.strerror
    return os.strerror(number) if number and number > 0 else text or str(error)
