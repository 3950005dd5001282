"""The mixture of experts in Triton on packed MXFP4; `experts.packed_experts` is the plain version.

The computation is two grouped matrix products with (rows, I) activations between them, in the order
of the experts. The first kernel fuses the bias and the clamped SwiGLU, the second the bias and the
router weight. The weights are the left operand: in bfloat16, they are unpacked into the registers
from which matrix units read it.

Error against float64 on the same inputs and weights, relative to the largest result: at most 2^-7
in bfloat16 (the inner activations are rounded to 8 bits) and 4e-6 in float32.
"""

from collections.abc import Mapping

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton.language.target_info import cuda_capability_geq

from reference_engine.kernels.routing import Routing, route
from reference_engine.kernels.triton_support import (
    INTERPRETING,
    configurations,
    dot,
    power_of_two,
    require_right_products,
    tuned,
)
from reference_engine.model.mxfp4 import BLOCK, PackedLinear
from reference_engine.model.transformer import SWIGLU_ALPHA

_ALPHA = tl.constexpr(SWIGLU_ALPHA)
_GROUP = tl.constexpr(32)
_BITS, _FIRST_BITS = tl.constexpr(0x81C081C0 - 2**32), tl.constexpr(0x80C080C0 - 2**32)
_MINUS_ZEROS, _UPPER = tl.constexpr(0x80008000 - 2**32), tl.constexpr(0xFFFF0000 - 2**32)
_TILES = (16, 64, 128)
"""Rows per tile to choose from."""
_LEAST_HALVED, _SIZES = tl.constexpr(64), tl.constexpr(2)
"""Rows per tile from which on the kernels also have code for half of the rows: for two sizes."""
_FULL_LOAD = 256
"""Rows (a row is a token with one of its experts) from which on all multiprocessors have work."""
_LEAST_PREFETCHED = 4 * 32
"""Bytes that a warp must load so that Triton prefetches the load: 4 of each thread."""


def _choices(*choices: Mapping[str, int]) -> list[triton.Config]:
    """Return configurations; with AHEAD, the kernel itself loads the scales ahead of their use."""
    found = []
    for each in choices:
        scales = each["BLOCK_OUT"] * each["BLOCK_IN"] // BLOCK
        found.append({**each, "AHEAD": scales < _LEAST_PREFETCHED * each["num_warps"]})
    return configurations(*found)


CONFIGURATIONS = {
    "16 rows": _choices(
        {"BLOCK_OUT": 64, "BLOCK_IN": 256, "num_warps": 4, "num_stages": 3},
        {"BLOCK_OUT": 64, "BLOCK_IN": 256, "num_warps": 4, "num_stages": 4},
        {"BLOCK_OUT": 128, "BLOCK_IN": 256, "num_warps": 4, "num_stages": 3},
    ),
    # With 128 registers a thread, two programs of eight warps, or four of four, fit.
    "more rows": _choices(
        {"BLOCK_OUT": 128, "BLOCK_IN": 64, "num_warps": 8, "num_stages": 4, "maxnreg": 128},
        {"BLOCK_OUT": 64, "BLOCK_IN": 64, "num_warps": 4, "num_stages": 4, "maxnreg": 128},
        {"BLOCK_OUT": 128, "BLOCK_IN": 128, "num_warps": 4, "num_stages": 3},
    ),
    # Products in float32 are unrolled. Larger blocks take long to compile and spill registers.
    "float32": _choices({"BLOCK_OUT": 64, "BLOCK_IN": 64, "num_warps": 4, "num_stages": 2}),
}
"""The configurations to choose from, for each number of rows per tile.

On sm_90, none spills registers in its loop. After the loop, Triton 3.6 spills registers of `down`
with 128 rows (2 with `maxnreg` and eight warps, 33 of 128 × 128 with four warps); 3.7 spills none.
`make cards` prints what other GPUs spill.
"""


def _group_of(arguments):
    if arguments["bias"].dtype == torch.float32:
        return "float32"
    return "16 rows" if arguments["BLOCK_ROWS"] == _TILES[0] else "more rows"


_tuned = tuned(["IN", "OUT", "BLOCK_ROWS", "load"], CONFIGURATIONS, _group_of)
"""The best configuration also depends on `load`, a bucket of the number of rows: with a few rows,
large blocks leave multiprocessors without work."""


@triton.jit
def _multiply_pairs(pairs, factor):
    """Multiply both bfloat16 of an int32 by those of another one."""
    return tl.inline_asm_elementwise(
        "fma.rn.bf16x2 $0, $1, $2, $3;",
        "=r,r,r,r",
        [pairs, factor, tl.full(pairs.shape, _MINUS_ZEROS, tl.int32)],
        dtype=tl.int32,
        is_pure=True,
        pack=1,
    )


@triton.jit
def _weights(pairs, scales, NARROW: tl.constexpr):
    """Return the two weights of each int32 of pairs: bfloat16 if NARROW, otherwise float32."""
    if NARROW:
        product = _multiply_pairs(pairs, scales * 0x00800080 + 0x3F003F00)
        first = (product & 0xFFFF).to(tl.int16).to(tl.bfloat16, bitcast=True)
        second = (product >> 16).to(tl.int16).to(tl.bfloat16, bitcast=True)
    else:
        power = ((scales + 126) << 23).to(tl.float32, bitcast=True)
        first = (pairs << 16).to(tl.float32, bitcast=True) * power
        second = (pairs & _UPPER).to(tl.float32, bitcast=True) * power
    return tl.join(first, second)


@triton.jit
def _unpack(words, scales, NARROW: tl.constexpr):
    """Unpack words (n, IN / 8) and scales (n, IN / 32) to weights (n, IN); see `mxfp4.pairs_of`.

    A pair holds the weights times 2^-126, so they are multiplied by 2^(scale - 1).
    """
    out: tl.constexpr = words.shape[0]
    count: tl.constexpr = words.shape[1]
    scales = tl.broadcast_to(scales.to(tl.int32)[:, :, None], (out, count // 4, 4))
    scales = scales.reshape(out, count)
    rotated = ((words >> 4) & 0x0FFFFFFF) | (words << 28)
    last = ((words << 2) & _FIRST_BITS) | ((words >> 6) & 0x01000100)
    low = tl.join(
        _weights(words & _BITS, scales, NARROW), _weights((words << 6) & _BITS, scales, NARROW)
    )
    high = tl.join(_weights(rotated & _BITS, scales, NARROW), _weights(last, scales, NARROW))
    # Thread, weight of a pair, pair of a half, half of a block.
    weights = tl.join(low, high).reshape(out, count // 4, 4, 2, 2, 2)
    return weights.permute(0, 1, 5, 4, 2, 3).reshape(out, count * 8)


@triton.jit
def _finished(total):
    """Return `total` unchanged, after the matrix units of a Hopper GPU have finished it.

    They read the weights from registers while the program goes on. For a sum that is only added to,
    Triton 3.6 and 3.7 wait for the first products of a round, so the next round could overwrite the
    weights of the last ones (triton-lang/triton issue 9433). For a sum that is used, they wait for
    all. Newer GPUs read the weights from a memory of their own, which is not written too early.
    """
    if not cuda_capability_geq(10):
        total = tl.inline_asm_elementwise("", "=f,0", [total], tl.float32, is_pure=True, pack=1)
    return total


@triton.jit
def _exact(weights, x):
    """Multiply weights (outputs, inputs) by `x` (rows, inputs) in float32; (outputs, rows).

    From sm_100 to sm_110, Triton 3.7.1 would multiply weights that `tl.join` made in TF32, although
    IEEE is asked for. The units that do so need at least 64 rows on the left, and `x` has 16.
    """
    if not INTERPRETING and cuda_capability_geq(10) and not cuda_capability_geq(12):
        total = dot(x, weights.trans(1, 0)).trans(1, 0)
    else:
        total = dot(weights, x.trans(1, 0))
    return total


@triton.jit
def _tile(tile_experts, tile_rows, tile_ends):
    """Return a program's expert, its first row and the row after the last."""
    tile = tl.program_id(1)
    first, end = tl.load(tile_rows + tile), tl.load(tile_ends + tile)
    return tl.load(tile_experts + tile), first, end


@triton.jit
def _has_size(rows, halved: tl.constexpr, BLOCK_ROWS: tl.constexpr):
    """Return whether `rows` of a tile are multiplied as BLOCK_ROWS >> halved rows.

    A tile that is at most half full runs half of the products; one without rows runs none.
    """
    if halved == 0 and BLOCK_ROWS >= _LEAST_HALVED:
        fits = rows > BLOCK_ROWS // 2
    else:
        fits = (rows > 0) & (rows <= BLOCK_ROWS >> halved)
    return fits


@triton.jit
def _scales(scales, row, used, start, IN: tl.constexpr, OUT: tl.constexpr, BLOCK_IN: tl.constexpr):
    """Load the scales (outputs, BLOCK_IN / 32) of a round; zeros after the last input."""
    group = start // _GROUP + tl.arange(0, BLOCK_IN // _GROUP)
    return tl.load(
        scales + row[:, None] + group[None, :] * OUT,
        mask=used[:, None] & (group < IN // _GROUP)[None, :],
        other=0,
    )


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
    AHEAD: tl.constexpr,
):
    """Multiply tokens by one expert's weights and add its bias; float32 (tokens, outputs).

    `token` holds the row numbers of `tokens` (.., IN), `output` those of the weights. With AHEAD,
    each round loads the scales of the next one, so that no product waits for them.
    """
    total = tl.zeros((output.shape[0], token.shape[0]), tl.float32)
    output_used = output < OUT
    token_row = token.to(tl.int64) * IN
    word_row = (expert * OUT + output).to(tl.int64) * (IN // 8)
    scale_row = expert.to(tl.int64) * (IN // _GROUP * OUT) + output
    if AHEAD:
        scale = _scales(scales, scale_row, output_used, 0, IN, OUT, BLOCK_IN)
    for start in tl.range(0, IN, BLOCK_IN):
        feature = start + tl.arange(0, BLOCK_IN)
        word = start // 8 + tl.arange(0, BLOCK_IN // 8)
        x = tl.load(
            tokens + token_row[:, None] + feature[None, :],
            mask=token_used[:, None] & (feature < IN)[None, :],
            other=0.0,
        )
        packed = tl.load(
            blocks + word_row[:, None] + word[None, :],
            mask=output_used[:, None] & (word < IN // 8)[None, :],
            other=0,
        )
        if AHEAD:
            following = _scales(scales, scale_row, output_used, start + BLOCK_IN, IN, OUT, BLOCK_IN)
        else:
            scale = _scales(scales, scale_row, output_used, start, IN, OUT, BLOCK_IN)
        if x.dtype == tl.bfloat16 and not INTERPRETING:
            # The weights are the left operand, which matrix units can read from registers.
            total = _finished(tl.dot(_unpack(packed, scale, True), x.trans(1, 0), total))
        else:
            total += _exact(_unpack(packed, scale, False), x.to(tl.float32))
        if AHEAD:
            scale = following
    bias_of = tl.load(bias + expert * OUT + output, mask=output_used, other=0.0)
    return total.trans(1, 0) + bias_of[None, :]


@_tuned
@triton.jit(do_not_specialize=["load"])
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
    load,
    TOP: tl.constexpr,
    IN: tl.constexpr,
    OUT: tl.constexpr,
    BLOCK_ROWS: tl.constexpr,
    BLOCK_OUT: tl.constexpr,
    BLOCK_IN: tl.constexpr,
    AHEAD: tl.constexpr,
):
    """Compute `inner` (rows, OUT / 2) of `tokens` (tokens, IN); grid (blocks of OUT, tiles).

    `load` is only a key of the autotuner.
    """
    expert, first, end = _tile(tile_experts, tile_rows, tile_ends)
    for halved in tl.static_range(_SIZES if BLOCK_ROWS >= _LEAST_HALVED else 1):
        if _has_size(end - first, halved, BLOCK_ROWS):
            row = first + tl.arange(0, BLOCK_ROWS >> halved)
            row_used = row < end
            token = tl.load(slots + row, mask=row_used, other=0) // TOP
            output = tl.program_id(0) * BLOCK_OUT + tl.arange(0, BLOCK_OUT)
            product = _product(
                tokens, token, row_used, blocks, scales, bias, expert, output,
                IN, OUT, BLOCK_IN, AHEAD,
            )  # fmt: skip
            gate, linear = product.reshape(row.shape[0], BLOCK_OUT // 2, 2).split()
            # NaN stays NaN, as in the plain version.
            gate = tl.minimum(gate, limit, tl.PropagateNan.ALL)
            linear = tl.maximum(linear, -limit, tl.PropagateNan.ALL)
            linear = tl.minimum(linear, limit, tl.PropagateNan.ALL)
            result = gate * tl.sigmoid(gate * _ALPHA) * (linear + 1)
            column = tl.program_id(0) * (BLOCK_OUT // 2) + tl.arange(0, BLOCK_OUT // 2)
            tl.store(
                inner + row.to(tl.int64)[:, None] * (OUT // 2) + column[None, :],
                result.to(inner.dtype.element_ty),
                mask=row_used[:, None] & (column < OUT // 2)[None, :],
            )


@_tuned
@triton.jit(do_not_specialize=["load"])
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
    load,
    IN: tl.constexpr,
    OUT: tl.constexpr,
    BLOCK_ROWS: tl.constexpr,
    BLOCK_OUT: tl.constexpr,
    BLOCK_IN: tl.constexpr,
    AHEAD: tl.constexpr,
):
    """Compute weighted float32 `out` (slots, OUT) of `inner` (rows, IN); grid as above.

    `weights` (rows,) has the order of `inner`: gathered by slot, it takes more registers.
    """
    expert, first, end = _tile(tile_experts, tile_rows, tile_ends)
    for halved in tl.static_range(_SIZES if BLOCK_ROWS >= _LEAST_HALVED else 1):
        if _has_size(end - first, halved, BLOCK_ROWS):
            row = first + tl.arange(0, BLOCK_ROWS >> halved)
            row_used = row < end
            output = tl.program_id(0) * BLOCK_OUT + tl.arange(0, BLOCK_OUT)
            result = _product(
                inner, row, row_used, blocks, scales, bias, expert, output, IN, OUT, BLOCK_IN, AHEAD
            )
            result *= tl.load(weights + row, mask=row_used, other=0.0)[:, None]
            # Before the loop, this load would take registers for all of its rounds.
            slot = tl.load(slots + row, mask=row_used, other=0)
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
    """Compute the same as `experts.packed_experts` in float32, with the same arguments.

    The function does not synchronize with the GPU and its launches depend only on shapes, so a CUDA
    graph can record it. The first call with new sizes autotunes and must come before recording. The
    sum over a token's experts has the order of `chosen`, independent of other tokens.
    """
    block = block_rows(chosen.numel(), len(gate_up.bias), tokens.dtype)
    routing = route(chosen, weights, len(gate_up.bias), block)
    product = tokens.new_zeros((*chosen.shape, down.bias.shape[1]), dtype=torch.float32)
    multiply(product, tokens.contiguous(), routing, gate_up, down, limit, block)
    return product.sum(1)


def block_rows(rows: int, experts: int, dtype: torch.dtype) -> int:
    """Return the rows per tile: the first size that holds the average of an expert, or the largest.

    It is 16 in float32. With averages from 17 to 32, it is 64, so that an expert with more rows
    than half a tile unpacks its weights once.
    """
    fitting = (size for size in _TILES if dtype == torch.float32 or rows // experts <= size)
    return next(fitting, _TILES[-1])


def multiply(
    product: Tensor,
    tokens: Tensor,
    routing: Routing,
    gate_up: PackedLinear,
    down: PackedLinear,
    limit: float,
    block: int,
) -> None:
    """Write the weighted result of each slot that is in a tile to `product` (tokens, top, H).

    `routing` has tiles of `block` rows.
    """
    inner = tokens.new_empty((len(routing.slots), gate_up.bias.shape[1] // 2))
    multiply_up(inner, tokens, product.shape[1], routing, gate_up, limit, block)
    multiply_down(product, inner, routing, down, block)


def multiply_up(
    inner: Tensor,
    tokens: Tensor,
    top: int,
    routing: Routing,
    gate_up: PackedLinear,
    limit: float,
    block: int,
) -> None:
    """Write the activations of each slot that is in a tile to `inner` (slots, I)."""
    made = gate_up_kernel[_grid(gate_up, routing)](
        inner,
        tokens,
        *_tiles(routing),
        *_arrays(gate_up),
        limit,
        _load(routing),
        TOP=top,
        IN=tokens.shape[1],
        OUT=gate_up.bias.shape[1],
        BLOCK_ROWS=block,
    )
    require_right_products(made)


def multiply_down(
    product: Tensor,
    inner: Tensor,
    routing: Routing,
    down: PackedLinear,
    block: int,
) -> None:
    """Do the second half of `multiply` with the activations of the first one."""
    made = down_kernel[_grid(down, routing)](
        product,
        inner,
        routing.weights,
        *_tiles(routing),
        *_arrays(down),
        _load(routing),
        IN=inner.shape[1],
        OUT=down.bias.shape[1],
        BLOCK_ROWS=block,
    )
    require_right_products(made)


def _tiles(routing: Routing) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return routing.slots, routing.tile_experts, routing.tile_rows, routing.tile_ends


def _load(routing: Routing) -> int:
    return min(power_of_two(len(routing.slots)), _FULL_LOAD)


def _arrays(linear: PackedLinear) -> tuple[Tensor, Tensor, Tensor]:
    return linear.blocks, linear.scales, linear.bias


def _grid(linear: PackedLinear, routing: Routing):
    size, tiles = linear.bias.shape[1], len(routing.tile_experts)
    return lambda chosen: (triton.cdiv(size, chosen["BLOCK_OUT"]), tiles)
