"""The server of llama.cpp, with token ids through `POST /completion`.

The fields are those of `tools/server/README.md` in llama-cpp-python 0.3.36. Each event of a stream
has one token, including the stop token. A token that ends inside a character has no event of its
own: the next event has the text of both tokens, which this module tokenizes.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import httpx
from pydantic import BaseModel

from harmony.vocabulary import encode
from reference_engine.backends.dialect import Dialect, Served, plain_seed
from reference_engine.generation.sampling import SamplingParams, Token


class _Alternative(BaseModel):
    id: int
    logprob: float


class _Drawn(_Alternative):
    top_logprobs: list[_Alternative] = []


class _Event(BaseModel):
    content: str
    stop: bool
    tokens: list[int] = []
    tokens_predicted: int = 0
    completion_probabilities: list[_Drawn] = []


class _Defaults(BaseModel):
    n_ctx: int | None = None


class _Props(BaseModel):
    default_generation_settings: _Defaults


class LlamaCpp(Dialect):
    """llama.cpp's native completion endpoint."""

    path = "/completion"

    def __init__(self, params: SamplingParams) -> None:
        super().__init__(params)
        self._predicted: int | None = None

    @staticmethod
    def served(client: httpx.Client, model: str | None) -> Served:
        """The only model of the server; `n_ctx` is the context of a request."""
        reply = client.get("/props").raise_for_status()
        defaults = _Props.model_validate_json(reply.content).default_generation_settings
        return Served(model or "llama.cpp", defaults.n_ctx)

    @staticmethod
    def request(
        model: str, prompt: Sequence[int], params: SamplingParams, room: int
    ) -> Mapping[str, Any]:
        """Request temperature and top_p only, in the order of the reference sampler.

        The server stops at the end tokens of its model file, which for gpt-oss are the same.
        `n_probs` is at least 1 because 0 requests no logprobs.
        """
        return {
            "prompt": list(prompt),
            "n_predict": min(params.max_tokens, room - len(prompt)),
            "samplers": ["temperature", "top_p"],
            "temperature": params.temperature,
            "top_p": params.top_p,
            "repeat_penalty": 1.0,
            "seed": -1 if params.seed is None else plain_seed(params.seed),
            "n_probs": 0 if params.top_logprobs is None else max(1, params.top_logprobs),
            "return_tokens": True,
            "cache_prompt": True,
            "stream": True,
        }

    def read(self, event: bytes) -> list[Token]:
        """The token of one event, or the tokens of a character that spans several."""
        found = _Event.model_validate_json(event)
        self.finished = found.stop
        if not found.tokens:
            return []
        before, self._predicted = self._predicted, found.tokens_predicted
        if before is not None and found.tokens_predicted > before + 1 and found.content:
            return [Token(each) for each in encode(found.content)]
        if self._top is None:
            return [Token(each) for each in found.tokens]
        if len(found.completion_probabilities) != len(found.tokens):
            raise ValueError("log probabilities are missing")
        rows = zip(found.tokens, found.completion_probabilities, strict=True)
        return [Token(each, drawn.logprob, self._best(drawn)) for each, drawn in rows]

    def _best(self, drawn: _Drawn) -> tuple[tuple[int, float], ...]:
        return tuple((each.id, each.logprob) for each in drawn.top_logprobs[: self._top])
