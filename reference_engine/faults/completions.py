"""Completions of an engine that requests with different faults share.

Most faults change requests and replies, not what the model generates: runs against many of them
send the same prompts. Each repetition of a prompt needs its own completion, but two faults can
share the same ones.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from contextvars import ContextVar

from reference_engine.backends.base import TokenSource
from reference_engine.generation.sampling import SamplingParams, Token

NAMED: ContextVar[str] = ContextVar("named_faults", default="")
"""The faults that the current request names, whether or not they affect it."""

_SECONDS_PER_TOKEN = 0.001
"""A finished completion also arrives token by token, as if a fast engine generated it."""

_Prompt = tuple[tuple[int, ...], SamplingParams]


class SharedCompletions:
    """Each fault's n-th request with a prompt and equal sampling gets the same completion."""

    def __init__(self, engine: TokenSource) -> None:
        self._engine = engine
        self.max_context = engine.max_context
        self._completions: dict[_Prompt, list[_Completion]] = defaultdict(list)
        self._requests = Counter[tuple[str, _Prompt]]()

    async def generate(
        self, prompt: Sequence[int], params: SamplingParams
    ) -> AsyncGenerator[Token]:
        """Yield tokens, see `TokenSource`."""
        key = (tuple(prompt), params)
        shared, number = self._completions[key], self._requests[NAMED.get(), key]
        self._requests[NAMED.get(), key] += 1
        if number == len(shared) or shared[number].failed:
            shared[number : number + 1] = [_Completion(self._engine.generate(prompt, params))]
        async with aclosing(shared[number].read()) as tokens:
            async for token in tokens:
                yield token


class _Completion:
    """The tokens that a task receives from the engine as long as a request reads them."""

    def __init__(self, source: AsyncGenerator[Token]) -> None:
        self._tokens: list[Token] = []
        self._readers = 0
        self._more = asyncio.Event()
        self._task = asyncio.create_task(self._receive(source))

    @property
    def failed(self) -> bool:
        """Whether the engine failed, or all requests left before the end."""
        task = self._task
        return task.cancelling() > 0 or (task.done() and task.exception() is not None)

    async def _receive(self, source: AsyncGenerator[Token]) -> None:
        try:
            async with aclosing(source):
                async for token in source:
                    self._tokens.append(token)
                    self._wake()
        finally:
            self._wake()

    def _wake(self) -> None:
        self._more.set()
        self._more = asyncio.Event()

    async def read(self) -> AsyncGenerator[Token]:
        """Yield all tokens. Raises what the engine raised."""
        self._readers += 1
        try:
            position = 0
            while position < len(self._tokens) or not self._task.done():
                if position == len(self._tokens):
                    await self._more.wait()
                    continue
                await asyncio.sleep(_SECONDS_PER_TOKEN)
                yield self._tokens[position]
                position += 1
            self._task.result()
        finally:
            self._readers -= 1
            if not self._readers and not self._task.done():
                self._task.cancel()
