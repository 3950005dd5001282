"""Numeric faults of keys and values that are kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor

from reference_engine.faults.base import NUMERICS, Family
from reference_engine.faults.layers.attention import attentions
from reference_engine.faults.seams import MODEL, READ
from reference_engine.kv_cache.pages import BLOCK
from reference_engine.model.transformer import Attention, Context, Transformer

family = Family("numerics")

Rounding = Callable[[Tensor], Tensor]


class _RoundedKeys:
    """A context that keeps keys and values less exactly."""

    def __init__(self, context: Context, rounding: Rounding) -> None:
        self._context = context
        self._rounding = rounding

    @property
    def positions(self) -> Tensor:
        return self._context.positions

    def attend(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, sinks: Tensor
    ) -> Tensor:
        key, value = self._rounding(key), self._rounding(value)
        return self._context.attend(layer, query, key, value, sinks)


class _RoundedAttention(Attention):
    """Attention over rounded keys and values."""

    rounding: Rounding

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, context: Context) -> Tensor:
        """Returns what attention adds to the stream x, (B, T, H)."""
        return super().forward(x, cos, sin, _RoundedKeys(context, self.rounding))


def _round_keys(model: Transformer, rounding: Rounding) -> None:
    for attention in attentions(model):
        attention.__class__ = _RoundedAttention
        cast("_RoundedAttention", attention).rounding = rounding


def _to_fp8(x: Tensor) -> Tensor:
    return x.to(torch.float8_e4m3fn).to(x.dtype)


def _to_int4(x: Tensor) -> Tensor:
    scale = x.abs().amax(-1, keepdim=True).clamp(min=1e-9) / 7
    return (x / scale).round() * scale


@family.fault(
    MODEL,
    "kv-cache-fp8",
    "Keys and values are kept as 8-bit floats without scales.",
    source="sglang PR#9783",
    detectors=NUMERICS,
)
def _kv_cache_fp8(model: Transformer) -> None:
    _round_keys(model, _to_fp8)


@family.fault(
    MODEL,
    "kv-cache-int4",
    "Keys and values are kept as 4-bit integers.",
    source="TheTom/llama-cpp-turboquant#305",
    detectors=NUMERICS,
)
def _kv_cache_int4(model: Transformer) -> None:
    _round_keys(model, _to_int4)


_last_prompt: list[int] = []


@family.fault(
    READ,
    "prefix-of-another-prompt",
    "The cached beginning of another prompt, in blocks of 64 tokens, is taken for this one's.",
    source="openai/gpt-oss PR#163",
    detectors=("load.cross_talk", "numerics"),
)
def _prefix_of_another_prompt(tokens: list[int]) -> list[int]:
    """What a model has seen is what was read into its cache, whatever the prompt says."""
    length = (min(len(tokens), len(_last_prompt)) - 1) // BLOCK * BLOCK
    read = _last_prompt[:length] + tokens[max(length, 0) :]
    _last_prompt[:] = tokens
    return read if length > 0 else tokens
