"""httpx's interface over aiohttp's connections, which take a fraction of the CPU time of httpx's.

OpenAI's SDK has such a transport too (`openai.DefaultAioHttpClient`), and httpx-aiohttp is its
origin. Both return cookies, which no record shows and which bind all requests to one replica; both
report a refused connection as a timeout; and both wait for ever for the rest of a response whose
framing is malformed.
"""

import asyncio
import os
import re
import resource
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from io import BytesIO
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import httpx2
from multidict import CIMultiDict
from yarl import URL

from harness.errors import ConfigurationError

LOOPBACK = {"localhost", "127.0.0.1", "::1"}
PROXY = re.compile(r"https?://(?:.*@)?([^@/]+)(?:/.*)?", re.IGNORECASE)  # the group: host and port
SECONDS_TO_CONNECT = 10.0
BYTES_AT_ONCE = 16 * 1024


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


def open_client(url: str) -> httpx2.AsyncClient:
    """Return a client for one server, to be used as a context manager. Raises as `proxy_for`."""
    return httpx2.AsyncClient(transport=AiohttpTransport(proxy_for(url)), trust_env=False)


class AiohttpTransport(httpx2.AsyncBaseTransport):
    """Sends each request once, with its own headers only, over as many connections as needed.

    A request's time limits are ignored. Idle connections are closed earlier than servers usually
    do, so that no request is sent over a closed connection. Raises httpx's errors: ConnectError,
    ConnectTimeout, ProxyError (no connection), UnsupportedProtocol (invalid URL), ReadError (the
    connection was closed before the response was complete) and RemoteProtocolError (not well-formed
    HTTP).
    """

    def __init__(self, proxy: str | None = None) -> None:
        """Connect directly, or through `proxy`, on the running event loop."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=4),
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
            auto_decompress=False,
            proxy=proxy,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=SECONDS_TO_CONNECT),
        )
        self._read: dict[asyncio.Future[None], aiohttp.StreamReader] = {}  # by connection

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """See `httpx2.AsyncBaseTransport`; the request must have its content in memory."""
        with _errors_of_httpx():
            response = await self._session.request(
                request.method,
                URL(str(request.url), encoded=True),
                headers=CIMultiDict(
                    (name.decode(), value.decode("utf-8", "surrogateescape"))
                    for name, value in request.headers.raw
                ),
                data=BytesIO(request.content) if request.content else None,
                allow_redirects=False,
            )
        self._end_with_connection(response)
        return httpx2.Response(
            response.status,
            headers=response.raw_headers,
            stream=_Body(response),
            extensions={"reason_phrase": (response.reason or "").encode("utf-8", "replace")},
        )

    def _end_with_connection(self, response: aiohttp.ClientResponse) -> None:
        """End the wait for a body when its connection closes.

        aiohttp closes a connection whose framing it cannot parse, but does not notify the reader.
        """
        protocol = response.connection and response.connection.protocol
        if protocol is not None and protocol.closed is not None:
            if protocol.closed not in self._read:
                protocol.closed.add_done_callback(self._end)
            self._read[protocol.closed] = response.content

    def _end(self, closed: asyncio.Future[None]) -> None:
        if not closed.cancelled():
            closed.exception()  # asyncio reports an exception that nobody takes
        body = self._read.pop(closed)
        if not body.is_eof() and body.exception() is None:
            body.set_exception(ValueError("its framing is malformed"))

    async def aclose(self) -> None:
        """Close all connections."""
        await self._session.close()


class _Body(httpx2.AsyncByteStream):
    """The bytes of a body as they arrive."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _errors_of_httpx():
            async for chunk in self._response.content.iter_chunked(BYTES_AT_ONCE):
                yield chunk

    async def aclose(self) -> None:
        """Release the connection; close it if the body is not complete."""
        self._response.close()


@contextmanager
def _errors_of_httpx() -> Iterator[None]:
    try:
        yield
    except aiohttp.ConnectionTimeoutError as error:
        raise httpx2.ConnectTimeout("the time limit has passed") from error
    except aiohttp.ClientHttpProxyError as error:
        raise httpx2.ProxyError(f"{error.status} {error.message}") from error
    except aiohttp.ClientConnectorError as error:
        raise httpx2.ConnectError(_connection_error(error.os_error)) from error
    except (aiohttp.InvalidURL, UnicodeError) as error:  # UnicodeError: IDNA
        raise httpx2.UnsupportedProtocol("the URL is not valid") from error
    except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, OSError) as error:
        raise httpx2.ReadError(_text(error)) from error
    except (aiohttp.ClientError, ValueError, RuntimeError) as error:
        raise httpx2.RemoteProtocolError(_text(error)) from error


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
        return f"TLS failed ({reason})"
    number, text = error.errno, error.strerror
    return os.strerror(number) if number and number > 0 else text or str(error)
