"""The small steps of a block in Triton, for one new token per sequence.

Each kernel does in one launch what the model does in several:

- `add_and_normalize`: adds the result of half a block to the stream, then `transformer.RMSNorm`.
- `rotate_and_write`: `transformer.rotate` of queries and keys; writes keys and values to the cache.
- `choose_experts`: top-k and softmax of the router's scores, then `routing.route`.

Those definitions in plain PyTorch are the correct results.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from reference_engine.kernels.routing import Routing, most_tiles
from reference_engine.kernels.triton_support import power_of_two
from reference_engine.kv_cache.cache import KVPages

_CHUNK = 32  # tokens, slots or tiles that `route_kernel` handles at once


@triton.jit
def add_norm_kernel(
    normalized,
    stream,
    parts,
    scale,
    eps,
    WIDTH: tl.constexpr,
    PARTS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """Adds the sum of `parts` (rows, PARTS, WIDTH) to `stream` (rows, WIDTH); grid (rows,)."""
    row = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, COLUMNS)
    used = column < WIDTH
    added = tl.zeros((COLUMNS,), tl.float32)
    for part in tl.static_range(PARTS):
        at = (row * PARTS + part) * WIDTH + column
        added += tl.load(parts + at, mask=used, other=0.0).to(tl.float32)
    x = tl.load(stream + row * WIDTH + column, mask=used, other=0.0).to(tl.float32)
    if PARTS > 0:
        kind = stream.dtype.element_ty
        x = (x + added.to(kind).to(tl.float32)).to(kind)
        tl.store(stream + row * WIDTH + column, x, mask=used)
        x = x.to(tl.float32)
    x *= tl.rsqrt(tl.sum(x * x, 0) / WIDTH + eps)
    x *= tl.load(scale + column, mask=used, other=0.0).to(tl.float32)
    tl.store(normalized + row * WIDTH + column, x.to(normalized.dtype.element_ty), mask=used)


def add_and_normalize(stream: Tensor, parts: Tensor | None, scale: Tensor, eps: float) -> Tensor:
    """Adds parts to the stream in place and returns the normalized stream in the dtype of `scale`.

    Args:
        stream: (rows, H).
        parts: (rows, n, H), whose sum is added; None to add nothing.
        scale: (H,).
        eps: Added to the mean square.
    """
    rows, width = stream.shape
    normalized = torch.empty_like(stream, dtype=scale.dtype)
    add_norm_kernel[(rows,)](
        normalized,
        stream,
        stream if parts is None else parts,
        scale,
        eps,
        WIDTH=width,
        PARTS=0 if parts is None else parts.shape[1],
        COLUMNS=power_of_two(width),
        num_warps=8,
    )
    return normalized


@triton.jit
def _rotated(x, row, head, pair, used, cos, sin, HALF: tl.constexpr):
    """Loads heads (.., 2 HALF) of `x` at `row` and returns both rotated halves in float32."""
    at = row + head[:, None] * (2 * HALF) + pair[None, :]
    first = tl.load(x + at, mask=used, other=0.0).to(tl.float32)
    second = tl.load(x + at + HALF, mask=used, other=0.0).to(tl.float32)
    return first * cos - second * sin, second * cos + first * sin


@triton.jit
def rotate_kernel(
    query,
    key_pages,
    value_pages,
    qkv,
    cos,
    sin,
    block_tables,
    context_lengths,
    table_width,
    page_stride,
    key_stride,
    KV_HEADS: tl.constexpr,
    GROUP: tl.constexpr,
    GROUP_ROWS: tl.constexpr,
    HALF: tl.constexpr,
    HALF_COLUMNS: tl.constexpr,
    PAGE_SIZE: tl.constexpr,
):
    """Handles a key/value head with its query heads; grid (rows, KV_HEADS)."""
    row = tl.program_id(0)
    kv_head = tl.program_id(1)
    pair = tl.arange(0, HALF_COLUMNS)
    pair_used = pair < HALF
    turn_cos = tl.load(cos + row * HALF + pair, mask=pair_used, other=0.0)[None, :]
    turn_sin = tl.load(sin + row * HALF + pair, mask=pair_used, other=0.0)[None, :]
    start = row.to(tl.int64) * (KV_HEADS * (GROUP + 2) * 2 * HALF)

    member = tl.arange(0, GROUP_ROWS)
    head = kv_head * GROUP + member
    used = (member < GROUP)[:, None] & pair_used[None, :]
    first, second = _rotated(qkv, start, head, pair, used, turn_cos, turn_sin, HALF)
    at = (row * KV_HEADS * GROUP + head)[:, None].to(tl.int64) * (2 * HALF) + pair[None, :]
    tl.store(query + at, first.to(query.dtype.element_ty), mask=used)
    tl.store(query + at + HALF, second.to(query.dtype.element_ty), mask=used)

    position = tl.load(context_lengths + row) - 1
    page = tl.load(block_tables + row * table_width + position // PAGE_SIZE).to(tl.int64)
    place = page * page_stride + position % PAGE_SIZE * key_stride + kv_head * (2 * HALF)
    one = tl.arange(0, 1)
    used = (one == 0)[:, None] & pair_used[None, :]
    head = one + KV_HEADS * GROUP + kv_head
    first, second = _rotated(qkv, start, head, pair, used, turn_cos, turn_sin, HALF)
    at = place + one[:, None] + pair[None, :]
    tl.store(key_pages + at, first.to(key_pages.dtype.element_ty), mask=used)
    tl.store(key_pages + at + HALF, second.to(key_pages.dtype.element_ty), mask=used)
    value = start + (KV_HEADS * (GROUP + 1) + kv_head) * (2 * HALF) + one[:, None] + pair[None, :]
    for half in tl.static_range(2):
        copied = tl.load(qkv + value + half * HALF, mask=used, other=0.0)
        tl.store(value_pages + at + half * HALF, copied, mask=used)


def rotate_and_write(
    qkv: Tensor,
    cos: Tensor,
    sin: Tensor,
    pages: KVPages,
    block_tables: Tensor,
    context_lengths: Tensor,
) -> Tensor:
    """Returns rotated queries (rows, heads, head_dim); writes rotated keys, and values, to pages.

    The token of a row has the position `context_lengths` - 1.

    Args:
        qkv: (rows, (heads + 2 kv_heads) * head_dim).
        cos: (rows, head_dim / 2), float32.
        sin: The same.
        pages: The store of the layer.
        block_tables: (rows, max_pages), int32; the pages of each row in order.
        context_lengths: (rows,), int32; lengths including the new token.
    """
    page_size, kv_heads, head_dim = pages.keys.shape[1:]
    rows, group = len(qkv), qkv.shape[1] // head_dim // kv_heads - 2
    query = qkv.new_empty((rows, kv_heads * group, head_dim))
    rotate_kernel[(rows, kv_heads)](
        query,
        pages.keys,
        pages.values,
        qkv,
        cos,
        sin,
        block_tables,
        context_lengths,
        block_tables.shape[1],
        pages.keys.stride(0),
        pages.keys.stride(1),
        KV_HEADS=kv_heads,
        GROUP=group,
        GROUP_ROWS=power_of_two(group),
        HALF=head_dim // 2,
        HALF_COLUMNS=power_of_two(head_dim // 2),
        PAGE_SIZE=page_size,
        num_warps=4,
    )
    return query


@triton.jit
def _choose(
    chosen,
    weights,
    scores,
    start,
    tokens,
    TOP: tl.constexpr,
    EXPERTS: tl.constexpr,
    TOP_COLUMNS: tl.constexpr,
    EXPERT_COLUMNS: tl.constexpr,
    CHUNK: tl.constexpr,
):
    """Writes the experts and weights of some tokens; returns the tokens of each expert."""
    expert, place = tl.arange(0, EXPERT_COLUMNS), tl.arange(0, TOP_COLUMNS)
    token = start + tl.arange(0, CHUNK)
    used = (token < tokens)[:, None]
    left = tl.load(
        scores + token[:, None] * EXPERTS + expert[None, :],
        mask=used & (expert < EXPERTS)[None, :],
        other=float("-inf"),
    )
    left = tl.where(used, left.to(tl.float32), 0.0)
    counts = tl.zeros((EXPERT_COLUMNS,), tl.int32)
    best = tl.full((CHUNK, TOP_COLUMNS), float("-inf"), tl.float32)
    picked = tl.zeros((CHUNK, TOP_COLUMNS), tl.int32)
    for number in tl.static_range(TOP):
        # Scores that are not numbers could choose a column after the last expert.
        index = tl.minimum(tl.argmax(left, 1), EXPERTS - 1)
        here = expert[None, :] == index[:, None]
        best = tl.where(place[None, :] == number, tl.max(left, 1)[:, None], best)
        picked = tl.where(place[None, :] == number, index[:, None], picked)
        counts += tl.sum((here & used).to(tl.int32), 0)
        left = tl.where(here, float("-inf"), left)
    power = tl.exp(best - tl.max(best, 1)[:, None])
    slot = token[:, None] * TOP + place[None, :]
    stored = used & (place < TOP)[None, :]
    tl.store(chosen + slot, picked, mask=stored)
    tl.store(weights + slot, power / tl.sum(power, 1)[:, None], mask=stored)
    return counts


@triton.jit(do_not_specialize=["tokens", "tiles"])
def route_kernel(
    weights,
    slots,
    tile_experts,
    tile_rows,
    tile_ends,
    chosen,
    scores,
    tokens,
    tiles,
    TOP: tl.constexpr,
    EXPERTS: tl.constexpr,
    LOCAL_START: tl.constexpr,
    LOCAL_END: tl.constexpr,
    TOP_COLUMNS: tl.constexpr,
    EXPERT_COLUMNS: tl.constexpr,
    BLOCK_ROWS: tl.constexpr,
    CHUNK: tl.constexpr,
):
    """Chooses experts from `scores` (tokens, EXPERTS) and sorts the slots; one program.

    The tiles contain the slots of the experts LOCAL_START to LOCAL_END - 1.
    """
    expert = tl.arange(0, EXPERT_COLUMNS)[None, :]
    counts = tl.zeros((EXPERT_COLUMNS,), tl.int32)
    for start in range(0, tokens, CHUNK):
        counts += _choose(
            chosen, weights, scores, start, tokens,
            TOP, EXPERTS, TOP_COLUMNS, EXPERT_COLUMNS, CHUNK,
        )  # fmt: skip
    tl.debug_barrier()  # Below, other threads read `chosen`.

    row_ends = tl.cumsum(counts, 0)
    next_rows = row_ends - counts
    for start in range(0, tokens * TOP, CHUNK):
        slot = start + tl.arange(0, CHUNK)
        used = slot < tokens * TOP
        index = tl.load(chosen + slot, mask=used, other=0)
        here = ((index[:, None] == expert) & used[:, None]).to(tl.int32)
        row = tl.sum(here * (next_rows[None, :] + tl.cumsum(here, 0) - 1), 1)
        tl.store(slots + row, slot, mask=used)
        next_rows += tl.sum(here, 0)

    column = tl.arange(0, EXPERT_COLUMNS)
    local = (column >= LOCAL_START) & (column < LOCAL_END)
    tiles_of = tl.where(local, (counts + BLOCK_ROWS - 1) // BLOCK_ROWS, 0)
    tiles_end = tl.cumsum(tiles_of, 0)
    for start in range(0, tiles, CHUNK):
        tile = start + tl.arange(0, CHUNK)
        used = tile < tiles
        before = (tiles_end[None, :] <= tile[:, None]) & (expert < EXPERTS)
        owner = tl.minimum(tl.sum(before.to(tl.int32), 1), LOCAL_END - 1)
        here = (expert == owner[:, None]).to(tl.int32)
        end = tl.sum(here * row_ends[None, :], 1)
        number = tile - tl.sum(here * (tiles_end - tiles_of)[None, :], 1)
        first = end - tl.sum(here * counts[None, :], 1) + number * BLOCK_ROWS
        first = tl.minimum(first, end)
        tl.store(tile_experts + tile, owner - LOCAL_START, mask=used)
        tl.store(tile_rows + tile, first, mask=used)
        tl.store(tile_ends + tile, tl.minimum(end, first + BLOCK_ROWS), mask=used)


def choose_experts(scores: Tensor, top: int, block: int, local: range) -> tuple[Tensor, Routing]:
    """Chooses the `top` best experts of each token and divides the slots into tiles.

    Of experts with equal scores, the one with the lower index is chosen.

    Args:
        scores: (tokens, experts); the router's scores.
        top: Number of experts per token.
        block: Rows per tile.
        local: The experts of this process, whose slots are in tiles. The numbers of the tiles'
            experts start at 0.

    Returns:
        The softmax weights of the chosen experts, (tokens, top) in float32, and the tiles.
    """
    tokens, experts = scores.shape
    tiles = most_tiles(tokens * top, len(local), block)
    weights = scores.new_empty((tokens, top), dtype=torch.float32)
    sizes = (tokens * top, tokens * top, tiles, tiles, tiles)
    chosen, slots, *tiling = (scores.new_empty(size, dtype=torch.int32) for size in sizes)
    route_kernel[(1,)](
        weights,
        slots,
        *tiling,
        chosen,
        scores,
        tokens,
        tiles,
        TOP=top,
        EXPERTS=experts,
        LOCAL_START=local.start,
        LOCAL_END=local.stop,
        TOP_COLUMNS=power_of_two(top),
        EXPERT_COLUMNS=power_of_two(experts),
        BLOCK_ROWS=block,
        CHUNK=_CHUNK,
        num_warps=8,
    )
    return weights, Routing(slots, *tiling)
