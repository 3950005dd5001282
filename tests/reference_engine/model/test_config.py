"""config.json in both layouts becomes one configuration, and errors name the wrong value."""

import json
import math
from typing import Any

import pytest

from reference_engine.errors import SetupError
from reference_engine.model.config import ModelConfig

HUGGING_FACE = {
    "model_type": "gpt_oss",
    "vocab_size": 201088,
    "hidden_size": 2880,
    "num_hidden_layers": 2,
    "num_attention_heads": 64,
    "num_key_value_heads": 8,
    "head_dim": 64,
    "num_local_experts": 32,
    "num_experts_per_tok": 4,
    "intermediate_size": 2880,
    "sliding_window": 128,
    "swiglu_limit": 7.0,
    "rms_norm_eps": 1e-05,
    "rope_theta": 150000,
    "rope_scaling": {
        "rope_type": "yarn",
        "factor": 32.0,
        "beta_fast": 32.0,
        "beta_slow": 1.0,
        "truncate": False,
        "original_max_position_embeddings": 4096,
    },
    "max_position_embeddings": 131072,
    "layer_types": ["sliding_attention", "full_attention"],
    "attention_bias": True,
    "tie_word_embeddings": False,
}
ORIGINAL = {
    "num_hidden_layers": 2,
    "num_experts": 32,
    "experts_per_token": 4,
    "vocab_size": 201088,
    "hidden_size": 2880,
    "intermediate_size": 2880,
    "swiglu_limit": 7.0,
    "head_dim": 64,
    "num_attention_heads": 64,
    "num_key_value_heads": 8,
    "sliding_window": 128,
    "initial_context_length": 4096,
    "rope_theta": 150000,
    "rope_scaling_factor": 32.0,
    "rope_ntk_alpha": 1,
    "rope_ntk_beta": 32,
}


def parse(raw: dict[str, Any]) -> ModelConfig:
    return ModelConfig.from_dict(raw, source="config.json")


def rope(**changes):
    """The rope settings of gpt-oss, changed; `...` removes one."""
    changed = {**HUGGING_FACE["rope_scaling"], **changes}
    return {name: value for name, value in changed.items() if value is not ...}


def test_rope_settings_that_change_nothing_are_read():
    same = rope(attention_factor=0.1 * math.log(32) + 1, mscale=1.0, partial_rotary_factor=1.0)
    assert parse({**HUGGING_FACE, "rope_scaling": same}) == parse(HUGGING_FACE)
    assert parse({**HUGGING_FACE, "rope_scaling": rope(truncate=None)}) == parse(HUGGING_FACE)


def test_both_layouts_describe_the_same_model(tmp_path):
    for name, raw in (("hf.json", HUGGING_FACE), ("original.json", ORIGINAL)):
        (tmp_path / name).write_text(json.dumps(raw), encoding="utf-8")
    config = ModelConfig.from_json(tmp_path / "hf.json")
    assert config == ModelConfig.from_json(tmp_path / "original.json")
    assert (config.rope_factor, config.rope_beta_fast, config.rope_beta_slow) == (32, 32, 1)
    assert (config.initial_context_length, config.max_position_embeddings) == (4096, 131072)
    assert config.layer_types == ("sliding_attention", "full_attention")


def test_the_newer_rope_key_is_supported():
    rope = {**HUGGING_FACE["rope_scaling"], "factor": 8.0, "rope_theta": 1000.0}
    raw = {key: HUGGING_FACE[key] for key in HUGGING_FACE if not key.startswith("rope")}
    config = parse({**raw, "rope_parameters": rope})
    assert (config.rope_factor, config.rope_theta) == (8.0, 1000.0)


def test_plain_rotary_positions_have_factor_one():
    assert parse({**HUGGING_FACE, "rope_scaling": {"rope_type": "default"}}).rope_factor == 1.0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"hidden_size": None}, "config.json has no 'hidden_size'"),
        ({"num_local_experts": "many"}, "'num_local_experts' must be a number, not 'many'"),
        ({"head_dim": 64.5}, "'head_dim' must be a positive whole number"),
        ({"rms_norm_eps": 0}, "'rms_norm_eps' must be a positive number"),
        ({"num_key_value_heads": 7}, "config.json: num_attention_heads (64) must be a multiple"),
        ({"num_experts_per_tok": 40}, "num_experts_per_tok (40) exceeds num_local_experts (32)"),
        ({"model_type": "llama"}, "model_type is 'llama', not 'gpt_oss'"),
        ({"attention_bias": False}, "'attention_bias' must be True"),
        ({"tie_word_embeddings": True}, "'tie_word_embeddings' must be False"),
        ({"layer_types": ["full_attention"] * 2}, "'layer_types' must alternate"),
        ({"rope_scaling": {"rope_type": "linear"}}, "rope_type 'linear' is not"),
        ({"rope_scaling": {"rope_type": "yarn", "truncate": True}}, "'truncate' is true"),
        ({"rope_scaling": rope(truncate=...)}, "'truncate' is missing"),
        ({"rope_scaling": rope(rope_type=...)}, "lack 'rope_type', which is 'yarn'"),
        ({"rope_scaling": rope(factor=None)}, "lack 'factor'"),
        ({"rope_scaling": rope(factor="32")}, "'factor' must be a number"),
        ({"rope_scaling": rope(original_max_position_embeddings=...)}, "lack 'original_max"),
        ({"rope_scaling": rope(partial_rotary_factor=0.5)}, "no 'partial_rotary_factor'"),
        ({"partial_rotary_factor": 0.5}, "no 'partial_rotary_factor'"),
        (
            {"rope_scaling": rope(attention_factor=1.0)},
            "by 1.0000, but gpt-oss scales it by 1.3466",
        ),
        ({"rope_scaling": rope(mscale=1.0, mscale_all_dim=1.0)}, "by 1.0000, but gpt-oss"),
        ({"rope_parameters": {"full_attention": rope()}}, "nested (full_attention)"),
        ({"rope_scaling": "yarn"}, "must be an object"),
        ({"rope_parameters": rope(factor=8.0)}, "'rope_parameters' and 'rope_scaling' differ"),
    ],
)
def test_errors_name_the_wrong_value(change, words):
    with pytest.raises(SetupError) as error:
        parse({**HUGGING_FACE, **change})
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "does not exist"),
        ("{", "cannot be read as JSON"),
        ("[]", "must contain a JSON object"),
    ],
)
def test_errors_name_the_unreadable_file(tmp_path, content, words):
    if content is not None:
        (tmp_path / "config.json").write_text(content, encoding="utf-8")
    with pytest.raises(SetupError, match=r"config\.json") as error:
        ModelConfig.from_json(tmp_path)
    assert words in str(error.value)
