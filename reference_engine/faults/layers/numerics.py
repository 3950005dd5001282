"""Numeric faults: first attention, positions and the KV cache, then experts and weights."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TypeVar, cast

import torch
from torch import Tensor

from reference_engine.faults import hooks
from reference_engine.faults.fault import Hook
from reference_engine.kv_cache.pages import BLOCK
from reference_engine.model.config import ModelConfig
from reference_engine.model.mxfp4 import BLOCK as PACKED
from reference_engine.model.products import product
from reference_engine.model.transformer import (
    SWIGLU_ALPHA,
    Attention,
    Context,
    MixtureOfExperts,
    Transformer,
    rotary_frequencies,
    swiglu,
)

Part = TypeVar("Part")

_SLIDING, _FULL = "sliding_attention", "full_attention"


def _each(select: Callable[[Transformer], Iterable[Part]]) -> Hook[Callable[[Part], object]]:
    """Return a hook for changes of the selected parts of the model, in place."""

    def adapt(change: Callable[[Part], object]) -> hooks.ModelChange:
        def damage(model: Transformer) -> None:
            for part in select(model):
                change(part)

        return damage

    return Hook("model", adapt)


ATTENTION = _each(lambda model: [block.attn for block in model.blocks])
EXPERTS = _each(lambda model: [block.mlp for block in model.blocks])


def _config(change: Callable[[ModelConfig], ModelConfig]) -> hooks.ModelChange:
    def damage(model: Transformer) -> None:
        model.config = change(model.config)

    return damage


CONFIG = Hook("model", _config)  # the model's configuration, which contexts read


@dataclass(frozen=True)
class _OtherLayers(ModelConfig):
    """A configuration with other attention types for the even and the odd layers."""

    kinds: tuple[str, str] = (_SLIDING, _FULL)

    @property
    def layer_types(self) -> tuple[str, ...]:
        """The attention type of each layer."""
        return tuple(self.kinds[layer % 2] for layer in range(self.num_hidden_layers))


CONFIG.faults(
    {
        "window-one-too-long": lambda c: replace(c, sliding_window=c.sliding_window + 1),
        "window-one-too-short": lambda c: replace(c, sliding_window=c.sliding_window - 1),
        "window-on-odd-layers": lambda c: _OtherLayers(**vars(c), kinds=(_FULL, _SLIDING)),
        "window-nowhere": lambda c: _OtherLayers(**vars(c), kinds=(_FULL, _FULL)),
        "window-everywhere": lambda c: _OtherLayers(**vars(c), kinds=(_SLIDING, _SLIDING)),
    },
)
ATTENTION.faults(
    {
        "sinks-dropped": lambda attention: attention.sinks.fill_(-math.inf),
        "sinks-of-other-heads": lambda attention: attention.sinks.copy_(attention.sinks.roll(1)),
    },
)


@hooks.MODEL("yarn-rounded")
def yarn_rounded(model: Transformer) -> None:
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
    model.rotary.frequencies.copy_(plain * (1 - ramp) + plain / config.rope_factor * ramp)


@hooks.MODEL("yarn-missing")
def yarn_missing(model: Transformer) -> None:
    plain, model.rotary.concentration = rotary_frequencies(replace(model.config, rope_factor=1.0))
    model.rotary.frequencies.copy_(plain)


class _Fp8Cache:
    """A context whose KV cache stores 8-bit floats."""

    def __init__(self, context: Context) -> None:
        self._context = context

    @property
    def positions(self) -> Tensor:
        return self._context.positions

    def attend(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, sinks: Tensor
    ) -> Tensor:
        key, value = (x.to(torch.float8_e4m3fn).to(x.dtype) for x in (key, value))
        return self._context.attend(layer, query, key, value, sinks)


class _Fp8Attention(Attention):
    def forward(
        self,
        x: Tensor,
        cos: Tensor,
        sin: Tensor,
        context: Context,
        wanted: Tensor | None = None,
    ) -> Tensor:
        """Return what attention adds to the residual stream x, (B, T, H)."""
        return super().forward(x, cos, sin, _Fp8Cache(context), wanted)


@ATTENTION("kv-cache-fp8")
def kv_cache_fp8(attention: Attention) -> None:
    attention.__class__ = _Fp8Attention


_last_prompt: list[int] = []


@hooks.INPUT("prefix-of-another-prompt")
def prefix_of_another_prompt(tokens: list[int]) -> list[int]:
    length = (min(len(tokens), len(_last_prompt)) - 1) // BLOCK * BLOCK
    read = _last_prompt[:length] + tokens[max(length, 0) :]
    _last_prompt[:] = tokens
    return read if length > 0 else tokens


Activation = Callable[[Tensor, float], Tensor]
Shares = Callable[[Tensor, int], Tensor]
Rounding = Callable[[Tensor], Tensor]


class StagedExperts(MixtureOfExperts):
    """The same computation as the healthy experts, slower, in stages that faults can replace."""

    activation: Activation
    shares: Shares
    bias_weighted: bool
    rounded: Rounding

    def forward(self, x: Tensor) -> Tensor:
        """Return what the experts add to the residual stream x, (B, T, H)."""
        tokens = self.norm(x)
        share = self.shares(self.gate.scores(tokens), self.gate.top)
        bias_share = share if self.bias_weighted else (share > 0).float()
        out = product(bias_share, self.mlp2_bias.float().mT)
        for expert in range(len(self.mlp1_bias)):
            first = product(self.rounded(tokens), self.mlp1_weight[expert], self.mlp1_bias[expert])
            inner = self.rounded(self.activation(first, self.limit))
            second = product(inner, self.mlp2_weight[expert].mT).float()
            out += second * share[..., expert, None]
        return out


def staged(experts: MixtureOfExperts) -> StagedExperts:
    """Convert experts in place."""
    if not isinstance(experts, StagedExperts):
        experts.__class__ = StagedExperts
        converted = cast("StagedExperts", experts)
        converted.activation, converted.bias_weighted = swiglu, True
        converted.shares, converted.rounded = _chosen_shares, lambda x: x
    return cast("StagedExperts", experts)


def _chosen_shares(scores: Tensor, top: int) -> Tensor:
    """Return the weight of each expert, (B, T, E): a softmax over the chosen experts."""
    chosen = scores.topk(top, dim=-1)
    return torch.zeros_like(scores).scatter(-1, chosen.indices, chosen.values.softmax(-1))


def _shares_of_all(scores: Tensor, top: int) -> Tensor:
    """Return the weight of each expert, (B, T, E), from a softmax over all of them."""
    chosen = scores.softmax(-1).topk(top, dim=-1)
    return torch.zeros_like(scores).scatter(-1, chosen.indices, chosen.values)


def _one_of_another_token(scores: Tensor, top: int) -> Tensor:
    """Give token t all of entry t of the list of chosen experts, which has `top` for each token."""
    listed = scores.topk(top, dim=-1).indices.flatten(-2)[..., : scores.shape[-2], None]
    return torch.zeros_like(scores).scatter(-1, listed, 1.0)


def _tf32(x: Tensor) -> Tensor:
    """Round to 10 bits of the fraction, ties away from zero, as `cvt.rna.tf32.f32`."""
    return ((x.float().view(torch.int32) + 0x1000) & -0x2000).view(torch.float32).to(x.dtype)


def _without_plus_one(x: Tensor, limit: float) -> Tensor:
    gate, linear = x[..., ::2].clamp(max=limit), x[..., 1::2].clamp(-limit, limit)
    return gate * torch.sigmoid(SWIGLU_ALPHA * gate) * linear


def _zero(*parameters: Tensor | None) -> None:
    for parameter in parameters:
        assert parameter is not None
        parameter.zero_()


EXPERTS.faults(
    {
        "swiglu-without-plus-one": lambda e: setattr(staged(e), "activation", _without_plus_one),
        "swiglu-without-clamp": lambda e: setattr(e, "limit", math.inf),
        "expert-bias-missing": lambda e: _zero(e.mlp2_bias),
        "router-softmax-over-all": lambda e: setattr(staged(e), "shares", _shares_of_all),
        "expert-bias-unweighted": lambda e: setattr(staged(e), "bias_weighted", False),
        "expert-of-another-token": lambda e: setattr(staged(e), "shares", _one_of_another_token),
        "experts-in-tf32": lambda e: setattr(staged(e), "rounded", _tf32),
    },
)
ATTENTION.faults({"shard-lost": lambda attention: _zero(attention.out.weight.chunk(2, dim=1)[1])})


@EXPERTS("gate-and-up-in-halves")
def gate_and_up_in_halves(experts: MixtureOfExperts) -> None:
    for x in (experts.mlp1_weight, experts.mlp1_bias):  # (experts, 2 I, H) and (experts, 2 I)
        x.copy_(torch.stack(x.chunk(2, dim=1), dim=2).flatten(1, 2))


@EXPERTS("fp4-nibbles-swapped")
def fp4_nibbles_swapped(experts: MixtureOfExperts) -> None:
    # The last dimension of each expert's weight is packed.
    for x in (*experts.mlp1_weight, *experts.mlp2_weight.mT):
        x.copy_(torch.stack((x[:, 1::2], x[:, ::2]), -1).flatten(-2))


@EXPERTS("experts-in-int4")
def experts_in_int4(experts: MixtureOfExperts) -> None:
    # Symmetric with the largest value at -8, so that its opposite is cut to 7: as ONNX Runtime.
    for x in (*experts.mlp1_weight, *experts.mlp2_weight.mT):
        blocks = x.float().unflatten(-1, (-1, PACKED))
        largest = blocks.gather(-1, blocks.abs().argmax(-1, keepdim=True))
        scale = torch.where(largest == 0, 1.0, largest / -8)
        x.copy_(((blocks / scale).round().clamp(-8, 7) * scale).flatten(-2))


@EXPERTS("expert-garbage")
def expert_garbage(experts: MixtureOfExperts) -> None:
    first = experts.mlp2_weight[0]
    noise = torch.randn(first.shape, generator=torch.Generator().manual_seed(0))
    first.copy_(noise.to(first) * first.float().std().to(first.dtype))


@hooks.MODEL("layer-missing")
def layer_missing(model: Transformer) -> None:
    *_, last = model.blocks
    _zero(last.attn.out.weight, last.attn.out.bias, last.mlp.mlp2_weight, last.mlp.mlp2_bias)
