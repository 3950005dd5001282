"""Results, timing, and the limits of the device."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
import triton
from torch import Tensor


@dataclass(frozen=True)
class Result:
    """One line of the report.

    Attributes:
        name: What was measured.
        value: The figure.
        unit: Its unit.
        share: The shortest possible time, from bytes and operations, as a share of the time taken.
        passed: Whether the figure meets its requirement; None without a requirement.
        note: The requirement, or other information.
    """

    name: str
    value: float | None
    unit: str
    share: float | None = None
    passed: bool | None = None
    note: str = ""


def not_measured(name: str, why: str) -> Result:
    """The result of a measurement that this machine does not allow."""
    return Result(name, None, "", note=f"not measured: {why}")


@dataclass(frozen=True)
class Task:
    """A part of a stage; if it fails, the stage continues with the next one."""

    name: str
    run: Callable[[], Iterable[Result]]


@dataclass(frozen=True)
class Setup:
    """The device of a stage, and the name of the model's shape."""

    device: str
    shape: str

    @property
    def on_gpu(self) -> bool:
        """Whether the device is a GPU; otherwise, Triton's interpreter is used."""
        return self.device == "cuda"


@dataclass(frozen=True)
class Limits:
    """Measured limits of the device: bytes/s of a copy, operations/s of a bfloat16 product."""

    bandwidth: float
    operations: float

    def seconds(self, moved: float, operations: float) -> float:
        """The shortest time for this many bytes and operations."""
        return max(moved / self.bandwidth, operations / self.operations)


def limits(setup: Setup) -> Limits:
    """Measures the limits of the device."""
    size = 8192 if setup.on_gpu else 256
    square = torch.randn(size, size, device=setup.device).bfloat16()
    count = 2**30 if setup.on_gpu else 2**20
    source = torch.empty(count, dtype=torch.uint8, device=setup.device)
    target = torch.empty_like(source)
    copied = timed(lambda: target.copy_(source), setup)
    multiplied = timed(lambda: square @ square, setup)
    return Limits(2 * source.nbytes / copied, 2 * size**3 / multiplied)


def timed(work: Callable[[], object], setup: Setup) -> float:
    """Median seconds of 20 runs, after three warm-up runs."""
    if not setup.on_gpu:
        return seconds(work)
    for _ in range(3):
        work()
    events = [[torch.cuda.Event(enable_timing=True) for _ in range(2)] for _ in range(20)]
    for begin, end in events:
        begin.record()
        work()
        end.record()
    torch.cuda.synchronize()
    taken = sorted(begin.elapsed_time(end) / 1000 for begin, end in events)
    return taken[len(taken) // 2]


def replayed(work: list[Callable[[], Tensor]], setup: Setup) -> float:
    """Median seconds per piece of work, with all pieces replayed together from a CUDA graph.

    A graph excludes the time that Python needs for a launch. Pieces that read different weights
    exclude the effect of the GPU's caches.
    """
    if not setup.on_gpu:
        return seconds(work[0])
    for each in work:
        each()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        kept = [each() for each in work]
    taken = timed(graph.replay, setup) / len(work)
    del kept
    return taken


def seconds(work: Callable[[], object]) -> float:
    """Seconds of one run on a CPU."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def describe(setup: Setup) -> Iterator[Task]:
    """The device, its memory and its limits."""
    yield Task("device", partial(_describe, setup))
    yield Task("limits", partial(_limits, setup))


def _describe(setup: Setup) -> Iterator[Result]:
    found = [f"{each.__name__} {each.__version__}" for each in (torch, triton, np)]
    if setup.on_gpu:
        about = torch.cuda.get_device_properties(0)
        free, total = (count / 2**30 for count in torch.cuda.mem_get_info())
        found = [about.name, f"CUDA {torch.version.cuda}", *found]
        yield Result("memory", total, "GiB", note=", ".join(found))
        yield Result("free memory", free, "GiB")
        yield Result("multiprocessors", about.multi_processor_count, "")


def _limits(setup: Setup) -> Iterator[Result]:
    found = limits(setup)
    yield Result("copy", found.bandwidth / 1e12, "TB/s", note="bytes read and written")
    yield Result("bfloat16 product", found.operations / 1e12, "T operations/s")
