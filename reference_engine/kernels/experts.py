"""The mixture of experts on MXFP4 weights: plain PyTorch, and the choice of implementation."""

from collections.abc import Callable

import torch
from torch import Tensor

from reference_engine.model.config import Kernels
from reference_engine.model.mxfp4 import PackedLinear, decode_kernel_layout
from reference_engine.model.transformer import product, swiglu

PackedExperts = Callable[[Tensor, Tensor, Tensor, PackedLinear, PackedLinear, float], Tensor]
"""The signature of `packed_experts` in PyTorch and Triton."""


def packed_experts_of(kernels: Kernels) -> PackedExperts:
    """Returns the selected implementation."""
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
    """Runs each token through its chosen experts, unpacking one expert at a time.

    Args:
        tokens: (tokens, H); the matrix products use this dtype.
        chosen: (tokens, top), int64; the different experts of each token. The index after the last
            expert means "no expert" and can repeat.
        weights: (tokens, top); weights of the experts' outputs.
        gate_up: H to 2 I, with interleaved gate and linear values.
        down: I to H; its bias is added before the weight is applied.
        limit: The clamp limit of SwiGLU.

    Returns:
        (tokens, H) in float32, or in float64 if the tokens are float64.
    """
    out = torch.zeros_like(tokens, dtype=torch.promote_types(tokens.dtype, torch.float32))
    for expert in torch.unique(chosen[chosen < len(gate_up.bias)]).tolist():
        row, place = torch.where(chosen == expert)
        inner = swiglu(_product(tokens[row], gate_up, expert), limit)
        outer = _product(inner, down, expert)
        out.index_add_(0, row, outer * weights[row, place, None].to(out.dtype))
    return out


def _product(x: Tensor, linear: PackedLinear, expert: int) -> Tensor:
    weight = decode_kernel_layout(linear.blocks[expert], linear.scales[expert], x.dtype)
    return product(x, weight, linear.bias[expert])
