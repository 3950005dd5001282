"""Loads a model from a checkpoint, one parameter at a time, directly to its device."""

from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor, nn

from reference_engine.checkpoint.reader import Checkpoint
from reference_engine.checkpoint.writer import progress
from reference_engine.errors import SetupError
from reference_engine.kernels import KernelChoice, computes_bfloat16, resolve_kernels
from reference_engine.kernels.experts import (
    PACKED_WEIGHTS,
    PackedMixtureOfExperts,
    combine_few_experts,
    pack_experts,
)
from reference_engine.model.division import divide
from reference_engine.model.mxfp4 import kernel_layout
from reference_engine.model.sharding import UNSHARDED, Shard
from reference_engine.model.transformer import Transformer


def load_model(
    path: Path | str,
    device: torch.device | str = "cpu",
    dtype: torch.dtype | None = None,
    *,
    kernels: KernelChoice = "auto",
    packed: bool | None = None,
    shard: Shard = UNSHARDED,
    residual: torch.dtype = torch.float32,
) -> Transformer:
    """Load a model for inference, with a progress bar on a terminal. Raises SetupError.

    The function needs memory for the loaded weights and for a part of one tensor. By default the
    dtype is the fastest one of the device, and experts stay in MXFP4 only on CUDA.
    """
    device = torch.device(device)
    dtype = dtype or default_dtype(device)
    resolved = resolve_kernels(kernels, device, dtype)
    packed = device.type == "cuda" if packed is None else packed
    checkpoint = Checkpoint(Path(path))
    with torch.device("meta"):
        model = Transformer(checkpoint.config, kernels=resolved, residual=residual)
        if packed and checkpoint.packs_experts:
            pack_experts(model)
        divide(model, shard)
    combine_few_experts(model)
    sizes = {name: checkpoint.nbytes(name) for name in checkpoint.parameter_names}
    if checkpoint.has_token_codes and device.type == "cpu" and shard.ranks == 1:
        model.unembedding = checkpoint.coded_unembedding(dtype)
        del sizes["unembedding.weight"]
    with progress("Loading", sum(sizes.values())) as advance:
        for name, size in sizes.items():
            _load(model, name, checkpoint, dtype, device)
            advance(size)
    return model.to(device).eval()


def default_dtype(device: torch.device | str) -> torch.dtype:
    """Return the fastest dtype of a device: bfloat16 if it has instructions for it."""
    device = torch.device(device)
    if device.type == "cuda":
        return torch.bfloat16 if computes_bfloat16(device) else torch.float32
    cpu = torch.cpu.get_capabilities() if device.type == "cpu" else {}
    return torch.bfloat16 if cpu.get("avx512_bf16") or cpu.get("amx_bf16") else torch.float32


def _load(
    model: Transformer, name: str, checkpoint: Checkpoint, dtype: torch.dtype, device: torch.device
) -> None:
    owner, _, attribute = name.rpartition(".")
    module = model.get_submodule(owner)
    cut = model.shard.cut(name, checkpoint.config)
    if isinstance(module, PackedMixtureOfExperts) and attribute in PACKED_WEIGHTS:
        experts = len(module.mlp1_bias)
        module.set_kernel_layout(
            attribute, *_kernel_layout(checkpoint.packed(name, cut), experts, device)
        )
        return
    weight = checkpoint.parameter(name, dtype, device, cut)
    if not model.shard.applies(name):
        weight.zero_()
    setattr(module, attribute, nn.Parameter(weight, requires_grad=False))


def _kernel_layout(
    stored: Iterable[tuple[Tensor, Tensor]], experts: int, device: torch.device
) -> list[Tensor]:
    """Return blocks and scales of all experts in the kernel layout, copied one by one."""
    held: list[Tensor] = []
    for place, (blocks, scales) in enumerate(stored):
        try:
            expert = kernel_layout(blocks[None].to(device), scales[None].to(device))
        except ValueError as error:
            raise SetupError(str(error)) from error
        held = held or [part.new_empty((experts, *part.shape[1:])) for part in expert]
        for whole, part in zip(held, expert, strict=True):
            whole[place] = part[0]
    return held
