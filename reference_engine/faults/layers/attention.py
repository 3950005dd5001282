"""Numeric faults of attention: sinks, windows and positions."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from reference_engine.faults.base import HYPOTHETICAL, NUMERICS, Family
from reference_engine.faults.seams import MODEL
from reference_engine.model.config import ModelConfig
from reference_engine.model.transformer import Attention, Transformer, rotary_frequencies

family = Family("numerics")

_SLIDING, _FULL = "sliding_attention", "full_attention"


def attentions(model: Transformer) -> Iterator[Attention]:
    """The attention of each block."""
    return (block.attn for block in model.blocks)


@dataclass(frozen=True)
class _OtherLayers(ModelConfig):
    """A configuration whose even and odd layers attend as `kinds` says."""

    kinds: tuple[str, str] = (_SLIDING, _FULL)

    @property
    def layer_types(self) -> tuple[str, ...]:
        """What each layer looks at."""
        return tuple(self.kinds[layer % 2] for layer in range(self.num_hidden_layers))


def _with_layers(model: Transformer, even: str, odd: str) -> None:
    model.config = _OtherLayers(**vars(model.config), kinds=(even, odd))


@family.fault(
    MODEL,
    "sinks-dropped",
    "Attention runs without its sinks.",
    source="sglang PR#11634",
    detectors=NUMERICS,
)
def _sinks_dropped(model: Transformer) -> None:
    for attention in attentions(model):
        attention.sinks.fill_(-math.inf)


@family.fault(
    MODEL,
    "sinks-of-other-heads",
    "Each query head has the sink of its neighbour.",
    source="modular/modular#6198",
    detectors=NUMERICS,
)
def _sinks_of_other_heads(model: Transformer) -> None:
    for attention in attentions(model):
        attention.sinks.copy_(attention.sinks.roll(1))


@family.fault(
    MODEL,
    "window-one-too-long",
    "The sliding window shows one position more than it should.",
    source="mlx-lm PR#390",
    detectors=NUMERICS,
    visible=False,
)
def _window_one_too_long(model: Transformer) -> None:
    model.config = replace(model.config, sliding_window=model.config.sliding_window + 1)


@family.fault(
    MODEL,
    "window-one-too-short",
    "The sliding window shows one position less than it should.",
    source=HYPOTHETICAL,
    detectors=NUMERICS,
    visible=False,
)
def _window_one_too_short(model: Transformer) -> None:
    model.config = replace(model.config, sliding_window=model.config.sliding_window - 1)


@family.fault(
    MODEL,
    "window-on-odd-layers",
    "The sliding window is on the odd layers and not on the even ones.",
    source="mlx-lm PR#843",
    detectors=NUMERICS,
)
def _window_on_odd_layers(model: Transformer) -> None:
    _with_layers(model, _FULL, _SLIDING)


@family.fault(
    MODEL,
    "window-nowhere",
    "All layers see everything.",
    source="tenstorrent/tt-xla#3186",
    detectors=NUMERICS,
)
def _window_nowhere(model: Transformer) -> None:
    _with_layers(model, _FULL, _FULL)


@family.fault(
    MODEL,
    "window-everywhere",
    "All layers look through the sliding window.",
    source="NVIDIA-NeMo/Megatron-Bridge PR#2656",
    detectors=NUMERICS,
)
def _window_everywhere(model: Transformer) -> None:
    _with_layers(model, _SLIDING, _SLIDING)


def _set_frequencies(model: Transformer, frequencies: Tensor) -> None:
    model.rotary.frequencies.copy_(frequencies)


@family.fault(
    MODEL,
    "yarn-rounded",
    "The ends of YaRN's ramp are rounded to whole dimensions.",
    source="vllm#27722",
    detectors=NUMERICS,
)
def _yarn_rounded(model: Transformer) -> None:
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
    _set_frequencies(model, plain * (1 - ramp) + plain / config.rope_factor * ramp)


@family.fault(
    MODEL,
    "yarn-absent",
    "Positions are not stretched, and cosine and sine not concentrated.",
    source=HYPOTHETICAL,
    detectors=NUMERICS,
)
def _yarn_absent(model: Transformer) -> None:
    plain, model.rotary.concentration = rotary_frequencies(replace(model.config, rope_factor=1.0))
    _set_frequencies(model, plain)


@family.fault(
    MODEL,
    "yarn-without-ramp",
    "All dimensions are stretched alike, those too that turn fast.",
    source=HYPOTHETICAL,
    detectors=NUMERICS,
)
def _yarn_without_ramp(model: Transformer) -> None:
    plain, _ = rotary_frequencies(replace(model.config, rope_factor=1.0))
    _set_frequencies(model, plain / model.config.rope_factor)


@family.fault(
    MODEL,
    "concentration-missing",
    "Cosine and sine are not multiplied by YaRN's concentration.",
    source=HYPOTHETICAL,
    detectors=NUMERICS,
)
def _concentration_missing(model: Transformer) -> None:
    model.rotary.concentration = 1.0


@family.fault(
    MODEL,
    "rope-base-wrong",
    "Positions turn by base 10,000 and not 150,000.",
    source=HYPOTHETICAL,
    detectors=NUMERICS,
)
def _rope_base_wrong(model: Transformer) -> None:
    frequencies, _ = rotary_frequencies(replace(model.config, rope_theta=10_000.0))
    _set_frequencies(model, frequencies)


@family.fault(
    MODEL,
    "rope-pairs-interleaved",
    "Positions turn neighbouring dimensions and not those half a head apart.",
    source=HYPOTHETICAL,
    detectors=NUMERICS,
)
def _rope_pairs_interleaved(model: Transformer) -> None:
    """Scores are the same as when queries and keys are put in the other order first."""
    size = model.config.head_dim
    order = torch.cat((torch.arange(0, size, 2), torch.arange(1, size, 2)))
    for attention in attentions(model):
        turned = attention.heads + attention.kv_heads
        for parameter in (attention.qkv.weight, attention.qkv.bias):
            assert parameter is not None
            heads = parameter[: turned * size].view(turned, size, -1)
            parameter[: turned * size] = heads[:, order].reshape_as(parameter[: turned * size])
