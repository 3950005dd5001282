"""One new token per sequence with as few kernel launches as possible.

This is `Transformer.stream` for a GPU, where a launch costs more than the small steps of a block.
The model's own code defines the correct result; `test_decode_agrees_with_the_model` in
tests/reference_engine/kernels/kernel_decode.py compares both. Side by side:

    decode                                     transformer
    decode                                     Transformer.stream, Block.forward, Transformer.norm
    _add (add_and_normalize)                   the sums in Block.forward, and RMSNorm
    _attend (rotate_and_write,                 Attention.forward: rotate, Context.attend
        paged_attention)
    _run_experts (choose_experts, multiply)    MixtureOfExperts.forward, run_experts
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from reference_engine.kernels.attention_triton import paged_attention
from reference_engine.kernels.decode_triton import (
    add_and_normalize,
    choose_experts,
    rotate_and_write,
)
from reference_engine.kernels.experts_triton import block_rows, multiply
from reference_engine.kernels.packed import PackedMixtureOfExperts
from reference_engine.kv_cache.cache import KVCache, KVPages
from reference_engine.model.transformer import Attention, RMSNorm, Transformer


def decode(
    model: Transformer,
    cache: KVCache,
    tokens: Tensor,
    tables: Mapping[str, Tensor],
    query_starts: Tensor,
    context_lengths: Tensor,
) -> Tensor:
    """Returns the normalized stream after the last block, (rows, H), and writes the cache.

    The model has packed experts. `tokens` has the new token of each row, `tables`
    the pages of each row in order, (rows, max_pages) in int32, by kind of layer, `query_starts` the
    numbers 0 to rows in int32, and `context_lengths` the lengths with the new token in int32.
    """
    config = model.config
    cos, sin = (each.flatten(1) for each in model.rotary.angles(context_lengths[:, None] - 1))
    stream: Tensor = model.embedding(tokens).to(model.residual)
    parts: Tensor | None = None  # The output of the previous half of a block, not yet added.
    for layer, block in enumerate(model.blocks):
        kind = config.layer_types[layer]
        window = config.sliding_window if kind == "sliding_attention" else None
        batch = (tables[kind], query_starts, context_lengths)
        normalized = _add(stream, parts, block.attn.norm)
        attended = _attend(block.attn, normalized, cos, sin, cache.layers[layer], batch, window)
        parts = block.shard.sum(attended)
        normalized = _add(stream, parts, block.mlp.norm)
        assert isinstance(block.mlp, PackedMixtureOfExperts)
        parts = block.shard.sum(_run_experts(block.mlp, normalized))
    return _add(stream, parts, model.norm)


def _add(stream: Tensor, parts: Tensor | None, norm: RMSNorm) -> Tensor:
    return add_and_normalize(stream, parts, norm.scale, norm.eps)


def _attend(
    attention: Attention,
    normalized: Tensor,
    cos: Tensor,
    sin: Tensor,
    pages: KVPages,
    batch: tuple[Tensor, Tensor, Tensor],
    window: int | None,
) -> Tensor:
    """Returns (rows, 1, H); `batch` is the tables, query starts and context lengths."""
    tables, starts, lengths = batch
    query = rotate_and_write(attention.qkv(normalized), cos, sin, pages, tables, lengths)
    scale = attention.head_dim**-0.5
    attended = paged_attention(
        query, pages.keys, pages.values, tables, starts, lengths, attention.sinks, window, scale
    )
    added: Tensor = attention.out(attended.flatten(1))
    return added[:, None]


def _run_experts(experts: PackedMixtureOfExperts, normalized: Tensor) -> Tensor:
    """Returns the weighted result of each chosen expert, (rows, top, H) in float32.

    With several processes, the result is the sum over this process's experts, (rows, 1, H).
    """
    gate_up, down = experts.linears
    rows, width = normalized.shape
    block = block_rows(rows * experts.top, len(gate_up.bias), normalized.dtype)
    scores = experts.gate(normalized)
    local = experts.shard.part(scores.shape[1])
    weights, routing = choose_experts(scores, experts.top, block, local)
    shape, everything = (rows, experts.top, width), experts.shard.ranks == 1
    create = normalized.new_empty if everything else normalized.new_zeros
    product = create(shape, dtype=torch.float32)
    multiply(product, normalized, weights, routing, gate_up, down, experts.limit, block)
    return product if everything else product.sum(1, keepdim=True)
