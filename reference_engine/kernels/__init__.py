"""The operations that take most of a GPU's time, in Triton, and the choice of implementation.

The model's own code and the functions of `experts` and `model.logits` in plain PyTorch define the
correct results of `attention_triton`, `experts_triton`, `block_triton` and `chunk_sums_triton`.
"""

from __future__ import annotations

import importlib.util
import logging
from typing import TYPE_CHECKING, Literal

from reference_engine.errors import SetupError
from reference_engine.model.config import Kernels

if TYPE_CHECKING:
    import torch

KernelChoice = Literal["auto", "torch", "triton"]
"""The user's choice; "auto" means Triton on CUDA if it is installed, and PyTorch otherwise."""

_log = logging.getLogger(__name__)


class KernelsError(SetupError):
    """The requested kernels cannot run; the message gives the reason and the fix."""


def resolve_kernels(choice: KernelChoice, device: torch.device | str) -> Kernels:
    """Return the implementation for a device. Raises KernelsError if it cannot be used."""
    on_cuda = str(device).partition(":")[0] == "cuda"
    if choice == "torch" or (choice == "auto" and not on_cuda):
        return "torch"
    if importlib.util.find_spec("triton") is None:
        if choice == "auto":
            _log.warning("Triton is not installed. The slower PyTorch kernels are used instead.")
            return "torch"
        raise KernelsError("Triton is not installed: pip install triton, or use --kernels torch.")
    if not on_cuda and not interpreting():
        raise KernelsError(
            "Triton's kernels need a CUDA device: use --device cuda, or --kernels torch."
        )
    return "triton"


def interpreting() -> bool:
    """Return whether Triton interprets kernels on the CPU, as TRITON_INTERPRET=1 requests."""
    from triton import knobs

    return bool(knobs.runtime.interpret)
