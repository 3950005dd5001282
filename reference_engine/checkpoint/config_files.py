"""The config.json of each layout, from the shape of a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from reference_engine.checkpoint.errors import CheckpointError
from reference_engine.checkpoint.names import Layout
from reference_engine.config import ModelConfig

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
    raw = _original(config) if layout == "original" else _hugging_face(config, packed=packed)
    if ModelConfig.from_dict(raw, source=path) != config:
        raise CheckpointError(
            f"The config.json of {path} cannot be translated: OpenAI's has no key for "
            "rms_norm_eps (it is 1e-05) nor for max_position_embeddings (it is "
            "initial_context_length times rope_scaling_factor)."
        )
    return raw


def _original(config: ModelConfig) -> dict[str, Any]:
    """Just these keys: OpenAI's loader takes no others."""
    return {name: getattr(config, name) for name in _SAME} | {
        "num_experts": config.num_local_experts,
        "experts_per_token": config.num_experts_per_tok,
        "rope_scaling_factor": config.rope_factor,
        "rope_ntk_alpha": config.rope_beta_slow,
        "rope_ntk_beta": config.rope_beta_fast,
    }


def _hugging_face(config: ModelConfig, *, packed: bool) -> dict[str, Any]:
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
