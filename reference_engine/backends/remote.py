"""A remote server as a backend: one streamed request for each generation."""

import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace

import httpx2
import orjson

from reference_engine.backends.dialects import DIALECTS, Dialect, Served
from reference_engine.backends.settings import BackendSettings
from reference_engine.backends.token_source import BackendError
from reference_engine.errors import SetupError
from reference_engine.generation.errors import require_room
from reference_engine.generation.sampling import SamplingParams, Token
from reference_engine.model.config import DEFAULT_CONTEXT

_log = logging.getLogger(__name__)
_CONNECT_SECONDS = 10.0
_LONGEST_LINE = 2**20
_SHOWN = 300
_SEEDS = 2**31 - 1
"""Every server supports the seeds below. vLLM, llama.cpp and ollama treat -1 as a random seed,
llama.cpp also 2^32 - 1, and none of them supports more than 64 bits."""
_SKIPPED = (b":", b"event:", b"id:", b"retry:")
_FORWARDED = {429: "rate_limit_exceeded", 503: "backend_overloaded"}


class RemoteEngine:
    """Generates tokens with a remote server, which may have a smaller context limit."""

    def __init__(
        self,
        settings: BackendSettings,
        dialect: type[Dialect],
        served: Served,
        max_context: int | None = None,
    ) -> None:
        limits = [limit for limit in (served.max_context, max_context) if limit]
        self.max_context = min(limits, default=DEFAULT_CONTEXT)
        self._settings = settings
        self._dialect = dialect
        self._model = served.model
        self._tls = httpx2.create_ssl_context()

    def start(self) -> None:
        """Do nothing: the server is running."""

    def close(self) -> None:
        """Do nothing: each request has its own connection."""

    async def generate(
        self, prompt: Sequence[int], params: SamplingParams
    ) -> AsyncGenerator[Token, None]:
        """See `TokenSource`."""
        require_room(prompt, self.max_context)
        limit = min(params.max_tokens, self.max_context - len(prompt))
        seed = None if params.seed is None else params.seed % _SEEDS
        params = replace(params, max_tokens=limit, seed=seed)
        body = self._dialect.request(self._model, prompt, params, self.max_context)
        reader = self._dialect(params)
        left = params.max_tokens
        async with aclosing(self._events(orjson.dumps(body))) as events:
            async for event in events:
                for token in self._read(reader, event):
                    yield token
                    left -= 1
                    if token.id in params.stop_token_ids or not left:
                        return
                if reader.finished:
                    return
        raise self._failure("ended in the middle of an answer")

    def _read(self, reader: Dialect, event: bytes) -> list[Token]:
        try:
            return reader.read(event)
        except ValueError as error:
            _log.warning("%s sent %r: %s", self._settings.name, event[:_SHOWN], error)
            raise self._failure("sent a response that does not match its documentation") from error

    async def _events(self, body: bytes) -> AsyncGenerator[bytes, None]:
        silence = self._settings.timeout
        timeout = httpx2.Timeout(None, connect=_CONNECT_SECONDS, read=silence)
        url = self._settings.root + self._dialect.path
        try:
            async with (
                httpx2.AsyncClient(timeout=timeout, verify=self._tls, trust_env=False) as client,
                client.stream("POST", url, content=body, headers=_headers(self._settings)) as reply,
            ):
                if reply.status_code != 200:
                    raise await self._refusal(reply)
                rest = b""
                async for chunk in reply.aiter_bytes():
                    *lines, rest = (rest + chunk).split(b"\n")
                    for event in filter(None, map(self._event, lines)):
                        yield event
                    if len(rest) > _LONGEST_LINE:
                        raise self._failure("sent a line that is too long")
                if last := self._event(rest):
                    yield last
        except httpx2.ReadTimeout as error:
            raise self._failure(
                f"sent nothing for {silence:g} s", 503, "backend_timeout"
            ) from error
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            raise self._failure("cannot be reached", code="backend_unreachable") from error
        except httpx2.HTTPError as error:
            raise self._failure("ended in the middle of an answer") from error

    def _event(self, line: bytes) -> bytes | None:
        """Return the JSON object of a line, with or without `data:`."""
        line = line.strip()
        if not line or line.startswith(_SKIPPED):
            return None
        data = line.removeprefix(b"data:").strip()
        if data == b"[DONE]":
            return None
        if data.startswith((b'{"error"', b"error:")):
            _log.warning("%s failed: %r", self._settings.name, data[:_SHOWN])
            raise self._failure("failed during the request")
        return data

    async def _refusal(self, reply: httpx2.Response) -> BackendError:
        """Return the error for a status other than 200, and log the response for the operator."""
        text = (await reply.aread())[:_SHOWN].decode("utf-8", "replace")
        status = reply.status_code
        _log.warning("%s answered %d: %s", self._settings.name, status, text)
        if status in _FORWARDED:
            return self._failure(
                "accepts no more requests at the moment",
                status,
                _FORWARDED[status],
                retry_after=reply.headers.get("Retry-After"),
            )
        return self._failure(f"refused the request (HTTP {status})")

    def _failure(
        self,
        what: str,
        status: int = 502,
        code: str = "backend_error",
        retry_after: str | None = None,
    ) -> BackendError:
        message = f"The {self._settings.name} behind this server {what}."
        return BackendError(message, status=status, code=code, retry_after=retry_after)


def connect(settings: BackendSettings, max_context: int | None = None) -> RemoteEngine:
    """Connect to a server and request its model. Raises SetupError."""
    dialect = DIALECTS[settings.name]
    where = f"{settings.name} at {settings.root}"
    try:
        with httpx2.Client(
            base_url=settings.root, headers=_headers(settings), timeout=_CONNECT_SECONDS
        ) as client:
            listed = client.get(dialect.listing).raise_for_status()
            served = dialect.served(listed.content, settings.model)
    except httpx2.HTTPStatusError as error:
        raise SetupError(
            f"The {where} answers HTTP {error.response.status_code}: check --backend, "
            "--backend-url and --backend-key-env."
        ) from error
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise SetupError(
            f"No answer from the {where} ({error}): start it, or correct --backend-url."
        ) from error
    except ValueError as error:
        reason = str(error).partition("\n")[0]
        raise SetupError(f"The {where} cannot be used: {reason}.") from error
    return RemoteEngine(settings, dialect, served, max_context)


def _headers(settings: BackendSettings) -> dict[str, str]:
    headers = {"Content-Type": "application/json"}
    if settings.api_key:
        headers["Authorization"] = f"Bearer {settings.api_key}"
    return headers
