"""The HTTP application: routes, authentication, and errors in OpenAI's format."""

import hmac
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from reference_engine.backends.token_source import TokenSource
from reference_engine.metrics import CONTENT_TYPE, EngineMetrics
from reference_engine.server.api_error import ApiError, internal_error, json_response
from reference_engine.server.chat_completions import create_completion
from reference_engine.server.connection import RequestContext
from reference_engine.server.generation import Generation
from reference_engine.server.raw_completions import create_raw_completion
from reference_engine.server.responses.handler import ResponsesHandler
from reference_engine.server.responses.socket import ResponsesSocket
from reference_engine.server.settings import AppSettings

logger = logging.getLogger(__name__)

Endpoint = Callable[[Request], Awaitable[Response]]
_OPEN_PATHS = frozenset({"/health"})
_STARTS = frozenset({"http.response.start", "websocket.accept", "websocket.http.response.start"})
"""The messages of ASGI that have the headers of a reply."""


def create_app(
    engine: TokenSource, settings: AppSettings, generation: type[Generation] = Generation
) -> Starlette:
    """Create the application for an engine. Setting `app.state.stop` ends all requests."""
    context = RequestContext(engine, settings, generation)
    app = Starlette(
        routes=_routes(context),
        middleware=_middleware(settings),
        exception_handlers={
            ApiError: _api_error,
            HTTPException: _http_error,
            ClientDisconnect: _client_gone,
        },
    )
    app.router.redirect_slashes = False
    app.state.stop = context.stop
    return app


def _middleware(settings: AppSettings) -> Sequence[Middleware]:
    """Return the middleware; origins come first: browsers' preflight requests have no key."""
    inner = [Middleware(_RequestId), Middleware(_Authentication, api_key=settings.api_key)]
    if not settings.allowed_origins:
        return inner
    origins = Middleware(
        CORSMiddleware,
        allow_origins=settings.allowed_origins,
        allow_methods=["*"],
        allow_headers=["*"],
        expose_headers=["retry-after", "x-request-id"],
    )
    return [origins, *inner]


def _routes(context: RequestContext) -> Sequence[BaseRoute]:
    chat = partial(create_completion, context)
    raw = partial(create_raw_completion, context)
    responses = ResponsesHandler(context)
    models = partial(_models, context, int(time.time()))
    stored = "/v1/responses/{response_id}"
    return [
        Route("/v1/chat/completions", _guarded(chat), methods=["POST"]),
        Route("/v1/completions", _guarded(raw), methods=["POST"]),
        Route("/v1/responses", _guarded(responses.create), methods=["POST"]),
        WebSocketRoute("/v1/responses", ResponsesSocket(context, responses).serve),
        Route(stored, _guarded(responses.stored), methods=["GET", "DELETE"]),
        Route(f"{stored}/input_items", _guarded(responses.input_items), methods=["GET"]),
        Route(f"{stored}/cancel", _guarded(responses.cancel), methods=["POST"]),
        Route("/v1/models", _guarded(models), methods=["GET"]),
        Route("/v1/models/{model:path}", _guarded(models), methods=["GET"]),
        Route("/health", partial(_health, context), methods=["GET"]),
    ]


def metrics_route(metrics: EngineMetrics) -> Route:
    """Return the route of an engine's metrics."""

    async def show(_: Request) -> Response:
        return Response(metrics.text(), headers={"content-type": CONTENT_TYPE})

    return Route("/metrics", show, methods=["GET"])


async def _models(context: RequestContext, created: int, request: Request) -> Response:
    """Return one model id, or all of them. Raises ApiError if the id is unknown."""
    about = {"object": "model", "created": created, "owned_by": "reference"}
    if (name := request.path_params.get("model")) is not None:
        context.require_model(name)
        return json_response({"id": name, **about})
    data = [{"id": name, **about} for name in context.settings.model_names]
    return json_response({"object": "list", "data": data})


async def _health(context: RequestContext, _: Request) -> Response:
    """Return 200 if the server is ready, or 503 if it is stopping."""
    if context.stop.is_set():
        return json_response({"status": "stopping"}, 503)
    return json_response({"status": "ok"})


class _RequestId:
    """Gives each reply a new id in the header `x-request-id`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        header = (b"x-request-id", f"req_{secrets.token_hex(16)}".encode())

        async def send_with_id(message: Message) -> None:
            if message["type"] in _STARTS:
                message = {**message, "headers": [*message.get("headers", ()), header]}
            await send(message)

        await self._app(scope, receive, send_with_id)


class _Authentication:
    """Requires the API key, if one is set, for everything except the health check."""

    def __init__(self, app: ASGIApp, api_key: str | None) -> None:
        self._app = app
        self._expected = api_key.encode() if api_key else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._expected is None or scope["path"] in _OPEN_PATHS:
            await self._app(scope, receive, send)
            return
        given = dict(scope["headers"]).get(b"authorization", b"")
        scheme, _, key = given.partition(b" ")  # RFC 9110: schemes are case-insensitive
        if scheme.lower() == b"bearer" and hmac.compare_digest(key.strip(), self._expected):
            await self._app(scope, receive, send)
            return
        what = "Incorrect API key provided." if given else "You didn't provide an API key."
        message = f"{what} Send it as 'Authorization: Bearer KEY'."
        headers = {"WWW-Authenticate": "Bearer"}
        error = ApiError(401, message, code="invalid_api_key", headers=headers)
        await error.response()(scope, receive, send)


async def _api_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return error.response()


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    where = f"{request.method} {request.url.path}"
    status = error.status_code
    if status == 405 and request.method == "POST" and "response_id" in request.path_params:
        status = 404  # such as /v1/responses/compact, which is an endpoint and not an id
    known = {
        404: (f"Unknown request URL: {where}.", "unknown_url"),
        405: (f"Method not allowed: {where}.", "method_not_allowed"),
    }
    message, code = known.get(status, (error.detail, None))
    return ApiError(status, message, code=code, headers=error.headers).response()


async def _client_gone(_: Request, __: Exception) -> Response:
    return Response(status_code=499)


def _guarded(endpoint: Endpoint) -> Endpoint:
    """Wrap an endpoint: log unexpected exceptions and return them in OpenAI's format."""

    async def serve(request: Request) -> Response:
        try:
            return await endpoint(request)
        except (ApiError, HTTPException, ClientDisconnect):
            raise
        except Exception:
            logger.exception("%s %s failed", request.method, request.url.path)
            return internal_error().response()

    return serve
