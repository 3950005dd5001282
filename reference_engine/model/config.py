"""The shape of a gpt-oss model, read from either layout's config.json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

_ORIGINAL_KEYS = {
    "num_local_experts": "num_experts",
    "num_experts_per_tok": "experts_per_token",
    "rope_factor": "rope_scaling_factor",
    "rope_beta_fast": "rope_ntk_beta",
    "rope_beta_slow": "rope_ntk_alpha",
}
_DEFAULTS = {
    "swiglu_limit": 7.0,
    "rms_norm_eps": 1e-5,
    "rope_theta": 150000.0,
    "rope_factor": 32.0,
    "rope_beta_fast": 32.0,
    "rope_beta_slow": 1.0,
    "initial_context_length": 4096,
    "sliding_window": 128,
}
_SWIGLU_ALPHA = 1.702


class ConfigError(ValueError):
    """A config.json that does not describe a gpt-oss model."""


@dataclass(frozen=True)
class ModelConfig:
    """Everything the model's code needs to know; names as in Hugging Face's config.json."""

    vocab_size: int
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    num_local_experts: int
    num_experts_per_tok: int
    intermediate_size: int
    sliding_window: int = 128
    swiglu_limit: float = 7.0
    rms_norm_eps: float = 1e-5
    rope_theta: float = 150000.0
    rope_factor: float = 32.0
    rope_beta_fast: float = 32.0
    rope_beta_slow: float = 1.0
    initial_context_length: int = 4096
    max_position_embeddings: int = 131072

    def __post_init__(self) -> None:
        if self.num_attention_heads % self.num_key_value_heads:
            raise ConfigError(
                f"num_attention_heads ({self.num_attention_heads}) must be a multiple of "
                f"num_key_value_heads ({self.num_key_value_heads})."
            )
        if self.num_experts_per_tok > self.num_local_experts:
            raise ConfigError(
                f"num_experts_per_tok ({self.num_experts_per_tok}) exceeds "
                f"num_local_experts ({self.num_local_experts})."
            )
        if self.head_dim % 2:
            raise ConfigError(f"head_dim ({self.head_dim}) must be even.")

    @property
    def layer_types(self) -> tuple[str, ...]:
        """Even layers look through a sliding window, odd layers at everything."""
        return tuple(
            "full_attention" if layer % 2 else "sliding_attention"
            for layer in range(self.num_hidden_layers)
        )

    @classmethod
    def from_json(cls, path: Path | str) -> ModelConfig:
        """Reads config.json (or the folder that holds it) in OpenAI's or Hugging Face's keys."""
        return cls.from_dict(read_config(path), source=_config_file(path))

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any], *, source: Path | str) -> ModelConfig:
        """Builds the config from the parsed JSON; `source` is named in errors."""
        _refuse_other_architectures(raw, source)
        flat = {**raw, **_rope_settings(raw, source)}
        values: dict[str, Any] = {}
        for name in cls.__dataclass_fields__:
            value = _lookup(flat, name)
            if name == "max_position_embeddings" and value is None:
                value = round(values["initial_context_length"] * values["rope_factor"])
            if value is None:
                raise ConfigError(f"{source} has no {name!r}, which a gpt-oss model needs.")
            values[name] = _number(name, value, source)
        try:
            return cls(**values)
        except ConfigError as error:
            raise ConfigError(f"{source}: {error}") from None


def read_config(path: Path | str) -> dict[str, Any]:
    """Parses config.json (or the one inside the folder `path`)."""
    file = _config_file(path)
    try:
        raw = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{file} does not exist; a checkpoint needs its config.json.") from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{file} cannot be read as JSON: {error}.") from None
    if not isinstance(raw, dict):
        raise ConfigError(f"{file} must hold a JSON object, not {type(raw).__name__}.")
    return raw


def _config_file(path: Path | str) -> Path:
    path = Path(path)
    return path if path.suffix == ".json" else path / "config.json"


def _lookup(flat: Mapping[str, Any], name: str) -> object:
    for key in (name, _ORIGINAL_KEYS.get(name)):
        if key is not None and flat.get(key) is not None:
            return flat[key]
    return _DEFAULTS.get(name)


def _number(name: str, value: object, source: Path | str) -> int | float:
    whole = ModelConfig.__dataclass_fields__[name].type == "int"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ConfigError(f"{source}: {name!r} must be a number, not {value!r}.")
    if value <= 0 or (whole and value != int(value)):
        kind = "positive whole" if whole else "positive"
        raise ConfigError(f"{source}: {name!r} must be a {kind} number, not {value!r}.")
    return int(value) if whole else float(value)


def _rope_settings(raw: Mapping[str, Any], source: Path | str) -> dict[str, Any]:
    """Flattens Hugging Face's rope dictionary (`rope_parameters`, earlier `rope_scaling`)."""
    rope = raw.get("rope_parameters") or raw.get("rope_scaling")
    if rope is None:
        return {}
    if not isinstance(rope, dict):
        raise ConfigError(f"{source}: the rope settings must be an object, not {rope!r}.")
    kind = rope.get("rope_type", rope.get("type", "yarn"))
    if kind == "default":
        return {"rope_theta": rope.get("rope_theta", raw.get("rope_theta")), "rope_factor": 1.0}
    if kind != "yarn":
        raise ConfigError(f"{source}: rope_type {kind!r} is not gpt-oss's 'yarn'.")
    if rope.get("truncate", False):
        raise ConfigError(f"{source}: gpt-oss uses YaRN unrounded, but 'truncate' is true.")
    settings = {
        "rope_theta": rope.get("rope_theta"),
        "rope_factor": rope.get("factor"),
        "rope_beta_fast": rope.get("beta_fast"),
        "rope_beta_slow": rope.get("beta_slow"),
        "initial_context_length": rope.get("original_max_position_embeddings"),
    }
    return {key: value for key, value in settings.items() if value is not None}


def _refuse_other_architectures(raw: Mapping[str, Any], source: Path | str) -> None:
    if raw.get("model_type", "gpt_oss") != "gpt_oss":
        raise ConfigError(f"{source}: model_type is {raw['model_type']!r}, not 'gpt_oss'.")
    fixed = {
        "attention_bias": True,
        "tie_word_embeddings": False,
        "swiglu_alpha": _SWIGLU_ALPHA,
    }
    for key, value in fixed.items():
        if raw.get(key, value) != value:
            raise ConfigError(f"{source}: {key!r} must be {value!r} for gpt-oss, not {raw[key]!r}.")
    layers = raw.get("num_hidden_layers")
    if "layer_types" in raw and isinstance(layers, int):
        wanted = ["full_attention" if n % 2 else "sliding_attention" for n in range(layers)]
        if raw["layer_types"] != wanted:
            raise ConfigError(
                f"{source}: 'layer_types' must alternate sliding and full attention, "
                "beginning with sliding, once for each of num_hidden_layers."
            )


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
