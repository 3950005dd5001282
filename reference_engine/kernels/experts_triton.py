"""The mixture of experts in Triton on packed MXFP4; `experts.packed_experts` is the plain version.

The computation is two grouped matrix products with (rows, I) activations between them, in the order
of the experts. The first kernel fuses the bias and the clamped SwiGLU, the second the bias and the
router weight. In bfloat16 the products are Triton's `dot_scaled`: the compiler makes the weights
the left operand and unpacks them into the registers from which matrix units read it, or uses the
GPU's own MXFP4 support. In float32 the kernel unpacks the values itself.

Error against float64 on the same inputs and weights, relative to the largest result: at most 2^-7
in bfloat16 (the inner activations are rounded to 8 bits) and 2e-6 in float32.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from reference_engine.kernels.routing import Routing, route
from reference_engine.kernels.triton_support import configurations, dot, power_of_two
from reference_engine.model.mxfp4 import PackedLinear
from reference_engine.model.transformer import SWIGLU_ALPHA

_ALPHA = tl.constexpr(SWIGLU_ALPHA)
_GROUP = tl.constexpr(32)
_FEW_ROWS, _FEW_WARPS = 32, 4


def _fitting(configs, arguments, **constants: int):
    """Returns the configurations for few rows or those for many rows."""
    few = constants["BLOCK_ROWS"] <= _FEW_ROWS
    return [each for each in configs if (each.num_warps == _FEW_WARPS) == few]


_tuned = triton.autotune(
    configurations(
        {"BLOCK_OUT": out, "BLOCK_IN": inputs, "num_warps": warps, "num_stages": stages}
        for out, inputs, warps, stages in (
            # For few rows. Smaller blocks would have too few scales to prefetch.
            (64, 256, 4, 3),
            (64, 256, 4, 4),
            (128, 128, 4, 3),
            (128, 128, 4, 5),
            (128, 256, 4, 3),
            # For many rows.
            (128, 64, 8, 4),
            (128, 128, 8, 3),
            (256, 64, 8, 3),
            (256, 128, 8, 3),
        )
    ),
    key=["IN", "OUT", "BLOCK_ROWS"],
    prune_configs_by={"early_config_prune": _fitting},
    cache_results=True,
)


@triton.jit
def _unpack(packed, scales, BLOCK_OUT: tl.constexpr, BLOCK_IN: tl.constexpr):
    """Unpacks bytes (.., BLOCK_IN / 2) and scales (.., / 32) to float32 (BLOCK_OUT, BLOCK_IN)."""
    codes = tl.join(packed & 15, packed >> 4).reshape(BLOCK_OUT, BLOCK_IN).to(tl.int32)
    magnitude = codes & 7
    # Twice the value: 0, 1, then 2 and 3 shifted by the exponent.
    doubled = tl.where(magnitude < 2, magnitude, (2 + (magnitude & 1)) << ((magnitude >> 1) - 1))
    values = tl.where(codes < 8, doubled, -doubled).to(tl.float32) * 0.5
    # A scale byte is the exponent of a float32; the smallest, 2^-127, becomes zero.
    powers = (scales.to(tl.int32) << 23).to(tl.float32, bitcast=True)
    grouped = values.reshape(BLOCK_OUT, BLOCK_IN // _GROUP, _GROUP) * powers[:, :, None]
    return grouped.reshape(BLOCK_OUT, BLOCK_IN)


@triton.jit
def _tile(tile_experts, tile_rows, tile_ends):
    """Returns a program's expert, its first row and the row after the last."""
    tile = tl.program_id(1)
    first, end = tl.load(tile_rows + tile), tl.load(tile_ends + tile)
    return tl.load(tile_experts + tile), first, end


@triton.jit
def _product(
    tokens,
    token,
    token_used,
    blocks,
    scales,
    bias,
    expert,
    output,
    IN: tl.constexpr,
    OUT: tl.constexpr,
    BLOCK_IN: tl.constexpr,
):
    """Multiplies tokens by one expert's weights and adds its bias; float32 (tokens, outputs).

    `token` holds the row numbers of `tokens` (.., IN), `output` those of the weights.
    """
    total = tl.zeros((token.shape[0], output.shape[0]), tl.float32)
    output_used = output < OUT
    token_row = token.to(tl.int64) * IN
    block_row = (expert * OUT + output).to(tl.int64) * (IN // 2)
    scale_row = expert.to(tl.int64) * (IN // _GROUP * OUT) + output
    for start in tl.range(0, IN, BLOCK_IN):
        feature = start + tl.arange(0, BLOCK_IN)
        byte = start // 2 + tl.arange(0, BLOCK_IN // 2)
        group = start // _GROUP + tl.arange(0, BLOCK_IN // _GROUP)
        x = tl.load(
            tokens + token_row[:, None] + feature[None, :],
            mask=token_used[:, None] & (feature < IN)[None, :],
            other=0.0,
        )
        packed = tl.load(
            blocks + block_row[:, None] + byte[None, :],
            mask=output_used[:, None] & (byte < IN // 2)[None, :],
            other=0,
        )
        scale = tl.load(
            scales + scale_row[:, None] + group[None, :] * OUT,
            mask=output_used[:, None] & (group < IN // _GROUP)[None, :],
            other=0,
        )
        # From the kernel layout to the checkpoint layout, see `mxfp4.kernel_layout`.
        packed = packed.reshape(output.shape[0], BLOCK_IN // _GROUP, 4, 4).permute(0, 1, 3, 2)
        packed = packed.reshape(output.shape[0], BLOCK_IN // 2)
        if x.dtype == tl.bfloat16:
            # Without `fast_math`, Triton 3.6 checks every scale for NaN; gpt-oss has none.
            total = tl.dot_scaled(
                x, None, "bf16", packed.trans(1, 0), scale, "e2m1", total, fast_math=True
            )
        else:
            total += dot(x, _unpack(packed, scale, output.shape[0], BLOCK_IN).trans(1, 0))
    return total + tl.load(bias + expert * OUT + output, mask=output_used, other=0.0)[None, :]


@_tuned
@triton.jit
def gate_up_kernel(
    inner,
    tokens,
    slots,
    tile_experts,
    tile_rows,
    tile_ends,
    blocks,
    scales,
    bias,
    limit,
    TOP: tl.constexpr,
    IN: tl.constexpr,
    OUT: tl.constexpr,
    BLOCK_ROWS: tl.constexpr,
    BLOCK_OUT: tl.constexpr,
    BLOCK_IN: tl.constexpr,
):
    """Computes `inner` (rows, OUT / 2) of `tokens` (tokens, IN); grid (blocks of OUT, tiles)."""
    expert, first, end = _tile(tile_experts, tile_rows, tile_ends)
    if first >= end:
        return
    row = first + tl.arange(0, BLOCK_ROWS)
    row_used = row < end
    token = tl.load(slots + row, mask=row_used, other=0) // TOP
    output = tl.program_id(0) * BLOCK_OUT + tl.arange(0, BLOCK_OUT)
    product = _product(
        tokens, token, row_used, blocks, scales, bias, expert, output, IN, OUT, BLOCK_IN
    )
    gate, linear = product.reshape(BLOCK_ROWS, BLOCK_OUT // 2, 2).split()
    gate = tl.minimum(gate, limit)
    linear = tl.minimum(tl.maximum(linear, -limit), limit)
    result = gate * tl.sigmoid(gate * _ALPHA) * (linear + 1)
    column = tl.program_id(0) * (BLOCK_OUT // 2) + tl.arange(0, BLOCK_OUT // 2)
    tl.store(
        inner + row.to(tl.int64)[:, None] * (OUT // 2) + column[None, :],
        result.to(inner.dtype.element_ty),
        mask=row_used[:, None] & (column < OUT // 2)[None, :],
    )


@_tuned
@triton.jit
def down_kernel(
    out,
    inner,
    weights,
    slots,
    tile_experts,
    tile_rows,
    tile_ends,
    blocks,
    scales,
    bias,
    IN: tl.constexpr,
    OUT: tl.constexpr,
    BLOCK_ROWS: tl.constexpr,
    BLOCK_OUT: tl.constexpr,
    BLOCK_IN: tl.constexpr,
):
    """Computes weighted float32 `out` (slots, OUT) of `inner` (rows, IN); grid as above."""
    expert, first, end = _tile(tile_experts, tile_rows, tile_ends)
    if first >= end:
        return
    row = first + tl.arange(0, BLOCK_ROWS)
    row_used = row < end
    slot = tl.load(slots + row, mask=row_used, other=0)
    output = tl.program_id(0) * BLOCK_OUT + tl.arange(0, BLOCK_OUT)
    result = _product(inner, row, row_used, blocks, scales, bias, expert, output, IN, OUT, BLOCK_IN)
    result *= tl.load(weights + slot, mask=row_used, other=0.0)[:, None]
    tl.store(
        out + slot.to(tl.int64)[:, None] * OUT + output[None, :],
        result,
        mask=row_used[:, None] & (output < OUT)[None, :],
    )


def packed_experts(
    tokens: Tensor,
    chosen: Tensor,
    weights: Tensor,
    gate_up: PackedLinear,
    down: PackedLinear,
    limit: float,
) -> Tensor:
    """Computes the same as `experts.packed_experts` in float32, with the same arguments.

    The function does not synchronize with the GPU and its launches depend only on shapes, so a CUDA
    graph can record it. The first call with new sizes autotunes and must come before recording. The
    sum over a token's experts has the order of `chosen`, independent of other tokens.
    """
    block = block_rows(chosen.numel(), len(gate_up.bias))
    routing = route(chosen, len(gate_up.bias), block)
    product = tokens.new_zeros((*chosen.shape, down.bias.shape[1]), dtype=torch.float32)
    weights = weights.float().contiguous()
    multiply(product, tokens.contiguous(), weights, routing, gate_up, down, limit, block)
    return product.sum(1)


def block_rows(rows: int, experts: int) -> int:
    """Returns the rows per tile: the average per expert, between 16 and 128."""
    return min(128, max(16, power_of_two(rows // experts)))


def multiply(
    product: Tensor,
    tokens: Tensor,
    weights: Tensor,
    routing: Routing,
    gate_up: PackedLinear,
    down: PackedLinear,
    limit: float,
    block: int,
) -> None:
    """Writes the weighted result of each slot that is in a tile to `product` (tokens, top, H).

    `weights` is (tokens, top) in float32; `routing` has tiles of `block` rows.
    """
    inner = _launch_gate_up(tokens, routing, gate_up, limit, product.shape[1], block)
    _launch_down(product, inner, weights, routing, down, block)


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
    product: Tensor,
    inner: Tensor,
    weights: Tensor,
    routing: Routing,
    linear: PackedLinear,
    block: int,
) -> None:
    size = linear.bias.shape[1]
    down_kernel[_grid(size, routing)](
        product,
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


def _grid(size: int, routing: Routing):
    tiles = len(routing.tile_experts)
    return lambda chosen: (triton.cdiv(size, chosen["BLOCK_OUT"]), tiles)
