"""One table between the model's parameter names and the tensors of both checkpoint layouts.

The model's names are those of OpenAI's `original/` layout. Hugging Face's layout splits the fused
query-key-value projection in three and, where experts are not MXFP4, stores them input-major.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from reference_engine.model import mxfp4
from reference_engine.model.config import ModelConfig


class CheckpointError(ValueError):
    """A checkpoint that cannot be loaded; the message names the tensor and the file."""


Layout = Literal["original", "hf"]
Shape = tuple[int, ...]

BYTES_AT_ONCE = 32 * 2**20
"""How much of a tensor is copied at once, so that no tensor is ever in memory twice."""


@dataclass(frozen=True)
class Source:
    """Stored tensors that together make one parameter, stacked along the first dimension.

    Attributes:
        tensors: Name and shape of each stored tensor.
        packed: Base name of an MXFP4 pair (`_blocks`/`_scales` or `.blocks`/`.scales`) that may
            stand instead, with the shape (experts, out, in) it decodes to.
        transposed: Whether a plain tensor is the parameter with its last two dimensions swapped.
        packed_transposed: The same, for what an MXFP4 pair decodes to.
    """

    tensors: tuple[tuple[str, Shape], ...]
    packed: tuple[str, Shape] | None = None
    transposed: bool = False
    packed_transposed: bool = False


def pair_names(base: str, layout: Layout) -> tuple[str, str]:
    """Names of an MXFP4 pair's blocks and scales."""
    separator = "." if layout == "original" else "_"
    return f"{base}{separator}blocks", f"{base}{separator}scales"


def pair_shapes(shape: Shape) -> tuple[Shape, Shape]:
    """Shapes of an MXFP4 pair's blocks and scales, from the one that it decodes to."""
    experts, rows, columns = shape
    scales = (experts, rows, columns // mxfp4.BLOCK)
    return (*scales, mxfp4.BLOCK // 2), scales


@dataclass(frozen=True)
class Piece:
    """Some rows (indices of the first dimension) of one stored tensor."""

    tensor: str
    rows: range


def pieces(source: Source, rows: range) -> Iterator[Piece]:
    """Where the given rows of a parameter stand among the tensors that make it."""
    begin = 0
    for name, shape in source.tensors:
        first, last = max(rows.start, begin), min(rows.stop, begin + shape[0])
        if first < last:
            yield Piece(name, range(first - begin, last - begin))
        begin += shape[0]


def portions(rows: range, row_bytes: int) -> Iterator[range]:
    """Cuts rows into runs of at most `BYTES_AT_ONCE`, or of one row."""
    step = max(1, BYTES_AT_ONCE // row_bytes)
    for begin in range(rows.start, rows.stop, step):
        yield range(begin, min(begin + step, rows.stop))


def sources(config: ModelConfig, layout: Layout) -> dict[str, Source]:
    """Where each of the model's parameters stands in a checkpoint of the given layout."""
    make = _original_sources if layout == "original" else _hf_sources
    return make(config)


def _plain(name: str, *shape: int) -> Source:
    return Source(((name, shape),))


def _original_sources(c: ModelConfig) -> dict[str, Source]:
    query, kv = c.num_attention_heads * c.head_dim, c.num_key_value_heads * c.head_dim
    experts, hidden, inner = c.num_local_experts, c.hidden_size, c.intermediate_size
    up, down = (experts, 2 * inner, hidden), (experts, hidden, inner)
    shapes: dict[str, Shape] = {
        "embedding.weight": (c.vocab_size, hidden),
        "norm.scale": (hidden,),
        "unembedding.weight": (c.vocab_size, hidden),
    }
    table = {name: _plain(name, *shape) for name, shape in shapes.items()}
    for n in range(c.num_hidden_layers):
        block = f"block.{n}"
        shapes = {
            "attn.norm.scale": (hidden,),
            "attn.qkv.weight": (query + 2 * kv, hidden),
            "attn.qkv.bias": (query + 2 * kv,),
            "attn.sinks": (c.num_attention_heads,),
            "attn.out.weight": (hidden, query),
            "attn.out.bias": (hidden,),
            "mlp.norm.scale": (hidden,),
            "mlp.gate.weight": (experts, hidden),
            "mlp.gate.bias": (experts,),
            "mlp.mlp1_bias": (experts, 2 * inner),
            "mlp.mlp2_bias": (experts, hidden),
        }
        for name, shape in shapes.items():
            table[f"{block}.{name}"] = _plain(f"{block}.{name}", *shape)
        name = f"{block}.mlp.mlp1_weight"
        table[name] = Source(((name, up),), packed=(name, up))
        name = f"{block}.mlp.mlp2_weight"
        table[name] = Source(
            ((name, down),), packed=(name, down), transposed=True, packed_transposed=True
        )
    return table


def _hf_sources(c: ModelConfig) -> dict[str, Source]:
    query, kv = c.num_attention_heads * c.head_dim, c.num_key_value_heads * c.head_dim
    experts, hidden, inner = c.num_local_experts, c.hidden_size, c.intermediate_size
    table = {
        "embedding.weight": _plain("model.embed_tokens.weight", c.vocab_size, hidden),
        "norm.scale": _plain("model.norm.weight", hidden),
        "unembedding.weight": _plain("lm_head.weight", c.vocab_size, hidden),
    }
    for n in range(c.num_hidden_layers):
        block, layer = f"block.{n}", f"model.layers.{n}"
        attn, mlp = f"{layer}.self_attn", f"{layer}.mlp"
        parts = (("q_proj", query), ("k_proj", kv), ("v_proj", kv))
        table |= {
            f"{block}.attn.norm.scale": _plain(f"{layer}.input_layernorm.weight", hidden),
            f"{block}.attn.qkv.weight": Source(
                tuple((f"{attn}.{part}.weight", (rows, hidden)) for part, rows in parts)
            ),
            f"{block}.attn.qkv.bias": Source(
                tuple((f"{attn}.{part}.bias", (rows,)) for part, rows in parts)
            ),
            f"{block}.attn.sinks": _plain(f"{attn}.sinks", c.num_attention_heads),
            f"{block}.attn.out.weight": _plain(f"{attn}.o_proj.weight", hidden, query),
            f"{block}.attn.out.bias": _plain(f"{attn}.o_proj.bias", hidden),
            f"{block}.mlp.norm.scale": _plain(f"{layer}.post_attention_layernorm.weight", hidden),
            f"{block}.mlp.gate.weight": _plain(f"{mlp}.router.weight", experts, hidden),
            f"{block}.mlp.gate.bias": _plain(f"{mlp}.router.bias", experts),
            f"{block}.mlp.mlp1_weight": Source(
                ((f"{mlp}.experts.gate_up_proj", (experts, hidden, 2 * inner)),),
                packed=(f"{mlp}.experts.gate_up_proj", (experts, 2 * inner, hidden)),
                transposed=True,
            ),
            f"{block}.mlp.mlp1_bias": _plain(
                f"{mlp}.experts.gate_up_proj_bias", experts, 2 * inner
            ),
            f"{block}.mlp.mlp2_weight": Source(
                ((f"{mlp}.experts.down_proj", (experts, inner, hidden)),),
                packed=(f"{mlp}.experts.down_proj", (experts, hidden, inner)),
                packed_transposed=True,
            ),
            f"{block}.mlp.mlp2_bias": _plain(f"{mlp}.experts.down_proj_bias", experts, hidden),
        }
    return table


GENERATION_CONFIG = {
    "bos_token_id": 199_998,
    "pad_token_id": 199_999,
    "eos_token_id": [200_002, 199_999, 200_012],
    "do_sample": True,
    "temperature": 1.0,
    "top_p": 1.0,
}
"""generation_config.json of Hugging Face's layout: where an answer ends, and how it is sampled."""
_RETURN = 200_002
_SAME = (
    "num_hidden_layers",
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "swiglu_limit",
    "head_dim",
    "num_attention_heads",
    "num_key_value_heads",
    "sliding_window",
    "initial_context_length",
    "rope_theta",
)
_UNQUANTISED = (
    "model.layers.*.self_attn",
    "model.layers.*.mlp.router",
    "model.embed_tokens",
    "lm_head",
)


def config_file(config: ModelConfig, layout: Layout, *, packed: bool, path: Path) -> dict[str, Any]:
    """The content of config.json.

    Args:
        config: The shape.
        layout: Whose keys.
        packed: Whether the experts are in MXFP4.
        path: The checkpoint, for the error.

    Raises:
        CheckpointError: The layout has no key for something that this model has otherwise than all.
    """
    raw = _original_config(config) if layout == "original" else _hf_config(config, packed=packed)
    if ModelConfig.from_dict(raw, source=path) != config:
        raise CheckpointError(
            f"The config.json of {path} cannot be translated: OpenAI's has no key for "
            "rms_norm_eps (it is 1e-05) nor for max_position_embeddings (it is "
            "initial_context_length times rope_scaling_factor)."
        )
    return raw


def _original_config(config: ModelConfig) -> dict[str, Any]:
    """Just these keys: OpenAI's loader takes no others."""
    return {name: getattr(config, name) for name in _SAME} | {
        "num_experts": config.num_local_experts,
        "experts_per_token": config.num_experts_per_tok,
        "rope_scaling_factor": config.rope_factor,
        "rope_ntk_alpha": config.rope_beta_slow,
        "rope_ntk_beta": config.rope_beta_fast,
    }


def _hf_config(config: ModelConfig, *, packed: bool) -> dict[str, Any]:
    raw = {name: getattr(config, name) for name in _SAME} | {
        "architectures": ["GptOssForCausalLM"],
        "model_type": "gpt_oss",
        "num_local_experts": config.num_local_experts,
        "num_experts_per_tok": config.num_experts_per_tok,
        "experts_per_token": config.num_experts_per_tok,
        "layer_types": list(config.layer_types),
        "rms_norm_eps": config.rms_norm_eps,
        "rope_scaling": {
            "rope_type": "yarn",
            "factor": config.rope_factor,
            "beta_fast": config.rope_beta_fast,
            "beta_slow": config.rope_beta_slow,
            "original_max_position_embeddings": config.initial_context_length,
            "truncate": False,
        },
        "max_position_embeddings": config.max_position_embeddings,
        "attention_bias": True,
        "attention_dropout": 0.0,
        "hidden_act": "silu",
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
    }
    if config.vocab_size > _RETURN:
        ids = {name: GENERATION_CONFIG[name] for name in ("bos_token_id", "pad_token_id")}
        raw |= {**ids, "eos_token_id": _RETURN}
    if packed:
        raw["quantization_config"] = {
            "quant_method": "mxfp4",
            "modules_to_not_convert": list(_UNQUANTISED),
        }
    return raw
