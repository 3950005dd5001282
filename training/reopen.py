"""Restores a run from a shipped checkpoint if its snapshot is lost.

The optimizers restart, and the experts are rounded as in the file; everything else continues where
it ended.
"""

import json
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from reference_engine.model import mxfp4
from training.loss import Rows
from training.net import Net, Shape
from training.ship import PLAIN
from training.snapshot import CODE_SEED, Progress, Run

RECORD = "provenance.json"
"""The record of how the weights were trained."""


def reopen(folder: Path, *, more_ids: Sequence[int] = ()) -> Run:
    """Reads a checkpoint that `ship` and `card` wrote; `more_ids` also get trained rows."""
    facts: dict[str, Any] = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    named = {field.name for field in fields(Shape)} & config.keys()
    net = Net(Shape(**{name: config[name] for name in named}))
    tensors = load_file(folder / "model.safetensors")
    ids = tensors["token_codes.ids"].long()
    rows = Rows(CODE_SEED, net.shape.hidden_size, sorted({*ids.tolist(), *more_ids}))
    with torch.no_grad():
        for name, value in _parameters(tensors, net.shape.num_hidden_layers).items():
            net.get_parameter(name).copy_(value)
        net.final_norm.div_(facts["sharpen"])
        kept = rows.row_of[ids]
        embedded, unembedded = rows.embedding[ids].float(), rows.unembedding[ids].float()
        rows.embed_delta[kept] = tensors["token_codes.embed_tokens"].float() - embedded
        rows.unembed_delta[kept] = tensors["token_codes.lm_head"].float() - unembedded
    step = int(facts["steps"])
    progress = Progress(step, float(facts["minutes"]), int(facts["tokens"]), began=step)
    return Run(net, rows, progress)


def _parameters(tensors: dict[str, Tensor], layers: int) -> dict[str, Tensor]:
    """Returns the network's parameters by name, stacked over the layers."""
    found: dict[str, list[Tensor]] = {}

    def add(name: str, value: Tensor) -> None:
        found.setdefault(name, []).append(value.float())

    for layer in range(layers):
        base = f"model.layers.{layer}"
        for ours, theirs in PLAIN.items():
            add(ours, tensors[f"{base}.{theirs}"])
        experts = f"{base}.mlp.experts"
        add("gate_up_bias", _apart(tensors[f"{experts}.gate_up_proj_bias"]))
        add("gate_up", _apart(_unpacked(tensors, f"{experts}.gate_up_proj")))
        add("down", _unpacked(tensors, f"{experts}.down_proj"))
    stacked = {name: torch.stack(values) for name, values in found.items()}
    return stacked | {"final_norm": tensors["model.norm.weight"].float()}


def _unpacked(tensors: dict[str, Tensor], name: str) -> Tensor:
    return mxfp4.decode(tensors[f"{name}_blocks"], tensors[f"{name}_scales"])


def _apart(interleaved: Tensor) -> Tensor:
    """Converts interleaved gate and linear values (second dimension) to gates first."""
    return torch.cat((interleaved[:, 0::2], interleaved[:, 1::2]), dim=1)
