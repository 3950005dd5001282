"""Serves /v1/models and /health."""

from __future__ import annotations

import time
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from reference_engine.server.context import Context


class ModelsHandler:
    """Tells which model there is, and that the server is up."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._created = int(time.time())

    async def list(self, _: Request) -> Response:
        """All ids of the model."""
        data = [self._model(name) for name in self._context.settings.model_names]
        return _json({"object": "list", "data": data})

    async def get(self, request: Request) -> Response:
        """One id of the model.

        Raises:
            ApiError: There is no such id.
        """
        name = request.path_params["model"]
        self._context.require_model(name)
        return _json(self._model(name))

    async def health(self, _: Request) -> Response:
        """Up, and ready for requests."""
        return _json({"status": "ok"})

    def _model(self, name: str) -> dict[str, Any]:
        return {"id": name, "object": "model", "created": self._created, "owned_by": "reference"}


def _json(data: dict[str, Any]) -> Response:
    return Response(orjson.dumps(data), media_type="application/json")
