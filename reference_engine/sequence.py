"""A request on its way through the model, and what it gains in a step."""

from __future__ import annotations

from dataclasses import dataclass, field

from reference_engine.block_table import BlockTable, block_names
from reference_engine.sampling import SamplingParams, Token, seed_of


@dataclass(eq=False)
class Sequence:
    """A request on its way through the model.

    Attributes:
        seed: Of the draws.
        tokens: The prompt, then what was generated.
        names: The names of the prompt's full blocks, see `block_table`.
        cached: How many of the tokens the cache holds.
        order: Which of all sequences it was to join.
        table: Its pages, None while it waits for any.
    """

    prompt: tuple[int, ...]
    params: SamplingParams
    seed: int = field(init=False)
    tokens: list[int] = field(init=False)
    names: list[bytes] = field(init=False)
    cached: int = 0
    order: int = 0
    table: BlockTable | None = None

    def __post_init__(self) -> None:
        self.seed = seed_of(self.params)
        self.tokens = list(self.prompt)
        self.names = block_names(self.prompt)

    @property
    def reading(self) -> bool:
        """Whether part of the prompt has still to be read."""
        return self.cached < len(self.prompt)

    @property
    def generated(self) -> int:
        """How many tokens were generated."""
        return len(self.tokens) - len(self.prompt)


@dataclass(frozen=True)
class Step:
    """What one sequence gained in a step."""

    sequence: Sequence
    token: Token
    finished: bool
