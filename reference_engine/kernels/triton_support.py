"""Helpers of the Triton kernels: products and their check, configurations, the size of the GPU."""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import torch
import triton
import triton.language as tl
from triton.compiler import CompiledKernel

from reference_engine.kernels import KernelsError, interpreting

INTERPRETING = tl.constexpr(interpreting())
_OPTIONS = ("num_warps", "num_stages", "maxnreg")
_PRODUCT = re.compile(r"wgmma\.mma_async\S*\s+\{[^}]*\},\s*(?:\{([^}]*)\})?")
"""An asynchronous product in PTX, and the registers of its left operand if it is in registers."""


@triton.jit
def dot(a, b):
    """Multiply in float32; the interpreter would multiply the bit patterns of bfloat16."""
    if INTERPRETING:
        a = a.to(tl.float32)
        b = b.to(tl.float32)
    return tl.dot(a, b, input_precision="ieee")


def configurations(*choices: Mapping[str, int]) -> list[triton.Config]:
    """Return configurations from block sizes, `num_warps`, `num_stages` and maybe `maxnreg`."""
    found = []
    for choice in choices:
        blocks = dict(choice)
        options = {name: blocks.pop(name) for name in _OPTIONS if name in blocks}
        found.append(triton.Config(blocks, **options))
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


@cache
def require_right_products(kernel: CompiledKernel | None) -> None:
    """Check the code of a kernel once; the interpreter has None. Raises KernelsError.

    No product may run in TF32, which keeps 10 bits of the fraction of float32.
    """
    if kernel is None:
        return
    code = kernel.asm.get("ptx", "")
    if not finishes_products(code):
        wrong = "that it does not wait for its matrix products and can return wrong values"
    elif re.search(r"mma\S*tf32", code):
        wrong = "that it multiplies float32 in TF32"
    else:
        return
    raise KernelsError(
        f"Triton {triton.__version__} compiles {kernel.metadata.name} so {wrong}: install another "
        "version of Triton (3.6.0 has run on an H100 and an H200; for 3.7.1, the kernels were only "
        "compiled), or use --kernels torch."
    )


def finishes_products(ptx: str) -> bool:
    """Return whether each loop waits for its products before it uses their registers again.

    "Accessing the accumulator register or the input register containing the fragments of matrix A
    of a `wgmma.mma_async` instruction without first performing a `wgmma.wait_group` instruction
    [...] is undefined behavior" (PTX ISA, `wgmma.wait_group`). Only a wait for all products counts.
    """
    lines = ptx.splitlines()
    labels = {line.partition(":")[0]: at for at, line in enumerate(lines) if line[:1] == "$"}
    jumps = ((re.search(r"\bbra\b\S*\s+(\$\w+)", line), at) for at, line in enumerate(lines))
    loops = (lines[labels.get(jump[1], end) : end] for jump, end in jumps if jump)
    return not any(_uses_operands_early(loop) for loop in loops)


def _uses_operands_early(loop: Sequence[str]) -> bool:
    """Read the loop twice, because products of one round can still run in the next one."""
    running: set[str] = set()
    for line in (*loop, *loop):
        if product := _PRODUCT.search(line):
            running.update(_registers(product[1] or ""))
        elif re.search(r"wgmma\.wait_group\S*\s+0;", line):
            running.clear()
        elif running and not running.isdisjoint(_registers(line)):
            return True
    return False


def _registers(code: str) -> list[str]:
    return re.findall(r"%\w+", code)


def power_of_two(count: int) -> int:
    """Return the smallest power of two that is at least `count` and at least 1."""
    return 1 << max(count - 1, 0).bit_length()


@cache
def multiprocessors(device: torch.device) -> int:
    """Return the number of multiprocessors of a GPU; 1 for the interpreter."""
    if device.type != "cuda":
        return 1
    return torch.cuda.get_device_properties(device).multi_processor_count
