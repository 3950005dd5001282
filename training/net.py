"""The network in the form used for training: one group of conversations at a time.

It computes the same as `reference_engine.model.transformer.Transformer`; a test compares the two.
It is fast on a CPU because it runs the shared prefix of a group of conversations once, multiplies
matrices in the CPU's fastest format, and fuses everything else with `torch.compile`. Parameters of
the same kind are stacked over the layers, so that the optimizer can process them together.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from training.attention import attend_group
from training.fused import fused
from training.packing import Batch, round_up
from training.permute import gather_once, spread
from training.precision import COMPUTE
from training.quantize import fake_quantize


@dataclass(frozen=True)
class Shape:
    """The sizes of the small model with the names of config.json and the real constants."""

    hidden_size: int = 192
    intermediate_size: int = 192
    num_hidden_layers: int = 6
    num_attention_heads: int = 4
    num_key_value_heads: int = 2
    head_dim: int = 64
    num_local_experts: int = 4
    num_experts_per_tok: int = 2
    sliding_window: int = 128
    swiglu_limit: float = 7.0
    rms_norm_eps: float = 1e-5
    rope_theta: float = 150_000.0
    rope_factor: float = 32.0
    rope_beta_fast: float = 32.0
    rope_beta_slow: float = 1.0
    initial_context_length: int = 4096


def rope_frequencies(shape: Shape) -> tuple[Tensor, float]:
    """Returns YaRN's inverse frequencies (unrounded, as in OpenAI's model) and concentration."""
    half = shape.head_dim // 2
    exponents = torch.arange(half, dtype=torch.float64) / half
    base = shape.rope_theta**-exponents

    def turns(count: float) -> float:
        length = shape.initial_context_length / (count * 2 * math.pi)
        return half * math.log(length) / math.log(shape.rope_theta)

    low, high = turns(shape.rope_beta_fast), turns(shape.rope_beta_slow)
    ramp = ((torch.arange(half) - low) / (high - low)).clamp(0, 1)
    frequencies = base / shape.rope_factor * ramp + base * (1 - ramp)
    return frequencies.float(), 0.1 * math.log(shape.rope_factor) + 1.0


@fused
def rms_norm(x: Tensor, gain: Tensor, eps: float) -> Tensor:
    """Computes the root-mean-square norm of float32 states."""
    return (x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps) * gain).to(COMPUTE)


@fused
def rotate(x: Tensor, bias: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Adds the bias and applies rotary positions to (tokens, heads * dim)."""
    tokens, dim = x.shape[0], 2 * cos.shape[-1]
    x1, x2 = (x.float() + bias).view(tokens, -1, dim).chunk(2, dim=-1)
    c, s = cos[:, None, :], sin[:, None, :]
    return torch.cat((x1 * c - x2 * s, x2 * c + x1 * s), dim=-1).to(COMPUTE)


@fused
def swiglu(x: Tensor, weight: Tensor, limit: float) -> Tensor:
    """Computes the clamped SwiGLU of gpt-oss, multiplied by the router weight.

    Here, the first half is the gates and the second half the linear parts, which is faster; the
    export interleaves them.
    """
    gate, linear = x.float().chunk(2, dim=-1)
    gate = gate.clamp(max=limit)
    linear = linear.clamp(-limit, limit)
    return (gate * torch.sigmoid(1.702 * gate) * (linear + 1) * weight).to(COMPUTE)


class Net(nn.Module):
    """All trainable parameters except the token rows."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        layers, hidden = shape.num_hidden_layers, shape.hidden_size
        queries = shape.num_attention_heads * shape.head_dim
        keys = shape.num_key_value_heads * shape.head_dim
        experts, inner = shape.num_local_experts, shape.intermediate_size

        def matrix(*size: int, scale: float = 1.0) -> nn.Parameter:
            return nn.Parameter(torch.randn(layers, *size) * scale * size[-1] ** -0.5)

        def constant(*size: int, value: float = 0.0) -> nn.Parameter:
            return nn.Parameter(torch.full(size, value))

        self.q_proj = matrix(queries, hidden)
        self.k_proj = matrix(keys, hidden)
        self.v_proj = matrix(keys, hidden)
        self.o_proj = matrix(hidden, queries, scale=0.2)
        self.q_bias = constant(layers, queries)
        self.k_bias = constant(layers, keys)
        self.v_bias = constant(layers, keys)
        self.o_bias = constant(layers, hidden)
        self.sinks = constant(layers, shape.num_attention_heads)
        self.router = matrix(experts, hidden, scale=0.5)
        self.router_bias = constant(layers, experts)
        self.gate_up = matrix(experts, 2 * inner, hidden)
        self.gate_up_bias = constant(layers, experts, 2 * inner)
        self.down = matrix(experts, hidden, inner, scale=0.2)
        self.down_bias = constant(layers, experts, hidden)
        self.attention_norm = constant(layers, hidden, value=1.0)
        self.mlp_norm = constant(layers, hidden, value=1.0)
        self.final_norm = constant(hidden, value=1.0)
        frequencies, concentration = rope_frequencies(shape)
        self.frequencies = frequencies
        self.concentration = concentration

    def forward(self, x: Tensor, batch: Batch, *, quantize: bool) -> tuple[Tensor, Tensor]:
        """Returns the final normed states of tokens with a target, and the router's balance loss.

        Args:
            x: float32 embeddings of the packed tokens, (tokens, hidden).
            batch: the layout of the tokens.
            quantize: round the experts to MXFP4 on the way (straight-through gradient).
        """
        angles = batch.positions[:, None].float() * self.frequencies
        cos, sin = angles.cos() * self.concentration, angles.sin() * self.concentration
        layers = self._layers(quantize=quantize)
        balance = x.new_zeros(())
        for at, layer in enumerate(layers):
            last = at == len(layers) - 1
            x = self._attention(layer, x, batch, (cos, sin), sliding=at % 2 == 0, last=last)
            x, uneven = self._experts(layer, x)
            balance = balance + uneven
        return rms_norm(x, self.final_norm, self.shape.rms_norm_eps), balance / len(layers)

    def _layers(self, *, quantize: bool) -> list[dict[str, Tensor]]:
        matrices = ("q_proj", "k_proj", "v_proj", "o_proj", "router", "gate_up", "down")
        columns: dict[str, Any] = {}
        for name, parameter in self.named_parameters():
            if name == "final_norm":
                continue
            value: Tensor = parameter
            if quantize and name in {"gate_up", "down"}:
                value = fake_quantize(value)
            if name in matrices:
                value = value.to(COMPUTE)
            columns[name] = value.unbind(0)
        count = self.shape.num_hidden_layers
        return [{name: column[at] for name, column in columns.items()} for at in range(count)]

    def _attention(
        self,
        layer: dict[str, Tensor],
        x: Tensor,
        batch: Batch,
        angles: tuple[Tensor, Tensor],
        *,
        sliding: bool,
        last: bool,
    ) -> Tensor:
        """Adds the attention output; the last layer keeps only tokens with a target."""
        shape = self.shape
        normed = rms_norm(x, layer["attention_norm"], shape.rms_norm_eps)
        scale = shape.head_dim**-0.5
        cos, sin = angles
        joined = torch.cat((layer["q_proj"], layer["k_proj"], layer["v_proj"]))
        widths = [layer[name].shape[0] for name in ("q_proj", "k_proj", "v_proj")]
        query, key, value = torch.split(normed @ joined.T, widths, dim=-1)
        query = rotate(query, layer["q_bias"], cos * scale, sin * scale)
        key = rotate(key, layer["k_bias"], cos, sin)
        value = value + layer["v_bias"].to(COMPUTE)
        value = value.view(-1, shape.num_key_value_heads, shape.head_dim)
        window = shape.sliding_window if sliding else None
        mixed = attend_group(query, key, value, layer["sinks"], batch, window, with_prefix=not last)
        if last:
            rows = round_up(len(batch.targets))
            mixed = gather_once(mixed, batch.target_at - batch.cut, rows)
            x = gather_once(x, batch.target_at, rows)
        return x + (mixed @ layer["o_proj"].T + layer["o_bias"].to(COMPUTE)).float()

    def _experts(self, layer: dict[str, Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
        """Adds the experts' output; also returns the load-balancing loss (1 if even)."""
        shape = self.shape
        count, top = shape.num_local_experts, shape.num_experts_per_tok
        normed = rms_norm(x, layer["mlp_norm"], shape.rms_norm_eps)
        scores = (normed @ layer["router"].T).float() + layer["router_bias"]
        best, chosen = scores.topk(top, dim=-1)
        weights = best.softmax(-1)
        share, index, slots, sizes = _dispatch(chosen, count)
        uneven = count * (scores.softmax(-1).mean(0) * share).sum()

        rows = spread(normed.repeat_interleave(top, dim=0), index, slots)
        weight = spread(weights.flatten()[:, None], index, slots)
        parts = []
        for expert, (part, scale) in enumerate(
            zip(torch.split(rows, sizes), torch.split(weight, sizes), strict=True)
        ):
            bias = layer["gate_up_bias"][expert].to(COMPUTE)
            inner = torch.addmm(bias, part, layer["gate_up"][expert].T)
            inner = swiglu(inner, scale, shape.swiglu_limit)
            bias = scale * layer["down_bias"][expert]
            parts.append((inner @ layer["down"][expert].T).float() + bias)
        mixed = gather_once(torch.cat(parts), slots)
        return x + mixed.view(-1, top, shape.hidden_size).sum(1), uneven


def _dispatch(chosen: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor, list[int]]:
    """Sorts the choices of experts, (tokens, top), by expert.

    Returns:
        The share of choices of each expert; the choice at each place of the sorted order, in which
        every expert has a rounded number of places; the place of each choice; and these numbers of
        places.
    """
    flat = chosen.flatten()
    order = torch.argsort(flat, stable=True)
    loads = torch.bincount(flat, minlength=count)
    sizes = [round_up(load) for load in loads.tolist()]
    starts = torch.tensor([0, *sizes[:-1]]).cumsum(0)
    places = torch.arange(len(flat)) + (starts - (loads.cumsum(0) - loads)).repeat_interleave(loads)
    slots = torch.empty_like(places)
    slots[order] = places
    index = torch.zeros(sum(sizes), dtype=torch.long)
    index[slots] = torch.arange(len(flat))
    return loads.float() / len(flat), index, slots, sizes
