"""The faulty server between HTTP and the model: the seams of a generation and of the engine."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from harmony.conversation import Conversation
from harmony.parse import HarmonyParser
from reference_engine.backends.base import TokenSource
from reference_engine.faults.active import changes
from reference_engine.faults.seams import LOGITS, ORDER, PARAMS, PARSER, PROMPT, READ, TOKENS
from reference_engine.generation.sampling import Draw, SamplingParams, Token, sample
from reference_engine.server.generation import Generation, Order


class FaultyGeneration(Generation):
    """A generation with the seams ORDER, PROMPT and PARSER."""

    def __init__(self, engine: TokenSource, order: Order) -> None:
        for change in changes(ORDER):
            order = change(order)
        super().__init__(engine, order)

    def render(self, conversation: Conversation) -> list[int]:
        """The tokens of the prompt."""
        tokens = super().render(conversation)
        for change in changes(PROMPT):
            tokens = change(tokens, conversation)
        return tokens

    def new_parser(self) -> HarmonyParser:
        """What reads the model's tokens."""
        parser = super().new_parser()
        for change in changes(PARSER):
            parser = change(parser, self._order)
        return parser


class FaultyEngine:
    """An engine with the seams READ, PARAMS, LOGITS and TOKENS around another one."""

    def __init__(self, engine: TokenSource) -> None:
        self._engine = engine
        self.max_context = engine.max_context

    def generate(self, prompt: Sequence[int], params: SamplingParams) -> AsyncGenerator[Token]:
        """Sample tokens, see `TokenSource`."""
        read = list(prompt)
        for change_read in changes(READ):
            read = change_read(read)
        for change_params in changes(PARAMS):
            params = change_params(params)
        if adjusters := changes(LOGITS):
            params = AdjustedParams(**vars(params), adjusters=adjusters, tokens=list(read))
        tokens = self._engine.generate(read, params)
        for change_tokens in changes(TOKENS):
            tokens = change_tokens(tokens)
        return tokens


@dataclass(frozen=True, kw_only=True)
class AdjustedParams(SamplingParams):
    """Sampling whose logits are changed first; `tokens` are the prompt's and those drawn so far."""

    adjusters: Sequence[Callable[[Tensor, Sequence[int], int], Tensor]]
    tokens: list[int] = field(compare=False)


def adjusted_sample(logits: Tensor, draws: Sequence[Draw]) -> list[Token]:
    """What `sample` does, after the changes that each request's faults make to its logits."""
    logits = logits.clone()
    for row, draw in enumerate(draws):
        if isinstance(draw.params, AdjustedParams):
            for adjust in draw.params.adjusters:
                logits[row] = adjust(logits[row], draw.params.tokens, draw.step)
    drawn = sample(logits, draws)
    for token, draw in zip(drawn, draws, strict=True):
        if isinstance(draw.params, AdjustedParams):
            draw.params.tokens.append(token.id)
    return drawn
