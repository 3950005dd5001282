"""Puts a server with faults together."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.applications import Starlette

from reference_engine.backends.base import TokenSource
from reference_engine.faults.catalogue import CATALOGUE
from reference_engine.faults.inside import FaultyEngine, FaultyGeneration, adjusted_sample
from reference_engine.faults.plan import FaultError, read_plan
from reference_engine.faults.wire import FaultyWire
from reference_engine.server.app import create_app
from reference_engine.server.parts import Parts
from reference_engine.server.settings import AppSettings

__all__ = ["FaultError", "faulty_parts"]


def faulty_parts(options: Sequence[str], *, by_request: bool = False) -> Parts:
    """What a server with these faults is made of; see `read_plan` for the options.

    With `by_request`, requests may name further ones; see `reference_engine.faults.wire.HEADER`.

    Raises:
        FaultError: A name is unknown, or a rate is none.
    """
    plan = read_plan(options, CATALOGUE)

    def create_faulty_app(engine: TokenSource, settings: AppSettings) -> Starlette:
        app = create_app(FaultyEngine(engine), settings, FaultyGeneration)
        app.add_middleware(
            FaultyWire, plan=plan, served=settings.model_names[0], by_request=by_request
        )
        return app

    return Parts(plan.damage, adjusted_sample, create_faulty_app)
