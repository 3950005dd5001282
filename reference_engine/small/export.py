"""Exports the small checkpoint as an ordinary one, for engines that do not support token codes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from reference_engine.checkpoint.layouts import config_file, pair_names, sources
from reference_engine.checkpoint.writer import write_json
from reference_engine.model import mxfp4
from reference_engine.model.config import ModelConfig
from reference_engine.small import codes
from reference_engine.small.tokenizer_files import write_tokenizer

SHIPPED = Path(__file__).parent / "checkpoint"
_CODES = "token_codes"
_PAIR = ("_blocks", "_scales")
_TRANSFORMERS = "5.23.0"
"""The version that the export is tested with. Without one in `config.json`, transformers warns that
the tokenizer may split text wrongly."""


def export_small(
    dest: Path | str, layout: Literal["original", "hf"] = "hf", *, source: Path = SHIPPED
) -> Path:
    """Writes an ordinary checkpoint with all token rows (about 160 MB).

    Args:
        dest: The target folder; created if missing.
        layout: `hf` or `original`. `hf` stores the experts in bfloat16, which represents MXFP4
            values exactly and needs no further package, and includes tokenizer, chat template and
            generation settings. `original` stores the experts in MXFP4.
        source: The checkpoint with token codes.

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
        shape = ModelConfig.from_dict(config, source=source)
        tensors = _original(tensors, shape)
        content = config_file(shape, "original", packed=True, path=source)
        write_json(folder / "config.json", content)
    else:
        tensors = _unpacked(tensors)
        del config["quantization_config"]
        write_json(folder / "config.json", config | {"transformers_version": _TRANSFORMERS})
        write_tokenizer(folder)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    (folder / "model.safetensors").chmod(0o644)
    return folder


def _unpacked(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Decodes the experts to plain tensors with the input dimension first."""
    out = {name: value for name, value in tensors.items() if not name.endswith(_PAIR)}
    for name, blocks in tensors.items():
        if name.endswith(_PAIR[0]):
            base = name.removesuffix(_PAIR[0])
            weight = mxfp4.decode(blocks, tensors[base + _PAIR[1]], torch.bfloat16)
            out[base] = weight.transpose(1, 2).contiguous()
    return out


def _original(tensors: Mapping[str, Tensor], config: ModelConfig) -> dict[str, Tensor]:
    """Renames the tensors to OpenAI's layout and joins query, key and value."""
    out: dict[str, Tensor] = {}
    for name, source in sources(config, "hf").items():
        if source.packed:
            stored = pair_names(source.packed[0], "hf")
            out |= zip(
                pair_names(name, "original"), (tensors[pair] for pair in stored), strict=True
            )
        else:
            parts = [tensors[part] for part, _ in source.tensors]
            out[name] = torch.cat(parts) if len(parts) > 1 else parts[0]
    return out
