"""The small steps of a block in Triton.

Each kernel does in one launch what the model does in several:

- `add_and_normalize`: adds the result of half a block to the stream, then `transformer.RMSNorm`.
- `rotate_and_write`: `transformer.rotate` of queries and keys; writes keys and values to the cache.
- `router_scores`: `transformer.Router.scores`, for a few tokens.
- `choose_experts`: top-k and softmax of the router's scores, then `routing.route`; two launches if
  there are several tokens.

Those definitions in plain PyTorch are the correct results.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from reference_engine.kernels.routing import Routing, most_tiles
from reference_engine.kernels.triton_support import power_of_two
from reference_engine.kv_cache.cache import KVPages

_TOKENS, _MOST_SLOTS, _CHUNKS = 16, 1024, tl.constexpr(16)
"""Tokens of a program of `choose_kernel`, and slots, chunks or tiles that `place_kernel` handles at
once. With fewer tokens, the scores of a token would be in several warps, which would have to wait
for each other."""
_LOWEST = tl.constexpr(-3e38)


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
    """Add the sum of `parts` (rows, PARTS, WIDTH) to `stream` (rows, WIDTH); grid (rows,)."""
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
    """Add parts to the stream in place and return the normalized stream in the dtype of `scale`.

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
    """Load heads (.., 2 HALF) of `x` at `row` and return both rotated halves in float32."""
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
    sequences,
    positions,
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
    """Handle a key/value head with its query heads; grid (rows, KV_HEADS)."""
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

    position = tl.load(positions + row)
    table = block_tables + tl.load(sequences + row) * table_width
    page = tl.load(table + position // PAGE_SIZE).to(tl.int64)
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
    sequences: Tensor,
    positions: Tensor,
) -> Tensor:
    """Return rotated queries (rows, heads, head_dim); write rotated keys, and values, to pages.

    Args:
        qkv: (rows, (heads + 2 kv_heads) * head_dim).
        cos: (rows, head_dim / 2), float32.
        sin: The same.
        pages: The store of the layer.
        block_tables: (sequences, max_pages), int32; the pages of each sequence in order.
        sequences: (rows,), int32; the sequence of each row's token.
        positions: (rows,), int32; the position of the token in its sequence.
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
        sequences,
        positions,
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
def score_kernel(
    scores,
    tokens,
    weight,
    bias,
    WIDTH: tl.constexpr,
    EXPERTS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """Compute one of `scores` (rows, EXPERTS) from `tokens` (rows, WIDTH); grid (rows, EXPERTS)."""
    row = tl.program_id(0).to(tl.int64)
    expert = tl.program_id(1)
    column = tl.arange(0, COLUMNS)
    used = column < WIDTH
    x = tl.load(tokens + row * WIDTH + column, mask=used, other=0.0).to(tl.float32)
    w = tl.load(weight + expert * WIDTH + column, mask=used, other=0.0).to(tl.float32)
    total = tl.sum(x * w, 0) + tl.load(bias + expert).to(tl.float32)
    tl.store(scores + row * EXPERTS + expert, total)


def router_scores(tokens: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Compute the router's scores in float32, (tokens, experts).

    Every program reads a token and the weights of an expert, so this is for a few tokens.

    Args:
        tokens: (tokens, H).
        weight: (experts, H).
        bias: (experts,).
    """
    (rows, width), experts = tokens.shape, len(bias)
    scores = tokens.new_empty((rows, experts), dtype=torch.float32)
    score_kernel[(rows, experts)](
        scores,
        tokens,
        weight,
        bias,
        WIDTH=width,
        EXPERTS=experts,
        COLUMNS=power_of_two(width),
        num_warps=4,
    )
    return scores


@triton.jit(do_not_specialize=["tokens"])
def choose_kernel(
    chosen,
    weights,
    counts,
    tile_rows,
    tile_ends,
    scores,
    tokens,
    TOP: tl.constexpr,
    EXPERTS: tl.constexpr,
    LOCAL_START: tl.constexpr,
    LOCAL_END: tl.constexpr,
    EXPERT_COLUMNS: tl.constexpr,
    TOP_COLUMNS: tl.constexpr,
    CHUNK: tl.constexpr,
):
    """Write `chosen` and `weights` (tokens, TOP) from `scores` (tokens, EXPERTS); grid (chunks,).

    Also writes how many tokens of each chunk choose an expert, `counts` (chunks, EXPERTS). If CHUNK
    is 1, there is only one token. Its experts differ, so each slot is a row and has a tile: then
    `chosen` has local numbers, and the tiles are written in place of the counts.
    """
    token = tl.program_id(0) * CHUNK + tl.arange(0, CHUNK)
    expert = tl.arange(0, EXPERT_COLUMNS)
    used = (token < tokens)[:, None]
    score = tl.load(
        scores + token[:, None] * EXPERTS + expert[None, :],
        mask=used & (expert < EXPERTS)[None, :],
        other=float("-inf"),
    ).to(tl.float32)
    # A chosen expert gets minus infinity, so all others have more, also those with NaN.
    left = tl.where(score > _LOWEST, score, _LOWEST)
    left = tl.where((expert < EXPERTS)[None, :], left, float("-inf"))
    wrong = tl.max((score != score).to(tl.int32), 1) > 0
    highest = tl.max(left, 1)
    place = tl.arange(0, TOP_COLUMNS)
    total, power = tl.zeros((CHUNK,), tl.float32), tl.zeros((CHUNK, TOP_COLUMNS), tl.float32)
    best = tl.zeros((CHUNK, TOP_COLUMNS), tl.int32)
    for number in tl.static_range(TOP):
        value, index = tl.max(left, 1, return_indices=True)
        relative = tl.exp(value - highest)
        total += relative
        power = tl.where(place[None, :] == number, relative[:, None], power)
        best = tl.where(place[None, :] == number, index[:, None], best)
        left = tl.where(expert[None, :] == index[:, None], float("-inf"), left)
    weight = tl.where(wrong[:, None], float("nan"), power / total[:, None])
    slot = token[:, None] * TOP + place[None, :]
    stored = used & (place < TOP)[None, :]
    tl.store(weights + slot, weight, mask=stored)
    if CHUNK == 1:
        local = (best >= LOCAL_START) & (best < LOCAL_END)
        tl.store(chosen + slot, tl.where(local, best - LOCAL_START, 0), mask=stored)
        tl.store(tile_rows + slot, slot, mask=stored)
        tl.store(tile_ends + slot, slot + local.to(tl.int32), mask=stored)
    else:
        tl.store(chosen + slot, best, mask=stored)
        count = tl.sum(((left == float("-inf")) & used).to(tl.int32), 0)
        tl.store(counts + tl.program_id(0) * EXPERTS + expert, count, mask=expert < EXPERTS)


@triton.jit(do_not_specialize=["rows", "chunks", "tiles"])
def place_kernel(
    slots,
    weights,
    tile_experts,
    tile_rows,
    tile_ends,
    chosen,
    own_weights,
    counts,
    rows,
    chunks,
    tiles,
    EXPERTS: tl.constexpr,
    LOCAL_START: tl.constexpr,
    LOCAL_END: tl.constexpr,
    EXPERT_COLUMNS: tl.constexpr,
    BLOCK_ROWS: tl.constexpr,
    CHUNK: tl.constexpr,
):
    """Write the slots, weights and tiles of an expert to its rows; grid (EXPERTS,).

    `chosen` and `own_weights` (rows,) are those of each slot, and `counts` (chunks, EXPERTS) say
    how many slots of which chunk belong to an expert. The tiles contain the slots of the experts
    LOCAL_START to LOCAL_END - 1.
    """
    own = tl.program_id(0)
    expert = tl.arange(0, EXPERT_COLUMNS)
    count = tl.zeros((EXPERT_COLUMNS,), tl.int32)
    for start in range(0, chunks, _CHUNKS):
        chunk = start + tl.arange(0, _CHUNKS)
        counted = (chunk < chunks)[:, None] & (expert < EXPERTS)[None, :]
        at = chunk[:, None] * EXPERTS + expert[None, :]
        count += tl.sum(tl.load(counts + at, mask=counted, other=0), 0)
    first_row = tl.sum(tl.where(expert < own, count, 0), 0)
    end = first_row + tl.sum(tl.where(expert == own, count, 0), 0)

    written = first_row
    for start in range(0, rows, CHUNK):
        slot = start + tl.arange(0, CHUNK)
        mine = tl.load(chosen + slot, mask=slot < rows, other=-1) == own
        row = written + tl.cumsum(mine.to(tl.int32), 0) - 1
        tl.store(slots + row, slot, mask=mine)
        tl.store(weights + row, tl.load(own_weights + slot, mask=mine, other=0.0), mask=mine)
        written += tl.sum(mine.to(tl.int32), 0)

    local = (expert >= LOCAL_START) & (expert < LOCAL_END)
    tiles_of = tl.where(local, (count + BLOCK_ROWS - 1) // BLOCK_ROWS, 0)
    first_tile = tl.sum(tl.where(expert < own, tiles_of, 0), 0)
    if (own >= LOCAL_START) & (own < LOCAL_END):
        for start in range(0, tl.cdiv(end - first_row, BLOCK_ROWS), _CHUNKS):
            number = start + tl.arange(0, _CHUNKS)
            row = first_row + number * BLOCK_ROWS
            stored = row < end
            tile = first_tile + number
            tl.store(tile_experts + tile, tl.zeros_like(tile) + own - LOCAL_START, mask=stored)
            tl.store(tile_rows + tile, row, mask=stored)
            tl.store(tile_ends + tile, tl.minimum(end, row + BLOCK_ROWS), mask=stored)
    if own == 0:
        idle = tl.sum(tiles_of, 0)
        for start in range(idle, tiles, CHUNK):
            tile = start + tl.arange(0, CHUNK)
            nothing = tl.zeros((CHUNK,), tl.int32)
            tl.store(tile_experts + tile, nothing, mask=tile < tiles)
            tl.store(tile_rows + tile, nothing, mask=tile < tiles)
            tl.store(tile_ends + tile, nothing, mask=tile < tiles)


def choose_experts(scores: Tensor, top: int, block: int, local: range) -> Routing:
    """Choose the `top` best experts of each token and divide the slots into tiles.

    Of experts with equal scores, the one with the lower index is chosen. The weights are the
    softmax of the chosen experts' scores.

    Args:
        scores: (tokens, experts); the router's scores.
        top: Number of experts per token.
        block: Rows per tile.
        local: The experts of this process, whose slots are in tiles. The numbers of the tiles'
            experts start at 0.
    """
    (tokens, experts), rows = scores.shape, scores.shape[0] * top
    alone = tokens == 1
    chunk = 1 if alone else _TOKENS
    chunks = triton.cdiv(tokens, chunk)
    tiles = rows if alone else most_tiles(rows, len(local), block)
    sizes = (rows, rows, chunks * experts, tiles, tiles, tiles)
    chosen, slots, counts, *tiling = (scores.new_empty(n, dtype=torch.int32) for n in sizes)
    own_weights, weights = scores.new_empty((2, rows), dtype=torch.float32)
    constants = {"EXPERTS": experts, "EXPERT_COLUMNS": power_of_two(experts)}
    constants |= {"LOCAL_START": local.start, "LOCAL_END": local.stop}
    choose_kernel[(chunks,)](
        chosen, own_weights, counts, *tiling[1:], scores, tokens,
        TOP=top, TOP_COLUMNS=power_of_two(top), CHUNK=chunk, **constants,
        num_warps=1 if alone else 4,
    )  # fmt: skip
    if alone:
        return Routing(tiling[1], own_weights, chosen, *tiling[1:])
    place_kernel[(experts,)](
        slots, weights, *tiling, chosen, own_weights, counts, rows, chunks, tiles,
        BLOCK_ROWS=block, CHUNK=min(power_of_two(rows), _MOST_SLOTS), **constants,
        num_warps=4,
    )  # fmt: skip
    return Routing(slots, weights, *tiling)
