"""Loads gpt-oss checkpoints: OpenAI's `original/` layout, Hugging Face's, and our token codes."""

from __future__ import annotations

from pathlib import Path

import torch

from reference_engine.checkpoint.errors import CheckpointError
from reference_engine.checkpoint.reader import Checkpoint
from reference_engine.kernels import KernelChoice, resolve_kernels
from reference_engine.model import Transformer, default_dtype
from reference_engine.packed import PACKED_WEIGHTS, PackedMixtureOfExperts, pack_experts

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
    *,
    kernels: KernelChoice = "auto",
    packed: bool | None = None,
) -> Transformer:
    """Loads the model of a checkpoint, ready for inference.

    Args:
        path: Folder with config.json and safetensors.
        device: Where the weights are to live.
        dtype: Type they are held in; what the device multiplies fastest when None.
        kernels: What computes attention and packed experts, see `reference_engine.kernels`.
        packed: Whether experts that are stored in MXFP4 stay so in memory; when None, on CUDA.

    Raises:
        CheckpointError: The checkpoint is not one of a gpt-oss model.
        KernelsError: The kernels cannot run on the device.
    """
    device = torch.device(device)
    dtype = dtype or default_dtype(device)
    resolved = resolve_kernels(kernels, device)
    packed = device.type == "cuda" if packed is None else packed
    with open_checkpoint(path) as checkpoint:
        with torch.device("meta"):
            model = Transformer(checkpoint.config, kernels=resolved)
            if packed and checkpoint.packs_experts:
                pack_experts(model)
        for name in checkpoint.parameter_names:
            owner, _, attribute = name.rpartition(".")
            module = model.get_submodule(owner)
            if isinstance(module, PackedMixtureOfExperts) and attribute in PACKED_WEIGHTS:
                module.hold(attribute, *checkpoint.packed(name, device))
                continue
            weight = checkpoint.parameter(name, dtype, device)
            setattr(module, attribute, torch.nn.Parameter(weight, requires_grad=False))
    return model.to(device).eval()
