"""A model of another library in this process: Hugging Face transformers, or mlx-lm.

Each request has its own KV cache, and a single thread computes one token of each request in turn.
Requests share the machine fairly and stop at once when they are cancelled, but there is no
batching. The reference engine's sampler draws the tokens, so seeds have the same effect.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from reference_engine.errors import SetupError
from reference_engine.generation.errors import (
    NOT_FINITE,
    EngineClosedError,
    GenerationError,
    QueueFullError,
    require_room,
)
from reference_engine.generation.sampling import Draw, SamplingParams, Token, sample, seed_of
from reference_engine.model.config import DEFAULT_CONTEXT, ModelConfig
from reference_engine.model.logits import AllLogits
from reference_engine.model.products import wide_product
from reference_engine.model.transformer import Rotary

_PREFILL_TOKENS = 512
"""Prompt tokens in one step; the step holds the attention scores of all of them."""

ROTATED, _ROTATION_TOLERANCE = 100, 0.05
"""A position, and how much its sines and cosines may differ: with gpt-oss's settings, YaRN with
rounded bounds moves them by up to 0.03, RoPE without YaRN by 0.6."""

Reader = Callable[[list[int]], Tensor]
"""Reads further tokens of one sequence; returns the logits after the last, (1, vocabulary)."""


@dataclass(frozen=True)
class LocalModel:
    """A causal language model."""

    longest: int  # most tokens of a prompt and its continuation
    new_sequence: Callable[[], Reader]  # creates a reader with its own, empty KV cache


class InProcessEngine:
    """Generates tokens with a model in this process, for at most `max_batch` requests in turn."""

    def __init__(
        self,
        model: LocalModel,
        *,
        max_batch: int = 32,
        max_context: int | None = None,
        max_queue: int = 256,
    ) -> None:
        self.max_context = min(max_context or DEFAULT_CONTEXT, model.longest)
        self._model = model
        self._most = max_batch + max_queue
        self._places = asyncio.Semaphore(max_batch)
        self._present = 0
        self._open = False
        self._thread: ThreadPoolExecutor | None = None

    def start(self) -> None:
        """Start the thread."""
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="model")
        self._open = True

    def close(self) -> None:
        """Stop the thread. Running requests end with an EngineClosedError."""
        self._open = False
        if self._thread is not None:
            self._thread.shutdown()
            self._thread = None

    async def generate(
        self, prompt: Sequence[int], params: SamplingParams
    ) -> AsyncGenerator[Token, None]:
        """See `TokenSource`."""
        require_room(prompt, self.max_context)
        if self._present >= self._most:
            raise QueueFullError(f"{self._present} requests are already running or waiting.")
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
        """Compute the next token in turn with other requests, one chunk of the prompt at a time."""
        while True:
            if not self._open or self._thread is None:
                raise EngineClosedError("The engine is not running.")
            try:
                work = self._thread.submit(self._step, sequence)
            except RuntimeError as error:  # The engine was closed in the meantime.
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
    """A request: the tokens to read, its cache and its draws."""

    def __init__(self, model: LocalModel, prompt: list[int], params: SamplingParams) -> None:
        self._read = model.new_sequence()
        self._unread = prompt
        self._params = params
        self._seed = seed_of(params)
        self._drawn: list[int] = []
        self._constraint = params.grammar.start(prompt) if params.grammar else None

    def step(self) -> Token | None:
        """Run one step; return the next token, or None if a part of the prompt remains."""
        now, self._unread = self._unread[:_PREFILL_TOKENS], self._unread[_PREFILL_TOKENS:]
        logits = self._read(now)
        if self._unread:
            return None
        generated = self._drawn if self._params.penalizes else ()
        draw = Draw(self._params, self._seed, len(self._drawn), self._constraint, generated)
        [token] = sample(AllLogits(logits), [draw])
        if token is None:
            raise GenerationError(NOT_FINITE)
        self._drawn.append(token.id)
        self._unread = [token.id]
        return token


def refuse_codes(checkpoint: Path) -> None:
    """Refuse the bundled checkpoint, which only the reference engine loads. Raises SetupError."""
    try:
        config = json.loads((checkpoint / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return
    if "token_codes" in config:
        raise SetupError(
            f"Only the reference engine can load {checkpoint}: export it with "
            "'python -m reference_engine export-small DIR' and use --checkpoint DIR."
        )


def require_rotation(checkpoint: Path, cos: Sequence[float], sin: Sequence[float]) -> None:
    """Refuse a model whose rotary positions are not those that its config asks for.

    mlx-lm 0.32.2 ignores `rope_parameters`, the name that transformers 5 writes, and rotates
    without YaRN. `cos` and `sin` are those of position `ROTATED`, times the concentration, one of
    each pair of dimensions. Raises SetupError.
    """
    due = Rotary(ModelConfig.from_json(checkpoint)).angles(torch.tensor([[ROTATED]]))
    off = torch.tensor([cos, sin]) - torch.stack(due).view(2, -1)
    if off.abs().max() > _ROTATION_TOLERANCE:
        raise SetupError(
            f"{checkpoint / 'config.json'}: the library rotates positions otherwise than the "
            "settings of RoPE say: write them as 'rope_scaling' with 'rope_theta' beside it "
            "(python -m reference_engine convert DIR OUT --layout hf), or update the library."
        )


def load_mlx(checkpoint: Path) -> LocalModel:
    """Load a checkpoint in Hugging Face's layout (MXFP4), or mlx-community's. Raises SetupError."""
    try:
        import mlx.core as mx
        from mlx_lm.models.cache import make_prompt_cache
        from mlx_lm.utils import load_model
    except ImportError as error:
        raise SetupError(
            "The backend mlx is not installed: pip install mlx-lm (on Linux also 'mlx[cpu]')."
        ) from error
    refuse_codes(checkpoint)
    try:
        model, config = load_model(checkpoint)
        # Unevaluated constants belong to this thread, but requests run in another one.
        mx.eval(model(mx.array([[0]])))
        attention: Any = model.layers[0].self_attn
        half = attention.head_dim // 2
        turned = attention.rope(mx.array([[[[1.0] * half + [0.0] * half]]]), offset=ROTATED)
    except (OSError, ValueError, KeyError, json.JSONDecodeError) as error:
        reason = str(error).partition("\n")[0]
        raise SetupError(
            f"mlx-lm cannot load {checkpoint}: {reason} (it needs Hugging Face's layout with "
            "experts in MXFP4: python -m reference_engine convert DIR OUT --layout hf)"
        ) from error
    first, second = turned.flatten().split(2)
    require_rotation(checkpoint, first.tolist(), second.tolist())

    def new_sequence() -> Reader:
        cache = make_prompt_cache(model)

        def read(ids: list[int]) -> Tensor:
            every: Any = model(mx.array([ids]), cache=cache)
            return torch.from_numpy(np.array(every[:, -1].astype(mx.float32)))

        return read

    return LocalModel(int(config.get("max_position_embeddings", 131072)), new_sequence)


def load_transformers(checkpoint: Path, device: str, dtype: str | None) -> LocalModel:
    """Load a checkpoint in Hugging Face's layout. Raises SetupError."""
    try:
        from transformers import AutoModelForCausalLM, DynamicCache
    except ImportError as error:
        raise SetupError(
            "The backend transformers is not installed: pip install 'transformers>=5.23'."
        ) from error
    refuse_codes(checkpoint)
    number = dtype or ("float32" if device == "cpu" else "bfloat16")
    try:
        model: Any = AutoModelForCausalLM.from_pretrained(
            checkpoint, dtype=getattr(torch, number), local_files_only=True
        )
    except (OSError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise SetupError(
            f"transformers cannot load {checkpoint}: {reason} (it needs Hugging Face's layout)"
        ) from error
    model = model.to(device).eval()
    at = torch.tensor([[ROTATED]], device=device)
    cos, sin = model.model.rotary_emb(torch.zeros(1, device=device), at)
    require_rotation(checkpoint, cos.flatten().tolist(), sin.flatten().tolist())
    head = model.get_output_embeddings()
    head.forward = partial(wide_product, weight=head.weight)  # Its own logits may be bfloat16.

    def new_sequence() -> Reader:
        cache = DynamicCache(config=model.config)

        @torch.inference_mode()
        def read(ids: list[int]) -> Tensor:
            there = torch.tensor([ids], device=model.device)
            out = model(there, past_key_values=cache, use_cache=True, logits_to_keep=1)
            logits: Tensor = out.logits[:, -1]
            return logits

        return read

    return LocalModel(model.config.max_position_embeddings, new_sequence)
