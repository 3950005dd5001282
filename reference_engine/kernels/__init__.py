"""The operations that a GPU spends its time on, each in plain PyTorch and in Triton.

`attention` and `experts` hold the plain twins, which define the right answer, and choose between
them and the kernels in `attention_triton` and `experts_triton`. One switch chooses for all.
"""

from __future__ import annotations

import importlib.util
import logging
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import torch

Kernels = Literal["torch", "triton"]
"""Which implementation of the operations runs."""

KernelChoice = Literal["auto", "torch", "triton"]
"""What a user may ask for; "auto" is Triton on CUDA where it is installed, PyTorch elsewhere."""

_log = logging.getLogger(__name__)


class KernelsError(ValueError):
    """The kernels asked for cannot run here; the message says why and what to do."""


def resolve_kernels(choice: KernelChoice, device: torch.device | str) -> Kernels:
    """The implementation to run on `device`.

    Raises:
        KernelsError: Triton was asked for, but is not installed or cannot compute on the device.
    """
    on_cuda = str(device).partition(":")[0] == "cuda"
    if choice == "torch" or (choice == "auto" and not on_cuda):
        return "torch"
    if importlib.util.find_spec("triton") is None:
        if choice == "auto":
            _log.warning("Triton is not installed: the slower PyTorch kernels run instead.")
            return "torch"
        raise KernelsError("Triton is not installed: pip install triton, or use --kernels torch.")
    if not on_cuda and not interpreting():
        raise KernelsError(
            "Triton's kernels need a CUDA device: use --device cuda, or --kernels torch."
        )
    return "triton"


def interpreting() -> bool:
    """Whether Triton was told, by TRITON_INTERPRET=1, to interpret kernels on the CPU."""
    from triton import knobs

    return bool(knobs.runtime.interpret)
