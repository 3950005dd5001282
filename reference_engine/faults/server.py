"""Builds a server with faults: the hooks between HTTP and the model, and the app around them."""

import asyncio
import itertools
from collections import Counter, defaultdict
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import cast

import orjson
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from torch import Tensor

from harmony.conversation import Conversation
from harmony.parse import HarmonyParser
from reference_engine.backends.token_source import TokenSource
from reference_engine.faults import hooks
from reference_engine.faults.catalogue import FaultError, FaultPlan, read_plan
from reference_engine.faults.fault import Fault, activated, active_changes, changed
from reference_engine.faults.http import (
    BODY,
    Api,
    ClientRequest,
    Json,
    Reply,
    SseStream,
)
from reference_engine.faults.replies import events_of, whole
from reference_engine.generation.sampling import Draw, SamplingParams, Token, sample
from reference_engine.model.logits import AllLogits, Logits
from reference_engine.server.api_error import ApiError
from reference_engine.server.app import create_app
from reference_engine.server.generation import Generation, GenerationRequest
from reference_engine.server.serve import Parts
from reference_engine.server.settings import AppSettings

_APIS: dict[str, Api] = {"/v1/chat/completions": "chat", "/v1/responses": "responses"}
_RAW_PATH = "/v1/completions"
_Inbox = asyncio.Queue[Message | None]
_NAMED: ContextVar[str] = ContextVar("named_faults", default="")
"""The faults that the current request names, whether or not they affect it."""

HEADER = b"x-fault"  # header in which a request names its own faults, if the server allows it


class FaultyHttp:
    """Middleware with the hooks REQUEST, PAYLOAD, REPLY and STREAM; activates a request's faults.

    Each event of a stream is forwarded as it arrives, so that faults keep its timing. Raw
    completions pass unchanged: only the engine's faults act on them.
    """

    def __init__(self, app: ASGIApp, plan: FaultPlan, served: str, *, by_request: bool) -> None:
        self._app = app
        self._plan = plan
        self._served = served
        self._by_request = by_request
        self._numbers = itertools.count()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request; only requests for a response of the model show faults."""
        if scope["type"] == "websocket" and scope["path"] in _APIS:
            await self._serve_socket(scope, receive, send)
            return
        post = scope["type"] == "http" and scope["method"] == "POST"
        if not post or scope["path"] not in {*_APIS, _RAW_PATH}:
            await self._app(scope, receive, send)
            return
        try:
            faults = self._faults(scope)
        except FaultError as error:
            await ApiError(400, str(error)).response()(scope, receive, send)
            return
        with activated(faults):
            if scope["path"] == _RAW_PATH:
                await self._app(scope, receive, send)
                return
            try:
                body = await Request(scope, receive).body()
            except ClientDisconnect:
                return
            headers = dict(scope["headers"])
            request = ClientRequest(
                _APIS[scope["path"]],
                _object(body),
                self._served,
                gzip=b"gzip" in headers.get(b"accept-encoding", b""),
                accept=headers.get(b"accept", b"").decode("latin-1"),
            )
            BODY.set(request.body)
            try:
                body = _changed_body(body, request)
            except ApiError as error:
                await error.response()(scope, receive, send)
                return
            await self._serve(scope, _replayed(body, receive), send, request)

    async def _serve_socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a connection, whose requests all show the same faults."""
        try:
            faults = self._faults(scope)
        except FaultError as error:
            await ApiError(400, str(error)).response()(scope, receive, send)
            return
        with activated(faults):
            await _Socket(self._app, self._served).serve(scope, receive, send)

    def _faults(self, scope: Scope) -> Sequence[Fault]:
        number = next(self._numbers)
        named = dict(scope["headers"]).get(HEADER, b"").decode("latin-1")
        _NAMED.set(named)
        if not self._by_request or not named:
            return self._plan.of(number)
        plan = read_plan([named])
        if any(fault.of_engine for fault in plan.faults):
            raise FaultError(f"A request cannot choose a fault of the engine: {named}.")
        return plan.of(number)

    async def _serve(
        self, scope: Scope, receive: Receive, send: Send, request: ClientRequest
    ) -> None:
        inbox: _Inbox = asyncio.Queue()

        async def work() -> None:
            try:
                await self._app(scope, receive, inbox.put)
            finally:
                inbox.put_nowait(None)

        task = asyncio.create_task(work())
        try:
            await _forward(inbox, send, request)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


_CLOSED = 1011  # the code of RFC 6455 (7.4.1) for an unexpected condition
_SOCKET_ENDS = frozenset({"response.completed", "response.incomplete", "response.failed", "error"})


class _Socket:
    """A WebSocket connection with the hooks REQUEST, PAYLOAD and SOCKET."""

    def __init__(self, app: ASGIApp, served: str) -> None:
        self._app = app
        self._request = ClientRequest("responses", {}, served)
        self._waiting = 0
        self._events: asyncio.Queue[Message | None] = asyncio.Queue()

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the connection until it is closed."""

        async def received() -> Message:
            while True:
                message = await receive()
                if (text := message.get("text")) is None:
                    return message
                self._waiting += 1
                self._request = replace(self._request, body=_object(text.encode()))
                try:
                    return {**message, "text": _changed_body(text.encode(), self._request).decode()}
                except ApiError as error:
                    event = {"type": "error", "status": error.status, **error.body()}
                    self._events.put_nowait(_sent(event))

        async def work() -> None:
            try:
                await self._app(scope, received, self._events.put)
            finally:
                self._events.put_nowait(None)

        task = asyncio.create_task(work())
        try:
            await self._forward(send)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _forward(self, send: Send) -> None:
        async def events() -> hooks.SocketEvents:
            while (message := await self._events.get()) is not None:
                if message["type"] != "websocket.send":
                    await send(message)
                    continue
                event = changed(hooks.PAYLOAD, orjson.loads(message["text"]), self._request)
                yield event
                self._waiting -= event["type"] in _SOCKET_ENDS

        healthy: hooks.SocketEvents = events()
        async for event in changed(hooks.SOCKET, healthy, lambda: self._waiting):
            if event is None:
                await send({"type": "websocket.close", "code": _CLOSED})
                return
            await send(_sent(event))


def _sent(event: Json) -> Message:
    return {"type": "websocket.send", "text": orjson.dumps(event).decode()}


def _object(body: bytes) -> Json:
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return data if isinstance(data, dict) else {}


def _changed_body(body: bytes, request: ClientRequest) -> bytes:
    if not active_changes(hooks.REQUEST):
        return body
    try:
        data = changed(hooks.REQUEST, _object(body), request)
    except (AttributeError, KeyError, TypeError):  # Malformed: the healthy server refuses it.
        return body
    return orjson.dumps(data) if data else body


def _replayed(body: bytes, receive: Receive) -> Receive:
    first: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def next_message() -> Message:
        return first.pop() if first else await receive()

    return next_message


async def _forward(inbox: _Inbox, send: Send, request: ClientRequest) -> None:
    start = await inbox.get()
    if start is None:
        return
    headers = {name.decode(): value.decode() for name, value in start["headers"]}
    reply = Reply(start["status"], headers)
    if reply.streamed:
        await _send_stream(reply, inbox, send, request)
        return
    body = b"".join([piece async for piece in _bodies(inbox)])
    reply = whole(replace(reply, body=body), request)
    await send(_start(reply, {"content-length": str(len(reply.body))}))
    await send({"type": "http.response.body", "body": reply.body, "more_body": False})


async def _send_stream(head: Reply, inbox: _Inbox, send: Send, request: ClientRequest) -> None:
    await send(_start(changed(hooks.REPLY, head, request), {}))
    async with aclosing(events_of(_bodies(inbox), request)) as healthy:
        events: SseStream = healthy
        async for event in changed(hooks.STREAM, events, request):
            await send({"type": "http.response.body", "body": event.encode(), "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _bodies(inbox: _Inbox) -> AsyncGenerator[bytes]:
    while (message := await inbox.get()) is not None:
        yield cast("bytes", message.get("body", b""))


def _start(reply: Reply, more: dict[str, str]) -> Message:
    headers: Sequence[tuple[bytes, bytes]] = [
        (name.encode(), value.encode()) for name, value in (reply.headers | more).items()
    ]
    return {"type": "http.response.start", "status": reply.status, "headers": headers}


class FaultyGeneration(Generation):
    """A generation with the hooks GENERATION, PROMPT and PARSER."""

    def __init__(self, engine: TokenSource, request: GenerationRequest) -> None:
        super().__init__(engine, changed(hooks.GENERATION, request))

    def render(self, conversation: Conversation) -> list[int]:
        """Return the tokens of the prompt."""
        return changed(hooks.PROMPT, super().render(conversation), conversation)

    def new_parser(self) -> HarmonyParser:
        """Return the parser of the model's tokens."""
        return changed(hooks.PARSER, super().new_parser(), self._request)


class FaultyEngine:
    """An engine with the hooks INPUT, SAMPLING and LOGITS around another engine."""

    def __init__(self, engine: TokenSource) -> None:
        self._engine = engine
        self.max_context = engine.max_context

    def generate(self, prompt: Sequence[int], params: SamplingParams) -> AsyncGenerator[Token]:
        """Sample tokens, see `TokenSource`."""
        read = changed(hooks.INPUT, list(prompt))
        params = changed(hooks.SAMPLING, params)
        if adjusters := active_changes(hooks.LOGITS):
            params = AdjustedParams(**vars(params), adjusters=tuple(adjusters), tokens=list(read))
        return self._engine.generate(read, params)


@dataclass(frozen=True, kw_only=True)
class AdjustedParams(SamplingParams):
    """Sampling with adjusted logits. `tokens` are the prompt and the tokens sampled so far."""

    adjusters: Sequence[Callable[[Tensor, Sequence[int]], Tensor]]
    tokens: list[int] = field(compare=False)


def adjusted_sample(logits: Logits, draws: Sequence[Draw]) -> list[Token | None]:
    """Sample as `sample` does, after each request's faults have changed its logits."""
    unused = Draw(SamplingParams(temperature=0), seed=0, step=0)
    plain = [unused if isinstance(draw.params, AdjustedParams) else draw for draw in draws]
    tokens = sample(logits, plain)
    for row, draw in enumerate(draws):
        if isinstance(params := draw.params, AdjustedParams):
            values = logits.of([row])
            for adjust in params.adjusters:
                values = adjust(values[0], params.tokens)[None]
            [token] = sample(AllLogits(values), [draw])
            tokens[row] = token
            if token is not None:
                params.tokens.append(token.id)
    return tokens


_SECONDS_PER_TOKEN = 0.001
"""A finished completion also arrives token by token, as if a fast engine generated it."""

_Prompt = tuple[tuple[int, ...], SamplingParams]


class SharedCompletions:
    """Each fault's n-th request with a prompt and equal sampling gets the same completion.

    Most faults change requests and replies, not what the model generates: runs against many of them
    send the same prompts. Each repetition of a prompt needs its own completion, but two faults can
    share the same ones.
    """

    def __init__(self, engine: TokenSource) -> None:
        self._engine = engine
        self.max_context = engine.max_context
        self._completions: dict[_Prompt, list[_Completion]] = defaultdict(list)
        self._requests = Counter[tuple[str, _Prompt]]()

    async def generate(
        self, prompt: Sequence[int], params: SamplingParams
    ) -> AsyncGenerator[Token]:
        """Yield tokens, see `TokenSource`."""
        key = (tuple(prompt), params)
        shared, number = self._completions[key], self._requests[_NAMED.get(), key]
        self._requests[_NAMED.get(), key] += 1
        if number == len(shared) or shared[number].failed:
            shared[number : number + 1] = [_Completion(self._engine.generate(prompt, params))]
        async with aclosing(shared[number].read()) as tokens:
            async for token in tokens:
                yield token


class _Completion:
    """The tokens that a task receives from the engine as long as a request reads them."""

    def __init__(self, source: AsyncGenerator[Token]) -> None:
        self._tokens: list[Token] = []
        self._readers = 0
        self._more = asyncio.Event()
        self._task = asyncio.create_task(self._receive(source))

    @property
    def failed(self) -> bool:
        """Whether the engine failed, or all requests left before the end."""
        task = self._task
        return task.cancelling() > 0 or (task.done() and task.exception() is not None)

    async def _receive(self, source: AsyncGenerator[Token]) -> None:
        try:
            async with aclosing(source):
                async for token in source:
                    self._tokens.append(token)
                    self._wake()
        finally:
            self._wake()

    def _wake(self) -> None:
        self._more.set()
        self._more = asyncio.Event()

    async def read(self) -> AsyncGenerator[Token]:
        """Yield all tokens. Raises what the engine raised."""
        self._readers += 1
        try:
            position = 0
            while position < len(self._tokens) or not self._task.done():
                if position == len(self._tokens):
                    await self._more.wait()
                    continue
                await asyncio.sleep(_SECONDS_PER_TOKEN)
                yield self._tokens[position]
                position += 1
            self._task.result()
        finally:
            self._readers -= 1
            if not self._readers and not self._task.done():
                self._task.cancel()


def faulty_parts(options: Sequence[str], *, by_request: bool = False) -> Parts:
    """Return the parts of a server with these faults; see `read_plan` for the options.

    With `by_request`, a request can name its faults in `HEADER`; they replace these, and
    requests with different faults share completions, see `SharedCompletions`. Raises FaultError.
    """
    plan = read_plan(options)

    def create_faulty_app(engine: TokenSource, settings: AppSettings) -> Starlette:
        if by_request:
            engine = SharedCompletions(engine)
        app = create_app(FaultyEngine(engine), settings, FaultyGeneration)
        app.add_middleware(
            FaultyHttp, plan=plan, served=settings.model_names[0], by_request=by_request
        )
        return app

    return Parts(plan.damage, adjusted_sample, create_faulty_app, plan.forward)
