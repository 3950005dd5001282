"""Loads gpt-oss checkpoints: OpenAI's `original/` layout, Hugging Face's, and our token codes."""

from __future__ import annotations

from pathlib import Path

import torch

from reference_engine.checkpoint.errors import CheckpointError
from reference_engine.checkpoint.reader import Checkpoint
from reference_engine.model import Transformer, default_dtype

__all__ = ["Checkpoint", "CheckpointError", "load_model", "open_checkpoint"]


def open_checkpoint(path: Path | str) -> Checkpoint:
    """Opens the checkpoint folder `path`, checking names and sizes but reading no weights."""
    path = Path(path)
    if not path.is_dir():
        raise CheckpointError(f"{path} is not a folder; a checkpoint is a folder with config.json.")
    return Checkpoint(path)


def load_model(
    path: Path | str,
    device: torch.device | str = "cpu",
    dtype: torch.dtype | None = None,
) -> Transformer:
    """Loads the model of a checkpoint, ready for inference.

    Args:
        path: Folder with config.json and safetensors.
        device: Where the weights are to live.
        dtype: Type they are held in; what the device multiplies fastest when None.
    """
    device = torch.device(device)
    dtype = dtype or default_dtype(device)
    with open_checkpoint(path) as checkpoint:
        with torch.device("meta"):
            model = Transformer(checkpoint.config)
        for name in checkpoint.parameter_names:
            weight = checkpoint.parameter(name, dtype, device)
            owner, _, attribute = name.rpartition(".")
            parameter = torch.nn.Parameter(weight, requires_grad=False)
            setattr(model.get_submodule(owner), attribute, parameter)
    return model.to(device).eval()
