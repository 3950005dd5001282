"""Completions of an engine, kept and given again to requests with other faults.

Most faults change requests and replies, not what the model generates: runs against many of them
send the same prompts. Each needs a completion of its own for every repetition of a prompt, but two
faults can have the same ones.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from contextvars import ContextVar

from reference_engine.backends.base import TokenSource
from reference_engine.generation.sampling import SamplingParams, Token

_SECONDS_PER_TOKEN = 0.001
"""A repeated completion arrives token by token, as a fast engine would generate it."""

NAMED: ContextVar[str] = ContextVar("named_faults", default="")
"""The faults that the current request names, whether or not they affect it."""

Prompt = tuple[tuple[int, ...], SamplingParams]


class KeptCompletions:
    """An engine that generates the n-th completion of a prompt once for all faults.

    With equal sampling parameters, the n-th request of each fault with a prompt gets the same
    tokens. Completions that the server did not read to their end are not kept.
    """

    def __init__(self, engine: TokenSource) -> None:
        self._engine = engine
        self.max_context = engine.max_context
        self._kept: dict[Prompt, list[Sequence[Token]]] = defaultdict(list)
        self._given = Counter[tuple[str, Prompt]]()

    async def generate(
        self, prompt: Sequence[int], params: SamplingParams
    ) -> AsyncGenerator[Token]:
        """Yield kept or new tokens, see `TokenSource`."""
        key = (tuple(prompt), params)
        kept, number = self._kept[key], self._given[NAMED.get(), key]
        self._given[NAMED.get(), key] += 1
        if number < len(kept):
            for token in kept[number]:
                await asyncio.sleep(_SECONDS_PER_TOKEN)
                yield token
            return
        tokens: list[Token] = []
        try:
            async with aclosing(self._engine.generate(prompt, params)) as generated:
                async for token in generated:
                    tokens.append(token)
                    yield token
        finally:
            ended = tokens and tokens[-1].id in params.stop_token_ids
            if ended or len(tokens) == params.max_tokens:
                kept.append(tokens)
