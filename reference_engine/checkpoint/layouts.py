"""The two checkpoint layouts: their tensor names and their config.json.

The model's parameter names are those of OpenAI's `original` layout. Hugging Face's layout splits
the fused query/key/value projection into three tensors, and stores experts that are not MXFP4 with
their input dimension first.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from reference_engine.errors import SetupError
from reference_engine.model import mxfp4
from reference_engine.model.config import ModelConfig

Layout = Literal["original", "hf"]
Shape = tuple[int, ...]

BYTES_AT_ONCE = 32 * 2**20
"""Maximum size of a copy. A tensor is never in memory twice."""


@dataclass(frozen=True)
class Source:
    """Stored tensors that form one parameter, concatenated along the first dimension."""

    tensors: tuple[tuple[str, Shape], ...]  # name and shape of each stored tensor
    packed: tuple[str, Shape] | None = None
    """Base name of an MXFP4 pair (`_blocks`/`_scales` or `.blocks`/`.scales`) that can replace the
    tensors, and the shape (experts, out, in) of the decoded pair."""
    transposed: bool = False
    """Whether the parameter is the stored tensor with its last two dimensions swapped."""
    packed_transposed: bool = False  # the same for the decoded MXFP4 pair


def pair_names(base: str, layout: Layout) -> tuple[str, str]:
    """Return the names of an MXFP4 pair's blocks and scales."""
    separator = "." if layout == "original" else "_"
    return f"{base}{separator}blocks", f"{base}{separator}scales"


def pair_shapes(shape: Shape) -> tuple[Shape, Shape]:
    """Return the shapes of the blocks and scales that decode to `shape`."""
    experts, rows, columns = shape
    scales = (experts, rows, columns // mxfp4.BLOCK)
    return (*scales, mxfp4.BLOCK // 2), scales


@dataclass(frozen=True)
class TensorPiece:
    """A range of rows (indices of the first dimension) of one stored tensor."""

    tensor: str
    rows: range


def pieces(source: Source, rows: range) -> Iterator[TensorPiece]:
    """Yield the pieces of stored tensors that form the given rows of a parameter."""
    begin = 0
    for name, shape in source.tensors:
        first, last = max(rows.start, begin), min(rows.stop, begin + shape[0])
        if first < last:
            yield TensorPiece(name, range(first - begin, last - begin))
        begin += shape[0]


def portions(rows: range, row_bytes: int) -> Iterator[range]:
    """Split rows into ranges of at most `BYTES_AT_ONCE`, but at least one row."""
    step = max(1, BYTES_AT_ONCE // row_bytes)
    for begin in range(rows.start, rows.stop, step):
        yield range(begin, min(begin + step, rows.stop))


def sources(config: ModelConfig, layout: Layout) -> dict[str, Source]:
    """Return the stored tensors of each model parameter in a checkpoint of the given layout."""
    tokens = (config.vocab_size, config.hidden_size)
    original = layout == "original"
    names = {
        "embedding.weight": ("model.embed_tokens.weight", tokens),
        "norm.scale": ("model.norm.weight", tokens[1:]),
        "unembedding.weight": ("lm_head.weight", tokens),
    }
    table = {
        name: Source(((name if original else hf_name, shape),))
        for name, (hf_name, shape) in names.items()
    }
    layer_sources = _original_layer if original else _hf_layer
    for n in range(config.num_hidden_layers):
        layer = layer_sources(f"block.{n}" if original else f"model.layers.{n}", config)
        table |= {f"block.{n}.{name}": source for name, source in layer.items()}
    return table


_HF_LAYER_NAMES = {
    "attn.norm.scale": "input_layernorm.weight",
    "attn.sinks": "self_attn.sinks",
    "attn.out.weight": "self_attn.o_proj.weight",
    "attn.out.bias": "self_attn.o_proj.bias",
    "mlp.norm.scale": "post_attention_layernorm.weight",
    "mlp.gate.weight": "mlp.router.weight",
    "mlp.gate.bias": "mlp.router.bias",
    "mlp.mlp1_bias": "mlp.experts.gate_up_proj_bias",
    "mlp.mlp2_bias": "mlp.experts.down_proj_bias",
}
"""Hugging Face's names of a layer's tensors that both layouts store identically."""


def _layer_shapes(c: ModelConfig) -> dict[str, Shape]:
    """Return the shapes of the tensors that both layouts store identically."""
    experts, hidden = c.num_local_experts, c.hidden_size
    return {
        "attn.norm.scale": (hidden,),
        "attn.sinks": (c.num_attention_heads,),
        "attn.out.weight": (hidden, c.num_attention_heads * c.head_dim),
        "attn.out.bias": (hidden,),
        "mlp.norm.scale": (hidden,),
        "mlp.gate.weight": (experts, hidden),
        "mlp.gate.bias": (experts,),
        "mlp.mlp1_bias": (experts, 2 * c.intermediate_size),
        "mlp.mlp2_bias": (experts, hidden),
    }


def _original_layer(block: str, c: ModelConfig) -> dict[str, Source]:
    rows = (c.num_attention_heads + 2 * c.num_key_value_heads) * c.head_dim
    shapes = _layer_shapes(c) | {"attn.qkv.weight": (rows, c.hidden_size), "attn.qkv.bias": (rows,)}
    table = {name: Source(((f"{block}.{name}", shape),)) for name, shape in shapes.items()}
    up = (f"{block}.mlp.mlp1_weight", (c.num_local_experts, 2 * c.intermediate_size, c.hidden_size))
    down = (f"{block}.mlp.mlp2_weight", (c.num_local_experts, c.hidden_size, c.intermediate_size))
    return table | {
        "mlp.mlp1_weight": Source((up,), packed=up),
        "mlp.mlp2_weight": Source((down,), packed=down, transposed=True, packed_transposed=True),
    }


def _hf_layer(layer: str, c: ModelConfig) -> dict[str, Source]:
    query, kv = c.num_attention_heads * c.head_dim, c.num_key_value_heads * c.head_dim
    experts, hidden, inner = c.num_local_experts, c.hidden_size, c.intermediate_size
    attn, mlp = f"{layer}.self_attn", f"{layer}.mlp.experts"
    parts = (("q_proj", query), ("k_proj", kv), ("v_proj", kv))
    table = {
        name: Source(((f"{layer}.{_HF_LAYER_NAMES[name]}", shape),))
        for name, shape in _layer_shapes(c).items()
    }
    return table | {
        "attn.qkv.weight": Source(
            tuple((f"{attn}.{part}.weight", (rows, hidden)) for part, rows in parts)
        ),
        "attn.qkv.bias": Source(tuple((f"{attn}.{part}.bias", (rows,)) for part, rows in parts)),
        "mlp.mlp1_weight": Source(
            ((f"{mlp}.gate_up_proj", (experts, hidden, 2 * inner)),),
            packed=(f"{mlp}.gate_up_proj", (experts, 2 * inner, hidden)),
            transposed=True,
        ),
        "mlp.mlp2_weight": Source(
            ((f"{mlp}.down_proj", (experts, inner, hidden)),),
            packed=(f"{mlp}.down_proj", (experts, hidden, inner)),
            packed_transposed=True,
        ),
    }


GENERATION_CONFIG = {
    "bos_token_id": 199_998,
    "pad_token_id": 199_999,
    "eos_token_id": [200_002, 199_999, 200_012],
    "do_sample": True,
    "temperature": 1.0,
    "top_p": 1.0,
}
"""generation_config.json of Hugging Face's layout: stop tokens and sampling defaults."""
_RETURN = 200_002
_COMMON_KEYS = (
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
_UNQUANTIZED = (
    "model.layers.*.self_attn",
    "model.layers.*.mlp.router",
    "model.embed_tokens",
    "lm_head",
)


def config_file(config: ModelConfig, layout: Layout, *, packed: bool, path: Path) -> dict[str, Any]:
    """Return the content of config.json; `packed` says whether the experts are MXFP4.

    Raises SetupError if OpenAI's layout has no key for a value that differs from its default.
    """
    raw = _original_config(config) if layout == "original" else _hf_config(config, packed=packed)
    if ModelConfig.from_dict(raw, source=path) != config:
        raise SetupError(
            f"The config.json of {path} cannot be translated: OpenAI's layout has no key for "
            "rms_norm_eps (always 1e-05) or max_position_embeddings (always "
            "initial_context_length times rope_scaling_factor)."
        )
    return raw


def _original_config(config: ModelConfig) -> dict[str, Any]:
    """Return only the keys that OpenAI's loader accepts."""
    return {name: getattr(config, name) for name in _COMMON_KEYS} | {
        "num_experts": config.num_local_experts,
        "experts_per_token": config.num_experts_per_tok,
        "rope_scaling_factor": config.rope_factor,
        "rope_ntk_alpha": config.rope_beta_slow,
        "rope_ntk_beta": config.rope_beta_fast,
    }


def _hf_config(config: ModelConfig, *, packed: bool) -> dict[str, Any]:
    raw = {name: getattr(config, name) for name in _COMMON_KEYS} | {
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
            "modules_to_not_convert": list(_UNQUANTIZED),
        }
    return raw
