"""From a snapshot to a checkpoint folder in Hugging Face's layout, tokens as codes, experts MXFP4.

`python -m training.ship SNAPSHOT FOLDER [--sharpen 1.2]`
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from reference_engine.model import mxfp4
from reference_engine.small import codes
from training import snapshot
from training.loss import Rows
from training.net import Net, Shape
from training.snapshot import Run

MOST_ROWS = 8600
"""Stored token rows with which the file stays below ten megabytes."""

PLAIN = {
    "q_proj": "self_attn.q_proj.weight",
    "k_proj": "self_attn.k_proj.weight",
    "v_proj": "self_attn.v_proj.weight",
    "o_proj": "self_attn.o_proj.weight",
    "q_bias": "self_attn.q_proj.bias",
    "k_bias": "self_attn.k_proj.bias",
    "v_bias": "self_attn.v_proj.bias",
    "o_bias": "self_attn.o_proj.bias",
    "sinks": "self_attn.sinks",
    "router": "mlp.router.weight",
    "router_bias": "mlp.router.bias",
    "down_bias": "mlp.experts.down_proj_bias",
    "attention_norm": "input_layernorm.weight",
    "mlp_norm": "post_attention_layernorm.weight",
}
"""Names of a layer's parameters, in the network and in the file, where the values are the same."""


def config_of(shape: Shape) -> dict[str, Any]:
    """The config.json of the code-table checkpoint."""
    return {
        "architectures": ["GptOssForCausalLM"],
        "model_type": "gpt_oss",
        "vocab_size": codes.VOCAB_SIZE,
        "hidden_size": shape.hidden_size,
        "intermediate_size": shape.intermediate_size,
        "num_hidden_layers": shape.num_hidden_layers,
        "num_attention_heads": shape.num_attention_heads,
        "num_key_value_heads": shape.num_key_value_heads,
        "head_dim": shape.head_dim,
        "num_local_experts": shape.num_local_experts,
        "num_experts_per_tok": shape.num_experts_per_tok,
        "experts_per_token": shape.num_experts_per_tok,
        "sliding_window": shape.sliding_window,
        "layer_types": [
            "full_attention" if layer % 2 else "sliding_attention"
            for layer in range(shape.num_hidden_layers)
        ],
        "swiglu_limit": shape.swiglu_limit,
        "rms_norm_eps": shape.rms_norm_eps,
        "rope_theta": shape.rope_theta,
        "rope_scaling": {
            "rope_type": "yarn",
            "factor": shape.rope_factor,
            "beta_fast": shape.rope_beta_fast,
            "beta_slow": shape.rope_beta_slow,
            "original_max_position_embeddings": shape.initial_context_length,
            "truncate": False,
        },
        "initial_context_length": shape.initial_context_length,
        "max_position_embeddings": int(shape.initial_context_length * shape.rope_factor),
        "attention_bias": True,
        "attention_dropout": 0.0,
        "hidden_act": "silu",
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
        "bos_token_id": 199998,
        "eos_token_id": 200002,
        "pad_token_id": 199999,
        "quantization_config": {
            "quant_method": "mxfp4",
            "modules_to_not_convert": [
                "model.layers.*.self_attn",
                "model.layers.*.mlp.router",
                "model.embed_tokens",
                "lm_head",
            ],
        },
    }


def _interleave(halves: Tensor) -> Tensor:
    """From gates first, linear parts after (in the third dimension) to one of each in turn."""
    gate, linear = halves.chunk(2, dim=2)
    return torch.stack((gate, linear), dim=3).flatten(2, 3)


def tensors_of(run: Run, *, sharpen: float, most_rows: int = MOST_ROWS) -> dict[str, Tensor]:
    """The checkpoint's tensors; `sharpen` multiplies the final norm and so every logit.

    Of the token rows those that training moved least stay codes, if there are over `most_rows`.
    """
    net: Net = run.net
    out: dict[str, Tensor] = {}

    def put(name: str, value: Tensor) -> None:
        out[name] = value.detach().to(torch.bfloat16).contiguous()

    for layer in range(net.shape.num_hidden_layers):
        base = f"model.layers.{layer}"
        for ours, theirs in PLAIN.items():
            put(f"{base}.{theirs}", net.get_parameter(ours)[layer])
        experts = f"{base}.mlp.experts"
        put(f"{experts}.gate_up_proj_bias", _interleave(net.gate_up_bias)[layer])
        for name, value in (
            ("gate_up_proj", _interleave(net.gate_up)[layer]),
            ("down_proj", net.down[layer]),
        ):
            blocks, scales = mxfp4.encode(value.detach())
            out[f"{experts}.{name}_blocks"] = blocks.contiguous()
            out[f"{experts}.{name}_scales"] = scales.contiguous()
    put("model.norm.weight", net.final_norm * sharpen)
    rows = run.rows
    stored = _most_moved(rows, most_rows)
    ids = rows.ids[stored]
    out["token_codes.ids"] = ids.to(torch.int32)
    put("token_codes.embed_tokens", rows.embedding[ids].float() + rows.embed_delta[stored])
    put("token_codes.lm_head", rows.unembedding[ids].float() + rows.unembed_delta[stored])
    return out


def _most_moved(rows: Rows, count: int) -> Tensor:
    """Places of at most `count` rows, in order: those that training moved farthest from codes."""
    moved = rows.embed_delta[:-1].norm(dim=-1) + rows.unembed_delta.norm(dim=-1)
    places: Tensor = moved.topk(min(count, len(moved))).indices.sort().values
    return places


def write_checkpoint(run: Run, folder: Path, *, sharpen: float = 1.0) -> None:
    """Write config.json and model.safetensors."""
    folder.mkdir(parents=True, exist_ok=True)
    config = config_of(run.net.shape) | {"token_codes": {"seed": snapshot.CODE_SEED}}
    text = json.dumps(config, indent=2) + "\n"
    (folder / "config.json").write_text(text, encoding="utf-8")
    file = folder / "model.safetensors"
    save_file(tensors_of(run, sharpen=sharpen), file, {"format": "pt"})
    file.chmod(0o644)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m training.ship")
    parser.add_argument("snapshot", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sharpen", type=float, default=1.0, help="factor on every logit")
    parser.add_argument("--average", action="store_true", help="ship the moving average")
    options = parser.parse_args(arguments)
    run = snapshot.load(options.snapshot)
    if options.average:
        run.use_average()
    write_checkpoint(run, options.folder, sharpen=options.sharpen)
    return 0


if __name__ == "__main__":
    sys.exit(main())
