"""The amount of memory for the KV cache."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reference_engine.errors import SetupError

if TYPE_CHECKING:
    import torch

CPU_BYTES = 512 * 2**20
"""Default on a CPU; pages that were never used occupy no physical memory."""

_UNITS = {"kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMG]i?B)", re.IGNORECASE)


class MemoryTooSmallError(SetupError):
    """The memory is too small for any request; the message gives the remedy."""


@dataclass(frozen=True)
class Memory:
    """The memory settings.

    Attributes:
        bytes: Size of the KV cache; None for a device-dependent default.
        gpu_share: Share of the GPU memory that is free after loading the weights, used if `bytes`
            is None.
    """

    bytes: int | None = None
    gpu_share: float = 0.9

    def __post_init__(self) -> None:
        if not 0 < self.gpu_share <= 1:
            raise SetupError(
                f"--gpu-memory-share must be above 0 and at most 1, not {self.gpu_share}."
            )

    def bytes_on(self, device: torch.device) -> int:
        """Returns the size of the KV cache on a device that already holds the weights."""
        if self.bytes is not None:
            return self.bytes
        if device.type != "cuda":
            return CPU_BYTES
        from torch import cuda

        free, _ = cuda.mem_get_info(device)
        return int(free * self.gpu_share)


def parse_bytes(text: str) -> int:
    """Parses a size such as "512MiB", "1.5 GiB" or "5GB".

    Raises:
        ValueError: The text is not a size, has no unit, or is zero.
    """
    match = _SIZE.fullmatch(text)
    size = round(float(match[1]) * _UNITS[match[2].lower()]) if match else 0
    if size == 0:
        raise ValueError(f"must be a size such as 512MiB or 5GB, not '{text}'")
    return size
