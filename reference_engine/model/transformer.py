"""gpt-oss: the complete architecture in plain PyTorch.

The features of gpt-oss, in the order of this file:

- RMSNorm before each half of a block and after the last block, computed in float32.
- Rotary positions with YaRN: base 150,000, extended by a factor of 32 from 4,096 positions. The
  ramp lies between the dimensions that turn 32 times and once within those positions. Its ends are
  *not* rounded. Cosine and sine are multiplied by the concentration 0.1 ln 32 + 1.
- Grouped-query attention. Queries, keys, values and output all have biases.
- Attention sinks: each query head has a learned logit that takes part in the softmax but adds
  nothing to the result. This code implements the sink as the score of a zero key and value that
  every token sees.
- Even layers see the last 128 positions, including the current one. Odd layers see all positions.
- Mixture of experts: a linear router with bias, the top 4 experts, then a softmax over those four.
- Clamped SwiGLU with interleaved gate and linear values: the gate is clamped above at 7, the linear
  value to ±7, and the result is gate · sigmoid(1.702 gate) · (linear + 1). Each expert adds the
  bias of its second projection before the router weight is applied.
- Separate embedding and unembedding matrices.

A GPU computes the same for one new token of each sequence in `generation.decode`, with fewer kernel
launches; `test_decode_agrees_with_the_model` in tests/reference_engine/kernels/kernel_decode.py
compares both.

Matrix products use the dtype of the weights; on a CPU, the result of a row does not depend on the
rows beside it (`product`). Logits are float32. The residual stream is float32, or on request
bfloat16, as in most other engines (OpenAI's PyTorch model, Hugging Face transformers, vLLM).
Shapes in comments: B sequences, T positions, H hidden, E experts, I intermediate size.
"""

import math
from collections.abc import Sequence
from typing import Protocol, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reference_engine.model.config import Kernels, ModelConfig
from reference_engine.model.sharding import UNSHARDED, Shard

SWIGLU_ALPHA = 1.702
CONVERTED_ROWS = 1024
"""Rows of a weight that `wide_product` converts at a time."""
TILE = 16
"""Rows of a matrix product over single tokens on a CPU: the full height of the libraries' innermost
loops. With 6, 8, 24 or 32 rows, some sum the first and the last rows in a different order."""


def product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Maps (B, T, inputs) or (B, inputs) to outputs, with a weight (outputs, inputs).

    The CPU libraries choose the order of a row's sums by the number of rows. Here this number never
    depends on B, and so the result of a sequence is the same to the last bit in every batch: a
    block of tokens is a product of its own, and single tokens go in tiles of `TILE` rows, the last
    one padded.
    """
    if not x.is_cpu:
        return F.linear(x, weight, bias)
    if x.ndim == 3 and x.shape[1] > 1:
        return torch.stack([F.linear(block, weight, bias) for block in x])
    rows = x.flatten(0, -2)
    padded = F.pad(rows, (0, 0, 0, -len(rows) % TILE))
    out = x.new_empty(len(padded), len(weight))
    for first in range(0, len(padded), TILE):
        tile = padded[first : first + TILE].mT
        made = weight @ tile if bias is None else torch.addmm(bias[:, None], weight, tile)
        out[first : first + TILE] = made.mT
    return out[: len(rows)].view(*x.shape[:-1], len(weight))


class Linear(nn.Module):
    """A matrix product with an optional bias; nn.Linear without initialization."""

    def __init__(self, inputs: int, outputs: int, *, bias: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs))
        self.bias = nn.Parameter(torch.empty(outputs)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """Maps (..., inputs) to (..., outputs)."""
        return product(x, self.weight, self.bias)


class Embedding(nn.Module):
    """One row of values for each token; nn.Embedding without initialization."""

    def __init__(self, tokens: int, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(tokens, size))

    def forward(self, tokens: Tensor) -> Tensor:
        """Maps token IDs (B, T) to (B, T, H)."""
        return F.embedding(tokens, self.weight)


class RMSNorm(nn.Module):
    """Divides by the root mean square, then multiplies by a learned scale."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.scale = nn.Parameter(torch.empty(size))

    def forward(self, x: Tensor) -> Tensor:
        """Takes the stream, computes in float32 and returns the dtype of the matrices."""
        x = x.float()
        x = x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.eps)
        return (x * self.scale).to(self.scale.dtype)


class Context(Protocol):
    """What the tokens of one forward pass see: their positions, and the past through attention."""

    @property
    def positions(self) -> Tensor:
        """Positions of the new tokens, (B, T)."""
        ...

    def attend(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, sinks: Tensor
    ) -> Tensor:
        """Returns the attention of the new tokens over all visible tokens, including themselves.

        `query` is (B, T, heads, head_dim), `key` and `value` are (B, T, kv_heads, head_dim).
        """
        ...


def rotary_frequencies(config: ModelConfig) -> tuple[Tensor, float]:
    """Returns YaRN's angle per position for each pair of dimensions, and the concentration."""
    half = config.head_dim // 2
    pair = torch.arange(half, dtype=torch.float32)
    plain = config.rope_theta ** (-pair / half)
    if config.rope_factor <= 1:
        return plain, 1.0

    def dimension_turning(times: float) -> float:
        turns = config.initial_context_length / (times * 2 * math.pi)
        return half * math.log(turns) / math.log(config.rope_theta)

    low = max(dimension_turning(config.rope_beta_fast), 0)
    high = min(dimension_turning(config.rope_beta_slow), config.head_dim - 1)
    ramp = ((pair - low) / max(high - low, 0.001)).clamp(0, 1)
    concentration = 0.1 * math.log(config.rope_factor) + 1
    return plain * (1 - ramp) + plain / config.rope_factor * ramp, concentration


class Rotary(nn.Module):
    """The rotation of queries and keys by their positions."""

    frequencies: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        with torch.device("cpu"):
            frequencies, self.concentration = rotary_frequencies(config)
        self.register_buffer("frequencies", frequencies, persistent=False)

    def angles(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Returns cosine and sine, (B, T, 1, head_dim / 2) each, for positions (B, T)."""
        angle = positions[..., None, None].float() * self.frequencies
        return angle.cos() * self.concentration, angle.sin() * self.concentration


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotates the pairs (i, i + head_dim / 2) of (B, T, heads, head_dim)."""
    first, second = x.float().chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1).to(x.dtype)


def sink_attention(
    query: Tensor, key: Tensor, value: Tensor, visible: Tensor, sinks: Tensor
) -> Tensor:
    """Computes softmax attention with sinks.

    `query` is (B, T, heads, head_dim). `key` and `value` are (B, kv_heads, 1 + keys, head_dim);
    their first row, the sink, is zero. `visible` is (B, T, keys), 0 or -inf.
    """
    batch, length, heads, size = query.shape
    kv_heads, keys = key.shape[1], key.shape[2]
    group = heads // kv_heads
    query = query.view(batch, length, kv_heads, group, size).permute(0, 2, 3, 1, 4)
    scores = query.new_empty((batch, kv_heads, group, length, keys))
    scores[..., 0] = sinks.view(kv_heads, group, 1)
    scores[..., 1:] = visible[:, None, None]
    scores = scores.view(batch, kv_heads, group * length, keys)
    query = query.reshape(batch, kv_heads, group * length, size)
    out = F.scaled_dot_product_attention(query, key, value, attn_mask=scores)
    out = out.view(batch, kv_heads, group, length, size).permute(0, 3, 1, 2, 4)
    return out.reshape(batch, length, heads * size)


class Attention(nn.Module):
    """The first half of a block."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        self.layer = layer
        self.heads = config.num_attention_heads
        self.kv_heads = config.num_key_value_heads
        self.head_dim = config.head_dim
        width = (self.heads + 2 * self.kv_heads) * self.head_dim
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.qkv = Linear(config.hidden_size, width)
        self.sinks = nn.Parameter(torch.empty(self.heads))
        self.out = Linear(self.heads * self.head_dim, config.hidden_size)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, context: Context) -> Tensor:
        """Returns what attention adds to the stream x, (B, T, H)."""
        heads = self.qkv(self.norm(x)).unflatten(-1, (-1, self.head_dim))
        query, key, value = heads.split((self.heads, self.kv_heads, self.kv_heads), dim=2)
        query, key = rotate(query, cos, sin), rotate(key, cos, sin)
        added: Tensor = self.out(context.attend(self.layer, query, key, value, self.sinks))
        return added


def swiglu(x: Tensor, limit: float) -> Tensor:
    """Computes the clamped SwiGLU of interleaved (gate, linear) pairs."""
    gate, linear = x[..., ::2].clamp(max=limit), x[..., 1::2].clamp(-limit, limit)
    return gate * torch.sigmoid(SWIGLU_ALPHA * gate) * (linear + 1)


class MixtureOfExperts(nn.Module):
    """The second half of a block.

    `mlp2_weight` is stored input-major, (E, I, H). With few experts, all of them together are then
    one (E · I, H) matrix.
    """

    def __init__(self, config: ModelConfig, shard: Shard = UNSHARDED) -> None:
        super().__init__()
        hidden, inner = config.hidden_size, config.intermediate_size
        experts = len(shard.part(config.num_local_experts))
        self.shard = shard
        self.top = config.num_experts_per_tok
        self.limit = config.swiglu_limit
        self.dense = experts <= 2 * self.top
        self.norm = RMSNorm(hidden, config.rms_norm_eps)
        self.gate = Linear(hidden, config.num_local_experts)
        self.mlp1_weight = nn.Parameter(torch.empty(experts, 2 * inner, hidden))
        self.mlp1_bias = nn.Parameter(torch.empty(experts, 2 * inner))
        self.mlp2_weight = nn.Parameter(torch.empty(experts, inner, hidden))
        self.mlp2_bias = nn.Parameter(torch.empty(experts, hidden))

    def forward(self, x: Tensor) -> Tensor:
        """Returns what the experts add to the stream x, (B, T, H)."""
        tokens = self.norm(x)
        chosen = self.gate(tokens).float().topk(self.top, dim=-1)
        weights = chosen.values.softmax(-1)
        local = self.shard.local_experts(chosen.indices, weights, len(self.gate.weight))
        return self.run_experts(tokens, *local)

    def run_experts(self, tokens: Tensor, chosen: Tensor, weights: Tensor) -> Tensor:
        """Runs tokens (B, T, H) through their `chosen` experts (B, T, top), weighted by `weights`.

        The index after the last expert means "no expert"; its weight is zero.
        """
        if self.dense:
            return self._run_all(tokens, chosen, weights)
        rows, chosen, weights = (each.flatten(0, 1) for each in (tokens, chosen, weights))
        return self._run_chosen(rows, chosen, weights).view_as(tokens)

    def _run_all(self, tokens: Tensor, chosen: Tensor, weights: Tensor) -> Tensor:
        """Runs every token through every expert; most weights are zero."""
        experts, width, hidden = self.mlp1_weight.shape
        share = weights.new_zeros(*tokens.shape[:-1], experts + 1).scatter(-1, chosen, weights)
        share = share[..., :experts].to(tokens.dtype)
        first = product(tokens, self.mlp1_weight.view(-1, hidden), self.mlp1_bias.view(-1))
        first = first.view(*tokens.shape[:-1], experts, width)
        inner = swiglu(first, self.limit) * share[..., None]
        second = product(inner.flatten(-2), self.mlp2_weight.view(-1, hidden).mT)
        return second + product(share, self.mlp2_bias.mT)

    def _run_chosen(self, tokens: Tensor, chosen: Tensor, weights: Tensor) -> Tensor:
        out = torch.zeros_like(tokens, dtype=torch.float32)
        for expert in torch.unique(chosen[chosen < len(self.mlp1_bias)]).tolist():
            row, place = torch.where(chosen == expert)
            first = product(tokens[row], self.mlp1_weight[expert], self.mlp1_bias[expert])
            inner = swiglu(first, self.limit)
            second = product(inner, self.mlp2_weight[expert].mT, self.mlp2_bias[expert])
            out.index_add_(0, row, second * weights[row, place, None])
        return out


class Block(nn.Module):
    """Attention, then experts; each adds its result to the stream."""

    def __init__(self, config: ModelConfig, layer: int, shard: Shard = UNSHARDED) -> None:
        super().__init__()
        self.shard = shard
        self.attn = Attention(config, layer)
        self.mlp = MixtureOfExperts(config, shard)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, context: Context) -> Tensor:
        """Runs the stream x, (B, T, H), through the block."""
        x = x + self.shard.sum(self.attn(x, cos, sin, context)).to(x.dtype)
        return x + self.shard.sum(self.mlp(x)).to(x.dtype)


class Unembedding(Linear):
    """The logits of all tokens; each process computes those of its part of the vocabulary.

    They are float32 for weights of any format: between 16 and 32, the numbers of bfloat16 are 0.125
    apart, so that probable tokens would often have equal logits.
    """

    def __init__(self, config: ModelConfig, shard: Shard = UNSHARDED) -> None:
        super().__init__(config.hidden_size, len(shard.part(config.vocab_size)), bias=False)
        self.shard = shard

    def forward(self, x: Tensor) -> Tensor:
        """Maps normalized streams (..., H) to float32 logits (..., vocabulary)."""
        return self.shard.gather(wide_product(x, self.weight))


def wide_product(x: Tensor, weight: Tensor) -> Tensor:
    """Maps (..., inputs) to (..., outputs) in float32, with a weight (outputs, inputs).

    Only CUDA has a product of this kind for bfloat16. Elsewhere, a part of the weight at a time is
    converted to float32, which is exact and needs little memory.
    """
    if weight.dtype == torch.bfloat16 and weight.device.type in {"cuda", "meta"}:
        made = torch.mm(x.flatten(0, -2), weight.mT, out_dtype=torch.float32)
        return made.view(*x.shape[:-1], len(weight))
    if weight.dtype == torch.float32:
        return product(x, weight)
    parts = torch.split(weight, CONVERTED_ROWS)
    return torch.cat([product(x.float(), part.float()) for part in parts], dim=-1)


class Shortlist(Protocol):
    """The few tokens that can follow a prompt, in checkpoints whose format says so."""

    common: Tensor  # token IDs of all prompts, in ascending order

    def own(self, prompt: Sequence[int]) -> Tensor:
        """Returns the further token IDs of one prompt, in ascending order."""
        ...


class Transformer(nn.Module):
    """The model from token IDs to logits; its parameters are empty until a checkpoint is loaded.

    Args:
        config: The shape of the complete model.
        kernels: The attention implementation for paged caches.
        shard: The part of this process. `self.config` then has its number of heads.
        residual: The dtype of the residual stream.
    """

    shortlist: Shortlist | None = None  # set by the loader

    def __init__(
        self,
        config: ModelConfig,
        *,
        kernels: Kernels = "torch",
        shard: Shard = UNSHARDED,
        residual: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        self.config = config = shard.local_config(config)
        self.residual = residual
        self.shard = shard
        self.kernels = kernels
        self.embedding = Embedding(config.vocab_size, config.hidden_size)
        self.rotary = Rotary(config)
        self.block = nn.ModuleList(Block(config, n, shard) for n in range(config.num_hidden_layers))
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.unembedding = Unembedding(config, shard)

    @property
    def blocks(self) -> list[Block]:
        """The blocks in order."""
        return [cast("Block", block) for block in self.block]

    def forward(self, tokens: Tensor) -> Tensor:
        """Returns float32 logits (B, T, vocabulary) for complete sequences (B, T), uncached."""
        return self.logits(self.stream(tokens, UncachedContext(self.config, tokens)))

    def stream(self, tokens: Tensor, context: Context) -> Tensor:
        """Returns the residual stream (B, T, H) after the last block."""
        x: Tensor = self.embedding(tokens).to(self.residual)
        cos, sin = self.rotary.angles(context.positions)
        for block in self.blocks:
            x = block(x, cos, sin, context)
        return x

    def logits(self, stream: Tensor) -> Tensor:
        """Returns the logits of the whole vocabulary in float32."""
        logits: Tensor = self.unembedding(self.norm(stream))
        return logits


class UncachedContext:
    """The context of complete sequences (B, T) that start at position 0 and use no cache."""

    def __init__(self, config: ModelConfig, tokens: Tensor) -> None:
        batch, length = tokens.shape
        position = torch.arange(length, device=tokens.device)
        self.positions = position.expand(batch, length)
        distance = position[:, None] - position
        hidden = torch.tensor(-math.inf, device=tokens.device)
        causal = torch.where(distance >= 0, 0.0, hidden)[None]
        sliding = causal.masked_fill(distance >= config.sliding_window, -math.inf)
        self._visible = {"sliding_attention": sliding, "full_attention": causal}
        self._layer_types = config.layer_types

    def attend(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, sinks: Tensor
    ) -> Tensor:
        """Returns the causal attention among the given tokens."""
        key, value = (F.pad(x.transpose(1, 2), (0, 0, 1, 0)) for x in (key, value))
        return sink_attention(query, key, value, self._visible[self._layer_types[layer]], sinks)
