"""Attention over a paged KV cache: plain PyTorch, and the selection of the implementation.

The keys and values of a sequence are in pages of equal size, anywhere in one pool. The sequence's
row of `block_tables` lists them in order. A batch holds the new tokens of all sequences one after
another: one token per sequence for decode, many for prefill.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from reference_engine.model.config import Kernels

PagedAttention = Callable[
    [Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, int | None, float], Tensor
]
"""The signature of `paged_attention` in PyTorch and Triton."""


def paged_attention_of(kernels: Kernels) -> PagedAttention:
    """Returns the selected implementation."""
    if kernels == "torch":
        return paged_attention
    from reference_engine.kernels import attention_triton

    return attention_triton.paged_attention


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
) -> Tensor:
    """Computes causal attention with sinks for new tokens over the pages of their sequences.

    Token j of a sequence with q new tokens and context length L has position L - q + j. It sees the
    keys up to its own position and, with a window, only the last `window` of them. The caller must
    have written the keys and values of the new tokens to their pages. The function ignores entries
    of `block_tables` for pages that no new token sees.

    The computation uses float32, or float64 if the query is float64.

    Args:
        query: (tokens, heads, head_dim); the sequences' new tokens one after another.
        key_pages: (pages, page_size, kv_heads, head_dim); heads is a multiple of kv_heads.
        value_pages: The same for values.
        block_tables: (sequences, max_pages), int32; pages of each sequence in order.
        query_starts: (sequences + 1,), int32; start of each sequence in `query`, then the end.
        context_lengths: (sequences,), int32; lengths including the new tokens.
        sinks: (heads,); logits that take part in the softmax but add nothing to the result.
        window: Number of visible positions, including the current one; None for no limit.
        scale: Factor of the scores, usually 1 / sqrt(head_dim).

    Returns:
        (tokens, heads, head_dim) in the dtype of the query.
    """
    page_size = key_pages.shape[1]
    starts = query_starts.tolist()
    out = torch.empty_like(query)
    for sequence, length in enumerate(context_lengths.tolist()):
        new = query[starts[sequence] : starts[sequence + 1]]
        first = max(length - len(new) - window + 1, 0) if window else 0
        pages = block_tables[sequence, first // page_size : -(-length // page_size)].long()
        begin = first // page_size * page_size
        key = key_pages[pages].flatten(0, 1)[: length - begin]
        value = value_pages[pages].flatten(0, 1)[: length - begin]
        own = torch.arange(length - len(new), length, device=query.device)[:, None]
        position = torch.arange(begin, length, device=query.device)
        visible = position <= own
        if window is not None:
            visible &= position > own - window
        out[starts[sequence] : starts[sequence + 1]] = _attend(
            new, key, value, visible, sinks, scale
        )
    return out


def _attend(
    query: Tensor, key: Tensor, value: Tensor, visible: Tensor, sinks: Tensor, scale: float
) -> Tensor:
    """Handles one sequence: query (q, heads, d), key (keys, kv_heads, d), visible (q, keys)."""
    dtype = torch.promote_types(query.dtype, torch.float32)
    length, heads, size = query.shape
    kv_heads = key.shape[1]
    group = heads // kv_heads
    grouped = query.to(dtype).view(length, kv_heads, group, size)
    scores = torch.einsum("qkgd,nkd->kgqn", grouped, key.to(dtype)) * scale
    scores = scores.masked_fill(~visible, float("-inf"))
    sink = sinks.to(dtype).view(kv_heads, group, 1, 1).expand(*scores.shape[:-1], 1)
    weights = torch.cat((scores, sink), dim=-1).softmax(-1)[..., :-1]
    out = torch.einsum("kgqn,nkd->qkgd", weights, value.to(dtype))
    return out.reshape(length, heads, size).to(query.dtype)
