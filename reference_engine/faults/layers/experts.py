"""Numeric faults of the experts, of their MXFP4 weights, and of weights in general."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import cast

import torch
from torch import Tensor

from reference_engine.faults.base import HYPOTHETICAL, NUMERICS, Family
from reference_engine.faults.seams import MODEL
from reference_engine.model.transformer import (
    SWIGLU_ALPHA,
    MixtureOfExperts,
    Transformer,
    swiglu,
)

family = Family("numerics")

Activation = Callable[[Tensor, float], Tensor]


class StagedExperts(MixtureOfExperts):
    """The healthy experts once more, slower, in stages that faults replace."""

    activation: Activation
    shares: Callable[[Tensor, int], Tensor]
    bias_weighted: bool

    def forward(self, x: Tensor) -> Tensor:
        """Returns what the experts add to the stream x, (B, T, H)."""
        tokens = self.norm(x).flatten(0, 1)
        share = self.shares(self.gate(tokens).float(), self.top)
        first = torch.einsum("th,eih->tei", tokens, self.mlp1_weight) + self.mlp1_bias
        inner = self.activation(first, self.limit)
        second = torch.einsum("tei,eih->teh", inner, self.mlp2_weight).float()
        bias_share = share if self.bias_weighted else (share > 0).float()
        out = (second * share[..., None]).sum(1) + bias_share @ self.mlp2_bias.float()
        return out.view_as(x)


def experts_of(model: Transformer) -> Iterator[MixtureOfExperts]:
    """The experts of each block."""
    return (block.mlp for block in model.blocks)


def staged(model: Transformer) -> Iterator[StagedExperts]:
    """The experts of each block, put into stages."""
    for experts in experts_of(model):
        if not isinstance(experts, StagedExperts):
            experts.__class__ = StagedExperts
            made = cast("StagedExperts", experts)
            made.activation, made.shares, made.bias_weighted = swiglu, chosen_shares, True
        yield cast("StagedExperts", experts)


def chosen_shares(scores: Tensor, top: int) -> Tensor:
    """The weight of each expert, (tokens, experts): a softmax over the chosen ones."""
    chosen = scores.topk(top, dim=-1)
    return torch.zeros_like(scores).scatter(1, chosen.indices, chosen.values.softmax(-1))


def _activate(model: Transformer, activation: Activation) -> None:
    for experts in staged(model):
        experts.activation = activation


def _gated(x: Tensor, limit: float, alpha: float, offset: float) -> Tensor:
    gate, linear = x[..., ::2].clamp(max=limit), x[..., 1::2].clamp(-limit, limit)
    return gate * torch.sigmoid(alpha * gate) * (linear + offset)


@family.fault(
    MODEL,
    "swiglu-without-plus-one",
    "The linear part of SwiGLU loses its + 1.",
    source="sglang PR#39939",
    detectors=NUMERICS,
)
def _swiglu_without_plus_one(model: Transformer) -> None:
    _activate(model, lambda x, limit: _gated(x, limit, SWIGLU_ALPHA, 0.0))


@family.fault(
    MODEL,
    "swiglu-without-alpha",
    "The sigmoid of SwiGLU has the factor 1 and not 1.702.",
    source="sglang#16972",
    detectors=NUMERICS,
)
def _swiglu_without_alpha(model: Transformer) -> None:
    _activate(model, lambda x, limit: _gated(x, limit, 1.0, 1.0))


@family.fault(
    MODEL,
    "swiglu-without-clamp",
    "The parts of SwiGLU are not clamped at 7.",
    source="sglang#16972",
    detectors=NUMERICS,
    visible=False,
)
def _swiglu_without_clamp(model: Transformer) -> None:
    for experts in experts_of(model):
        experts.limit = math.inf


@family.fault(
    MODEL,
    "gate-and-up-in-halves",
    "Gate and linear part are read as two halves though they are interleaved.",
    source="vllm PR#52240",
    detectors=NUMERICS,
)
def _gate_and_up_in_halves(model: Transformer) -> None:
    for experts in experts_of(model):
        for parameter in (experts.mlp1_weight, experts.mlp1_bias):
            gate, linear = parameter.chunk(2, dim=1)
            parameter.copy_(torch.stack((gate, linear), dim=2).flatten(1, 2))


@family.fault(
    MODEL,
    "gate-and-up-swapped",
    "Gate and linear part are taken for each other.",
    source="ROCm/aiter#5760",
    detectors=NUMERICS,
)
def _gate_and_up_swapped(model: Transformer) -> None:
    for experts in experts_of(model):
        for parameter in (experts.mlp1_weight, experts.mlp1_bias):
            parameter.copy_(
                torch.stack((parameter[:, 1::2], parameter[:, ::2]), dim=2).flatten(1, 2)
            )


@family.fault(
    MODEL,
    "softmax-before-top-k",
    "Experts are weighted by a softmax over all of them and not over the chosen ones.",
    source=HYPOTHETICAL,
    detectors=NUMERICS,
)
def _softmax_before_top_k(model: Transformer) -> None:
    def shares(scores: Tensor, top: int) -> Tensor:
        chosen = scores.softmax(-1).topk(top, dim=-1)
        return torch.zeros_like(scores).scatter(1, chosen.indices, chosen.values)

    for experts in staged(model):
        experts.shares = shares


@family.fault(
    MODEL,
    "one-expert-too-few",
    "One expert less than the model wants is used for each token.",
    source=HYPOTHETICAL,
    detectors=NUMERICS,
)
def _one_expert_too_few(model: Transformer) -> None:
    for experts in experts_of(model):
        experts.top = max(experts.top - 1, 1)


@family.fault(
    MODEL,
    "router-bias-missing",
    "The router runs without its bias.",
    source=HYPOTHETICAL,
    detectors=NUMERICS,
)
def _router_bias_missing(model: Transformer) -> None:
    for experts in experts_of(model):
        assert experts.gate.bias is not None
        experts.gate.bias.zero_()


@family.fault(
    MODEL,
    "expert-bias-missing",
    "The second projection of the experts runs without its bias.",
    source="pytorch/torchtitan PR#4245",
    detectors=NUMERICS,
)
def _expert_bias_missing(model: Transformer) -> None:
    for experts in experts_of(model):
        experts.mlp2_bias.zero_()


@family.fault(
    MODEL,
    "expert-bias-doubled",
    "The bias of the second projection is added by each of two tensor-parallel ranks.",
    source="vllm PR#44679",
    detectors=NUMERICS,
)
def _expert_bias_doubled(model: Transformer) -> None:
    for experts in experts_of(model):
        experts.mlp2_bias.mul_(2)


@family.fault(
    MODEL,
    "expert-bias-unweighted",
    "The bias of the second projection is added without the expert's weight.",
    source="NVIDIA-NeMo/Automodel PR#2591",
    detectors=NUMERICS,
)
def _expert_bias_unweighted(model: Transformer) -> None:
    for experts in staged(model):
        experts.bias_weighted = False


@family.fault(
    MODEL,
    "expert-garbage",
    "The output of the first expert of each layer is noise.",
    source="flashinfer#3334",
    detectors=NUMERICS,
)
def _expert_garbage(model: Transformer) -> None:
    for experts in experts_of(model):
        first = experts.mlp2_weight[0]
        noise = torch.randn(first.shape, generator=torch.Generator().manual_seed(0))
        first.copy_(noise.to(first) * first.float().std().to(first.dtype))
