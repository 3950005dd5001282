"""Attention of a packed group: sinks, sliding windows, and a prefix that all examples share.

The scores have two parts with one softmax over both: one for the keys before the query's own
section (the shared prefix or the previous block) and one for the keys of the section itself.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from training.fused import fused
from training.packing import Batch
from training.permute import gather_once, spread
from training.precision import COMPUTE

_HIDDEN = -1e9


@fused
def _softmax(
    before: Tensor, own: Tensor, mask_before: Tensor, mask_own: Tensor, sinks: Tensor
) -> tuple[Tensor, Tensor]:
    """Computes the softmax over both parts and the sink, after subtracting the maximum."""
    a, b = before.float() + mask_before, own.float() + mask_own
    top = torch.maximum(torch.maximum(a.amax(-1, keepdim=True), b.amax(-1, keepdim=True)), sinks)
    a, b = torch.exp(a - top), torch.exp(b - top)
    share = 1 / (a.sum(-1, keepdim=True) + b.sum(-1, keepdim=True) + torch.exp(sinks - top))
    return (a * share).to(COMPUTE), (b * share).to(COMPUTE)


@fused
def _softmax_gradient(
    a: Tensor, b: Tensor, grad_a: Tensor, grad_b: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Computes the gradients of both parts' scores and, for each query, of the sink."""
    a, b = a.float(), b.float()
    ga, gb = grad_a.float(), grad_b.float()
    mean = (a * ga).sum(-1, keepdim=True) + (b * gb).sum(-1, keepdim=True)
    left = 1 - a.sum(-1, keepdim=True) - b.sum(-1, keepdim=True)
    return (a * (ga - mean)).to(COMPUTE), (b * (gb - mean)).to(COMPUTE), -left * mean


class _Weights(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401
        before: Tensor,
        own: Tensor,
        mask_before: Tensor,
        mask_own: Tensor,
        sinks: Tensor,
    ) -> tuple[Tensor, Tensor]:
        a, b = _softmax(before, own, mask_before, mask_own, sinks)
        ctx.save_for_backward(a, b)
        ctx.sinks = sinks.shape
        return a, b

    @staticmethod
    def backward(ctx: Any, grad_a: Tensor, grad_b: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        a, b = ctx.saved_tensors
        da, db, dsinks = _softmax_gradient(a, b, grad_a, grad_b)
        return da, db, None, None, dsinks.sum_to_size(ctx.sinks)


def _weights(
    before: Tensor, own: Tensor, mask_before: Tensor, mask_own: Tensor, sinks: Tensor
) -> tuple[Tensor, Tensor]:
    """Attention weights of scores shaped (key head, row, head of the group, query, key).

    All callers use the same number of dimensions, so that few variants are compiled.
    """
    mask_before = mask_before.view(1, -1, 1, *mask_before.shape[-2:])
    mask_own = mask_own.view(1, 1, 1, *mask_own.shape)
    sinks = sinks.view(before.shape[0], 1, -1, 1, 1)
    out: tuple[Tensor, Tensor] = _Weights.apply(  # type: ignore[no-untyped-call]
        before, own, mask_before, mask_own, sinks
    )
    return out


def attend_group(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    sinks: Tensor,
    batch: Batch,
    window: int | None,
    *,
    with_prefix: bool,
) -> Tensor:
    """Attention output in packed order, (tokens, query heads * head_dim).

    Args:
        query: (tokens, query heads, head_dim), rotated and scaled.
        key: (tokens, key heads, head_dim), rotated.
        value: (tokens, key heads, head_dim).
        sinks: one logit per query head.
        batch: the layout.
        window: number of keys that a query sees, including its own; None for all.
        with_prefix: whether to compute the outputs of the prefix.
    """
    cut = batch.cut
    examples = _examples(query[cut:], key, value, sinks, batch, window)
    if not with_prefix:
        return examples
    parts = query[:cut], key[:cut], value[:cut]
    prefix = _causal(*parts, sinks) if window is None else _banded(*parts, sinks, window)
    return torch.cat((prefix, examples))


def _examples(
    query: Tensor, key: Tensor, value: Tensor, sinks: Tensor, batch: Batch, window: int | None
) -> Tensor:
    cut, rows, length = batch.cut, batch.examples, batch.longest
    key_heads, dim = key.shape[1:]
    group = query.shape[1] // key_heads

    def padded(x: Tensor) -> Tensor:
        return spread(x, batch.pad_index, batch.slots)

    # queries as (key head, example, head of the group, time, dim)
    q = padded(query).view(rows, length, key_heads, group, dim).permute(2, 0, 3, 1, 4).contiguous()
    k = padded(key[cut:]).view(rows, length, key_heads, dim).permute(2, 0, 1, 3)
    v = padded(value[cut:]).view(rows, length, key_heads, dim).permute(2, 0, 1, 3)
    k = k.reshape(key_heads * rows, length, dim)
    v = v.reshape(key_heads * rows, length, dim)
    first = 0 if window is None else max(0, batch.prefix - window)
    seen = cut if window is None else min(cut, window)
    k0 = key[first : first + seen].transpose(0, 1)
    v0 = value[first : first + seen].transpose(0, 1)

    before = q.view(key_heads, -1, dim) @ k0.transpose(1, 2)
    own = q.view(key_heads * rows, -1, dim) @ k.transpose(1, 2)
    time = torch.arange(length)
    places = first + torch.arange(seen)
    gap_before = time[:, None] + batch.prefix - places
    gap_before[:, places >= batch.prefix] = -1
    gap_own = time[:, None] - time
    a, b = _weights(
        before.view(key_heads, rows, group, length, seen),
        own.view(key_heads, rows, group, length, length),
        _mask(gap_before, window),
        _mask(gap_own, window),
        sinks,
    )
    out = (a.view(key_heads, -1, seen) @ v0).view(key_heads * rows, -1, dim)
    out = torch.baddbmm(out, b.view(key_heads * rows, -1, length), v)
    out = out.view(key_heads, rows, group, length, dim).permute(1, 3, 0, 2, 4)
    flat = out.reshape(rows * length, key_heads * group * dim)
    return gather_once(flat, batch.slots, len(query))


def _causal(query: Tensor, key: Tensor, value: Tensor, sinks: Tensor) -> Tensor:
    """Attends from the prefix to itself block by block, so that memory grows linearly.

    The sink is an additional first key whose value is zero. Queries and keys get one more
    dimension: the head's sink logit in queries, 1 in the key of the sink, and 0 in all other keys.
    """
    length, key_heads, dim = key.shape
    group = query.shape[1] // key_heads
    logits = sinks.to(query.dtype).expand(length, -1)[..., None]
    q = F.pad(torch.cat((query, logits), -1), (0, 0, 0, 0, 1, 0)).transpose(0, 1)
    k = F.pad(key, (0, 1, 0, 0, 1, 0))
    k[0, :, dim] = 1
    k = k.transpose(0, 1).repeat_interleave(group, 0)
    v = F.pad(value, (0, 1, 0, 0, 1, 0)).transpose(0, 1).repeat_interleave(group, 0)
    out = F.scaled_dot_product_attention(q[None], k[None], v[None], is_causal=True, scale=1.0)[0]
    return out[:, 1:, :dim].transpose(0, 1).reshape(length, -1)


def _banded(query: Tensor, key: Tensor, value: Tensor, sinks: Tensor, window: int) -> Tensor:
    """Attends in blocks of one window: a query sees its own and the previous block."""
    length, key_heads, dim = key.shape
    group = query.shape[1] // key_heads
    blocks = -(-length // window)
    extra = blocks * window - length

    def blocked(x: Tensor) -> Tensor:
        return F.pad(x, (0, 0, 0, 0, 0, extra)).view(blocks, window, -1, dim)

    def before(x: Tensor) -> Tensor:
        return F.pad(x, (0, 0, 0, 0, window, 0))[:-window].view(blocks, window, -1, dim)

    def heads_first(x: Tensor) -> Tensor:
        return x.permute(2, 0, 1, 3).reshape(key_heads * blocks, window, dim)

    q = blocked(query).view(blocks, window, key_heads, group, dim).permute(2, 0, 3, 1, 4)
    q = q.reshape(key_heads * blocks, group * window, dim)
    whole = F.pad(key, (0, 0, 0, 0, 0, extra)), F.pad(value, (0, 0, 0, 0, 0, extra))
    k, v = heads_first(blocked(key)), heads_first(blocked(value))
    k0, v0 = (heads_first(before(x)) for x in whole)
    shape = (key_heads, blocks, group, window, window)
    time = torch.arange(window)
    gap_own = time[:, None] - time
    mask_before = _mask(gap_own + window, window).repeat(blocks, 1, 1)
    mask_before[0] = _HIDDEN
    a, b = _weights(
        (q @ k0.transpose(1, 2)).view(shape),
        (q @ k.transpose(1, 2)).view(shape),
        mask_before,
        _mask(gap_own, window),
        sinks,
    )
    flat = (key_heads * blocks, group * window, window)
    out = torch.baddbmm(a.view(flat) @ v0, b.view(flat), v)
    out = out.view(key_heads, blocks, group, window, dim).permute(1, 3, 0, 2, 4)
    return out.reshape(blocks * window, -1)[:length]


def _mask(gap: Tensor, window: int | None) -> Tensor:
    """Returns an additive mask from the distance of each key."""
    hidden = gap < 0 if window is None else (gap < 0) | (gap >= window)
    return hidden.float() * _HIDDEN
