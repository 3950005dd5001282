"""How much memory keys and values get."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

CPU_BYTES = 512 * 2**20
"""On a CPU, where nothing tells what others need; pages that were never used take none of it."""

_UNITS = {"kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMG]i?B)", re.IGNORECASE)


class MemoryTooSmallError(ValueError):
    """The memory given holds no request at all; the message says what to do."""


@dataclass(frozen=True)
class Memory:
    """What was asked for.

    Attributes:
        bytes: The memory for keys and values; what the device offers if None.
        gpu_share: The share of a GPU's memory, free after the weights, that is taken then.
    """

    bytes: int | None = None
    gpu_share: float = 0.9

    def __post_init__(self) -> None:
        if not 0 < self.gpu_share <= 1:
            raise ValueError(
                f"--gpu-memory-share must be above 0 and at most 1, not {self.gpu_share}."
            )

    def bytes_on(self, device: torch.device) -> int:
        """The memory for keys and values on a device that holds the weights already."""
        if self.bytes is not None:
            return self.bytes
        if device.type != "cuda":
            return CPU_BYTES
        from torch import cuda

        free, _ = cuda.mem_get_info(device)
        return int(free * self.gpu_share)


def parse_bytes(text: str) -> int:
    """The bytes that "512MiB", "1.5 GiB" or "5GB" say.

    Raises:
        ValueError: The text says none, or zero, or has no unit.
    """
    match = _SIZE.fullmatch(text)
    size = round(float(match[1]) * _UNITS[match[2].lower()]) if match else 0
    if size == 0:
        raise ValueError(f"must be a size such as 512MiB or 5GB, not '{text}'")
    return size
