"""The model for one new token of each sequence, with as few kernel launches as possible.

This is `Transformer.stream` for a GPU, where a launch costs more than the small steps of a block.
The model's own code defines the correct result; `test_decode_agrees_with_the_model` in
tests/reference_engine/kernels/kernel_decode.py compares both. Side by side:

    here                                       model.transformer
    decode                                     Transformer.stream, then Transformer.norm
      embedding, rotary                          the same modules
      add_and_normalize                          the sums in Block.forward, then RMSNorm
    attention                                  Attention.forward
      qkv, out                                   the same modules
      rotate_and_write                           rotate; Context.attend writes the cache
      paged_attention                            Context.attend, sink_attention
    mixture_of_experts                         MixtureOfExperts.forward
      gate.scores, choose_experts                Router
      multiply                                   run_experts
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
from reference_engine.kernels.experts import PackedMixtureOfExperts
from reference_engine.kernels.experts_triton import block_rows, multiply
from reference_engine.kv_cache.cache import KVCache, KVPages
from reference_engine.model.sharding import Shard
from reference_engine.model.transformer import Attention, Transformer


def decode(
    model: Transformer,
    cache: KVCache,
    tokens: Tensor,
    tables: Mapping[str, Tensor],
    query_starts: Tensor,
    context_lengths: Tensor,
) -> Tensor:
    """Return the normalized stream after the last block, (rows, H), and write the cache.

    The model has packed experts. `tokens` has the new token of each row, `tables`
    the pages of each row in order, (rows, max_pages) in int32, by kind of layer, `query_starts` the
    numbers 0 to rows in int32, and `context_lengths` the lengths with the new token in int32.
    """
    config = model.config
    cos, sin = (angles.flatten(1) for angles in model.rotary.angles(context_lengths[:, None] - 1))
    stream: Tensor = model.embedding(tokens).to(model.residual)
    added: Tensor | None = None  # The result of the previous half of a block, not yet added.
    for layer, block in enumerate(model.blocks):
        kind = config.layer_types[layer]
        window = config.sliding_window if kind == "sliding_attention" else None
        batch = (tables[kind], query_starts, context_lengths)
        norm = block.attn.norm
        normalized = add_and_normalize(stream, added, norm.scale, norm.eps)
        added = attention(block.attn, normalized, cos, sin, cache.layers[layer], batch, window)
        added = model.shard.sum(added)
        norm = block.mlp.norm
        normalized = add_and_normalize(stream, added, norm.scale, norm.eps)
        assert isinstance(block.mlp, PackedMixtureOfExperts)
        added = model.shard.sum(mixture_of_experts(block.mlp, normalized, model.shard))
    return add_and_normalize(stream, added, model.norm.scale, model.norm.eps)


def attention(
    module: Attention,
    normalized: Tensor,
    cos: Tensor,
    sin: Tensor,
    pages: KVPages,
    batch: tuple[Tensor, Tensor, Tensor],
    window: int | None,
) -> Tensor:
    """Return what attention adds to the stream, (rows, 1, H).

    `batch` is the tables, query starts and context lengths.
    """
    tables, starts, lengths = batch
    query = rotate_and_write(module.qkv(normalized), cos, sin, pages, tables, lengths)
    scale = module.head_dim**-0.5
    attended = paged_attention(
        query, pages.keys, pages.values, tables, starts, lengths, module.sinks, window, scale
    )
    added: Tensor = module.out(attended.flatten(1))
    return added[:, None]


def mixture_of_experts(module: PackedMixtureOfExperts, normalized: Tensor, shard: Shard) -> Tensor:
    """Return what each chosen expert adds to the stream, (rows, top, H) in float32.

    With several processes, the result is the sum over this process's experts, (rows, 1, H).
    """
    gate_up, down = module.linears
    (rows, width), top = normalized.shape, module.gate.top
    block = block_rows(rows * top, len(gate_up.bias), normalized.dtype)
    scores = module.gate.scores(normalized)
    weights, routing = choose_experts(scores, top, block, shard.part(scores.shape[1]))
    create = normalized.new_empty if shard.ranks == 1 else normalized.new_zeros
    added = create((rows, top, width), dtype=torch.float32)
    multiply(added, normalized, weights, routing, gate_up, down, module.limit, block)
    return added if shard.ranks == 1 else added.sum(1, keepdim=True)
