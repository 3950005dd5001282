"""Attention over a paged KV cache in Triton.

The keys and values of a sequence are in pages of equal size, anywhere in one pool. The sequence's
row of `block_tables` lists them in order. A batch holds the new tokens of all sequences one after
another: one token per sequence for decode, many for prefill. The correct result is that of
`transformer.sink_attention`.

One program handles a tile: a few new tokens of one sequence with all query heads of one key/value
head, so that it reads the keys once for the whole group, and one part of the keys. The softmax is
online with a running maximum (Milakov and Gimelshein 2018, arXiv 1805.02867). The running sum
starts with the sink, which is only in the denominator.

If there are too few tiles to fill the GPU, as in decode of a long context, the keys are split and
the parts are combined afterwards (flash-decoding, Dao et al. 2023).

Error against float64 on the same inputs, relative to the largest value: at most 2^-8 in bfloat16
(2^-9 from rounding the weights and 2^-9 from rounding the result) and 1e-6 in float32.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from reference_engine.kernels.triton_support import (
    configurations,
    dot,
    multiprocessors,
    power_of_two,
    require_right_products,
    tuned,
)

_LOG2_E = tl.constexpr(1.4426950408889634)


@triton.jit
def _tile(program, query_starts, sequences, BLOCK_TOKENS: tl.constexpr):
    """Return a program's sequence, the sequence's start, and the program's first token in it.

    The tiles of sequence i begin at program starts[i] // BLOCK_TOKENS + i, which leaves at least as
    many programs as the sequence needs. Surplus programs get a first token after the last token.
    """
    sequence, after = sequences * 0, sequences
    while after - sequence > 1:
        middle = (sequence + after) // 2
        if tl.load(query_starts + middle) // BLOCK_TOKENS + middle <= program:
            sequence = middle
        else:
            after = middle
    begin = tl.load(query_starts + sequence)
    return sequence, begin, (program - begin // BLOCK_TOKENS - sequence) * BLOCK_TOKENS


@triton.jit
def _part(
    past,
    first,
    length,
    splits,
    WINDOW: tl.constexpr,
    BLOCK_TOKENS: tl.constexpr,
    BLOCK_KEYS: tl.constexpr,
):
    """Return the first key that the window shows, and the bounds of the blocks to read."""
    lowest = 0
    if WINDOW > 0:
        lowest = tl.maximum(past + first - WINDOW + 1, 0)
    end = past + tl.minimum(first + BLOCK_TOKENS, length)
    low = lowest // BLOCK_KEYS * BLOCK_KEYS
    if splits > 1:
        blocks = tl.cdiv(tl.cdiv(end - low, BLOCK_KEYS), splits)
        low += tl.program_id(2) * blocks * BLOCK_KEYS
        end = tl.minimum(end, low + blocks * BLOCK_KEYS)
    return lowest, low, end


@triton.jit
def _initial_sums(sinks, used, SPLIT: tl.constexpr):
    """Return the initial maximum (in log2 units) and denominator; split parts have no sink."""
    if SPLIT:
        maximum = tl.full(used.shape, float("-inf"), tl.float32)
    else:
        maximum = tl.load(sinks, mask=used, other=0.0).to(tl.float32) * _LOG2_E
    return maximum, tl.where(maximum == float("-inf"), 0.0, 1.0)


@triton.jit
def _softmax_step(scores, units, maximum, denominator):
    """Add scores (rows, keys) to the running softmax. `scores * units` are in log2 units.

    Returns the weights, the factor for earlier sums, the new maximum and the new denominator.
    """
    new_maximum = tl.maximum(maximum, tl.max(scores, 1) * units)
    # Without this, a row without a sink and visible keys would subtract infinities.
    reference = tl.where(new_maximum == float("-inf"), 0.0, new_maximum)
    # `units` is positive, so the largest score stays the largest. The fusion is not left to the
    # compiler: the loops with and without a mask must round alike.
    weights = tl.exp2(tl.fma(scores, units, -reference[:, None]))
    shrink = tl.exp2(maximum - reference)
    return weights, shrink, new_maximum, denominator * shrink + tl.sum(weights, 1)


_LEAST_ROWS, _FEW_ROWS, _MOST_ROWS = 16, 32, 128
_MANY_ROWS = tl.constexpr(_FEW_ROWS + 1)  # A kernel reads constants of this type only.

CONFIGURATIONS = {
    # Products in float32 are unrolled. Larger blocks take long to compile and spill registers, and
    # a third stage spills one with Triton 3.7.1.
    "float32": configurations({"BLOCK_KEYS": 32, "num_warps": 8, "num_stages": 2}),
    "few rows": configurations(
        {"BLOCK_KEYS": 64, "num_warps": 2, "num_stages": 3},
        {"BLOCK_KEYS": 64, "num_warps": 4, "num_stages": 3},
        {"BLOCK_KEYS": 128, "num_warps": 4, "num_stages": 3},
    ),
    "many rows": configurations(
        {"BLOCK_KEYS": 64, "num_warps": 4, "num_stages": 3},
        {"BLOCK_KEYS": 64, "num_warps": 8, "num_stages": 3, "maxnreg": 128},
        {"BLOCK_KEYS": 128, "num_warps": 8, "num_stages": 3},
    ),
}
"""The configurations to choose from. None spills registers on sm_90; see `make cards`."""


def _group_of(arguments):
    if arguments["query"].dtype == torch.float32:
        return "float32"
    rows = arguments["BLOCK_TOKENS"] * arguments["GROUP_ROWS"]
    return "few rows" if rows <= _FEW_ROWS else "many rows"


@tuned(
    ["GROUP", "HEAD_DIM", "BLOCK_TOKENS", "WINDOW", "SPLIT", "PAGE_SIZE"],
    CONFIGURATIONS,
    _group_of,
)
@triton.jit(do_not_specialize=["splits", "sequences", "tokens", "table_width"])
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
    splits,
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
    SPLIT: tl.constexpr,
    GROUP: tl.constexpr,
    GROUP_ROWS: tl.constexpr,
    HEAD_COLUMNS: tl.constexpr,
    BLOCK_TOKENS: tl.constexpr,
    BLOCK_KEYS: tl.constexpr,
):
    """Compute rows of (token, head of the group) on the grid (tiles, kv_heads, splits).

    Without SPLIT, `out` is (tokens, heads, HEAD_DIM). With it, `out` is an unnormalized float32
    (splits, tokens, heads, HEAD_DIM), and the kernel also writes `part_maximum` and `part_sum`,
    (splits, tokens, heads). Sizes that change between requests are not compile-time constants: a
    new number of sequences, tokens, splits or pages needs no compilation.
    """
    sequence, begin, first = _tile(tl.program_id(0), query_starts, sequences, BLOCK_TOKENS)
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

    # Log2 units allow the hardware's exp2.
    units = scale * _LOG2_E
    own = past + token
    maximum, denominator = _initial_sums(sinks + head, row_used, SPLIT)
    total = tl.zeros((BLOCK_TOKENS * GROUP_ROWS, HEAD_COLUMNS), tl.float32)

    table = block_tables + sequence * table_width
    lowest, low, end = _part(past, first, length, splits, WINDOW, BLOCK_TOKENS, BLOCK_KEYS)
    # All rows of a tile see the blocks before its first token. In a prompt, they are most blocks,
    # and a loop without a mask takes a third of the instructions less.
    without_mask: tl.constexpr = WINDOW == 0 and BLOCK_TOKENS * GROUP_ROWS >= _MANY_ROWS
    seen = low
    if without_mask:
        seen = tl.maximum(low, tl.minimum(past + first + 1, end) // BLOCK_KEYS * BLOCK_KEYS)
    for masked in tl.static_range(0 if without_mask else 1, 2):
        for block in tl.range(seen if masked else low, end if masked else seen, BLOCK_KEYS):
            position = block + tl.arange(0, BLOCK_KEYS)
            key_used = tl.full(position.shape, True, tl.int1)
            if masked:
                key_used = (position >= lowest) & (position < end)
            page = tl.load(table + position // PAGE_SIZE, mask=key_used, other=0).to(tl.int64)
            place = page * page_stride + position % PAGE_SIZE * key_stride + kv_head * HEAD_DIM
            k = tl.load(
                key_pages + place[None, :] + column[:, None],
                mask=key_used[None, :] & column_used[:, None],
                other=0.0,
            )
            scores = dot(q, k)
            if masked:
                visible = key_used[None, :] & (position[None, :] <= own[:, None])
                if WINDOW > 0:
                    visible &= position[None, :] > own[:, None] - WINDOW
                scores = tl.where(visible, scores, float("-inf"))
            weights, shrink, maximum, denominator = _softmax_step(
                scores, units, maximum, denominator
            )
            v = tl.load(
                value_pages + place[:, None] + column[None, :],
                mask=key_used[:, None] & column_used[None, :],
                other=0.0,
            )
            total = total * shrink[:, None] + dot(weights.to(v.dtype), v)

    at = (begin + token).to(tl.int64) * heads + head
    if SPLIT:
        at += tl.program_id(2).to(tl.int64) * tokens * heads
        tl.store(part_maximum + at, maximum, mask=row_used)
        tl.store(part_sum + at, denominator, mask=row_used)
    else:
        total = total / denominator[:, None]
    tl.store(
        out + at[:, None] * HEAD_DIM + column[None, :], total.to(out.dtype.element_ty), mask=used
    )


@triton.jit(do_not_specialize=["splits", "rows"])
def combine_kernel(
    out,
    parts,
    part_maximum,
    part_sum,
    sinks,
    splits,
    rows,
    heads,
    HEAD_DIM: tl.constexpr,
    HEAD_COLUMNS: tl.constexpr,
    BLOCK_SPLITS: tl.constexpr,
):
    """Combine the parts of one (token, head) on the grid (tokens * heads,). Shapes as above."""
    row = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, HEAD_COLUMNS)
    used = column < HEAD_DIM
    maximum = tl.load(sinks + row % heads).to(tl.float32) * _LOG2_E
    denominator = tl.where(maximum == float("-inf"), 0.0, 1.0)
    total = tl.zeros((HEAD_COLUMNS,), tl.float32)
    for start in range(0, splits, BLOCK_SPLITS):
        split = start + tl.arange(0, BLOCK_SPLITS)
        at = split.to(tl.int64) * rows + row
        maxima = tl.load(part_maximum + at, mask=split < splits, other=float("-inf"))
        new_maximum = tl.maximum(maximum, tl.max(maxima, 0))
        # Without a sink, empty parts would subtract infinities.
        reference = tl.where(new_maximum == float("-inf"), 0.0, new_maximum)
        shrink, weights = tl.exp2(maximum - reference), tl.exp2(maxima - reference)
        sums = tl.load(part_sum + at, mask=split < splits, other=0.0)
        part = tl.load(
            parts + at[:, None] * HEAD_DIM + column[None, :],
            mask=(split < splits)[:, None] & used[None, :],
            other=0.0,
        )
        denominator = denominator * shrink + tl.sum(sums * weights, 0)
        total = total * shrink + tl.sum(part * weights[:, None], 0)
        maximum = new_maximum
    total = total / denominator
    tl.store(out + row * HEAD_DIM + column, total.to(out.dtype.element_ty), mask=used)


_SPLIT_KEYS = 256  # minimum number of keys per program
_BLOCK_SPLITS = 32  # parts that are combined at a time
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
    """Compute causal attention with sinks for new tokens over the pages of their sequences.

    Token j of a sequence with q new tokens and context length L has position L - q + j. It sees the
    keys up to its own position and, with a window, only the last `window` of them. The caller must
    have written the keys and values of the new tokens to their pages. The function ignores entries
    of `block_tables` for pages that no new token sees.

    The function does not synchronize with the GPU and its launches depend only on shapes, so a CUDA
    graph can record it. The first call with new sizes autotunes and must come before recording.

    Args:
        query: (tokens, heads, head_dim); the sequences' new tokens one after another.
        key_pages: (pages, page_size, kv_heads, head_dim); heads is a multiple of kv_heads.
        value_pages: The same for values. Both are contiguous within a page, with equal strides.
        block_tables: (sequences, max_pages), int32; pages of each sequence in order.
        query_starts: (sequences + 1,), int32; start of each sequence in `query`, then the end.
        context_lengths: (sequences,), int32; lengths including the new tokens.
        sinks: (heads,); logits that take part in the softmax but add nothing to the result.
        window: Number of visible positions, including the current one; None for no limit.
        scale: Factor of the scores, usually 1 / sqrt(head_dim).
        splits: Number of parts of the keys; None means enough to fill the GPU. That number also
            depends on the width of `block_tables`, so keep it as narrow as the longest context
            allows.

    Returns:
        (tokens, heads, head_dim) in the dtype of the query.
    """
    tokens, heads, head_dim = query.shape
    page_size, kv_heads = key_pages.shape[1:3]
    sequences, group = len(context_lengths), heads // kv_heads
    query, block_tables = query.contiguous(), block_tables.contiguous()
    block_tokens = _block_tokens(tokens, sequences, group, query.dtype)
    tiles = tokens // block_tokens + sequences
    if splits is None:
        keys = block_tables.shape[1] * page_size
        keys = keys if window is None else min(keys, window + block_tokens)
        splits = _splits(tiles * kv_heads, keys, query.device)
    out = torch.empty_like(query)
    parts, maxima, sums = (out, out, out) if splits == 1 else _parts(splits, query)
    made = attention_kernel[(tiles, kv_heads, splits)](
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
        splits,
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
        SPLIT=splits > 1,
        GROUP=group,
        GROUP_ROWS=power_of_two(group),
        HEAD_COLUMNS=_columns(head_dim),
        BLOCK_TOKENS=block_tokens,
    )
    require_right_products(made)
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
        splits,
        tokens * heads,
        heads,
        HEAD_DIM=head_dim,
        HEAD_COLUMNS=_columns(head_dim),
        BLOCK_SPLITS=_BLOCK_SPLITS,
    )


def _columns(head_dim: int) -> int:
    """Return the columns of a tile: a power of two that matrix units support."""
    return max(16, power_of_two(head_dim))


def _block_tokens(tokens: int, sequences: int, group: int, dtype: torch.dtype) -> int:
    """Return the tokens per tile: 16 rows for one or two tokens, up to 128; 32 in float32."""
    most = _FEW_ROWS if dtype == torch.float32 else _MOST_ROWS
    rows = min(most, max(_LEAST_ROWS, power_of_two(tokens // max(sequences, 1) * group)))
    return max(1, rows // power_of_two(group))


def _splits(programs: int, keys: int, device: torch.device) -> int:
    """Return the number that gives each multiprocessor a few programs with enough keys."""
    wanted = _PROGRAMS_PER_MULTIPROCESSOR * multiprocessors(device) // max(programs, 1)
    return max(1, min(wanted, keys // _SPLIT_KEYS))


def _parts(splits: int, query: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Allocate the unnormalized results, their maxima and their sums."""
    shape = (splits, *query.shape)
    parts = query.new_empty(shape, dtype=torch.float32)
    maxima, sums = query.new_empty((2, *shape[:-1]), dtype=torch.float32)
    return parts, maxima, sums
