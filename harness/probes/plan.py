"""What a request of a probe carries."""

from __future__ import annotations

from dataclasses import replace

from harness.api.base import Settings
from harness.probes.base import Ask


def settings_of(ask: Ask, settings: Settings) -> Settings:
    """What a request for an ask carries: the provider's settings with those of the ask."""
    return replace(
        settings,
        reasoning_effort=ask.effort,
        temperature=ask.temperature,
        max_tokens=ask.max_tokens,
        seed=ask.seed,
        stored=ask.stored,
        extra_body={**(settings.extra_body or {}), **ask.options},
    )
