"""Attention over a paged KV cache in Triton; `attention.paged_attention` is its plain twin.

Where the tiles of new tokens are too few to fill the GPU, as in decoding a long context, the keys
are split and the parts combined afterwards (flash-decoding, Dao et al. 2023).

Error against float64 on the same inputs, as a share of the largest value: at most 2^-8 in bfloat16
(2^-9 from rounding the weights, as much from rounding the result) and 1e-6 in float32.
"""

from __future__ import annotations

import torch
from torch import Tensor

from reference_engine.kernels.attention_triton_kernels import attention_kernel, combine_kernel
from reference_engine.kernels.triton_support import multiprocessors, power_of_two

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
