"""One HTTP server: requests in JSON, its refusals, and errors of the network that pass."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import httpx2
import orjson

_CONNECT_SECONDS = 10.0
_PASSING = frozenset({429, 502, 503, 504})  # statuses that another try may not have
_PAUSES = (0.5, 2.0, 8.0)  # seconds before each further try
_LONGEST_PAUSE = 60.0  # seconds that a server may ask for
_SHOWN = 160  # characters of an error
_SECRET = 8  # shorter values of headers are no keys
_HIDDEN = "[hidden]"


class RefusedError(Exception):
    """The server answers with an error; `status` is None if it gave none after all tries."""

    def __init__(self, reason: str, status: int | None = None) -> None:
        super().__init__(reason)
        self.status = status


class UnreachableError(Exception):
    """Nothing answers at the address."""


class Server:
    """Sends requests to one server; several threads may use it.

    Attributes:
        root: The address, without `/v1`.
    """

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str],
        timeout: float,
        pauses: Sequence[float] | None = None,
    ) -> None:
        """Use this address.

        Args:
            url: The address, with or without `/v1`.
            headers: Sent with each request. Their values never appear in an error.
            timeout: The longest silence in seconds.
            pauses: The seconds before each further try.
        """
        self.root = url.rstrip("/").removesuffix("/v1")
        self._pauses = _PAUSES if pauses is None else pauses
        self._secrets = {
            part for value in headers.values() for part in value.split() if len(part) >= _SECRET
        }
        self._client = httpx2.Client(
            headers=headers, timeout=httpx2.Timeout(timeout, connect=_CONNECT_SECONDS)
        )

    def close(self) -> None:
        """Close its connections."""
        self._client.close()

    def get(self, path: str) -> bytes:
        """Return the body of a path. Raises RefusedError and UnreachableError."""
        return self._answer("GET", path, None)

    def post(self, path: str, body: Mapping[str, Any]) -> bytes:
        """Return the answer to a body. Raises RefusedError and UnreachableError."""
        return self._answer("POST", path, orjson.dumps(body))

    def _answer(self, method: str, path: str, body: bytes | None) -> bytes:
        for pause in (*self._pauses, None):
            failure: Exception
            try:
                reply = self._client.request(
                    method,
                    self.root + path,
                    content=body,
                    headers={"Content-Type": "application/json"},
                )
                if reply.status_code == 200:
                    return reply.content
                failure = RefusedError(self._refusal(reply), reply.status_code)
                if reply.status_code not in _PASSING:
                    raise failure
                pause = pause and max(pause, _asked_pause(reply))
            except (httpx2.InvalidURL, httpx2.UnsupportedProtocol) as error:
                raise UnreachableError(str(error)) from error
            except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
                failure = UnreachableError(self._shown(str(error)))
            except httpx2.HTTPError as error:
                failure = RefusedError(f"no answer ({type(error).__name__})")
            if pause is None:
                raise failure
            time.sleep(pause)
        raise AssertionError

    def _refusal(self, reply: httpx2.Response) -> str:
        text = reply.text
        try:
            found = orjson.loads(text)
        except ValueError:
            found = None
        if isinstance(found, dict):
            inner = found.get("error", found)
            inner = inner.get("message", inner) if isinstance(inner, dict) else inner
            text = inner if isinstance(inner, str) else text
        return self._shown(f"HTTP {reply.status_code}: {text}".rstrip(": "))

    def _shown(self, text: str) -> str:
        """Return a text in one line, cut, and without the values of the headers."""
        for secret in self._secrets:
            text = text.replace(secret, _HIDDEN)
        text = " ".join(text.split())
        return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"


def _asked_pause(reply: httpx2.Response) -> float:
    """Return the seconds that a server asks to wait (`Retry-After`)."""
    asked = reply.headers.get("Retry-After", "")
    return min(float(asked), _LONGEST_PAUSE) if asked.isdecimal() else 0.0
