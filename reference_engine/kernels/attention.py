"""Attention over a paged KV cache: the plain twin, and the choice between it and the kernel.

The keys and values of a sequence lie in pages of equal size, anywhere in one pool; its row of
`block_tables` names them in order. A batch holds the new tokens of all sequences one after
another: one token each where they decode, many where a prompt is read.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from reference_engine.kernels import Kernels

PagedAttention = Callable[
    [Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, int | None, float], Tensor
]
"""What `paged_attention` is, in PyTorch or Triton."""


def paged_attention_of(kernels: Kernels) -> PagedAttention:
    """The implementation that the switch chooses."""
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
    """Causal attention with sinks of new tokens over their sequences' pages.

    Token j of a sequence with q new tokens and context length L stands at position L - q + j. It
    sees the keys at positions up to its own and, with a window, above its own less `window`. Keys
    and values of the new tokens must have been written to their pages. Entries of `block_tables`
    for pages that no new token sees are not looked at.

    Computes in float32, or in float64 where the query is.

    Args:
        query: (tokens, heads, head_dim); the sequences' new tokens one after another.
        key_pages: (pages, page_size, kv_heads, head_dim); heads is a multiple of kv_heads.
        value_pages: The same for values.
        block_tables: (sequences, max_pages), int32; pages of each sequence in order.
        query_starts: (sequences + 1,), int32; where in `query` each sequence begins, then the end.
        context_lengths: (sequences,), int32; tokens of each sequence, the new ones included.
        sinks: (heads,); logits that take part in the softmax and contribute nothing.
        window: How many positions a token sees, its own included; None for all before it.
        scale: What the scores are multiplied by, usually 1 / sqrt(head_dim).

    Returns:
        (tokens, heads, head_dim), in the type of the query.
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
    """One sequence: query (q, heads, d), key and value (keys, kv_heads, d), visible (q, keys)."""
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
