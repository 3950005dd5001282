"""Helpers of the Triton kernels: matrix products, configurations, the size of the GPU."""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import torch
import triton
import triton.language as tl

from reference_engine.kernels import interpreting

INTERPRETING = tl.constexpr(interpreting())


@triton.jit
def dot(a, b):
    """Multiply in float32; the interpreter would multiply the bit patterns of bfloat16."""
    if INTERPRETING:
        a = a.to(tl.float32)
        b = b.to(tl.float32)
    return tl.dot(a, b, input_precision="ieee")


def configurations(*choices: Mapping[str, int]) -> list[triton.Config]:
    """Return configurations from block sizes, `num_warps` and `num_stages`."""
    found = []
    for choice in choices:
        blocks = dict(choice)
        warps, stages = blocks.pop("num_warps"), blocks.pop("num_stages")
        found.append(triton.Config(blocks, num_warps=warps, num_stages=stages))
    return found


def tuned(
    key: list[str],
    groups: Mapping[str, list[triton.Config]],
    group_of: Callable[[Mapping[str, Any]], str],
):
    """Use the fastest configuration of a group, measured at the first call with a new `key`.

    `group_of` names the group that fits the arguments of a call. The interpreter always uses the
    first configuration. Triton keeps the choice in its cache folder.
    """

    def fitting(_, arguments, **constants: int):
        return groups[group_of({**arguments, **constants})]

    every = [choice for group in groups.values() for choice in group]
    return triton.autotune(
        every[:1] if interpreting() else every,
        key=key,
        prune_configs_by={"early_config_prune": fitting},
        cache_results=True,
    )


def power_of_two(count: int) -> int:
    """Return the smallest power of two that is at least `count` and at least 1."""
    return 1 << max(count - 1, 0).bit_length()


@cache
def multiprocessors(device: torch.device) -> int:
    """Return the number of multiprocessors of a GPU; 1 for the interpreter."""
    if device.type != "cuda":
        return 1
    return torch.cuda.get_device_properties(device).multi_processor_count
