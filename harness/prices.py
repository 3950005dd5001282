"""What tokens cost. Pure."""

from __future__ import annotations

from harness.providers import Prices

CHARACTERS_PER_TOKEN = 4
"""Of English text, where nobody counted; assumed."""


def dollars(prices: Prices, given: int, made: int) -> float:
    """What so many tokens cost, `given` in prompts and `made` in replies."""
    return (given * prices.input + made * prices.output) / 1_000_000
