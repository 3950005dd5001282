"""The model on a GPU, with as few kernel launches as possible.

This is `Transformer.stream` for the new tokens of several sequences. On a GPU, a launch costs more
than the small steps of a block for a few tokens, and reading and writing its results costs more
than their arithmetic for many. The model's own code defines the correct result;
`test_fused_pass_agrees_with_the_model` in tests/reference_engine/kernels/kernel_block.py compares
both. Side by side:

    here                                       model.transformer
    fused_pass                                 Transformer.stream, then Transformer.norm
      embedding, rotary                          the same modules
      add_and_normalize                          the sums in Block.forward, then RMSNorm
    attention                                  Attention.forward
      qkv, out                                   the same modules
      rotate_and_write                           rotate; Context.attend writes the cache
      paged_attention                            Context.attend, sink_attention
    mixture_of_experts                         MixtureOfExperts.forward
      router_scores, choose_experts              Router
      multiply                                   run_experts
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from reference_engine.kernels.attention_triton import paged_attention
from reference_engine.kernels.block_triton import (
    add_and_normalize,
    choose_experts,
    rotate_and_write,
    router_scores,
)
from reference_engine.kernels.experts import PackedMixtureOfExperts
from reference_engine.kernels.experts_triton import block_rows, multiply
from reference_engine.kernels.routing import Routing, route
from reference_engine.kv_cache.cache import KVCache, KVPages
from reference_engine.model.sharding import Shard
from reference_engine.model.transformer import Attention, Transformer

_MOST_SCORED = 64
"""Tokens up to which `router_scores` is faster than the three launches of a matrix product (on an
H100, 2.3 instead of 7.1 µs for one token, and equal at 64 tokens and 128 experts)."""
_MOST_CHOSEN = 256
"""Tokens up to which `choose_experts` runs, whose programs read all chosen experts."""


@dataclass(frozen=True)
class NewTokens:
    """The new tokens of several sequences, one sequence after another.

    Attributes:
        sequences: (tokens,), int32; the sequence of each token.
        positions: (tokens,), int32; the position of each token in its sequence.
        starts: (sequences + 1,), int32; the first token of each sequence, then the end.
        lengths: (sequences,), int32; lengths including the new tokens.
    """

    sequences: Tensor
    positions: Tensor
    starts: Tensor
    lengths: Tensor


def fused_pass(
    model: Transformer,
    cache: KVCache,
    tokens: Tensor,
    tables: Mapping[str, Tensor],
    new: NewTokens,
) -> Tensor:
    """Return the normalized stream at each sequence's last token, (sequences, H); write the cache.

    The model has packed experts. `tokens` has the token IDs, `tables` the pages of each sequence in
    order, (sequences, max_pages) in int32, by kind of layer.
    """
    config = model.config
    cos, sin = (angles.flatten(1) for angles in model.rotary.angles(new.positions[:, None]))
    stream: Tensor = model.embedding(tokens).to(model.residual)
    added: Tensor | None = None  # The result of the previous half of a block, not yet added.
    for layer, block in enumerate(model.blocks):
        kind = config.layer_types[layer]
        window = config.sliding_window if kind == "sliding_attention" else None
        norm = block.attn.norm
        normalized = add_and_normalize(stream, added, norm.scale, norm.eps)
        pages = cache.layers[layer]
        added = attention(block.attn, normalized, cos, sin, pages, tables[kind], new, window)
        added = model.shard.sum(added)
        norm = block.mlp.norm
        normalized = add_and_normalize(stream, added, norm.scale, norm.eps)
        assert isinstance(block.mlp, PackedMixtureOfExperts)
        added = model.shard.sum(mixture_of_experts(block.mlp, normalized, model.shard))
    if len(tokens) > len(new.lengths):
        last = new.starts[1:] - 1
        stream = stream.index_select(0, last)
        added = None if added is None else added.index_select(0, last)
    return add_and_normalize(stream, added, model.norm.scale, model.norm.eps)


def attention(
    module: Attention,
    normalized: Tensor,
    cos: Tensor,
    sin: Tensor,
    pages: KVPages,
    tables: Tensor,
    new: NewTokens,
    window: int | None,
) -> Tensor:
    """Return what attention adds to the stream, (tokens, 1, H)."""
    qkv = module.qkv(normalized)
    query = rotate_and_write(qkv, cos, sin, pages, tables, new.sequences, new.positions)
    scale = module.head_dim**-0.5
    attended = paged_attention(
        query, pages.keys, pages.values, tables, new.starts, new.lengths,
        module.sinks, window, scale,
    )  # fmt: skip
    added: Tensor = module.out(attended.flatten(1))
    return added[:, None]


def mixture_of_experts(module: PackedMixtureOfExperts, normalized: Tensor, shard: Shard) -> Tensor:
    """Return what each chosen expert adds to the stream, (tokens, top, H) in float32.

    With several processes, the result is the sum over this process's experts, (tokens, 1, H).
    """
    gate_up, down = module.linears
    (tokens, width), top = normalized.shape, module.gate.top
    block = block_rows(tokens * top, len(gate_up.bias), normalized.dtype)
    routing = _chosen(module, normalized, shard, block)
    create = normalized.new_empty if shard.ranks == 1 else normalized.new_zeros
    added = create((tokens, top, width), dtype=torch.float32)
    multiply(added, normalized, routing, gate_up, down, module.limit, block)
    return added if shard.ranks == 1 else added.sum(1, keepdim=True)


def _chosen(
    module: PackedMixtureOfExperts, normalized: Tensor, shard: Shard, block: int
) -> Routing:
    """Return tiles of `block` rows with the chosen experts and their weights."""
    gate, tokens = module.gate, len(normalized)
    if tokens > _MOST_CHOSEN:
        chosen, weights = gate(normalized)
        return route(chosen, weights, len(module.mlp1_bias), block)
    if tokens > _MOST_SCORED:
        scores = gate.scores(normalized)
    else:
        scores = router_scores(normalized, gate.weight, gate.bias)
    return choose_experts(scores, gate.top, block, shard.part(len(gate.bias)))
