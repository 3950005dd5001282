"""A Chat Completions reply as server-sent events."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

import orjson

from reference_engine.generation.sampling import Token
from reference_engine.server.chat.choices import numbered
from reference_engine.server.chat.reply import Deltas, Head, usage_of
from reference_engine.server.errors import ApiError
from reference_engine.server.generation import Generation
from reference_engine.server.logprobs import logprob

DONE = b"data: [DONE]\n\n"


def encode(data: object) -> bytes:
    """One event."""
    return b"data: " + orjson.dumps(data) + b"\n\n"


def error_event(error: ApiError) -> bytes:
    """The event that ends a stream which cannot go on."""
    return encode(error.body())


class Chunks:
    """Writes the chunks of one reply."""

    def __init__(self, head: Head, *, include_usage: bool, logprobs: bool) -> None:
        self._fields = head.fields("chat.completion.chunk")
        if include_usage:
            self._fields["usage"] = None
        self._logprobs = logprobs

    def chunk(
        self,
        index: int,
        delta: dict[str, Any],
        *,
        finish_reason: str | None = None,
        tokens: Sequence[Token] = (),
    ) -> bytes:
        """A chunk of one choice."""
        logprobs = {"content": [logprob(token) for token in tokens], "refusal": None}
        choice = {
            "index": index,
            "delta": delta,
            "logprobs": logprobs if tokens and self._logprobs else None,
            "finish_reason": finish_reason,
        }
        return encode(self._fields | {"choices": [choice]})

    def usage(self, usage: dict[str, Any]) -> bytes:
        """The chunk that has no choices."""
        return encode(self._fields | {"choices": [], "usage": usage})


async def events(
    head: Head,
    generations: Sequence[Generation],
    *,
    show_reasoning: bool,
    include_usage: bool,
    logprobs: bool,
) -> AsyncGenerator[bytes]:
    """The encoded events, those that come at the same time in one piece."""
    chunks = Chunks(head, include_usage=include_usage, logprobs=logprobs)
    deltas = [Deltas(show_reasoning=show_reasoning) for _ in generations]
    roles = b"".join(chunks.chunk(at, {"role": "assistant"}) for at in range(len(generations)))
    async with aclosing(numbered(generations)) as batches:
        async for index, parts in batches:
            piece = b"".join(
                chunks.chunk(index, delta, tokens=tokens)
                for delta, tokens in deltas[index].of(parts)
            )
            if piece or roles:
                yield roles + piece
                roles = b""
    last = b"".join(
        chunks.chunk(at, {}, finish_reason=generation.finish)
        for at, generation in enumerate(generations)
    )
    usage = chunks.usage(usage_of(generations)) if include_usage else b""
    yield roles + last + usage + DONE
