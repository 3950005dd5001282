"""The engine's Triton kernels on a GPU: time, share of what the hardware could do, and error.

    python benchmarks/kernels.py [--model 20b|120b] [--tokens 1,8,64,256,4096] [--context 8192]

One layer of the model's shape with random weights. The limits are the GPU's own, measured in the
same run: the bytes a second of a copy, and the operations a second of a large matrix product.
Needs a CUDA device; with TRITON_INTERPRET=1, `--device cpu --model tiny` shows that it runs.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from reference_engine.kernels import KernelsError, attention, experts, resolve_kernels
from reference_engine.model.mxfp4 import PackedLinear

SHAPES = {  # Experts, chosen ones, hidden and intermediate size, heads, kv heads, head size.
    "20b": (32, 4, 2880, 2880, 64, 8, 64),
    "120b": (128, 4, 2880, 2880, 64, 8, 64),
    "tiny": (4, 2, 64, 32, 8, 1, 64),
}
PAGE = 64
WINDOW = 128


@dataclass(frozen=True)
class Limits:
    """What the device reached in copying (bytes/s) and multiplying (operations/s)."""

    bandwidth: float
    operations: float

    def seconds(self, moved: float, operations: float) -> float:
        """The least time for this many bytes and operations."""
        return max(moved / self.bandwidth, operations / self.operations)


@dataclass(frozen=True)
class Case:
    """One kernel at one size, with the bytes and operations that its shapes demand."""

    name: str
    run: Callable[[], Tensor]
    exact: Callable[[], Tensor] | None
    moved: float
    operations: float


def timed(work: Callable[[], object], device: str, repeats: int) -> float:
    """Median seconds of a run, the first few left out."""
    if device == "cpu":
        start = time.perf_counter()
        work()
        return time.perf_counter() - start
    for _ in range(3):
        work()
    events = [[torch.cuda.Event(enable_timing=True) for _ in range(2)] for _ in range(repeats)]
    for begin, end in events:
        begin.record()
        work()
        end.record()
    torch.cuda.synchronize()
    taken = sorted(begin.elapsed_time(end) / 1000 for begin, end in events)
    return taken[len(taken) // 2]


def limits(device: str) -> Limits:
    size = 8192 if device == "cuda" else 256
    square = torch.randn(size, size, device=device).bfloat16()
    source = torch.empty(2**30 if device == "cuda" else 2**20, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    copied = 2 * source.nbytes / timed(lambda: target.copy_(source), device, 20)
    return Limits(copied, 2 * size**3 / timed(lambda: square @ square, device, 20))


def packed(count: int, outputs: int, inputs: int, device: str) -> PackedLinear:
    """Random values; scales of 2^-7 keep the results near one."""
    blocks = torch.randint(256, (count, outputs, inputs // 32, 4, 4), device=device)
    scales = torch.full((count, inputs // 32, outputs), 120, device=device)
    bias = torch.randn(count, outputs, device=device).bfloat16()
    return PackedLinear(blocks.to(torch.uint8), scales.to(torch.uint8), bias)


def doubled(linear: PackedLinear) -> PackedLinear:
    return PackedLinear(linear.blocks, linear.scales, linear.bias.double())


def expert_cases(model: str, sizes: list[int], device: str) -> Iterator[Case]:
    count, top, hidden, inner, *_ = SHAPES[model]
    gate_up, down = packed(count, 2 * inner, hidden, device), packed(count, hidden, inner, device)
    stored = (gate_up.blocks, gate_up.scales, down.blocks, down.scales)
    one = sum(each.nbytes for each in stored) / count
    run = experts.packed_experts_of("triton")
    for tokens in sizes:
        x = torch.randn(tokens, hidden, device=device).bfloat16()
        best = torch.randn(tokens, count, device=device).topk(top)
        route = (best.indices, best.values.softmax(-1))
        used = len(torch.unique(best.indices))

        def exact(x: Tensor = x, route: tuple[Tensor, Tensor] = route) -> Tensor:
            weights = route[1].double()
            return experts.packed_experts(
                x.double(), route[0], weights, doubled(gate_up), doubled(down), 7.0
            )

        yield Case(
            f"experts, {tokens} tokens, {used} used",
            lambda x=x, route=route: run(x, *route, gate_up, down, 7.0),
            exact if tokens <= 64 else None,
            moved=used * one + 2 * x.nbytes,
            operations=2 * tokens * top * 3 * inner * hidden,
        )


def attention_case(
    model: str, sequences: int, new: int, context: int, window: int | None, device: str
) -> Case:
    *_, heads, kv_heads, size = SHAPES[model]
    pages = -(-context // PAGE)
    tables = torch.randperm(sequences * pages, device=device).int().view(sequences, pages)
    keys, values = torch.randn(
        2, sequences * pages, PAGE, kv_heads, size, dtype=torch.bfloat16, device=device
    )
    query = torch.randn(sequences * new, heads, size, dtype=torch.bfloat16, device=device)
    starts = torch.arange(sequences + 1, device=device).int() * new
    lengths = torch.full((sequences,), context, dtype=torch.int32, device=device)
    sinks = torch.randn(heads, device=device).bfloat16()
    batch = (tables, starts, lengths)
    seen = context - (new - 1) / 2 if window is None else min(window, context)
    read = context if window is None else min(window + new - 1, context)
    kind = "all" if window is None else "window"
    run = attention.paged_attention_of("triton")

    def exact() -> Tensor:
        wide = (query.double(), keys.double(), values.double())
        return attention.paged_attention(*wide, *batch, sinks.double(), window, size**-0.5)

    return Case(
        f"attention ({kind}), {sequences} x {new} new of {context}",
        lambda: run(query, keys, values, *batch, sinks, window, size**-0.5),
        exact if sequences * new <= 8 else None,
        moved=4 * sequences * read * kv_heads * size + 2 * query.nbytes,
        operations=4 * sequences * new * seen * heads * size,
    )


def report(case: Case, limit: Limits, device: str, repeats: int) -> str:
    seconds = timed(case.run, device, repeats)
    share = limit.seconds(case.moved, case.operations) / seconds
    error = ""
    if case.exact is not None:
        wanted = case.exact()
        error = f"{((case.run() - wanted).abs().max() / wanted.abs().max()).item():.1e}"
    return f"{case.name:44}{1e6 * seconds:12.1f}{share:10.0%}{error:>10}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--model", choices=SHAPES, default="20b")
    parser.add_argument("--tokens", default="1,8,64,256,4096", help="sizes of the experts' batch")
    parser.add_argument("--context", type=int, default=8192)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda")
    parser.add_argument("--repeats", type=int, default=50)
    options = parser.parse_args()
    try:
        resolve_kernels("triton", options.device)
    except KernelsError as error:
        parser.error(str(error))
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("PyTorch sees no CUDA device.")
    torch.manual_seed(0)
    name = torch.cuda.get_device_name() if options.device == "cuda" else "the interpreter"
    limit = limits(options.device)
    print(f"{options.model} on {name}: {limit.bandwidth / 1e12:.2f} TB/s copied, ", end="")
    print(f"{limit.operations / 1e12:.0f} T operations/s in bfloat16")
    print(f"{'':44}{'µs':>12}{'of limit':>10}{'error':>10}")
    sizes = [int(size) for size in options.tokens.split(",")]
    for case in expert_cases(options.model, sizes, options.device):
        print(report(case, limit, options.device, options.repeats))
    for window in (None, WINDOW):
        for sequences, new in ((1, 1), (8, 1), (64, 1), (1, options.context // 4)):
            case = attention_case(
                options.model, sequences, new, options.context, window, options.device
            )
            print(report(case, limit, options.device, options.repeats))


if __name__ == "__main__":
    main()
