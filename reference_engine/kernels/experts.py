"""The mixture of experts on packed MXFP4 weights: the plain twin, and the choice of kernel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from reference_engine import mxfp4
from reference_engine.kernels import Kernels
from reference_engine.model import swiglu


@dataclass(frozen=True)
class PackedLinear:
    """The same matrix product of every expert, weights in MXFP4, laid out for the kernel.

    Attributes:
        blocks: (experts, out, in / 32, 4, 4), uint8; byte 4 j + c of a stored block is at [c, j].
        scales: (experts, in / 32, out), uint8.
        bias: (experts, out), in the type of the tokens.
    """

    blocks: Tensor
    scales: Tensor
    bias: Tensor


def lay_out(blocks: Tensor, scales: Tensor) -> tuple[Tensor, Tensor]:
    """Blocks and scales of a `PackedLinear`, from those of a checkpoint.

    A thread of a matrix unit works on bytes four apart (PTX ISA, fragments of wgmma's m64nNk16):
    side by side, it loads four at once. A tile reads the scales of neighbouring outputs together.

    Args:
        blocks: (experts, out, in / 32, 16), see `reference_engine.mxfp4`.
        scales: (experts, out, in / 32).
    """
    return blocks.view(*blocks.shape[:-1], 4, 4).mT.contiguous(), scales.mT.contiguous()


def unpack(blocks: Tensor, scales: Tensor, dtype: torch.dtype) -> Tensor:
    """One expert's weights, (out, in), of blocks and scales as a `PackedLinear` has them."""
    return mxfp4.decode(blocks.mT.flatten(-2), scales.mT, dtype)


PackedExperts = Callable[[Tensor, Tensor, Tensor, PackedLinear, PackedLinear, float], Tensor]
"""What `packed_experts` is, in PyTorch or Triton."""


def packed_experts_of(kernels: Kernels) -> PackedExperts:
    """The implementation that the switch chooses."""
    if kernels == "torch":
        return packed_experts
    from reference_engine.kernels import experts_triton

    return experts_triton.packed_experts


def packed_experts(
    tokens: Tensor,
    chosen: Tensor,
    weights: Tensor,
    gate_up: PackedLinear,
    down: PackedLinear,
    limit: float,
) -> Tensor:
    """Each token through the experts that it chose; one expert is unpacked at a time.

    Args:
        tokens: (tokens, H); its type is that of the products.
        chosen: (tokens, top), int64; experts of each token, all different but for the number
            after the last, which stands for none.
        weights: (tokens, top); what their outputs are weighted by.
        gate_up: H to 2 I, gate and linear part interleaved.
        down: I to H; its bias is added before the output is weighted.
        limit: Where SwiGLU is clamped.

    Returns:
        (tokens, H), in float32 (float64 where the tokens are).
    """
    out = torch.zeros_like(tokens, dtype=torch.promote_types(tokens.dtype, torch.float32))
    for expert in torch.unique(chosen[chosen < len(gate_up.bias)]).tolist():
        row, place = torch.where(chosen == expert)
        inner = swiglu(_product(tokens[row], gate_up, expert), limit)
        made = _product(inner, down, expert)
        out.index_add_(0, row, made * weights[row, place, None].to(out.dtype))
    return out


def _product(x: Tensor, linear: PackedLinear, expert: int) -> Tensor:
    weight = unpack(linear.blocks[expert], linear.scales[expert], x.dtype)
    return F.linear(x, weight, linear.bias[expert])
