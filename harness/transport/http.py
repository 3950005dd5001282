"""Send one request as OpenAI's Python SDK does, and record it as it was on the wire."""

import asyncio
import platform
import time
from collections.abc import Mapping
from contextlib import aclosing
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from io import BytesIO
from typing import Any

import aiohttp
import orjson
from multidict import CIMultiDict

from harness.providers.entries import Provider, access
from harness.records.redact import Redactor, secrets_in
from harness.records.rollouts import (
    SDK,
    Exchange,
    FailureKind,
    Request,
    Response,
    Sender,
    TransportFailure,
)
from harness.transport.connections import PROXY, body_of, failure_of, parsed_url, proxy_for
from harness.transport.interface import LARGE, Payload, processed
from harness.transport.receiver import ARRIVAL, InFlight, Receiver, TooLargeError
from harness.transport.websocket import Sockets

USER_AGENT = f"gpt-oss-verify/{version('gpt-oss-verify')}"
_SYSTEMS = {"Darwin": "MacOS"}
_PROCESSORS = {"x86_64": "x64", "aarch64": "arm64"}
SECONDS_AFTER_END = 10.0
"""Seconds without data after the last event of a stream, after which the client leaves it."""
SHARE_CLOSED_IDLE = 0.005
"""The share of requests that may meet a connection that the server closes; more are failures."""
_FIRST = ("model", "stream", "service_tier", "messages")
"""The first members of a body of OpenAI's Python SDK; the others follow in alphabetical order."""


def sdk_headers(timeout: float, given: Mapping[str, str]) -> dict[str, str]:
    """Return the headers of a POST of `openai.AsyncOpenAI`, except its User-Agent.

    `timeout` is in seconds; `given` are the provider's key and headers, which replace others.
    Captured from openai 3.51. `x-stainless-retry-count` is that of a first try.
    """
    system, processor = platform.system(), platform.machine()
    headers = CIMultiDict(
        {
            "Accept-Encoding": "gzip, deflate",
            "Connection": "keep-alive",
            "authorization": "",
            "accept": SDK.accept,
            "content-type": "application/json",
            "user-agent": USER_AGENT,
            "x-stainless-lang": "python",
            "x-stainless-package-version": version("openai"),
            "x-stainless-os": _SYSTEMS.get(system, system),
            "x-stainless-arch": _PROCESSORS.get(processor, processor),
            "x-stainless-runtime": platform.python_implementation(),
            "x-stainless-runtime-version": platform.python_version(),
            "x-stainless-async": "async:asyncio",
            "x-stainless-retry-count": "0",
            "x-stainless-read-timeout": f"{timeout:g}",
        }
    )
    headers.update({name.lower(): value for name, value in given.items()})
    return {name: value for name, value in headers.items() if value}


def sdk_order(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return a body with its members in the order in which OpenAI's Python SDK sends them."""
    names = sorted(body, key=lambda name: (name not in _FIRST, name))
    first = [name for name in _FIRST if name in body]
    return {name: body[name] for name in [*first, *names[len(first) :]]}


class HttpTransport:
    """Sends each request once."""

    def __init__(self, session: aiohttp.ClientSession, provider: Provider) -> None:
        """Send to `provider` with its key and headers. Raises as `access`."""
        self._session = session
        self._base_url = provider.base_url
        proxy = PROXY.fullmatch(proxy_for(provider.base_url) or "")
        self._through = f" through the proxy {proxy[1]}" if proxy else ""
        self._timeout = provider.timeout
        self._idle_timeout = provider.idle_timeout
        self._in_flight = InFlight(provider.memory_mib * 2**20)
        self._again = 1.0  # requests that may be sent again
        granted = access(provider)
        self._redactor = Redactor(granted.secrets | secrets_in(granted.headers))
        self._headers = sdk_headers(provider.timeout, granted.headers)
        self._sockets = Sockets(session, self._redactor, provider.idle_timeout)

    async def send(self, path: str, body: Payload = None, *, sender: Sender = SDK) -> Exchange:
        """See `Transport`."""
        if sender.socket:
            return await self._send_message(path, body, sender)
        headers, data = self._headers_of(sender), b""
        if isinstance(body, Mapping):
            body = sdk_order(body)
            data = orjson.dumps(body)
        elif body is not None:
            data = body.encode()
        else:
            headers = {name: headers[name] for name in headers if name != "content-type"}
        request = Request(
            method="GET" if body is None else "POST",
            url=self._base_url + path,
            headers=self._redactor.headers(headers),
            body=self._redactor.body(body, data) if isinstance(body, Mapping) else None,
            text=self._redactor.text(body) if isinstance(body, str) else None,
        )
        started_at = datetime.now(UTC).isoformat(timespec="milliseconds")
        streaming = isinstance(body, Mapping) and bool(body.get("stream"))
        receiver = Receiver(wants_stream=streaming, all=self._in_flight)
        if (arrival := ARRIVAL.get(None)) is not None:
            arrival.receiver = receiver
        try:
            receive = partial(self._receive, receiver, request.method, request.url, headers, data)
            failure = await receive(leaves=sender.leaves)
            self._again += SHARE_CLOSED_IDLE
            cut = failure is not None and failure.kind == "cut"
            if cut and receiver.closed_idle() and self._again >= 1:
                self._again -= 1
                failure = await receive(leaves=sender.leaves)
            elapsed = receiver.elapsed()
            await asyncio.sleep(0)  # so that the arrivals of other responses are recorded first
            respond = partial(receiver.response, self._redactor, complete=failure is None)
            response = await processed(len(receiver.received), respond)
        finally:
            receiver.release()
        return Exchange(
            request=request,
            response=response,
            failure=failure,
            started_at=started_at,
            elapsed=elapsed,
        )

    async def _send_message(self, path: str, body: Payload, sender: Sender) -> Exchange:
        """Send a message over a WebSocket connection."""
        data = orjson.dumps(body) if isinstance(body, Mapping) else (body or "").encode()
        request = Request(
            method="GET",
            url=f"ws{self._base_url.removeprefix('http')}{path}",
            headers=self._redactor.headers(self._headers),
            body=self._redactor.body(body, data) if isinstance(body, Mapping) else None,
            text=self._redactor.text(body) if isinstance(body, str) else None,
        )
        started_at = datetime.now(UTC).isoformat(timespec="milliseconds")
        began = time.perf_counter()
        response: Response | None = None
        failure: TransportFailure | None
        try:
            async with asyncio.timeout(self._timeout):
                response, failure = await self._sockets.request(
                    sender.socket, request.url, self._headers, data.decode()
                )
        except TimeoutError:
            late = f"the response was not complete within {self._timeout:g} s"
            failure = TransportFailure(kind="timeout", message=late)
        except (aiohttp.ClientError, OSError, ValueError, RuntimeError) as error:
            failure = self._failure(error, begun=False)
        return Exchange(
            request=request,
            response=response,
            failure=failure,
            started_at=started_at,
            elapsed=round(time.perf_counter() - began, 6),
        )

    async def aclose(self) -> None:
        """Close the WebSocket connections; the session closes all others."""
        await self._sockets.close()

    def _headers_of(self, sender: Sender) -> dict[str, str]:
        """Return the headers of a request."""
        if sender.accept == SDK.accept:
            return self._headers
        return {
            name: sender.accept if name.lower() == "accept" else value
            for name, value in self._headers.items()
        }

    async def _receive(
        self,
        receiver: Receiver,
        method: str,
        url: str,
        headers: dict[str, str],
        data: bytes,
        *,
        leaves: bool,
    ) -> TransportFailure | None:
        """Send the request, pass the response to `receiver`, and return the failure, if any."""
        now = asyncio.get_running_loop().time
        try:
            async with (
                asyncio.timeout(self._timeout),
                asyncio.timeout(None) as idle,
                self._session.request(
                    method,
                    parsed_url(url),
                    headers=headers,
                    data=(data or None) if len(data) < LARGE else BytesIO(data),
                    allow_redirects=False,
                    trace_request_ctx=receiver,
                ) as response,
                aclosing(body_of(response)) as body,
            ):
                receiver.begin(response.status, response.raw_headers)
                if (coding := response.headers.get("Content-Encoding", "")) not in _ALLOWED:
                    accepted = headers.get("Accept-Encoding") or headers.get("accept-encoding", "")
                    if coding.lower() not in accepted.lower():
                        message = f"{_SENTENCES['encoding']}: {coding}"
                        return TransportFailure(kind="encoding", message=message)
                async for chunk in body:
                    receiver.feed(chunk)
                    if leaves and receiver.characters():
                        return TransportFailure(kind="left", message="the client left the stream")
                    after_end = min(SECONDS_AFTER_END, self._idle_timeout)
                    silence = after_end if receiver.ended else self._idle_timeout
                    idle.reschedule(now() + silence)
        except TooLargeError as error:
            return TransportFailure(kind="too_large", message=str(error))
        except TimeoutError:
            if idle.expired() and receiver.ended:
                return None  # the reply is complete, though the server left the stream open
            late = f"the response was not complete within {self._timeout:g} s"
            stopped = f"the response stopped in the middle: no data for {self._idle_timeout:g} s"
            message = f"{stopped}; the client gave up" if idle.expired() else late
            return TransportFailure(kind="timeout", message=message)
        except (aiohttp.ClientError, OSError, ValueError, RuntimeError) as error:
            return self._failure(error, begun=receiver.status is not None)
        return None

    def _failure(self, error: Exception, *, begun: bool) -> TransportFailure:
        kind, detail = failure_of(error, begun=begun)
        through = self._through if kind == "connect" else ""
        detail = self._redactor.text(detail.encode("utf-8", "replace").decode())
        return TransportFailure(kind=kind, message=f"{_SENTENCES[kind]}{through}: {detail}")


_ALLOWED = frozenset({"", "identity"})
_SENTENCES: Mapping[FailureKind, str] = {
    "connect": "could not connect",
    "cut": "the connection was closed before the response was complete",
    "protocol": "the response is not well-formed HTTP",
    "encoding": "the response is compressed in a way that the request did not ask for",
}
