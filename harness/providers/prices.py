"""What tokens cost."""

from __future__ import annotations

from pydantic import Field

from harness.providers.yaml_files import Entry

CHARACTERS_PER_TOKEN = 4
"""Of English text, where nobody counted; assumed."""


class Prices(Entry):
    """What a provider asks for a million tokens, in US dollars."""

    input: float = Field(ge=0)
    output: float = Field(ge=0)


def dollars(prices: Prices, given: int, made: int) -> float:
    """What so many tokens cost, `given` in prompts and `made` in replies."""
    return (given * prices.input + made * prices.output) / 1_000_000
