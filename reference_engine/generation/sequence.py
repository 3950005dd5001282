"""A request in the model: its tokens, its cached part, and the token that it gains in a step."""

from dataclasses import dataclass, field

from reference_engine.generation.sampling import Constraint, Draw, SamplingParams, Token, seed_of
from reference_engine.kv_cache.pages import BlockTable, block_hashes


@dataclass(eq=False)
class Sequence:
    """The state of a request in the model."""

    prompt: tuple[int, ...]
    params: SamplingParams
    seed: int = field(init=False)  # the seed of the random draws
    tokens: list[int] = field(init=False)  # the prompt and the generated tokens
    hashes: list[bytes] = field(init=False)
    """The hashes of the prompt's full blocks, see `kv_cache.pages`."""
    cached: int = 0  # number of tokens in the cache
    reused: int = 0  # number of prompt tokens found in the cache before the first token
    constraint: Constraint | None = None  # restricts the next token
    order: int = 0  # position in the order in which sequences joined
    table: BlockTable | None = None  # the pages; None while the sequence waits for pages
    launched: int = 0  # number of tokens that are being drawn and have not been read
    removed: bool = False  # whether the scheduler has removed the sequence

    def __post_init__(self) -> None:
        self.seed = seed_of(self.params)
        self.tokens = list(self.prompt)
        self.hashes = block_hashes(self.prompt)
        if self.params.grammar is not None:
            self.constraint = self.params.grammar.start(self.prompt)

    @property
    def in_prefill(self) -> bool:
        """Whether a part of the prompt is not in the cache yet."""
        return self.cached < len(self.prompt)

    @property
    def generated(self) -> int:
        """The number of generated tokens, with those that have not been read."""
        return len(self.tokens) - len(self.prompt) + self.launched

    def draw(self) -> Draw:
        """Return the draw of the next token.

        While the sequence recomputes its tokens, it gains none, and the constraint gets none.
        """
        gains = self.cached + 1 >= len(self.tokens)
        constraint = self.constraint if gains else None
        generated = self.tokens[len(self.prompt) :] if self.params.penalizes else ()
        return Draw(self.params, self.seed, self.generated, constraint, generated)

    def is_full(self, max_context: int) -> bool:
        """Return whether the sequence has reached its maximum number of tokens."""
        length = len(self.prompt) + self.generated
        return self.generated >= self.params.max_tokens or length >= max_context


@dataclass(frozen=True)
class Step:
    """The token that one sequence gained in a step; None if the model's logits are not finite."""

    sequence: Sequence
    token: Token | None
    finished: bool
