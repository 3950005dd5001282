"""The mixture of experts in Triton, straight from packed MXFP4; `experts` holds the plain twin.

Two grouped matrix products; in between lie (rows, I) activations in the order of experts.

Error against float64 on the same inputs and weights, as a share of the largest result: at most
2^-7 in bfloat16 (the inner activations are rounded to 8 bits) and 2e-6 in float32.
"""

from __future__ import annotations

import torch
import triton
from torch import Tensor

from reference_engine.kernels.experts import PackedLinear
from reference_engine.kernels.experts_triton_kernels import down_kernel, gate_up_kernel
from reference_engine.kernels.routing import Routing, route
from reference_engine.kernels.triton_support import power_of_two


def packed_experts(
    tokens: Tensor,
    chosen: Tensor,
    weights: Tensor,
    gate_up: PackedLinear,
    down: PackedLinear,
    limit: float,
) -> Tensor:
    """What `experts.packed_experts` computes, with the same arguments, in float32.

    Nothing here waits for the GPU, and launches depend on shapes alone; only the first call of a
    size tries configurations, so make it before a CUDA graph is recorded. A token's experts are
    summed in the order of `chosen`, whatever other tokens choose.
    """
    top, experts = chosen.shape[1], gate_up.blocks.shape[0]
    tokens = tokens.contiguous()
    block = _block_rows(chosen.numel(), experts)
    routing = route(chosen, experts, block)
    inner = _launch_gate_up(tokens, routing, gate_up, limit, top, block)
    made = _launch_down(inner, weights.float().contiguous(), routing, down, block)
    return made.view(len(tokens), top, -1).sum(1)


def _block_rows(rows: int, experts: int) -> int:
    """Rows a tile: what an expert gets on average, within what is worth it."""
    return min(128, max(16, power_of_two(rows // experts)))


def _launch_gate_up(
    tokens: Tensor, routing: Routing, linear: PackedLinear, limit: float, top: int, block: int
) -> Tensor:
    size = linear.bias.shape[1]
    inner = tokens.new_empty((len(routing.slots), size // 2))
    gate_up_kernel[_grid(size, routing)](
        inner,
        tokens,
        routing.slots,
        routing.tile_experts,
        routing.tile_rows,
        routing.tile_ends,
        linear.blocks,
        linear.scales,
        linear.bias,
        limit,
        TOP=top,
        IN=tokens.shape[1],
        OUT=size,
        BLOCK_ROWS=block,
    )
    return inner


def _launch_down(
    inner: Tensor, weights: Tensor, routing: Routing, linear: PackedLinear, block: int
) -> Tensor:
    size = linear.bias.shape[1]
    made = inner.new_zeros((len(inner), size), dtype=torch.float32)
    down_kernel[_grid(size, routing)](
        made,
        inner,
        weights,
        routing.slots,
        routing.tile_experts,
        routing.tile_rows,
        routing.tile_ends,
        linear.blocks,
        linear.scales,
        linear.bias,
        IN=inner.shape[1],
        OUT=size,
        BLOCK_ROWS=block,
    )
    return made


def _grid(size: int, routing: Routing):
    tiles = len(routing.tile_experts)
    return lambda chosen: (triton.cdiv(size, chosen["BLOCK_OUT"]), tiles)
