"""Serves /metrics."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from reference_engine.metrics import CONTENT_TYPE, EngineMetrics


def metrics_route(metrics: EngineMetrics) -> Route:
    """The route that tells an engine's metrics."""

    async def tell(_: Request) -> Response:
        return Response(metrics.text(), headers={"content-type": CONTENT_TYPE})

    return Route("/metrics", tell, methods=["GET"])
