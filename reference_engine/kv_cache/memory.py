"""The amount of memory for the KV cache."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

if TYPE_CHECKING:
    import torch

CPU_BYTES = 512 * 2**20
"""Default on a CPU; pages that were never used occupy no physical memory."""

_UNITS = {"kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMG]i?B)", re.IGNORECASE)


def parse_bytes(text: str) -> int:
    """Parse a size such as "512MiB", "1.5 GiB" or "5GB". Raises ValueError."""
    match = _SIZE.fullmatch(text)
    size = round(float(match[1]) * _UNITS[match[2].lower()]) if match else 0
    if size == 0:
        raise ValueError(f"must be a size such as 512MiB or 5GB, not '{text}'")
    return size


SIZE = Parameter(converter=lambda _, tokens: parse_bytes(tokens[0].value))
"""An option with a size in bytes."""
_SHARE = Number(gt=0, lte=1)


@Parameter(name="*")
@dataclass(frozen=True)
class Memory:
    """The memory settings, which are also options."""

    bytes: Annotated[int | None, SIZE, Parameter(name="--kv-memory")] = None
    """Memory of the KV cache, such as 512MiB or 40GiB; requests wait while it is full.
    Default: 512MiB on a CPU; see --gpu-memory-share on a GPU."""
    gpu_share: Annotated[float, Parameter(name="--gpu-memory-share", validator=_SHARE)] = 0.9
    """Share of the GPU memory left by weights and computations that the KV cache uses. Default:
    0.9."""

    def bytes_on(self, device: torch.device, working: Callable[[], int]) -> int:
        """Return the size of the KV cache on a device where the weights are already loaded.

        `working` measures the bytes that the model needs for its computations.
        """
        if self.bytes is not None:
            return self.bytes
        if device.type != "cuda":
            return CPU_BYTES
        from torch import cuda

        needed = working()
        free, _ = cuda.mem_get_info(device)
        return max(int((free - needed) * self.gpu_share), 0)
