"""Numeric faults in the experts and in the weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import cast

import torch
from torch import Tensor

from reference_engine.faults.base import FaultGroup, Hook
from reference_engine.faults.hooks import MODEL, ModelChange
from reference_engine.faults.layers import attention as attention_faults
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

group = FaultGroup("numerics", attention_faults.group.detectors)

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


def _each_experts(change: Callable[[MixtureOfExperts], None]) -> ModelChange:
    def damage(model: Transformer) -> None:
        for block in model.blocks:
            change(block.mlp)

    return damage


def _staged_experts(change: Callable[[StagedExperts], None]) -> ModelChange:
    return _each_experts(lambda experts: change(staged(experts)))


def _quantized(change: Callable[[Tensor], Tensor]) -> ModelChange:
    def damage(experts: MixtureOfExperts) -> None:
        for weight in (experts.mlp1_weight, experts.mlp2_weight.mT):
            for expert in weight:
                expert.copy_(change(expert))

    return _each_experts(damage)


EXPERTS = Hook("model", _each_experts)
"""The experts of each block."""
STAGED_EXPERTS = Hook("model", _staged_experts)
"""The experts of each block, converted to `StagedExperts`."""
QUANTIZED = Hook("model", _quantized)
"""The weight of each expert that checkpoints store in MXFP4; its last dimension is packed."""


def _gated(x: Tensor, limit: float, alpha: float, offset: float) -> Tensor:
    gate, linear = x[..., ::2].clamp(max=limit), x[..., 1::2].clamp(-limit, limit)
    return gate * torch.sigmoid(alpha * gate) * (linear + offset)


@group.fault(STAGED_EXPERTS, source="sglang PR#39939")
def swiglu_without_plus_one(experts: StagedExperts) -> None:
    """The linear part of SwiGLU lacks the + 1."""
    experts.activation = lambda x, limit: _gated(x, limit, SWIGLU_ALPHA, 0.0)


@group.fault(STAGED_EXPERTS, source="sglang#16972")
def swiglu_without_alpha(experts: StagedExperts) -> None:
    """The sigmoid of SwiGLU uses the factor 1 instead of 1.702."""
    experts.activation = lambda x, limit: _gated(x, limit, 1.0, 1.0)


@group.fault(EXPERTS, source="sglang#16972", visible=False)
def swiglu_without_clamp(experts: MixtureOfExperts) -> None:
    """The parts of SwiGLU are not clamped at 7."""
    experts.limit = math.inf


@group.fault(EXPERTS, source="vllm PR#52240")
def gate_and_up_in_halves(experts: MixtureOfExperts) -> None:
    """Gate and linear part are read as two halves although they are interleaved."""
    for parameter in (experts.mlp1_weight, experts.mlp1_bias):
        parameter.copy_(torch.stack(parameter.chunk(2, dim=1), dim=2).flatten(1, 2))


@group.fault(EXPERTS, source="ROCm/aiter#5760")
def gate_and_up_swapped(experts: MixtureOfExperts) -> None:
    """Gate and linear part are swapped."""
    for parameter in (experts.mlp1_weight, experts.mlp1_bias):
        parameter.copy_(torch.stack((parameter[:, 1::2], parameter[:, ::2]), dim=2).flatten(1, 2))


@group.fault(STAGED_EXPERTS)
def softmax_before_top_k(experts: StagedExperts) -> None:
    """The weights of experts are a softmax over all experts instead of the chosen ones."""

    def shares(scores: Tensor, top: int) -> Tensor:
        chosen = scores.softmax(-1).topk(top, dim=-1)
        return torch.zeros_like(scores).scatter(1, chosen.indices, chosen.values)

    experts.shares = shares


@group.fault(EXPERTS)
def one_expert_too_few(experts: MixtureOfExperts) -> None:
    """Each token uses one expert too few."""
    experts.top = max(experts.top - 1, 1)


def _zero(*parameters: Tensor | None) -> None:
    for parameter in parameters:
        assert parameter is not None
        parameter.zero_()


@group.fault(EXPERTS)
def router_bias_missing(experts: MixtureOfExperts) -> None:
    """The router runs without its bias."""
    _zero(experts.gate.bias)


@group.fault(EXPERTS, source="pytorch/torchtitan PR#4245")
def expert_bias_missing(experts: MixtureOfExperts) -> None:
    """The second projection of the experts runs without its bias."""
    _zero(experts.mlp2_bias)


@group.fault(EXPERTS, source="vllm PR#44679")
def expert_bias_doubled(experts: MixtureOfExperts) -> None:
    """Two tensor-parallel ranks each add the bias of the second projection."""
    experts.mlp2_bias.mul_(2)


@group.fault(STAGED_EXPERTS, source="NVIDIA-NeMo/Automodel PR#2591")
def expert_bias_unweighted(experts: StagedExperts) -> None:
    """The bias of the second projection is added without the expert's weight."""
    experts.bias_weighted = False


@group.fault(EXPERTS, source="flashinfer#3334")
def expert_garbage(experts: MixtureOfExperts) -> None:
    """The output of the first expert of each layer is noise."""
    first = experts.mlp2_weight[0]
    noise = torch.randn(first.shape, generator=torch.Generator().manual_seed(0))
    first.copy_(noise.to(first) * first.float().std().to(first.dtype))


@group.fault(QUANTIZED, source="flashinfer#3334")
def fp4_nibbles_swapped(weight: Tensor) -> Tensor:
    """The two 4-bit values of a byte are read in the wrong order."""
    return torch.stack((weight[:, 1::2], weight[:, ::2]), -1).flatten(-2)


@group.fault(QUANTIZED)
def fp4_scales_off_by_one(weight: Tensor) -> Tensor:
    """The exponent of the MXFP4 scales has a bias of 126 instead of 127."""
    return weight * 2


@group.fault(QUANTIZED)
def fp4_scales_of_neighbours(weight: Tensor) -> Tensor:
    """Each block of 4-bit values is read with the scale of the next block."""
    blocks, scales = mxfp4.encode(weight.float())
    return mxfp4.decode(blocks, scales.roll(-1, dims=-1))


@group.fault(ATTENTION)
def qkv_bias_missing(attention: Attention) -> None:
    """Queries, keys and values have no bias."""
    _zero(attention.qkv.bias)


@group.fault(ATTENTION)
def output_bias_missing(attention: Attention) -> None:
    """The output projection of attention has no bias."""
    _zero(attention.out.bias)


@group.fault(ATTENTION, source="vllm#31422")
def shard_lost(attention: Attention) -> None:
    """The contribution of one of two tensor-parallel ranks to attention is lost."""
    attention.out.weight[:, attention.out.weight.shape[1] // 2 :] = 0


def _norms(model: Transformer) -> Iterator[RMSNorm]:
    return (module for module in model.modules() if isinstance(module, RMSNorm))


@group.fault(MODEL, visible=False)
def norm_eps_wrong(model: Transformer) -> None:
    """RMSNorm adds 1e-6 instead of 1e-5 to the mean square."""
    for norm in _norms(model):
        norm.eps = 1e-6


@group.fault(MODEL, source="simonwillison.net 2025-08-15")
def layer_missing(model: Transformer) -> None:
    """The last layer is pruned."""
    *_, last = model.blocks
    _zero(last.attn.out.weight, last.attn.out.bias, last.mlp.mlp2_weight, last.mlp.mlp2_bias)


@group.fault(ATTENTION, source="simonwillison.net 2025-08-15")
def weights_int4(attention: Attention) -> None:
    """The weights of attention are quantized to 4-bit integers."""
    for linear in (attention.qkv, attention.out):
        scale = linear.weight.abs().amax(-1, keepdim=True) / 7
        linear.weight.copy_((linear.weight / scale).round() * scale)


@group.fault(MODEL)
def unembedding_fp8(model: Transformer) -> None:
    """The unembedding is quantized to 8-bit floats."""
    weight = model.unembedding.weight
    weight.copy_(weight.to(torch.float8_e4m3fn))
