"""The small checkpoint as an ordinary one, for engines that know nothing of token codes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from reference_engine.checkpoint.layouts import GENERATION_CONFIG, config_file
from reference_engine.checkpoint.writer import write_json
from reference_engine.model import mxfp4
from reference_engine.model.config import ModelConfig
from reference_engine.small import codes
from reference_engine.small.tokenizer_files import write_tokenizer

SHIPPED = Path(__file__).parent / "checkpoint"
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
        shape = ModelConfig.from_dict(config, source=source)
        made = config_file(shape, "original", packed=True, path=source)
        write_json(folder / "config.json", made)
    else:
        tensors = _unpacked(tensors)
        del config["quantization_config"]
        write_json(folder / "config.json", config)
        write_json(folder / "generation_config.json", GENERATION_CONFIG)
        write_tokenizer(folder)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    (folder / "model.safetensors").chmod(0o644)
    return folder


def _unpacked(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Experts as plain tensors, input-major as Hugging Face's layout has them."""
    out = {name: value for name, value in tensors.items() if not name.endswith(_PAIR)}
    for name, blocks in tensors.items():
        if name.endswith(_PAIR[0]):
            base = name.removesuffix(_PAIR[0])
            weight = mxfp4.decode(blocks, tensors[base + _PAIR[1]], torch.bfloat16)
            out[base] = weight.transpose(1, 2).contiguous()
    return out


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
