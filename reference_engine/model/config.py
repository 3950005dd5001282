"""The shape of a gpt-oss model, read from the config.json of either checkpoint layout."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

from reference_engine.errors import SetupError

Kernels = Literal["torch", "triton"]  # the implementation of the operations

_ORIGINAL_KEYS = {
    "num_local_experts": "num_experts",
    "num_experts_per_tok": "experts_per_token",
    "rope_factor": "rope_scaling_factor",
    "rope_beta_fast": "rope_ntk_beta",
    "rope_beta_slow": "rope_ntk_alpha",
}
_FIXED = {"attention_bias": True, "tie_word_embeddings": False, "swiglu_alpha": 1.702}
"""Settings that every gpt-oss model shares; the model's code does not read them."""


@dataclass(frozen=True)
class ModelConfig:
    """The model's shape, with the names of Hugging Face's config.json."""

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
            raise SetupError(
                f"num_attention_heads ({self.num_attention_heads}) must be a multiple of "
                f"num_key_value_heads ({self.num_key_value_heads})."
            )
        if self.num_experts_per_tok > self.num_local_experts:
            raise SetupError(
                f"num_experts_per_tok ({self.num_experts_per_tok}) exceeds "
                f"num_local_experts ({self.num_local_experts})."
            )
        if self.head_dim % 2:
            raise SetupError(f"head_dim ({self.head_dim}) must be even.")

    @property
    def layer_types(self) -> tuple[str, ...]:
        """The attention of each layer: even layers use a sliding window, odd layers do not."""
        return _alternating(self.num_hidden_layers)

    @classmethod
    def from_json(cls, path: Path | str) -> ModelConfig:
        """Read a config.json, or the one in the folder `path`, with either layout's keys."""
        return cls.from_dict(read_config(path), source=_config_file(path))

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any], *, source: Path | str) -> ModelConfig:
        """Build the config from parsed JSON; error messages name `source`."""
        _reject_other_architectures(raw, source)
        flat = {**raw, **_rope_settings(raw, source)}
        values: dict[str, Any] = {}
        for field in fields(cls):
            value = flat.get(field.name)
            if value is None:
                value = flat.get(_ORIGINAL_KEYS.get(field.name, field.name))
            if value is None and field.name == "max_position_embeddings":
                value = round(values["initial_context_length"] * values["rope_factor"])
            if value is None:
                value = field.default
            if value is MISSING:
                raise SetupError(f"{source} has no {field.name!r}, which gpt-oss requires.")
            values[field.name] = _number(field.name, value, source, whole=field.type == "int")
        try:
            return cls(**values)
        except SetupError as error:
            raise SetupError(f"{source}: {error}") from None


VOCABULARY = 201_088  # size of the gpt-oss vocabulary, including unused token IDs
DEFAULT_CONTEXT = 8192  # context in tokens, unless the user sets it

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
"""From the config.json of openai/gpt-oss-20b on Hugging Face."""
GPT_OSS_120B = replace(GPT_OSS_20B, num_hidden_layers=36, num_local_experts=128)
TINY = replace(
    GPT_OSS_20B,
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
    """Return one of `SHAPES`, or that of a config.json or of its folder. Raises SetupError."""
    if name in SHAPES:
        return SHAPES[name]
    if not Path(name).exists():
        known = ", ".join(SHAPES)
        raise SetupError(f"'{name}' is not one of {known}, a config.json, or a folder with one.")
    return ModelConfig.from_json(Path(name))


def read_config(path: Path | str) -> dict[str, Any]:
    """Parse a config.json, or the one in the folder `path`."""
    file = _config_file(path)
    try:
        raw = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SetupError(f"{file} does not exist; a checkpoint needs its config.json.") from None
    except (OSError, ValueError) as error:
        raise SetupError(f"{file} cannot be read as JSON: {error}.") from None
    if not isinstance(raw, dict):
        raise SetupError(f"{file} must contain a JSON object, not {type(raw).__name__}.")
    return raw


def _config_file(path: Path | str) -> Path:
    path = Path(path)
    return path if path.suffix == ".json" else path / "config.json"


def _alternating(layers: int) -> tuple[str, ...]:
    return tuple("full_attention" if n % 2 else "sliding_attention" for n in range(layers))


def _number(name: str, value: object, source: Path | str, *, whole: bool) -> int | float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise SetupError(f"{source}: {name!r} must be a number, not {value!r}.")
    if value <= 0 or (whole and value != int(value)):
        kind = "positive whole" if whole else "positive"
        raise SetupError(f"{source}: {name!r} must be a {kind} number, not {value!r}.")
    return int(value) if whole else float(value)


def _rope_settings(raw: Mapping[str, Any], source: Path | str) -> dict[str, Any]:
    """Flatten Hugging Face's rope settings (`rope_parameters`, formerly `rope_scaling`)."""
    given = [rope for name in ("rope_parameters", "rope_scaling") if (rope := raw.get(name))]
    if not given:
        return {}
    rope, *others = given
    if not isinstance(rope, dict):
        raise SetupError(f"{source}: the rope settings must be an object, not {rope!r}.")
    if nested := [name for name, each in rope.items() if isinstance(each, dict)]:
        raise SetupError(
            f"{source}: the rope settings are nested ({', '.join(nested)}), but gpt-oss has the "
            "same in all layers."
        )
    shared = {"rope_theta": raw.get("rope_theta")}
    if any(shared | rope != shared | other for other in others):
        raise SetupError(
            f"{source}: 'rope_parameters' and 'rope_scaling' differ, and engines read only one."
        )
    kind = rope.get("rope_type", rope.get("type"))
    if kind is None:
        raise SetupError(f"{source}: the rope settings lack 'rope_type', which is 'yarn'.")
    if kind == "default":
        return {"rope_theta": rope.get("rope_theta", raw.get("rope_theta")), "rope_factor": 1.0}
    if kind != "yarn":
        raise SetupError(f"{source}: rope_type {kind!r} is not 'yarn', which gpt-oss uses.")
    _require_rope_of_gpt_oss(
        {"partial_rotary_factor": raw.get("partial_rotary_factor")} | rope, source
    )
    settings = {
        "rope_theta": rope.get("rope_theta"),
        "rope_factor": rope.get("factor"),
        "rope_beta_fast": rope.get("beta_fast"),
        "rope_beta_slow": rope.get("beta_slow"),
        "initial_context_length": rope.get("original_max_position_embeddings"),
    }
    return {key: value for key, value in settings.items() if value is not None}


def _require_rope_of_gpt_oss(rope: Mapping[str, Any], source: Path | str) -> None:
    """Refuse rope settings that transformers 5.23 reads, but that no gpt-oss model has.

    Without `truncate`, it rounds the limits of YaRN's ramp. Its concentration is `attention_factor`
    or, of `mscale` and `mscale_all_dim`, the quotient of 0.1 · scale · ln(factor) + 1. Without
    `original_max_position_embeddings`, it takes `max_position_embeddings`.
    """
    if rope.get("truncate", True):
        given = json.dumps(rope["truncate"]) if "truncate" in rope else "missing"
        raise SetupError(
            f"{source}: gpt-oss uses unrounded YaRN, but 'truncate' is {given}, so that "
            "transformers and mlx-lm round: set it to false if the model was trained unrounded."
        )
    for name in ("factor", "original_max_position_embeddings"):
        if rope.get(name) is None:
            raise SetupError(f"{source}: the rope settings lack {name!r}, which engines guess.")
    if rope.get("partial_rotary_factor") not in (None, 1):
        raise SetupError(f"{source}: gpt-oss has no 'partial_rotary_factor' other than 1.")
    factor = _number("factor", rope["factor"], source, whole=False)
    attention, scale, of_all = (
        _number(name, rope[name], source, whole=False) if rope.get(name) else None
        for name in ("attention_factor", "mscale", "mscale_all_dim")
    )
    if attention is None and scale and of_all:
        attention = _concentration(factor, scale) / _concentration(factor, of_all)
    due = _concentration(factor, 1)
    if attention is not None and not math.isclose(attention, due, rel_tol=1e-6):
        raise SetupError(
            f"{source}: 'attention_factor' or 'mscale' scale the rotation by {attention:.4f}, but "
            f"gpt-oss scales it by {due:.4f}."
        )


def _concentration(factor: float, scale: float) -> float:
    return 0.1 * scale * math.log(factor) + 1 if factor > 1 else 1.0


def _reject_other_architectures(raw: Mapping[str, Any], source: Path | str) -> None:
    if raw.get("model_type", "gpt_oss") != "gpt_oss":
        raise SetupError(f"{source}: model_type is {raw['model_type']!r}, not 'gpt_oss'.")
    for key, value in _FIXED.items():
        if raw.get(key, value) != value:
            raise SetupError(f"{source}: {key!r} must be {value!r} for gpt-oss, not {raw[key]!r}.")
    layers = raw.get("num_hidden_layers")
    given = raw.get("layer_types")
    if "layer_types" in raw and isinstance(layers, int) and given != list(_alternating(layers)):
        raise SetupError(
            f"{source}: 'layer_types' must alternate sliding and full attention, start with "
            "sliding, and have num_hidden_layers entries."
        )
