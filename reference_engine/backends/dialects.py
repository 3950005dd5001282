"""The APIs of remote backends, one class for each kind of server: what it is sent, what it returns.

Each dialect requests sampling from the full distribution, without the server's own defaults.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import BaseModel

from harmony.parse import CALL, RETURN, HarmonyParser
from harmony.vocabulary import encode, harmony_encoding
from reference_engine.backends.token_source import BackendError
from reference_engine.generation.sampling import SamplingParams, Token


@dataclass(frozen=True)
class Served:
    """The model of a server, and its context in tokens if the server reports it."""

    model: str
    max_context: int | None


class Dialect(ABC):
    """The API of one kind of server. An instance reads one streamed response."""

    listing: ClassVar[str]  # the path of GET that names the served models
    path: ClassVar[str]  # the path of POST that continues a prompt

    def __init__(self, params: SamplingParams) -> None:
        self.finished = False
        self._top = params.top_logprobs

    @staticmethod
    @abstractmethod
    def served(listed: bytes, model: str | None) -> Served:
        """Read the listing and return the served model, or check `model`. Raises ValueError."""

    @staticmethod
    @abstractmethod
    def request(
        model: str, prompt: Sequence[int], params: SamplingParams, room: int
    ) -> Mapping[str, Any]:
        """Return the body of a request; `room` is the context in tokens. Raises BackendError."""

    @abstractmethod
    def read(self, event: bytes) -> list[Token]:
        """Return the tokens of one event, a JSON object. Raises ValueError."""


class _VllmLogprobs(BaseModel):
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]]


class _VllmChoice(BaseModel):
    token_ids: list[int]
    logprobs: _VllmLogprobs | None = None
    finish_reason: str | None = None


class _VllmChunk(BaseModel):
    choices: list[_VllmChoice]


class _VllmModel(BaseModel):
    id: str
    max_model_len: int | None = None


class _VllmModels(BaseModel):
    data: list[_VllmModel]


class Vllm(Dialect):
    """vLLM, with token ids through its completions endpoint.

    The fields are those of `CompletionRequest` and `CompletionStreamResponse` in vLLM 0.28
    (docs.vllm.ai, "OpenAI-Compatible Server"; `return_token_ids` needs 0.10.2). `token_ids` of each
    chunk has the new ids including the stop token, and logprobs name tokens `token_id:N`.
    """

    listing = "/v1/models"
    path = "/v1/completions"

    @staticmethod
    def served(listed: bytes, model: str | None) -> Served:
        """Return the model with its `max_model_len`."""
        known = _VllmModels.model_validate_json(listed).data
        for offered in known:
            if model in {None, offered.id}:
                return Served(offered.id, offered.max_model_len)
        names = ", ".join(offered.id for offered in known) or "no model"
        raise ValueError(f"it serves {names}" + (f", not {model}" if model else ""))

    @staticmethod
    def request(
        model: str, prompt: Sequence[int], params: SamplingParams, room: int
    ) -> Mapping[str, Any]:
        """Return the body of a request."""
        body: dict[str, Any] = {
            "model": model,
            "prompt": list(prompt),
            "max_tokens": params.max_tokens,
            "temperature": params.temperature,
            "top_p": params.top_p,
            "top_k": params.top_k,
            "min_p": 0.0,
            "repetition_penalty": 1.0,
            "frequency_penalty": params.frequency_penalty,
            "presence_penalty": params.presence_penalty,
            "stop_token_ids": sorted(params.stop_token_ids),
            "skip_special_tokens": False,
            "return_token_ids": True,
            "stream": True,
        }
        if params.seed is not None:
            body["seed"] = params.seed
        if params.top_logprobs is not None:
            body |= {"logprobs": params.top_logprobs, "return_tokens_as_token_ids": True}
        return body

    def read(self, event: bytes) -> list[Token]:
        """Return the tokens of one chunk."""
        tokens: list[Token] = []
        for choice in _VllmChunk.model_validate_json(event).choices:
            self.finished = self.finished or choice.finish_reason is not None
            tokens += self._tokens(choice)
        return tokens

    def _tokens(self, choice: _VllmChoice) -> list[Token]:
        if self._top is None:
            return [Token(token) for token in choice.token_ids]
        if choice.logprobs is None:
            if choice.token_ids:
                raise ValueError("log probabilities are missing")
            return []
        found = choice.logprobs
        rows = zip(choice.token_ids, found.token_logprobs, found.top_logprobs, strict=True)
        return [Token(token, value, self._best(others)) for token, value, others in rows]

    def _best(self, others: Mapping[str, float]) -> tuple[tuple[int, float], ...]:
        """Return the most probable tokens. vLLM adds the sampled one if it is not among them."""
        named = [(int(name.removeprefix("token_id:")), value) for name, value in others.items()]
        return tuple(sorted(named, key=lambda pair: -pair[1])[: self._top])


class _LlamaAlternative(BaseModel):
    id: int
    logprob: float


class _LlamaDrawn(_LlamaAlternative):
    top_logprobs: list[_LlamaAlternative] = []


class _LlamaEvent(BaseModel):
    content: str
    stop: bool
    tokens: list[int] = []
    tokens_predicted: int = 0
    completion_probabilities: list[_LlamaDrawn] = []


class _LlamaDefaults(BaseModel):
    n_ctx: int | None = None


class _LlamaProps(BaseModel):
    default_generation_settings: _LlamaDefaults


class LlamaCpp(Dialect):
    """The server of llama.cpp, with token ids through its native completion endpoint.

    The fields are those of `tools/server/README.md` in llama-cpp-python 0.3.36. Each event of a
    stream has one token, including the stop token. A token that ends inside a character has no
    event of its own: the next event has the text of both tokens, which `read` tokenizes.
    """

    listing = "/props"
    path = "/completion"

    def __init__(self, params: SamplingParams) -> None:
        super().__init__(params)
        self._predicted: int | None = None

    @staticmethod
    def served(listed: bytes, model: str | None) -> Served:
        """Return the only model of the server; `n_ctx` is the context of a request."""
        defaults = _LlamaProps.model_validate_json(listed).default_generation_settings
        return Served(model or "llama.cpp", defaults.n_ctx)

    @staticmethod
    def request(
        model: str, prompt: Sequence[int], params: SamplingParams, room: int
    ) -> Mapping[str, Any]:
        """Return the body of a request, with the order of the reference sampler.

        The server stops at the end tokens of its model file, which for gpt-oss are the same.
        `n_probs` is at least 1 because 0 requests no logprobs. Raises BackendError if it asks for
        penalties.
        """
        _require_no_penalties("llama.cpp", params)
        return {
            "prompt": list(prompt),
            "n_predict": params.max_tokens,
            "samplers": ["temperature", "top_k", "top_p"],
            "temperature": params.temperature,
            "top_k": params.top_k,
            "top_p": params.top_p,
            "repeat_penalty": 1.0,
            "seed": -1 if params.seed is None else params.seed,
            "n_probs": 0 if params.top_logprobs is None else max(1, params.top_logprobs),
            "return_tokens": True,
            "cache_prompt": True,
            "stream": True,
        }

    def read(self, event: bytes) -> list[Token]:
        """Return the token of one event, or the tokens of a character that spans several."""
        found = _LlamaEvent.model_validate_json(event)
        self.finished = found.stop
        if not found.tokens:
            return []
        before, self._predicted = self._predicted, found.tokens_predicted
        if before is not None and found.tokens_predicted > before + 1 and found.content:
            return [Token(token) for token in encode(found.content)]
        if self._top is None:
            return [Token(token) for token in found.tokens]
        if len(found.completion_probabilities) != len(found.tokens):
            raise ValueError("log probabilities are missing")
        rows = zip(found.tokens, found.completion_probabilities, strict=True)
        return [Token(token, drawn.logprob, self._best(drawn)) for token, drawn in rows]

    def _best(self, drawn: _LlamaDrawn) -> tuple[tuple[int, float], ...]:
        return tuple((other.id, other.logprob) for other in drawn.top_logprobs[: self._top])


class _OllamaEvent(BaseModel):
    response: str
    done: bool
    done_reason: str | None = None


class _OllamaModel(BaseModel):
    name: str


class _OllamaTags(BaseModel):
    models: list[_OllamaModel]


class Ollama(Dialect):
    """ollama, with text through its generate endpoint in raw mode.

    ollama's API has no token ids (docs.ollama.com, "Generate a response"). ollama tokenizes the
    prompt, and this class tokenizes the answer, which preserves the model's text but not always its
    tokens. ollama omits the stop token, so it is inferred from the message that it ended. Logprobs
    are not available.
    """

    listing = "/api/tags"
    path = "/api/generate"

    def __init__(self, params: SamplingParams) -> None:
        super().__init__(params)
        self._held = ""  # text that may start a special token
        self._parser = HarmonyParser()

    @staticmethod
    def served(listed: bytes, model: str | None) -> Served:
        """Return the named model (default tag: `latest`), or the only gpt-oss model."""
        names = [tag.name for tag in _OllamaTags.model_validate_json(listed).models]
        if model is None:
            found = [name for name in names if "gpt-oss" in name]
        else:
            found = [name for name in names if name in {model, f"{model}:latest"}]
        if len(found) != 1:
            if not names:
                raise ValueError("it has no models: pull one with `ollama pull gpt-oss:20b`")
            raise ValueError(f"choose one of its models with --backend-model: {', '.join(names)}")
        return Served(found[0], None)

    @staticmethod
    def request(
        model: str, prompt: Sequence[int], params: SamplingParams, room: int
    ) -> Mapping[str, Any]:
        """Return the body of a request. Raises BackendError for logprobs and penalties."""
        _require_no_penalties("ollama", params)
        if params.top_logprobs is not None:
            raise BackendError(
                "The ollama backend does not support logprobs: its API has no token ids.",
                status=400,
                code="unsupported_value",
            )
        options: dict[str, Any] = {
            "num_ctx": room,
            "num_predict": params.max_tokens,
            "temperature": params.temperature,
            "top_p": params.top_p,
            "top_k": params.top_k,
            "min_p": 0.0,
            "repeat_penalty": 1.0,
        }
        if params.seed is not None:
            options["seed"] = params.seed
        text = harmony_encoding().decode(list(prompt))
        return {"model": model, "prompt": text, "raw": True, "stream": True, "options": options}

    def read(self, event: bytes) -> list[Token]:
        """Return the tokens of one piece of text, except for what may start a special token."""
        found = _OllamaEvent.model_validate_json(event)
        self.finished = found.done
        ready, self._held = self._held + found.response, ""
        at = ready.rfind("<")
        if at >= 0 and not found.done and _may_be_special(ready[at:]):
            ready, self._held = ready[:at], ready[at:]
        tokens = encode(ready) if ready else []
        for token in tokens:
            self._parser.feed(token)
        if found.done and found.done_reason != "length" and not self._parser.done:
            message = self._parser.open
            tokens.append(CALL if message and message.kind == "call" else RETURN)
        return [Token(token) for token in tokens]


def _require_no_penalties(name: str, params: SamplingParams) -> None:
    """Refuse penalties: these servers count the tokens of the prompt, too. Raises BackendError."""
    if params.penalizes:
        raise BackendError(
            f"The {name} backend does not support frequency_penalty and presence_penalty: the "
            "server penalizes the tokens of the prompt, too.",
            status=400,
            code="unsupported_value",
        )


def _may_be_special(text: str) -> bool:
    """Return whether a text may be the start of a special token; the longest has 24 characters."""
    return len(text) <= 24 and "|>" not in text and (text.startswith("<|") or text == "<")


DIALECTS: Mapping[str, type[Dialect]] = {"vllm": Vllm, "llama.cpp": LlamaCpp, "ollama": Ollama}
