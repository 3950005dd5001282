"""The shapes of the published models, and a tiny one of the same kind.

From the config.json of openai/gpt-oss-20b and openai/gpt-oss-120b on Hugging Face.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from reference_engine.config import ConfigError, ModelConfig

VOCABULARY = 201_088
"""Tokens that a gpt-oss knows, those without a meaning included."""

GPT_OSS_20B = ModelConfig(
    vocab_size=VOCABULARY,
    hidden_size=2880,
    num_hidden_layers=24,
    num_attention_heads=64,
    num_key_value_heads=8,
    head_dim=64,
    num_local_experts=32,
    num_experts_per_tok=4,
    intermediate_size=2880,
)
GPT_OSS_120B = replace(GPT_OSS_20B, num_hidden_layers=36, num_local_experts=128)
TINY = ModelConfig(
    vocab_size=VOCABULARY,
    hidden_size=64,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=16,
    num_local_experts=4,
    num_experts_per_tok=2,
    intermediate_size=64,
)
SHAPES = {"20b": GPT_OSS_20B, "120b": GPT_OSS_120B, "tiny": TINY}


def shape_named(name: str) -> ModelConfig:
    """One of `SHAPES`, or what a config.json (or the folder that holds one) says.

    Raises:
        ConfigError: It is neither.
    """
    if name in SHAPES:
        return SHAPES[name]
    if not Path(name).exists():
        known = ", ".join(SHAPES)
        raise ConfigError(f"'{name}' is none of {known}, nor a config.json or a folder with one.")
    return ModelConfig.from_json(Path(name))
