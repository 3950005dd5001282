"""Attention over a paged KV cache in Triton; `attention.paged_attention` is its plain twin.

Where the tiles of new tokens are too few to fill the GPU, as in decoding a long context, the keys
are split and the parts combined afterwards (flash-decoding, Dao et al. 2023).

Error against float64 on the same inputs, as a share of the largest value: at most 2^-8 in bfloat16
(2^-9 from rounding the weights, as much from rounding the result) and 1e-6 in float32.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from reference_engine.kernels.triton_support import (
    configurations,
    dot,
    multiprocessors,
    power_of_two,
)

_LOG2_E = tl.constexpr(1.4426950408889634)


@triton.jit
def _tile(program, query_starts, sequences, SEQUENCES: tl.constexpr, BLOCK_TOKENS: tl.constexpr):
    """The sequence that a program works for, and its first token there.

    Sequence i's tiles begin at program starts[i] // BLOCK_TOKENS + i, which leaves at least as many
    programs as it needs. Those left over get a first token beyond the sequence's last.
    """
    index = tl.arange(0, SEQUENCES)
    start = tl.load(query_starts + index, mask=index < sequences, other=0)
    first = start // BLOCK_TOKENS + index
    sequence = tl.sum(((first <= program) & (index < sequences)).to(tl.int32), 0) - 1
    begin = tl.load(query_starts + sequence)
    return sequence, begin, (program - begin // BLOCK_TOKENS - sequence) * BLOCK_TOKENS


@triton.jit
def _part(
    past,
    first,
    length,
    WINDOW: tl.constexpr,
    SPLITS: tl.constexpr,
    BLOCK_TOKENS: tl.constexpr,
    BLOCK_KEYS: tl.constexpr,
):
    """The keys that a program reads: the first that its window shows, and its blocks' bounds."""
    lowest = 0
    if WINDOW > 0:
        lowest = tl.maximum(past + first - WINDOW + 1, 0)
    end = past + tl.minimum(first + BLOCK_TOKENS, length)
    low = lowest // BLOCK_KEYS * BLOCK_KEYS
    if SPLITS > 1:
        blocks = tl.cdiv(tl.cdiv(end - low, BLOCK_KEYS), SPLITS)
        low += tl.program_id(2) * blocks * BLOCK_KEYS
        end = tl.minimum(end, low + blocks * BLOCK_KEYS)
    return lowest, low, end


@triton.jit
def _begun_sums(sinks, used, SPLITS: tl.constexpr):
    """Maximum and denominator before any key, in units of log2; parts of a split have no sink."""
    if SPLITS == 1:
        maximum = tl.load(sinks, mask=used, other=0.0).to(tl.float32) * _LOG2_E
    else:
        maximum = tl.full(used.shape, float("-inf"), tl.float32)
    return maximum, tl.where(maximum == float("-inf"), 0.0, 1.0)


@triton.jit
def _softmax_step(scores, maximum, denominator):
    """Weights of more scores (rows, keys), in units of log2, and what becomes of the running sums.

    Returns the weights, the factor that earlier sums shrink by, the maximum and the denominator.
    """
    new_maximum = tl.maximum(maximum, tl.max(scores, 1))
    # A row that has seen nothing yet and has no sink would subtract infinities.
    reference = tl.where(new_maximum == float("-inf"), 0.0, new_maximum)
    weights = tl.exp2(scores - reference[:, None])
    shrink = tl.exp2(maximum - reference)
    return weights, shrink, new_maximum, denominator * shrink + tl.sum(weights, 1)


@triton.autotune(
    configurations(
        {"BLOCK_KEYS": keys, "num_warps": warps, "num_stages": stages}
        for keys, warps, stages in (
            (32, 2, 3),
            (32, 4, 3),
            (64, 2, 3),
            (64, 4, 2),
            (64, 4, 3),
            (64, 8, 3),
            (128, 4, 2),
            (128, 8, 2),
            (128, 8, 3),
        )
    ),
    key=["GROUP", "HEAD_DIM", "BLOCK_TOKENS", "WINDOW", "SPLITS", "PAGE_SIZE"],
    cache_results=True,
)
@triton.jit
def attention_kernel(
    out,
    part_maximum,
    part_sum,
    query,
    key_pages,
    value_pages,
    block_tables,
    query_starts,
    context_lengths,
    sinks,
    scale,
    sequences,
    tokens,
    heads,
    table_width,
    query_stride,
    page_stride,
    key_stride,
    HEAD_DIM: tl.constexpr,
    PAGE_SIZE: tl.constexpr,
    WINDOW: tl.constexpr,
    SPLITS: tl.constexpr,
    SEQUENCES: tl.constexpr,
    GROUP: tl.constexpr,
    GROUP_ROWS: tl.constexpr,
    HEAD_COLUMNS: tl.constexpr,
    BLOCK_TOKENS: tl.constexpr,
    BLOCK_KEYS: tl.constexpr,
):
    """Rows are (token, head of the group); grid (tiles, kv_heads, SPLITS).

    With one split `out` is (tokens, heads, HEAD_DIM). With more it is (SPLITS, tokens, heads,
    HEAD_DIM) in float32, unnormalised, and `part_maximum` and `part_sum` (SPLITS, tokens, heads)
    belong to it.
    """
    sequence, begin, first = _tile(
        tl.program_id(0), query_starts, sequences, SEQUENCES, BLOCK_TOKENS
    )
    length = tl.load(query_starts + sequence + 1) - begin
    if first >= length:
        return
    kv_head = tl.program_id(1)
    past = tl.load(context_lengths + sequence) - length

    row = tl.arange(0, BLOCK_TOKENS * GROUP_ROWS)
    column = tl.arange(0, HEAD_COLUMNS)
    token = first + row // GROUP_ROWS
    head = kv_head * GROUP + row % GROUP_ROWS
    row_used = (token < length) & (row % GROUP_ROWS < GROUP)
    column_used = column < HEAD_DIM
    used = row_used[:, None] & column_used[None, :]
    at = (begin + token).to(tl.int64) * query_stride + head * HEAD_DIM
    q = tl.load(query + at[:, None] + column[None, :], mask=used, other=0.0)

    # In units of log2, so that the hardware's exp2 serves.
    units = scale * _LOG2_E
    own = past + token
    maximum, denominator = _begun_sums(sinks + head, row_used, SPLITS)
    total = tl.zeros((BLOCK_TOKENS * GROUP_ROWS, HEAD_COLUMNS), tl.float32)

    table = block_tables + sequence * table_width
    lowest, low, end = _part(past, first, length, WINDOW, SPLITS, BLOCK_TOKENS, BLOCK_KEYS)
    for block in tl.range(low, end, BLOCK_KEYS):
        position = block + tl.arange(0, BLOCK_KEYS)
        key_used = (position >= lowest) & (position < end)
        page = tl.load(table + position // PAGE_SIZE, mask=key_used, other=0).to(tl.int64)
        place = page * page_stride + position % PAGE_SIZE * key_stride + kv_head * HEAD_DIM
        k = tl.load(
            key_pages + place[None, :] + column[:, None],
            mask=key_used[None, :] & column_used[:, None],
            other=0.0,
        )
        scores = dot(q, k) * units
        visible = key_used[None, :] & (position[None, :] <= own[:, None])
        if WINDOW > 0:
            visible &= position[None, :] > own[:, None] - WINDOW
        scores = tl.where(visible, scores, float("-inf"))
        weights, shrink, maximum, denominator = _softmax_step(scores, maximum, denominator)
        v = tl.load(
            value_pages + place[:, None] + column[None, :],
            mask=key_used[:, None] & column_used[None, :],
            other=0.0,
        )
        total = total * shrink[:, None] + dot(weights.to(v.dtype), v)

    at = (begin + token).to(tl.int64) * heads + head
    if SPLITS > 1:
        at += tl.program_id(2).to(tl.int64) * tokens * heads
        tl.store(part_maximum + at, maximum, mask=row_used)
        tl.store(part_sum + at, denominator, mask=row_used)
    else:
        total = total / denominator[:, None]
    tl.store(
        out + at[:, None] * HEAD_DIM + column[None, :], total.to(out.dtype.element_ty), mask=used
    )


@triton.jit
def combine_kernel(
    out,
    parts,
    part_maximum,
    part_sum,
    sinks,
    rows,
    heads,
    HEAD_DIM: tl.constexpr,
    SPLITS: tl.constexpr,
    HEAD_COLUMNS: tl.constexpr,
):
    """Joins the parts of one (token, head); grid (tokens * heads,). Shapes as above."""
    row = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, HEAD_COLUMNS)
    at = tl.arange(0, SPLITS).to(tl.int64) * rows + row
    maxima = tl.load(part_maximum + at)
    sink = tl.load(sinks + row % heads).to(tl.float32) * _LOG2_E
    maximum = tl.maximum(tl.max(maxima, 0), sink)
    weights = tl.exp2(maxima - maximum)
    denominator = tl.sum(weights * tl.load(part_sum + at), 0) + tl.exp2(sink - maximum)
    part = tl.load(
        parts + at[:, None] * HEAD_DIM + column[None, :], mask=column[None, :] < HEAD_DIM, other=0.0
    )
    total = tl.sum(part * weights[:, None], 0) / denominator
    tl.store(out + row * HEAD_DIM + column, total.to(out.dtype.element_ty), mask=column < HEAD_DIM)


_SPLIT_KEYS = 256
"""Fewest keys worth a program of their own."""
_PROGRAMS_PER_MULTIPROCESSOR = 4


def paged_attention(
    query: Tensor,
    key_pages: Tensor,
    value_pages: Tensor,
    block_tables: Tensor,
    query_starts: Tensor,
    context_lengths: Tensor,
    sinks: Tensor,
    window: int | None,
    scale: float,
    *,
    splits: int | None = None,
) -> Tensor:
    """What `attention.paged_attention` computes, with the same arguments.

    Keys and values must be contiguous within a page and strided alike. `splits`, a power of two, is
    the number of parts into which the keys are split; if None, as many as fill the GPU. The width
    of `block_tables` decides that too, so keep it no wider than the longest context needs.

    Nothing here waits for the GPU, and launches depend on shapes alone: a CUDA graph may hold them.
    Only the first call of a size tries configurations; make it before a graph is recorded.
    """
    tokens, heads, head_dim = query.shape
    page_size, kv_heads = key_pages.shape[1:3]
    sequences, group = len(context_lengths), heads // kv_heads
    query, block_tables = query.contiguous(), block_tables.contiguous()
    block_tokens = _block_tokens(tokens, sequences, group)
    tiles = tokens // block_tokens + sequences
    if splits is None:
        keys = block_tables.shape[1] * page_size
        keys = keys if window is None else min(keys, window + block_tokens)
        splits = _splits(tiles * kv_heads, keys, query.device)
    out = torch.empty_like(query)
    parts, maxima, sums = (out, out, out) if splits == 1 else _parts(splits, query)
    attention_kernel[(tiles, kv_heads, splits)](
        parts,
        maxima,
        sums,
        query,
        key_pages,
        value_pages,
        block_tables,
        query_starts,
        context_lengths,
        sinks,
        scale,
        sequences,
        tokens,
        heads,
        block_tables.shape[1],
        query.stride(0),
        key_pages.stride(0),
        key_pages.stride(1),
        HEAD_DIM=head_dim,
        PAGE_SIZE=page_size,
        WINDOW=window or 0,
        SPLITS=splits,
        SEQUENCES=power_of_two(sequences),
        GROUP=group,
        GROUP_ROWS=power_of_two(group),
        HEAD_COLUMNS=_columns(head_dim),
        BLOCK_TOKENS=block_tokens,
    )
    if splits > 1:
        _combine(out, parts, maxima, sums, sinks)
    return out


def _combine(out: Tensor, parts: Tensor, maxima: Tensor, sums: Tensor, sinks: Tensor) -> None:
    splits, tokens, heads, head_dim = parts.shape
    combine_kernel[(tokens * heads,)](
        out,
        parts,
        maxima,
        sums,
        sinks,
        tokens * heads,
        heads,
        HEAD_DIM=head_dim,
        SPLITS=splits,
        HEAD_COLUMNS=_columns(head_dim),
    )


def _columns(head_dim: int) -> int:
    """The columns of a tile: powers of two that a matrix unit takes."""
    return max(16, power_of_two(head_dim))


def _block_tokens(tokens: int, sequences: int, group: int) -> int:
    """Tokens a tile: 16 rows where each sequence brings one or two, up to 128 for prompts."""
    rows = min(128, max(16, power_of_two(tokens // max(sequences, 1) * group)))
    return max(1, rows // power_of_two(group))


def _splits(programs: int, keys: int, device: torch.device) -> int:
    """A power of two that gives each multiprocessor a few programs, each enough keys."""
    wanted = _PROGRAMS_PER_MULTIPROCESSOR * multiprocessors(device) // max(programs, 1)
    most = min(wanted, keys // _SPLIT_KEYS)
    return 1 if most < 2 else 1 << (most.bit_length() - 1)


def _parts(splits: int, query: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Room for unnormalised results, their maxima and their sums."""
    shape = (splits, *query.shape)
    parts = query.new_empty(shape, dtype=torch.float32)
    maxima, sums = query.new_empty((2, *shape[:-1]), dtype=torch.float32)
    return parts, maxima, sums
