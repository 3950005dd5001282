"""Numeric faults of weights: MXFP4, biases, norms, shards and compression."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from reference_engine.faults.base import HYPOTHETICAL, NUMERICS, Family
from reference_engine.faults.layers.attention import attentions
from reference_engine.faults.layers.experts import experts_of
from reference_engine.faults.seams import MODEL
from reference_engine.model import mxfp4
from reference_engine.model.transformer import RMSNorm, Transformer

family = Family("numerics")


def _packed(model: Transformer) -> Iterator[Tensor]:
    """The weights that checkpoints hold in MXFP4, as views whose last dimension is packed."""
    for experts in experts_of(model):
        yield experts.mlp1_weight
        yield experts.mlp2_weight.mT


def _each_packed(model: Transformer, change: Callable[[Tensor], Tensor]) -> None:
    for weight in _packed(model):
        for expert in weight:
            expert.copy_(change(expert))


@family.fault(
    MODEL,
    "fp4-nibbles-swapped",
    "The two 4-bit values of a byte are read in the wrong order.",
    source="flashinfer#3334",
    detectors=NUMERICS,
)
def _fp4_nibbles_swapped(model: Transformer) -> None:
    _each_packed(
        model, lambda weight: torch.stack((weight[:, 1::2], weight[:, ::2]), -1).flatten(-2)
    )


@family.fault(
    MODEL,
    "fp4-scales-off-by-one",
    "The exponent of the MXFP4 scales has a bias of 126 and not 127.",
    source=HYPOTHETICAL,
    detectors=NUMERICS,
)
def _fp4_scales_off_by_one(model: Transformer) -> None:
    _each_packed(model, lambda weight: weight * 2)


@family.fault(
    MODEL,
    "fp4-scales-of-neighbours",
    "Each block of 4-bit values is read with the scale of the next one.",
    source=HYPOTHETICAL,
    detectors=NUMERICS,
)
def _fp4_scales_of_neighbours(model: Transformer) -> None:
    def change(weight: Tensor) -> Tensor:
        blocks, scales = mxfp4.encode(weight.float())
        return mxfp4.decode(blocks, scales.roll(-1, dims=-1))

    _each_packed(model, change)


@family.fault(
    MODEL,
    "qkv-bias-missing",
    "Queries, keys and values have no bias.",
    source=HYPOTHETICAL,
    detectors=NUMERICS,
)
def _qkv_bias_missing(model: Transformer) -> None:
    for attention in attentions(model):
        assert attention.qkv.bias is not None
        attention.qkv.bias.zero_()


@family.fault(
    MODEL,
    "output-bias-missing",
    "The output projection of attention has no bias.",
    source=HYPOTHETICAL,
    detectors=NUMERICS,
)
def _output_bias_missing(model: Transformer) -> None:
    for attention in attentions(model):
        assert attention.out.bias is not None
        attention.out.bias.zero_()


@family.fault(
    MODEL,
    "shard-lost",
    "The contribution of one of two tensor-parallel ranks to attention is lost.",
    source="vllm#31422",
    detectors=NUMERICS,
)
def _shard_lost(model: Transformer) -> None:
    for attention in attentions(model):
        attention.out.weight[:, attention.out.weight.shape[1] // 2 :] = 0


@family.fault(
    MODEL,
    "norm-eps-wrong",
    "RMSNorm adds 1e-6 and not 1e-5 to the mean square.",
    source=HYPOTHETICAL,
    detectors=NUMERICS,
    visible=False,
)
def _norm_eps_wrong(model: Transformer) -> None:
    for module in model.modules():
        if isinstance(module, RMSNorm):
            module.eps = 1e-6


@family.fault(
    MODEL,
    "layer-missing",
    "The last layer was pruned.",
    source="simonwillison.net 2025-08-15",
    detectors=NUMERICS,
)
def _layer_missing(model: Transformer) -> None:
    *_, attention = attentions(model)
    *_, experts = experts_of(model)
    for parameter in (attention.out.weight, attention.out.bias):
        assert parameter is not None
        parameter.zero_()
    experts.mlp2_weight.zero_()
    experts.mlp2_bias.zero_()


@family.fault(
    MODEL,
    "weights-int4",
    "Attention was compressed to 4-bit integers.",
    source="simonwillison.net 2025-08-15",
    detectors=NUMERICS,
)
def _weights_int4(model: Transformer) -> None:
    for attention in attentions(model):
        for linear in (attention.qkv, attention.out):
            scale = linear.weight.abs().amax(-1, keepdim=True) / 7
            linear.weight.copy_((linear.weight / scale).round() * scale)


@family.fault(
    MODEL,
    "unembedding-fp8",
    "The unembedding was compressed to 8-bit floats.",
    source=HYPOTHETICAL,
    detectors=NUMERICS,
)
def _unembedding_fp8(model: Transformer) -> None:
    weight = model.unembedding.weight
    weight.copy_(weight.to(torch.float8_e4m3fn))
