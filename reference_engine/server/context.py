"""What the handlers of all endpoints share."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from starlette.requests import Request

from reference_engine.backends.base import TokenSource
from reference_engine.server.connection import read_body
from reference_engine.server.errors import ApiError
from reference_engine.server.generation import Generation
from reference_engine.server.settings import AppSettings


@dataclass(frozen=True)
class Context:
    """The engine, the settings, what runs an order, and the event that ends requests in flight."""

    engine: TokenSource
    settings: AppSettings
    generation: type[Generation] = Generation
    stop: asyncio.Event = field(default_factory=asyncio.Event)

    async def body(self, request: Request) -> bytes:
        """The request's body.

        Raises:
            ApiError: It is compressed or too large.
            ClientDisconnect: The client went away.
        """
        encoding = request.headers.get("content-encoding", "identity")
        if encoding.lower() not in {"", "identity"}:
            message = f"The request body is encoded as '{encoding}': send it uncompressed."
            raise ApiError(415, message, code="unsupported_content_encoding")
        return await read_body(request, self.settings.max_body_bytes)

    def require_model(self, name: str) -> None:
        """Refuse a model that is not ours.

        Raises:
            ApiError: A 404 that names the ones there are.
        """
        if name not in self.settings.model_names:
            known = ", ".join(self.settings.model_names)
            message = f"The model '{name}' does not exist here; there is: {known}."
            raise ApiError(404, message, param="model", code="model_not_found")
