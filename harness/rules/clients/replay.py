"""A transport that answers OpenAI's Python SDK with recorded bytes: no network, no clock."""

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

import httpx2

from harness.records.rollouts import Response

if TYPE_CHECKING:  # the package takes a second to import
    from openai import AsyncOpenAI, OpenAI

_ENCODED = frozenset({"content-encoding", "content-length", "transfer-encoding"})
"""Headers of the bytes on the wire; the recorded text is decoded."""


class _Replay(httpx2.BaseTransport, httpx2.AsyncBaseTransport):
    """Answers every request with one response."""

    recorded: Response

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        recorded = self.recorded
        headers = {k: v for k, v in recorded.headers.items() if k.lower() not in _ENCODED}
        text = recorded.text + ("\n\n" if recorded.parts else "")
        return httpx2.Response(recorded.status, headers=headers, content=text.encode())

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        return self.handle_request(request)


REPLAY = _Replay()
HTTP: Mapping[str, Any] = {
    "api_key": "none",
    "base_url": "http://replay.invalid/v1",
    "max_retries": 0,
    "http_client": httpx2.Client(transport=REPLAY),
}
"""Arguments of a client that gets the response of `REPLAY`."""


@cache
def client() -> "OpenAI":
    """Return the one client of the process, because each takes 8 ms to make."""
    from openai import OpenAI

    return OpenAI(**HTTP)


@cache
def async_client() -> "AsyncOpenAI":
    """Return the one client of the process whose methods are coroutines."""
    from openai import AsyncOpenAI

    return AsyncOpenAI(**{**HTTP, "http_client": httpx2.AsyncClient(transport=REPLAY)})
