"""vLLM, with token ids through `POST /v1/completions`.

The fields are those of `CompletionRequest` and `CompletionStreamResponse` in vLLM 0.28
(docs.vllm.ai, "OpenAI-Compatible Server"; `return_token_ids` needs 0.10.2). The prompt is a list of
ids, `token_ids` of each chunk has the new ids including the stop token, and logprobs name tokens
`token_id:N`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import httpx
from pydantic import BaseModel

from reference_engine.backends.dialect import Dialect, Served, plain_seed
from reference_engine.generation.sampling import SamplingParams, Token

_NAMED_BY_ID = "token_id:"


class _Logprobs(BaseModel):
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]]


class _Choice(BaseModel):
    token_ids: list[int]
    logprobs: _Logprobs | None = None
    finish_reason: str | None = None


class _Piece(BaseModel):
    choices: list[_Choice]


class _Model(BaseModel):
    id: str
    max_model_len: int | None = None


class _Models(BaseModel):
    data: list[_Model]


class Vllm(Dialect):
    """vLLM's completions endpoint."""

    path = "/v1/completions"

    @staticmethod
    def served(client: httpx.Client, model: str | None) -> Served:
        """The model, and `max_model_len`."""
        reply = client.get("/v1/models").raise_for_status()
        known = _Models.model_validate_json(reply.content).data
        for each in known:
            if model in {None, each.id}:
                return Served(each.id, each.max_model_len)
        names = ", ".join(each.id for each in known) or "no model"
        raise ValueError(f"it serves {names}" + (f", not {model}" if model else ""))

    @staticmethod
    def request(
        model: str, prompt: Sequence[int], params: SamplingParams, room: int
    ) -> Mapping[str, Any]:
        """Request sampling from the full distribution, without vLLM's defaults."""
        body: dict[str, Any] = {
            "model": model,
            "prompt": list(prompt),
            "max_tokens": min(params.max_tokens, room - len(prompt)),
            "temperature": params.temperature,
            "top_p": params.top_p,
            "top_k": 0,
            "min_p": 0.0,
            "repetition_penalty": 1.0,
            "stop_token_ids": sorted(params.stop_token_ids),
            "skip_special_tokens": False,
            "return_token_ids": True,
            "stream": True,
        }
        if params.seed is not None:
            body["seed"] = plain_seed(params.seed)
        if params.top_logprobs is not None:
            body |= {"logprobs": params.top_logprobs, "return_tokens_as_token_ids": True}
        return body

    def read(self, event: bytes) -> list[Token]:
        """The tokens of one chunk."""
        tokens: list[Token] = []
        for choice in _Piece.model_validate_json(event).choices:
            self.finished = self.finished or choice.finish_reason is not None
            tokens += self._tokens(choice)
        return tokens

    def _tokens(self, choice: _Choice) -> list[Token]:
        if self._top is None:
            return [Token(each) for each in choice.token_ids]
        if choice.logprobs is None:
            if choice.token_ids:
                raise ValueError("log probabilities are missing")
            return []
        found = choice.logprobs
        rows = zip(choice.token_ids, found.token_logprobs, found.top_logprobs, strict=True)
        return [Token(each, value, self._best(others)) for each, value, others in rows]

    def _best(self, others: Mapping[str, float]) -> tuple[tuple[int, float], ...]:
        """The most probable tokens. vLLM also lists the sampled token if it is not among them."""
        named = [(int(name.removeprefix(_NAMED_BY_ID)), value) for name, value in others.items()]
        return tuple(sorted(named, key=lambda pair: -pair[1])[: self._top])
