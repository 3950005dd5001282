"""Exports the small checkpoint as an ordinary one, for engines that do not support token codes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from reference_engine.checkpoint.layouts import Layout, config_file, pair_names, sources
from reference_engine.checkpoint.reader import Checkpoint
from reference_engine.checkpoint.writer import write_json
from reference_engine.small.tokenizer_files import write_tokenizer

SHIPPED = Path(__file__).parent / "checkpoint"
_CODES = "token_codes"
_TRANSFORMERS = "5.23.0"
"""The version that the export is tested with. Without one in `config.json`, transformers warns that
the tokenizer may split text wrongly."""


def export_small(dest: Path | str, layout: Layout = "hf", *, source: Path = SHIPPED) -> Path:
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
    with Checkpoint(source) as checkpoint:
        tensors = dict(_tensors(checkpoint, layout))
        if layout == "original":
            content = config_file(checkpoint.config, layout, packed=True, path=source)
        else:
            content = checkpoint.raw_config | {"transformers_version": _TRANSFORMERS}
            del content[_CODES], content["quantization_config"]
            write_tokenizer(folder)
    write_json(folder / "config.json", content)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    (folder / "model.safetensors").chmod(0o644)
    return folder


def _tensors(checkpoint: Checkpoint, layout: Layout) -> Iterator[tuple[str, Tensor]]:
    """The tensors of a layout, with the experts of OpenAI's layout in MXFP4."""
    for name, target in sources(checkpoint.config, layout).items():
        if target.packed and layout == "original":
            pairs = zip(*[(b.clone(), s.clone()) for b, s in checkpoint.packed(name)], strict=True)
            yield from zip(pair_names(name, layout), map(torch.stack, pairs), strict=True)
            continue
        value = checkpoint.parameter(name, torch.bfloat16, torch.device("cpu"))
        value = value.mT if target.transposed else value
        begin = 0
        for tensor, (rows, *_) in target.tensors:
            yield tensor, value[begin : begin + rows].contiguous()
            begin += rows
