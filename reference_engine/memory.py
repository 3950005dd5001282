"""How much memory keys and values get."""

from __future__ import annotations

from dataclasses import dataclass

import torch

CPU_BYTES = 512 * 2**20
"""On a CPU, where nothing tells what others need; pages that were never used take none of it."""
GPU_SHARE = 0.9


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
    gpu_share: float = GPU_SHARE

    def bytes_on(self, device: torch.device) -> int:
        """The memory for keys and values on a device that holds the weights already."""
        if self.bytes is not None:
            return self.bytes
        if device.type != "cuda":
            return CPU_BYTES
        free, _ = torch.cuda.mem_get_info(device)
        return int(free * self.gpu_share)
