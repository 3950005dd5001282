"""Numeric faults in the experts and in the weights."""

import math
from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor

from reference_engine.faults import hooks
from reference_engine.faults.base import Hook
from reference_engine.faults.layers.attention import ATTENTION
from reference_engine.model import mxfp4
from reference_engine.model.transformer import (
    SWIGLU_ALPHA,
    Attention,
    MixtureOfExperts,
    RMSNorm,
    Transformer,
    swiglu,
)

Activation = Callable[[Tensor, float], Tensor]


class StagedExperts(MixtureOfExperts):
    """The same computation as the healthy experts, slower, in stages that faults can replace."""

    activation: Activation
    shares: Callable[[Tensor, int], Tensor]
    bias_weighted: bool

    def forward(self, x: Tensor) -> Tensor:
        """Returns what the experts add to the residual stream x, (B, T, H)."""
        tokens = self.norm(x).flatten(0, 1)
        share = self.shares(self.gate(tokens).float(), self.top)
        first = torch.einsum("th,eih->tei", tokens, self.mlp1_weight) + self.mlp1_bias
        inner = self.activation(first, self.limit)
        second = torch.einsum("tei,eih->teh", inner, self.mlp2_weight).float()
        bias_share = share if self.bias_weighted else (share > 0).float()
        out = (second * share[..., None]).sum(1) + bias_share @ self.mlp2_bias.float()
        return out.view_as(x)


def staged(experts: MixtureOfExperts) -> StagedExperts:
    """Convert experts in place."""
    if not isinstance(experts, StagedExperts):
        experts.__class__ = StagedExperts
        converted = cast("StagedExperts", experts)
        converted.activation, converted.shares = swiglu, _chosen_shares
        converted.bias_weighted = True
    return cast("StagedExperts", experts)


def _chosen_shares(scores: Tensor, top: int) -> Tensor:
    """The weight of each expert, (tokens, experts): a softmax over the chosen experts."""
    chosen = scores.topk(top, dim=-1)
    return torch.zeros_like(scores).scatter(1, chosen.indices, chosen.values.softmax(-1))


def _each_experts(change: Callable[[MixtureOfExperts], object]) -> hooks.ModelChange:
    def damage(model: Transformer) -> None:
        for block in model.blocks:
            change(block.mlp)

    return damage


def _gate_up(change: Callable[[Tensor], Tensor]) -> hooks.ModelChange:
    def damage(experts: MixtureOfExperts) -> None:
        for parameter in (experts.mlp1_weight, experts.mlp1_bias):
            parameter.copy_(change(parameter))

    return _each_experts(damage)


def _quantized(change: Callable[[Tensor], Tensor]) -> hooks.ModelChange:
    def damage(experts: MixtureOfExperts) -> None:
        for weight in (experts.mlp1_weight, experts.mlp2_weight.mT):
            for expert in weight:
                expert.copy_(change(expert))

    return _each_experts(damage)


EXPERTS = Hook("model", _each_experts)  # the experts of each block
GATE_UP = Hook("model", _gate_up)
"""Weight (experts, 2 I, H) and bias (experts, 2 I) of the experts' first projection."""
QUANTIZED = Hook("model", _quantized)
"""The weight of each expert that checkpoints store in MXFP4; its last dimension is packed."""


def _gated(alpha: float, offset: float) -> Activation:
    """SwiGLU with other constants."""

    def activation(x: Tensor, limit: float) -> Tensor:
        gate, linear = x[..., ::2].clamp(max=limit), x[..., 1::2].clamp(-limit, limit)
        return gate * torch.sigmoid(alpha * gate) * (linear + offset)

    return activation


def _shares_of_all(scores: Tensor, top: int) -> Tensor:
    """A softmax over all experts, of which only the chosen ones count."""
    chosen = scores.softmax(-1).topk(top, dim=-1)
    return torch.zeros_like(scores).scatter(1, chosen.indices, chosen.values)


def _zero(*parameters: Tensor | None) -> None:
    for parameter in parameters:
        assert parameter is not None
        parameter.zero_()


EXPERTS.faults(
    swiglu_without_plus_one=lambda e: setattr(staged(e), "activation", _gated(SWIGLU_ALPHA, 0.0)),
    swiglu_without_alpha=lambda e: setattr(staged(e), "activation", _gated(1.0, 1.0)),
    swiglu_without_clamp=lambda e: setattr(e, "limit", math.inf),
    softmax_before_top_k=lambda e: setattr(staged(e), "shares", _shares_of_all),
    one_expert_too_few=lambda e: setattr(e, "top", max(e.top - 1, 1)),
    router_bias_missing=lambda e: _zero(e.gate.bias),
    expert_bias_missing=lambda e: _zero(e.mlp2_bias),
    expert_bias_doubled=lambda e: e.mlp2_bias.mul_(2),
    expert_bias_unweighted=lambda e: setattr(staged(e), "bias_weighted", False),
)
GATE_UP.faults(
    gate_and_up_in_halves=lambda x: torch.stack(x.chunk(2, dim=1), dim=2).flatten(1, 2),
    gate_and_up_swapped=lambda x: torch.stack((x[:, 1::2], x[:, ::2]), dim=2).flatten(1, 2),
)
QUANTIZED.faults(
    fp4_nibbles_swapped=lambda x: torch.stack((x[:, 1::2], x[:, ::2]), -1).flatten(-2),
    fp4_scales_off_by_one=lambda x: x * 2,
)
ATTENTION.faults(
    qkv_bias_missing=lambda attention: _zero(attention.qkv.bias),
    output_bias_missing=lambda attention: _zero(attention.out.bias),
    shard_lost=lambda attention: _zero(attention.out.weight.chunk(2, dim=1)[1]),
)


@EXPERTS
def expert_garbage(experts: MixtureOfExperts) -> None:
    first = experts.mlp2_weight[0]
    noise = torch.randn(first.shape, generator=torch.Generator().manual_seed(0))
    first.copy_(noise.to(first) * first.float().std().to(first.dtype))


@QUANTIZED
def fp4_scales_of_neighbours(weight: Tensor) -> Tensor:
    blocks, scales = mxfp4.encode(weight.float())
    return mxfp4.decode(blocks, scales.roll(-1, dims=-1))


@hooks.MODEL
def norm_eps_wrong(model: Transformer) -> None:
    for module in model.modules():
        if isinstance(module, RMSNorm):
            module.eps = 1e-6


@hooks.MODEL
def layer_missing(model: Transformer) -> None:
    *_, last = model.blocks
    _zero(last.attn.out.weight, last.attn.out.bias, last.mlp.mlp2_weight, last.mlp.mlp2_bias)


@ATTENTION
def weights_int4(attention: Attention) -> None:
    for linear in (attention.qkv, attention.out):
        scale = linear.weight.abs().amax(-1, keepdim=True) / 7
        linear.weight.copy_((linear.weight / scale).round() * scale)


@hooks.MODEL
def unembedding_fp8(model: Transformer) -> None:
    weight = model.unembedding.weight
    weight.copy_(weight.to(torch.float8_e4m3fn))
