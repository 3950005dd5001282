"""Writes a checkpoint folder from a snapshot: Hugging Face's layout, token codes, MXFP4 experts.

`python -m training.ship SNAPSHOT FOLDER [--sharpen 1.2]`
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from reference_engine.checkpoint.layouts import config_file
from reference_engine.checkpoint.writer import write_json
from reference_engine.model import mxfp4
from reference_engine.model.config import ModelConfig
from reference_engine.small import codes
from training import snapshot
from training.loss import Rows
from training.net import Net, Shape
from training.snapshot import Run

MOST_ROWS = 8600
"""Maximum number of stored token rows, which keeps the file below ten megabytes."""

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
"""The names, in the network and in the file, of a layer's parameters with equal values."""


def config_of(shape: Shape, folder: Path) -> dict[str, Any]:
    """Returns the config.json of a checkpoint with token codes; `folder` appears in errors."""
    config = ModelConfig(
        vocab_size=codes.VOCAB_SIZE,
        max_position_embeddings=int(shape.initial_context_length * shape.rope_factor),
        **asdict(shape),
    )
    raw = config_file(config, "hf", packed=True, path=folder)
    return raw | {"token_codes": {"seed": snapshot.CODE_SEED}}


def _interleave(halves: Tensor) -> Tensor:
    """Interleaves gates and linear values, which are the two halves of the third dimension."""
    gate, linear = halves.chunk(2, dim=2)
    return torch.stack((gate, linear), dim=3).flatten(2, 3)


def tensors_of(run: Run, *, sharpen: float, most_rows: int = MOST_ROWS) -> dict[str, Tensor]:
    """Returns the checkpoint's tensors; `sharpen` multiplies the final norm and so every logit.

    If there are more than `most_rows` token rows, the rows that changed least stay codes.
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
    """Returns the sorted indices of the (at most) `count` rows that training changed most."""
    moved = rows.embed_delta[:-1].norm(dim=-1) + rows.unembed_delta.norm(dim=-1)
    places: Tensor = moved.topk(min(count, len(moved))).indices.sort().values
    return places


def write_checkpoint(run: Run, folder: Path, *, sharpen: float = 1.0) -> None:
    """Writes config.json and model.safetensors."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "config.json", config_of(run.net.shape, folder))
    file = folder / "model.safetensors"
    save_file(tensors_of(run, sharpen=sharpen), file, {"format": "pt"})
    file.chmod(0o644)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line."""
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
