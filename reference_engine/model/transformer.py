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

Logits are float32. The residual stream is float32, or on request bfloat16, as in most other engines
(OpenAI's PyTorch model, Hugging Face transformers, vLLM).

Elsewhere, so that this file has the architecture only: `products` (matrix products with the same
bits in every batch), `sharding` (one model in several processes), and `kernels.experts` (the same
experts computed in other ways). `generation.fused` is this model with fewer kernel launches, for a
GPU; its table shows what corresponds.

Shapes in comments: B sequences, T positions, H hidden, E experts, I intermediate size.
"""

import math
from typing import Protocol, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reference_engine.model.config import Kernels, ModelConfig
from reference_engine.model.logits import AllLogits, Logits
from reference_engine.model.products import product, wide_product
from reference_engine.model.sharding import UNSHARDED, Shard

SWIGLU_ALPHA = 1.702


class Linear(nn.Module):
    """A matrix product with an optional bias; nn.Linear without initialization."""

    def __init__(self, inputs: int, outputs: int, *, bias: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs))
        self.bias = nn.Parameter(torch.empty(outputs)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., inputs) to (..., outputs)."""
        return product(x, self.weight, self.bias)


class Embedding(nn.Module):
    """One row of values for each token; nn.Embedding without initialization."""

    def __init__(self, tokens: int, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(tokens, size))

    def forward(self, tokens: Tensor) -> Tensor:
        """Map token IDs (B, T) to (B, T, H)."""
        return F.embedding(tokens, self.weight)


class RMSNorm(nn.Module):
    """Divides by the root mean square, then multiplies by a learned scale."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.scale = nn.Parameter(torch.empty(size))

    def forward(self, x: Tensor) -> Tensor:
        """Take the stream, compute in float32 and return the dtype of the matrices."""
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
        """Return the attention of the new tokens over all visible tokens, including themselves.

        `query` is (B, T, heads, head_dim), `key` and `value` are (B, T, kv_heads, head_dim).
        """
        ...


def rotary_frequencies(config: ModelConfig) -> tuple[Tensor, float]:
    """Return YaRN's angle per position for each pair of dimensions, and the concentration."""
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
        """Return cosine and sine, (B, T, 1, head_dim / 2) each, for positions (B, T)."""
        angle = positions[..., None, None].float() * self.frequencies
        return angle.cos() * self.concentration, angle.sin() * self.concentration


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate the pairs (i, i + head_dim / 2) of (B, T, heads, head_dim)."""
    first, second = x.float().chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1).to(x.dtype)


def sink_attention(
    query: Tensor, key: Tensor, value: Tensor, visible: Tensor, sinks: Tensor
) -> Tensor:
    """Compute softmax attention with sinks.

    `query` is (B, T, heads, head_dim). `key` and `value` are (B, kv_heads, 1 + keys, head_dim);
    their first row, the sink, is zero. `visible` is (B, T, keys), 0 or -inf.
    """
    return scored_attention(query, key, value, sink_scores(visible, len(sinks)), sinks)


def sink_scores(visible: Tensor, heads: int) -> Tensor:
    """Return what is added to the scores of all heads, (B, heads, T, 1 + keys), but the sinks."""
    return F.pad(visible, (1, 0))[:, None].repeat(1, heads, 1, 1)


def scored_attention(
    query: Tensor, key: Tensor, value: Tensor, scores: Tensor, sinks: Tensor
) -> Tensor:
    """Compute `sink_attention` with `sink_scores`, into which it writes the sinks."""
    batch, length, heads, size = query.shape
    kv_heads, keys = key.shape[1], key.shape[2]
    group = heads // kv_heads
    scores[..., 0] = sinks[:, None]
    query = query.view(batch, length, kv_heads, group, size).permute(0, 2, 3, 1, 4)
    query = query.reshape(batch, kv_heads, group * length, size)
    scores = scores.view(len(scores), kv_heads, group * length, keys)
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

    def forward(
        self,
        x: Tensor,
        cos: Tensor,
        sin: Tensor,
        context: Context,
        wanted: Tensor | None = None,
    ) -> Tensor:
        """Return what attention adds to the stream x, (B, T, H), at the `wanted` positions."""
        heads = self.qkv(self.norm(x)).unflatten(-1, (-1, self.head_dim))
        turned, value = heads.split((self.heads + self.kv_heads, self.kv_heads), dim=2)
        query, key = torch.split(rotate(turned, cos, sin), [self.heads, self.kv_heads], dim=2)
        attended = context.attend(self.layer, query, key, value, self.sinks)
        added: Tensor = self.out(attended if wanted is None else attended[:, wanted])
        return added


def swiglu(x: Tensor, limit: float) -> Tensor:
    """Compute the clamped SwiGLU of interleaved (gate, linear) pairs."""
    gate, linear = x[..., ::2].clamp(max=limit), x[..., 1::2].clamp(-limit, limit)
    return gate * torch.sigmoid(SWIGLU_ALPHA * gate) * (linear + 1)


class Router(nn.Module):
    """The choice of experts."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.top = config.num_experts_per_tok
        self.weight = nn.Parameter(torch.empty(config.num_local_experts, config.hidden_size))
        self.bias = nn.Parameter(torch.empty(config.num_local_experts))

    def scores(self, tokens: Tensor) -> Tensor:
        """Map tokens (..., H) to the scores of all experts (..., E) in float32.

        In bfloat16, experts of different scores would often tie.
        """
        return wide_product(tokens, self.weight, self.bias)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Return the best experts of tokens (..., H), and the softmax of their scores."""
        best = self.scores(tokens).topk(self.top, dim=-1)
        return best.indices, best.values.softmax(-1)


class MixtureOfExperts(nn.Module):
    """The second half of a block. `mlp2_weight` is stored input-major, (E, I, H)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        experts, hidden = config.num_local_experts, config.hidden_size
        inner = config.intermediate_size
        self.limit = config.swiglu_limit
        self.norm = RMSNorm(hidden, config.rms_norm_eps)
        self.gate = Router(config)
        self.mlp1_weight = nn.Parameter(torch.empty(experts, 2 * inner, hidden))
        self.mlp1_bias = nn.Parameter(torch.empty(experts, 2 * inner))
        self.mlp2_weight = nn.Parameter(torch.empty(experts, inner, hidden))
        self.mlp2_bias = nn.Parameter(torch.empty(experts, hidden))

    def forward(self, x: Tensor) -> Tensor:
        """Return what the experts add to the stream x, (B, T, H)."""
        tokens = self.norm(x)
        chosen, weights = self.gate(tokens)
        return self.run_experts(tokens, chosen, weights)

    def run_experts(self, tokens: Tensor, chosen: Tensor, weights: Tensor) -> Tensor:
        """Run tokens (B, T, H) through their `chosen` experts (B, T, top), weighted by `weights`.

        The index after the last expert means "no expert".
        """
        rows, chosen, weights = (x.flatten(0, 1) for x in (tokens, chosen, weights))
        experts, top = len(self.mlp1_bias), chosen.shape[1]
        slots = chosen.flatten().argsort(stable=True)  # pairs of a token and an expert, by expert
        sizes = chosen.flatten().bincount(minlength=experts + 1).tolist()
        out = torch.zeros(len(slots), rows.shape[1], dtype=torch.float32, device=rows.device)
        for expert, slot in enumerate(torch.split(slots, sizes)[:experts]):
            if len(slot):
                given = rows.index_select(0, slot // top)
                first = product(given, self.mlp1_weight[expert], self.mlp1_bias[expert])
                inner = swiglu(first, self.limit)
                second = product(inner, self.mlp2_weight[expert].mT, self.mlp2_bias[expert])
                out.index_copy_(0, slot, second.float())
        return (out.view(-1, top, rows.shape[1]) * weights[..., None]).sum(1).view_as(tokens)


class Block(nn.Module):
    """Attention, then experts; each adds its result to the stream."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        self.attn = Attention(config, layer)
        self.mlp = MixtureOfExperts(config)

    def forward(
        self,
        x: Tensor,
        cos: Tensor,
        sin: Tensor,
        context: Context,
        wanted: Tensor | None = None,
    ) -> Tensor:
        """Run the stream x, (B, T, H), through the block; return it at the `wanted` positions."""
        attended: Tensor = self.attn(x, cos, sin, context, wanted)
        x = (x if wanted is None else x[:, wanted]) + attended.to(x.dtype)
        added: Tensor = self.mlp(x)
        return x + added.to(x.dtype)


class Unembedding(Linear):
    """The logits of all tokens, in float32 for weights of any format.

    Between 16 and 32, the numbers of bfloat16 are 0.125 apart, so that probable tokens would often
    have equal logits.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config.hidden_size, config.vocab_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map normalized streams (..., H) to logits (..., vocabulary)."""
        return wide_product(x, self.weight)

    def logits(self, x: Tensor) -> Logits:
        """Return the logits of normalized streams (rows, H) for the sampler."""
        made: Tensor = self(x)
        return AllLogits(made.cpu() if made.device.type == "mps" else made)  # MPS has no float64.


class Transformer(nn.Module):
    """The model from token IDs to logits; its parameters are empty until a checkpoint is loaded.

    Args:
        config: The shape of the model.
        kernels: The implementation of attention and experts with which the engine serves it.
        residual: The dtype of the residual stream.
    """

    shard: Shard = UNSHARDED  # set by the loader for the engine; the model does not use it

    def __init__(
        self,
        config: ModelConfig,
        *,
        kernels: Kernels = "torch",
        residual: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        self.config = config
        self.residual = residual
        self.kernels = kernels
        self.embedding = Embedding(config.vocab_size, config.hidden_size)
        self.rotary = Rotary(config)
        self.block = nn.ModuleList(Block(config, n) for n in range(config.num_hidden_layers))
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.unembedding = Unembedding(config)

    @property
    def blocks(self) -> list[Block]:
        """The blocks in order."""
        return [cast("Block", block) for block in self.block]

    def forward(self, tokens: Tensor) -> Tensor:
        """Return float32 logits (B, T, vocabulary) for complete sequences (B, T), uncached."""
        return self.logits(self.stream(tokens, UncachedContext(self.config, tokens)))

    def stream(self, tokens: Tensor, context: Context, wanted: Tensor | None = None) -> Tensor:
        """Return the residual stream (B, T, H) after the last block.

        With `wanted`, numbers of some of the T positions, only these are returned, and the last
        block computes little more than their keys and values for the others.
        """
        x: Tensor = self.embedding(tokens).to(self.residual)
        cos, sin = self.rotary.angles(context.positions)
        last = len(self.blocks) - 1
        for layer, block in enumerate(self.blocks):
            x = block(x, cos, sin, context, wanted if layer == last else None)
        return x

    def logits(self, stream: Tensor) -> Tensor:
        """Return the logits of the whole vocabulary in float32."""
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
        """Return the causal attention among the given tokens."""
        key, value = (F.pad(x.transpose(1, 2), (0, 0, 1, 0)) for x in (key, value))
        return sink_attention(query, key, value, self._visible[self._layer_types[layer]], sinks)
