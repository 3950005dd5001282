"""Prescribed replies to some questions, so that a small model's server shows what it never writes.

The server reads, streams and counts them as it does what its model writes.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from functools import cache
from importlib import resources

import yaml

from harmony.vocabulary import encode
from reference_engine.backends.token_source import TokenSource
from reference_engine.generation.errors import require_room
from reference_engine.generation.sampling import SamplingParams, Token


class PrescribedReplies:
    """Answers the questions of `prescribed_replies.yaml`, and leaves all others to its model."""

    def __init__(self, model: TokenSource) -> None:
        """Read the replies."""
        self.max_context = model.max_context
        self._model = model
        _replies()

    async def generate(
        self, prompt: Sequence[int], params: SamplingParams
    ) -> AsyncGenerator[Token, None]:
        """Yield the tokens of a prescribed reply, or of the model; see `TokenSource`.

        A prompt with a result or another header after the question, and a request for logprobs or
        a schema, are the model's.
        """
        reply = prescribed_reply(prompt)
        if reply is None or params.grammar is not None or params.top_logprobs is not None:
            async with aclosing(self._model.generate(prompt, params)) as tokens:
                async for token in tokens:
                    yield token
            return
        require_room(prompt, self.max_context)
        for number in reply[: min(params.max_tokens, self.max_context - len(prompt))]:
            await asyncio.sleep(0)
            yield Token(number)
            if number in params.stop_token_ids:
                return


def prescribed_reply(prompt: Sequence[int]) -> Sequence[int] | None:
    """Return the reply that is prescribed after a prompt, in tokens; None for most prompts."""
    asked = (reply for question, reply in _replies() if list(prompt[-len(question) :]) == question)
    return next(asked, None)


@cache
def _replies() -> Sequence[tuple[list[int], list[int]]]:
    """Return the ends of prompts with a prescribed reply, and these replies."""
    file = resources.files("reference_engine") / "prescribed_replies.yaml"
    return [
        (
            encode(f"<|start|>user<|message|>{each['question']}<|end|><|start|>assistant"),
            encode(each["reply"]),
        )
        for each in yaml.safe_load(file.read_text("utf-8"))
    ]
