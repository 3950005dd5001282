"""The kernels that `experts_triton` launches: two grouped matrix products on packed MXFP4.

The first fuses bias and clamped SwiGLU, the second bias and the router's weight. In bfloat16 the
products are Triton's `dot_scaled`: the compiler puts the weights to the left and unpacks them into
the registers that a GPU's matrix units take the left side from, or uses what the GPU has for MXFP4.
In float32 the values are unpacked here.
"""

from __future__ import annotations

import triton
import triton.language as tl

from reference_engine.kernels.triton_support import configurations, dot
from reference_engine.model import SWIGLU_ALPHA

_ALPHA = tl.constexpr(SWIGLU_ALPHA)
_GROUP = tl.constexpr(32)
_FEW_ROWS, _FEW_WARPS = 32, 4


def _fitting(configs, arguments, **constants: int):
    """Of the configurations, those for few rows or those for many."""
    few = constants["BLOCK_ROWS"] <= _FEW_ROWS
    return [each for each in configs if (each.num_warps == _FEW_WARPS) == few]


_tuned = triton.autotune(
    configurations(
        {"BLOCK_OUT": out, "BLOCK_IN": inputs, "num_warps": warps, "num_stages": stages}
        for out, inputs, warps, stages in (
            # For few rows; smaller blocks would leave too few scales to be loaded ahead.
            (64, 256, 4, 3),
            (64, 256, 4, 4),
            (128, 128, 4, 3),
            (128, 128, 4, 5),
            (128, 256, 4, 3),
            # For many.
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
    """Float32 values (BLOCK_OUT, BLOCK_IN) of bytes (.., BLOCK_IN / 2) and scales (.., / 32)."""
    codes = tl.join(packed & 15, packed >> 4).reshape(BLOCK_OUT, BLOCK_IN).to(tl.int32)
    magnitude = codes & 7
    # Twice the value: 0, 1, then 2 and 3 doubled as often as the exponent says.
    doubled = tl.where(magnitude < 2, magnitude, (2 + (magnitude & 1)) << ((magnitude >> 1) - 1))
    values = tl.where(codes < 8, doubled, -doubled).to(tl.float32) * 0.5
    # A scale byte is a float32's exponent; the least, 2^-127, is taken for zero.
    powers = (scales.to(tl.int32) << 23).to(tl.float32, bitcast=True)
    grouped = values.reshape(BLOCK_OUT, BLOCK_IN // _GROUP, _GROUP) * powers[:, :, None]
    return grouped.reshape(BLOCK_OUT, BLOCK_IN)


@triton.jit
def _tile(tile_experts, tile_rows, tile_ends):
    """What a program works on: an expert, its first row and the row after the last."""
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
    """Some tokens through one expert's weights and bias, (tokens, outputs) in float32.

    `token` are the rows of `tokens` (.., IN) to take, `output` those of the weights.
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
        # From the order of memory to that of a checkpoint, see `experts.lay_out`.
        packed = packed.reshape(output.shape[0], BLOCK_IN // _GROUP, 4, 4).permute(0, 1, 3, 2)
        packed = packed.reshape(output.shape[0], BLOCK_IN // 2)
        if x.dtype == tl.bfloat16:
            total = tl.dot_scaled(x, None, "bf16", packed.trans(1, 0), scale, "e2m1", total)
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
    """`inner` (rows, OUT / 2) from `tokens` (tokens, IN); grid (blocks of OUT, tiles)."""
    expert, first, end = _tile(tile_experts, tile_rows, tile_ends)
    if first >= end:
        return
    row = first + tl.arange(0, BLOCK_ROWS)
    row_used = row < end
    token = tl.load(slots + row, mask=row_used, other=0) // TOP
    output = tl.program_id(0) * BLOCK_OUT + tl.arange(0, BLOCK_OUT)
    made = _product(
        tokens, token, row_used, blocks, scales, bias, expert, output, IN, OUT, BLOCK_IN
    )
    gate, linear = made.reshape(BLOCK_ROWS, BLOCK_OUT // 2, 2).split()
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
    """`out` (slots, OUT) float32 from `inner` (rows, IN), weighted; grid (blocks of OUT, tiles)."""
    expert, first, end = _tile(tile_experts, tile_rows, tile_ends)
    if first >= end:
        return
    row = first + tl.arange(0, BLOCK_ROWS)
    row_used = row < end
    slot = tl.load(slots + row, mask=row_used, other=0)
    output = tl.program_id(0) * BLOCK_OUT + tl.arange(0, BLOCK_OUT)
    made = _product(inner, row, row_used, blocks, scales, bias, expert, output, IN, OUT, BLOCK_IN)
    made *= tl.load(weights + slot, mask=row_used, other=0.0)[:, None]
    tl.store(
        out + slot.to(tl.int64)[:, None] * OUT + output[None, :],
        made,
        mask=row_used[:, None] & (output < OUT)[None, :],
    )
