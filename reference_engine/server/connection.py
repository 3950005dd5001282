"""Shared code of the handlers: settings, request bodies, disconnects, replies and streams."""

import asyncio
import logging
import secrets
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar

import orjson
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from reference_engine.backends.token_source import TokenSource
from reference_engine.server.api_error import ApiError, internal_error, json_response, stopping
from reference_engine.server.fields import AnswerRequest, parse_request
from reference_engine.server.generation import Generation
from reference_engine.server.settings import AppSettings

logger = logging.getLogger(__name__)
T = TypeVar("T")
R = TypeVar("R", bound=AnswerRequest)

# Size of a refused body that is read and discarded, so that the client can read the response.
_DRAINED_BYTES = 256 * 2**20
_ADMISSION_SECONDS = 0.05
"""An engine refuses a request at once: one that waits longer for its first token is admitted."""


async def until_disconnect(
    receive: Receive, stop: asyncio.Event, work: Coroutine[Any, Any, T]
) -> T:
    """Run the work unless a disconnect or stop cancels it. Raises ClientDisconnect or ApiError."""
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_disconnected(receive))
    stopped = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({task, gone, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        if stopped.done():
            raise stopping()
        raise ClientDisconnect
    finally:
        for future in (task, gone, stopped):
            future.cancel()
        await asyncio.gather(task, gone, stopped, return_exceptions=True)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


Json = dict[str, Any]
Take = Callable[[Sequence[Json]], Awaitable[None]]
"""Receives the stream events of the next token."""
Emit = Callable[[bytes], Awaitable[None]]
"""Sends one or more encoded events."""


_BLOCK = 64  # bytes


def obfuscated(delta: Json) -> Json:
    """Return a delta with as many random characters as make its size a multiple of a block."""
    missing = -len(orjson.dumps(delta | {"obfuscation": ""})) % _BLOCK
    return delta | {"obfuscation": secrets.token_hex(_BLOCK)[:missing]}


class SentReply(ABC):
    """The reply to one request: a complete response, or a stream of events."""

    end: ClassVar[bytes] = b"data: [DONE]\n\n"  # what follows the last event

    @abstractmethod
    async def generate(self, take: Take) -> None:
        """Generate the reply and pass on its events. Raises ApiError."""

    @abstractmethod
    def opening(self) -> Sequence[Json]:
        """Return the events before the first token."""

    @abstractmethod
    def closing(self) -> Sequence[Json]:
        """Return the events after the last token."""

    @abstractmethod
    def finished(self) -> Json:
        """Return the complete response, after the last token."""

    def encode(self, events: Iterable[Json]) -> bytes:
        """Encode events without names."""
        return b"".join(b"data: " + orjson.dumps(event) + b"\n\n" for event in events)

    def failure(self, error: ApiError) -> bytes:
        """Return the event that ends a stream after an error."""
        return self.encode([error.body()])

    async def respond(self, request: Request, stop: asyncio.Event, *, stream: bool) -> Response:
        """Return the response to the request, streaming or not. Raises ApiError."""
        if stream:
            return EventStream(self, stop)
        return json_response(await until_disconnect(request.receive, stop, self.complete()))

    async def complete(self) -> Json:
        """Generate and return the complete response."""

        async def take(events: Sequence[Json]) -> None:
            pass

        await self.generate(take)
        return self.finished()

    async def stream(self, emit: Emit) -> None:
        """Generate and emit the events; those of the same token are sent together.

        The opening is sent when the engine has admitted the request, so that a refusal has its own
        status.
        """
        opening = self.encode(self.opening())
        in_order = asyncio.Lock()

        async def take(events: Sequence[Json]) -> None:
            nonlocal opening
            async with in_order:
                encoded, opening = opening + self.encode(events), b""
                if encoded:
                    await emit(encoded)

        async def open_admitted() -> None:
            await asyncio.sleep(_ADMISSION_SECONDS)
            await take(())

        admission = asyncio.create_task(open_admitted())
        try:
            await self.generate(take)
        finally:
            admission.cancel()
            await asyncio.gather(admission, return_exceptions=True)
        await emit(opening + self.encode(self.closing()) + self.end)


class EventStream(Response):
    """Server-sent events of a reply.

    An error before the first event has its own status; a later one becomes the last event.
    """

    media_type = "text/event-stream"

    def __init__(self, reply: SentReply, stop: asyncio.Event) -> None:
        super().__init__(headers={"Cache-Control": "no-cache"})
        del self.headers["content-length"]
        self._reply = reply
        self._stop = stop

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events until they end, the client disconnects or the server stops."""
        started = False

        async def emit(events: bytes, *, more: bool = True) -> None:
            nonlocal started
            if not started:
                started = True
                headers = self.raw_headers
                await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": events, "more_body": more})

        async def work() -> None:
            await self._reply.stream(emit)
            await emit(b"", more=False)

        try:
            await until_disconnect(receive, self._stop, work())
        except ClientDisconnect:
            return
        except ApiError as caught:
            error = caught
        except Exception:
            logger.exception("a stream failed")
            error = internal_error()
        else:
            return
        if started:
            await emit(self._reply.failure(error), more=False)
        else:
            await error.response()(scope, receive, send)


@dataclass(frozen=True)
class RequestContext:
    """The engine, the settings, the class of generations, and the event that ends all requests."""

    engine: TokenSource
    settings: AppSettings
    generation: type[Generation] = Generation
    stop: asyncio.Event = field(default_factory=asyncio.Event)

    async def read(self, request: Request, model: type[R]) -> R:
        """Read a request. Raises ApiError or ClientDisconnect."""
        encoding = request.headers.get("content-encoding", "identity")
        if encoding.lower() not in {"", "identity"}:
            message = f"The content encoding '{encoding}' is not supported; send it uncompressed."
            raise ApiError(415, message, code="unsupported_content_encoding")
        limit = self.settings.max_body_bytes
        body = bytearray()
        size = 0
        async for piece in request.stream():
            size += len(piece)
            if size <= limit:
                body += piece
            else:
                body.clear()
            if size > limit + _DRAINED_BYTES:
                break
        if size > limit:
            message = f"The request body is larger than {limit} bytes."
            raise ApiError(413, message, code="request_too_large", headers={"Connection": "close"})
        parsed = parse_request(model, bytes(body))
        self.require_model(parsed.model)
        return parsed

    def require_model(self, name: str) -> None:
        """Refuse an unknown model. Raises ApiError."""
        if name not in self.settings.model_names:
            known = ", ".join(self.settings.model_names)
            message = f"The model '{name}' does not exist. Available models: {known}."
            raise ApiError(404, message, param="model", code="model_not_found")
