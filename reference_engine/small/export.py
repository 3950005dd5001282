"""The small checkpoint as an ordinary one, for engines that know nothing of token codes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from reference_engine import mxfp4
from reference_engine.small import codes
from reference_engine.small.tokenizer_files import write_tokenizer

SHIPPED = Path(__file__).parent / "checkpoint"
_STOPS = [200_002, 199_999, 200_012]
_CODES = "token_codes"
_PAIR = ("_blocks", "_scales")


def export_small(
    dest: Path | str, layout: Literal["original", "hf"] = "hf", *, source: Path = SHIPPED
) -> Path:
    """Write an ordinary, fully expanded checkpoint (about 160 MB).

    Args:
        dest: the folder to write, made if missing.
        layout: `hf` (experts in bfloat16, which holds MXFP4's values exactly and needs no further
            package anywhere; with tokenizer, chat template and generation settings) or `original`
            (experts in MXFP4).
        source: the code-table checkpoint to expand.

    Returns:
        The folder.
    """
    folder = Path(dest)
    folder.mkdir(parents=True, exist_ok=True)
    config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    stored = load_file(source / "model.safetensors")
    tensors = {name: value for name, value in stored.items() if not name.startswith(_CODES)}
    tensors |= codes.expand(config, stored)
    del config[_CODES]
    if layout == "original":
        tensors = _original(tensors, config)
        _write(folder / "config.json", _original_config(config))
    else:
        tensors = _unpacked(tensors)
        del config["quantization_config"]
        _write(folder / "config.json", config)
        _write(
            folder / "generation_config.json",
            {
                "bos_token_id": 199_998,
                "pad_token_id": 199_999,
                "eos_token_id": _STOPS,
                "do_sample": True,
                "temperature": 1.0,
                "top_p": 1.0,
            },
        )
        write_tokenizer(folder)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    (folder / "model.safetensors").chmod(0o644)
    return folder


def _write(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _unpacked(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Experts as plain tensors, input-major as Hugging Face's layout has them."""
    out = {name: value for name, value in tensors.items() if not name.endswith(_PAIR)}
    for name, blocks in tensors.items():
        if name.endswith(_PAIR[0]):
            base = name.removesuffix(_PAIR[0])
            weight = mxfp4.decode(blocks, tensors[base + _PAIR[1]], torch.bfloat16)
            out[base] = weight.transpose(1, 2).contiguous()
    return out


def _original_config(config: Mapping[str, Any]) -> dict[str, Any]:
    same = (
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
    scaling = config["rope_scaling"]
    return {name: config[name] for name in same} | {
        "num_experts": config["num_local_experts"],
        "experts_per_token": config["num_experts_per_tok"],
        "rope_scaling_factor": scaling["factor"],
        "rope_ntk_alpha": scaling["beta_slow"],
        "rope_ntk_beta": scaling["beta_fast"],
    }


def _original(tensors: Mapping[str, Tensor], config: Mapping[str, Any]) -> dict[str, Tensor]:
    """OpenAI's names; query, key and value become one tensor, everything else stays as it is."""
    out = {
        "embedding.weight": tensors["model.embed_tokens.weight"],
        "unembedding.weight": tensors["lm_head.weight"],
        "norm.scale": tensors["model.norm.weight"],
    }
    renamed = {
        "attn.norm.scale": "input_layernorm.weight",
        "attn.sinks": "self_attn.sinks",
        "attn.out.weight": "self_attn.o_proj.weight",
        "attn.out.bias": "self_attn.o_proj.bias",
        "mlp.norm.scale": "post_attention_layernorm.weight",
        "mlp.gate.weight": "mlp.router.weight",
        "mlp.gate.bias": "mlp.router.bias",
        "mlp.mlp1_weight.blocks": "mlp.experts.gate_up_proj_blocks",
        "mlp.mlp1_weight.scales": "mlp.experts.gate_up_proj_scales",
        "mlp.mlp1_bias": "mlp.experts.gate_up_proj_bias",
        "mlp.mlp2_weight.blocks": "mlp.experts.down_proj_blocks",
        "mlp.mlp2_weight.scales": "mlp.experts.down_proj_scales",
        "mlp.mlp2_bias": "mlp.experts.down_proj_bias",
    }
    for layer in range(config["num_hidden_layers"]):
        here, block = f"model.layers.{layer}", f"block.{layer}"
        for part in ("weight", "bias"):
            joined = [tensors[f"{here}.self_attn.{name}_proj.{part}"] for name in ("q", "k", "v")]
            out[f"{block}.attn.qkv.{part}"] = torch.cat(joined)
        out |= {f"{block}.{ours}": tensors[f"{here}.{theirs}"] for ours, theirs in renamed.items()}
    return out
