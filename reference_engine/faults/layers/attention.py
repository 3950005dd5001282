"""Numeric faults in attention, positions and the KV cache."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor

from reference_engine.faults.base import FaultGroup, Hook
from reference_engine.faults.hooks import INPUT, MODEL, ModelChange
from reference_engine.kv_cache.pages import BLOCK
from reference_engine.model.config import ModelConfig
from reference_engine.model.transformer import Attention, Context, Transformer, rotary_frequencies

group = FaultGroup(
    "numerics",
    detectors=(
        "numerics",
        "chat.reasoning.missing",
        "responses.reasoning.missing",
    ),
)
"""The detectors find that the model samples other tokens, or that it no longer reasons."""

_SLIDING, _FULL = "sliding_attention", "full_attention"


def _each_attention(change: Callable[[Attention], None]) -> ModelChange:
    def damage(model: Transformer) -> None:
        for block in model.blocks:
            change(block.attn)

    return damage


def _frequencies(change: Callable[[Transformer], Tensor]) -> ModelChange:
    return lambda model: cast("None", model.rotary.frequencies.copy_(change(model)))


ATTENTION = Hook("model", _each_attention)
"""The attention of each block."""
FREQUENCIES = Hook("model", _frequencies)
"""The rotary frequencies; the change returns the new ones."""


@dataclass(frozen=True)
class _OtherLayers(ModelConfig):
    """A configuration with other attention types for the even and the odd layers."""

    kinds: tuple[str, str] = (_SLIDING, _FULL)

    @property
    def layer_types(self) -> tuple[str, ...]:
        """The attention type of each layer."""
        return tuple(self.kinds[layer % 2] for layer in range(self.num_hidden_layers))


def _set_layers(model: Transformer, even: str, odd: str) -> None:
    model.config = _OtherLayers(**vars(model.config), kinds=(even, odd))


@group.fault(ATTENTION, source="sglang PR#11634")
def sinks_dropped(attention: Attention) -> None:
    """Attention runs without its sinks."""
    attention.sinks.fill_(-math.inf)


@group.fault(ATTENTION, source="modular/modular#6198")
def sinks_of_other_heads(attention: Attention) -> None:
    """Each query head uses the sink of its neighbour."""
    attention.sinks.copy_(attention.sinks.roll(1))


@group.fault(MODEL, source="mlx-lm PR#390", visible=False)
def window_one_too_long(model: Transformer) -> None:
    """The sliding window is one position too long."""
    model.config = replace(model.config, sliding_window=model.config.sliding_window + 1)


@group.fault(MODEL, visible=False)
def window_one_too_short(model: Transformer) -> None:
    """The sliding window is one position too short."""
    model.config = replace(model.config, sliding_window=model.config.sliding_window - 1)


@group.fault(MODEL, source="mlx-lm PR#843")
def window_on_odd_layers(model: Transformer) -> None:
    """The odd layers use the sliding window instead of the even layers."""
    _set_layers(model, _FULL, _SLIDING)


@group.fault(MODEL, source="tenstorrent/tt-xla#3186")
def window_nowhere(model: Transformer) -> None:
    """All layers attend to the whole context."""
    _set_layers(model, _FULL, _FULL)


@group.fault(MODEL, source="NVIDIA-NeMo/Megatron-Bridge PR#2656")
def window_everywhere(model: Transformer) -> None:
    """All layers use the sliding window."""
    _set_layers(model, _SLIDING, _SLIDING)


@group.fault(FREQUENCIES, source="vllm#27722")
def yarn_rounded(model: Transformer) -> Tensor:
    """The limits of the YaRN ramp are rounded to integers."""
    config = model.config
    half = config.head_dim // 2

    def dimension(times: float) -> float:
        turns = config.initial_context_length / (times * 2 * math.pi)
        return half * math.log(turns) / math.log(config.rope_theta)

    low = max(math.floor(dimension(config.rope_beta_fast)), 0)
    high = min(math.ceil(dimension(config.rope_beta_slow)), config.head_dim - 1)
    pair = torch.arange(half, dtype=torch.float32)
    plain = config.rope_theta ** (-pair / half)
    ramp = ((pair - low) / max(high - low, 0.001)).clamp(0, 1)
    return plain * (1 - ramp) + plain / config.rope_factor * ramp


@group.fault(FREQUENCIES)
def yarn_absent(model: Transformer) -> Tensor:
    """Positions are used without YaRN's scaling and concentration."""
    plain, model.rotary.concentration = rotary_frequencies(replace(model.config, rope_factor=1.0))
    return plain


@group.fault(FREQUENCIES)
def yarn_factor_wrong(model: Transformer) -> Tensor:
    """YaRN stretches positions by 8 instead of 32."""
    frequencies, model.rotary.concentration = rotary_frequencies(
        replace(model.config, rope_factor=8.0)
    )
    return frequencies


@group.fault(FREQUENCIES)
def yarn_without_ramp(model: Transformer) -> Tensor:
    """YaRN scales all dimensions equally, including those of high frequency."""
    plain, _ = rotary_frequencies(replace(model.config, rope_factor=1.0))
    return plain / model.config.rope_factor


@group.fault(MODEL)
def concentration_missing(model: Transformer) -> None:
    """Cosine and sine are not multiplied by YaRN's concentration."""
    model.rotary.concentration = 1.0


@group.fault(FREQUENCIES)
def rope_base_wrong(model: Transformer) -> Tensor:
    """The RoPE base is 10,000 instead of 150,000."""
    return rotary_frequencies(replace(model.config, rope_theta=10_000.0))[0]


@group.fault(MODEL)
def rope_pairs_interleaved(model: Transformer) -> None:
    """RoPE rotates adjacent dimensions instead of dimensions half a head apart.

    Reordering the rows of queries and keys gives the same attention scores.
    """
    size = model.config.head_dim
    order = torch.cat((torch.arange(0, size, 2), torch.arange(1, size, 2)))
    for attention in (block.attn for block in model.blocks):
        rows = (attention.heads + attention.kv_heads) * size
        for parameter in (attention.qkv.weight, attention.qkv.bias):
            assert parameter is not None
            heads = parameter[:rows].view(-1, size, *parameter.shape[1:])
            parameter[:rows] = heads[:, order].reshape_as(parameter[:rows])


class _RoundedCache:
    """A context that rounds keys and values before it stores them."""

    def __init__(self, context: Context, rounding: Callable[[Tensor], Tensor]) -> None:
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
    rounding: Callable[[Tensor], Tensor]

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, context: Context) -> Tensor:
        """Returns what attention adds to the residual stream x, (B, T, H)."""
        return super().forward(x, cos, sin, _RoundedCache(context, self.rounding))


def _round_cache(attention: Attention, rounding: Callable[[Tensor], Tensor]) -> None:
    attention.__class__ = _RoundedAttention
    cast("_RoundedAttention", attention).rounding = rounding


@group.fault(ATTENTION, source="sglang PR#9783")
def kv_cache_fp8(attention: Attention) -> None:
    """The KV cache stores 8-bit floats without scales."""
    _round_cache(attention, lambda x: x.to(torch.float8_e4m3fn).to(x.dtype))


@group.fault(ATTENTION, source="TheTom/llama-cpp-turboquant#305")
def kv_cache_int4(attention: Attention) -> None:
    """The KV cache stores 4-bit integers."""

    def rounding(x: Tensor) -> Tensor:
        scale = x.abs().amax(-1, keepdim=True).clamp(min=1e-9) / 7
        return (x / scale).round() * scale

    _round_cache(attention, rounding)


_last_prompt: list[int] = []


@group.fault(INPUT, "load.cross_talk", "numerics", source="openai/gpt-oss PR#163")
def prefix_of_another_prompt(tokens: list[int]) -> list[int]:
    """The cached prefix of another prompt, in blocks of 64 tokens, replaces that of this one."""
    length = (min(len(tokens), len(_last_prompt)) - 1) // BLOCK * BLOCK
    read = _last_prompt[:length] + tokens[max(length, 0) :]
    _last_prompt[:] = tokens
    return read if length > 0 else tokens
