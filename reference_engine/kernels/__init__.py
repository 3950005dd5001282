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


def resolve_kernels(
    choice: KernelChoice, device: torch.device | str, dtype: torch.dtype | None = None
) -> Kernels:
    """Return the implementation for a device. Raises KernelsError if it cannot be used.

    With `dtype`, the device must also have instructions for it.
    """
    on_cuda = str(device).partition(":")[0] == "cuda"
    if choice == "torch" or (choice == "auto" and not on_cuda):
        return "torch"
    import torch  # takes seconds

    missing = ""
    if importlib.util.find_spec("triton") is None:
        missing = "Triton is not installed: pip install triton"
    elif on_cuda and torch.version.hip:
        missing = "Triton's kernels have instructions of NVIDIA's GPUs, and this one is AMD's"
    if missing and choice == "auto":
        _log.warning("%s. The slower PyTorch kernels are used instead.", missing)
        return "torch"
    if missing:
        raise KernelsError(f"{missing}, or use --kernels torch.")
    if not on_cuda and not interpreting():
        raise KernelsError(
            "Triton's kernels need a CUDA device: use --device cuda, or --kernels torch."
        )
    if on_cuda and dtype == torch.bfloat16 and not computes_bfloat16(device):
        raise KernelsError(
            "This GPU has no instructions for bfloat16, which begin with compute capability 8.0: "
            "use --dtype float32, or --kernels torch."
        )
    return "triton"


def computes_bfloat16(device: torch.device | str) -> bool:
    """Return whether a CUDA device has instructions for bfloat16; PyTorch can also emulate them.

    Source: PTX ISA, `mma` and `fma` with .bf16: "requires sm_80 or higher".
    """
    import torch

    return bool(torch.version.hip) or torch.cuda.get_device_capability(device) >= (8, 0)


def interpreting() -> bool:
    """Return whether Triton interprets kernels on the CPU, as TRITON_INTERPRET=1 requests."""
    from triton import knobs

    return bool(knobs.runtime.interpret)
