"""What a server is made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from starlette.applications import Starlette

from reference_engine.backends.base import TokenSource
from reference_engine.generation.sampling import Sampler, sample
from reference_engine.model.transformer import Transformer
from reference_engine.server.app import create_app
from reference_engine.server.settings import AppSettings


def _as_loaded(model: Transformer) -> Transformer:
    return model


@dataclass(frozen=True)
class Parts:
    """What is done with the loaded model, what draws tokens, and the application around them."""

    model: Callable[[Transformer], Transformer] = _as_loaded
    sampler: Sampler = sample
    app: Callable[[TokenSource, AppSettings], Starlette] = create_app
