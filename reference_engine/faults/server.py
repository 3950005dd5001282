"""Builds a server with faults: the hooks between HTTP and the model, and the app around them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, field

from starlette.applications import Starlette
from torch import Tensor

from harmony.conversation import Conversation
from harmony.parse import HarmonyParser
from reference_engine.backends.base import TokenSource
from reference_engine.faults.base import active_changes
from reference_engine.faults.catalogue import read_plan
from reference_engine.faults.hooks import (
    GENERATION,
    INPUT,
    LOGITS,
    PARSER,
    PROMPT,
    SAMPLING,
    TOKENS,
)
from reference_engine.faults.wire import FaultyHttp
from reference_engine.generation.sampling import Draw, SamplingParams, Token, sample
from reference_engine.server.app import create_app
from reference_engine.server.generation import Generation, GenerationRequest
from reference_engine.server.opening import Parts
from reference_engine.server.settings import AppSettings


class FaultyGeneration(Generation):
    """A generation with the hooks GENERATION, PROMPT and PARSER."""

    def __init__(self, engine: TokenSource, request: GenerationRequest) -> None:
        for change in active_changes(GENERATION):
            request = change(request)
        super().__init__(engine, request)

    def render(self, conversation: Conversation) -> list[int]:
        """The tokens of the prompt."""
        tokens = super().render(conversation)
        for change in active_changes(PROMPT):
            tokens = change(tokens, conversation)
        return tokens

    def new_parser(self) -> HarmonyParser:
        """The parser of the model's tokens."""
        parser = super().new_parser()
        for change in active_changes(PARSER):
            parser = change(parser, self._request)
        return parser


class FaultyEngine:
    """An engine with the hooks INPUT, SAMPLING, LOGITS and TOKENS around another engine."""

    def __init__(self, engine: TokenSource) -> None:
        self._engine = engine
        self.max_context = engine.max_context

    def generate(self, prompt: Sequence[int], params: SamplingParams) -> AsyncGenerator[Token]:
        """Sample tokens, see `TokenSource`."""
        read = list(prompt)
        for change_input in active_changes(INPUT):
            read = change_input(read)
        for change_sampling in active_changes(SAMPLING):
            params = change_sampling(params)
        if adjusters := active_changes(LOGITS):
            params = AdjustedParams(**vars(params), adjusters=adjusters, tokens=list(read))
        tokens = self._engine.generate(read, params)
        for change_tokens in active_changes(TOKENS):
            tokens = change_tokens(tokens)
        return tokens


@dataclass(frozen=True, kw_only=True)
class AdjustedParams(SamplingParams):
    """Sampling with adjusted logits. `tokens` are the prompt and the tokens sampled so far."""

    adjusters: Sequence[Callable[[Tensor, Sequence[int], int], Tensor]]
    tokens: list[int] = field(compare=False)


def adjusted_sample(logits: Tensor, draws: Sequence[Draw]) -> list[Token]:
    """Like `sample`, after each request's faults have changed its logits."""
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


def faulty_parts(options: Sequence[str], *, by_request: bool = False) -> Parts:
    """The parts of a server with these faults; see `read_plan` for the options.

    With `by_request`, the header `reference_engine.faults.wire.HEADER` of a request replaces them.

    Raises:
        FaultError: A name is unknown, or a rate is invalid.
    """
    plan = read_plan(options)

    def create_faulty_app(engine: TokenSource, settings: AppSettings) -> Starlette:
        app = create_app(FaultyEngine(engine), settings, FaultyGeneration)
        app.add_middleware(
            FaultyHttp, plan=plan, served=settings.model_names[0], by_request=by_request
        )
        return app

    return Parts(plan.damage, adjusted_sample, create_faulty_app)
