"""ollama, with text through `POST /api/generate` and `raw: true`.

ollama's API has no token ids (docs.ollama.com, "Generate a response"). ollama tokenizes the prompt,
and this module tokenizes the answer, which preserves the model's text but not always its tokens.
ollama omits the stop token, so it is inferred from the message that it ended. Logprobs are not
available.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import httpx
from pydantic import BaseModel

from harmony.parse import CALL, RETURN, HarmonyParser
from harmony.vocabulary import harmony_encoding
from reference_engine.backends.dialect import Dialect, Served, TextTokens, plain_seed
from reference_engine.backends.token_source import BackendError
from reference_engine.generation.sampling import SamplingParams, Token


class _Event(BaseModel):
    response: str
    done: bool
    done_reason: str | None = None


class _Name(BaseModel):
    name: str


class _Tags(BaseModel):
    models: list[_Name]


class Ollama(Dialect):
    """ollama's generate endpoint in raw mode."""

    path = "/api/generate"

    def __init__(self, params: SamplingParams) -> None:
        super().__init__(params)
        self._text = TextTokens()
        self._parser = HarmonyParser()

    @staticmethod
    def served(client: httpx.Client, model: str | None) -> Served:
        """The named model (default tag: `latest`), or the only gpt-oss model."""
        reply = client.get("/api/tags").raise_for_status()
        names = [each.name for each in _Tags.model_validate_json(reply.content).models]
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
        """Request sampling from the full distribution, without ollama's defaults."""
        if params.top_logprobs is not None:
            raise BackendError(
                "The ollama backend does not support logprobs: its API has no token ids.",
                status=400,
                code="unsupported_value",
            )
        options: dict[str, Any] = {
            "num_ctx": room,
            "num_predict": min(params.max_tokens, room - len(prompt)),
            "temperature": params.temperature,
            "top_p": params.top_p,
            "top_k": 0,
            "min_p": 0.0,
            "repeat_penalty": 1.0,
        }
        if params.seed is not None:
            options["seed"] = plain_seed(params.seed)
        text = harmony_encoding().decode(list(prompt))
        return {"model": model, "prompt": text, "raw": True, "stream": True, "options": options}

    def read(self, event: bytes) -> list[Token]:
        """The tokens of one piece of text."""
        found = _Event.model_validate_json(event)
        self.finished = found.done
        tokens = self._text.feed(found.response)
        if found.done:
            tokens += self._text.flush()
        for token in tokens:
            self._parser.feed(token)
        if found.done and found.done_reason != "length" and not self._parser.done:
            message = self._parser.open
            tokens.append(CALL if message and message.kind == "call" else RETURN)
        return [Token(each) for each in tokens]
