"""Hugging Face transformers in this process.

Each request has a key-value cache of its own, and one thread computes for all of them, a token of
each in turn: requests share the machine fairly and a cancelled one costs nothing more, but there is
no batched arithmetic. Tokens are drawn by our own sampler, so that seeds mean what they mean in the
reference engine.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from reference_engine.backends.base import BackendUnavailableError
from reference_engine.generation.errors import (
    EngineClosedError,
    GenerationError,
    QueueFullError,
    require_room,
)
from reference_engine.generation.sampling import Draw, SamplingParams, Token, sample, seed_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_DEFAULT_CONTEXT = 8192
_PREFILL_TOKENS = 512
"""Prompt tokens read at once: the scores of all their pairs with the past are held together."""


class TransformersEngine:
    """Generates tokens with a model of transformers.

    Args:
        model: A `GptOssForCausalLM`, or any causal model with its interface.
        max_batch: Requests worked on in turn; each has a cache.
        max_context: Most tokens of a prompt and its continuation.
        max_queue: Requests that may wait for their turn.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        *,
        max_batch: int = 32,
        max_context: int | None = None,
        max_queue: int = 256,
    ) -> None:
        longest = model.config.max_position_embeddings
        self.max_context = min(max_context or _DEFAULT_CONTEXT, longest)
        self._model = model
        self._most = max_batch + max_queue
        self._places = asyncio.Semaphore(max_batch)
        self._present = 0
        self._open = False
        self._thread: ThreadPoolExecutor | None = None

    def start(self) -> None:
        """Start the thread that computes."""
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="transformers")
        self._open = True

    def close(self) -> None:
        """Stop it; requests in flight end with an EngineClosedError."""
        self._open = False
        if self._thread is not None:
            self._thread.shutdown()
            self._thread = None

    async def generate(
        self, prompt: Sequence[int], params: SamplingParams
    ) -> AsyncGenerator[Token, None]:
        """Yield the tokens that continue `prompt`, a stop token included.

        Raises:
            ContextOverflowError: The prompt does not fit.
            QueueFullError: Too many requests are waiting.
            EngineClosedError: The engine is closed, or was before the end.
            GenerationError: The model failed.
        """
        require_room(prompt, self.max_context)
        if self._present >= self._most:
            raise QueueFullError(f"{self._present} requests are here already.")
        self._present += 1
        try:
            async with self._places:
                sequence = _Sequence(self._model, list(prompt), params)
                for _ in range(min(params.max_tokens, self.max_context - len(prompt))):
                    token = await self._next(sequence)
                    yield token
                    if token.id in params.stop_token_ids:
                        return
        finally:
            self._present -= 1

    async def _next(self, sequence: _Sequence) -> Token:
        """Compute in turn with the others, a piece of the prompt at a time."""
        while True:
            if not self._open or self._thread is None:
                raise EngineClosedError("The engine is not running.")
            try:
                work = self._thread.submit(self._step, sequence)
            except RuntimeError as error:  # It was shut down in between.
                raise EngineClosedError("The engine is not running.") from error
            if (token := await asyncio.wrap_future(work)) is not None:
                return token

    def _step(self, sequence: _Sequence) -> Token | None:
        if not self._open:
            raise EngineClosedError("The engine was closed before the request was finished.")
        try:
            return sequence.step()
        except Exception as error:
            raise GenerationError(f"The model failed: {error}") from error


class _Sequence:
    """A request: the tokens that the model has yet to read, its cache, and its draws."""

    def __init__(self, model: PreTrainedModel, prompt: list[int], params: SamplingParams) -> None:
        from transformers import DynamicCache

        self._model = model
        self._cache = DynamicCache(config=model.config)
        self._unread = prompt
        self._params = params
        self._seed = seed_of(params)
        self._drawn = 0

    def step(self) -> Token | None:
        """Read on; the next token, or None where there is more of the prompt to read."""
        now, self._unread = self._unread[:_PREFILL_TOKENS], self._unread[_PREFILL_TOKENS:]
        logits = self._read(now)
        if self._unread:
            return None
        [token] = sample(logits, [Draw(self._params, self._seed, self._drawn)])
        self._drawn += 1
        self._unread = [token.id]
        return token

    @torch.inference_mode()
    def _read(self, ids: list[int]) -> Tensor:
        """The logits after the last of these tokens, (1, vocabulary)."""
        there = torch.tensor([ids], device=self._model.device)
        out = self._model(there, past_key_values=self._cache, use_cache=True, logits_to_keep=1)
        logits: Tensor = out.logits[:, -1]
        return logits


def load_transformers(checkpoint: Path, device: str, dtype: str | None) -> PreTrainedModel:
    """The model of a checkpoint in Hugging Face's layout, ready to generate.

    Raises:
        BackendUnavailableError: transformers is not there, or cannot read the checkpoint.
    """
    try:
        from transformers import AutoModelForCausalLM
    except ImportError as error:
        raise BackendUnavailableError(
            "The backend transformers is not installed: pip install 'transformers>=5.23'."
        ) from error
    _refuse_codes(checkpoint)
    number = dtype or ("float32" if device == "cpu" else "bfloat16")
    try:
        model: Any = AutoModelForCausalLM.from_pretrained(
            checkpoint, dtype=getattr(torch, number), local_files_only=True
        )
    except (OSError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise BackendUnavailableError(
            f"transformers cannot load {checkpoint}: {reason} (it reads Hugging Face's layout only)"
        ) from error
    ready: PreTrainedModel = model.to(device).eval()
    return ready


def _refuse_codes(checkpoint: Path) -> None:
    """The bundled checkpoint is packed in a way of our own."""
    try:
        config = json.loads((checkpoint / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return
    if "token_codes" in config:
        raise BackendUnavailableError(
            f"Only the reference engine reads {checkpoint}: write it out with "
            "'gpt-oss-verify export-small DIR', and give --checkpoint DIR."
        )
