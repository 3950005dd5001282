"""The mixture of experts on packed MXFP4 weights: the plain twin, and the choice of kernel."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from reference_engine.kernels import Kernels
from reference_engine.model.mxfp4 import PackedLinear, unpack
from reference_engine.model.transformer import swiglu

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
