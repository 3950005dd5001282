"""Prefill time and peak memory of the reference engine by prompt length.

    python benchmarks/long_context.py [--lengths 1024,4096,16384] [--threads N]
        [--checkpoint DIR] [--last-chunk]

Each length runs in a separate process, with one prompt of random tokens and one sampled token. The
figures are the CPU seconds of the prefill (without the start of the engine) and the peak resident
memory of the whole process, including interpreter, PyTorch and weights. Only full attention may
grow faster than linearly with the length.

With --last-chunk, only the last 512 tokens are computed, over a cache filled with zeros. They need
the most memory. The peak is about a tenth lower than that of the whole prefill (634 and 702 MiB at
16,384 tokens), and the measurement takes seconds instead of a quarter of an hour.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import resource
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from reference_engine.generation.forward import Forward, MakeForward, Row
    from reference_engine.kv_cache.cache import KVCache
    from reference_engine.model.transformer import Transformer

SHIPPED = Path(__file__).parents[1] / "reference_engine" / "small" / "checkpoint"
_FEW = 64
"""Prompt tokens of the warm-up."""
_COMMON_TOKENS = 20_000
_CHUNK = 512
"""The engine's chunk of a prefill on a CPU."""
_KIB = 1024


@dataclass(frozen=True)
class Prefill:
    """One prompt: its tokens, the CPU seconds of its prefill, and the peak memory in MiB before
    and after it.
    """

    tokens: int
    seconds: float
    before: float
    peak: float


def peak_mib() -> float:
    """The largest resident set of this process so far (Linux counts in KiB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _KIB


def prefill(checkpoint: Path, length: int, threads: int, *, last_chunk: bool) -> Prefill:
    """Prefill one prompt, or its last chunk, in this process."""
    import torch

    from reference_engine.checkpoint import load_model
    from reference_engine.checkpoint.loading import default_dtype
    from reference_engine.generation.engine import Engine, SamplingParams
    from reference_engine.generation.graphs import forward_for
    from reference_engine.kv_cache.cache import page_bytes
    from reference_engine.kv_cache.memory import Memory
    from reference_engine.kv_cache.pages import BLOCK, Layout

    torch.set_num_threads(threads)
    device = torch.device("cpu")
    model = load_model(checkpoint, device, default_dtype(device))
    pages = Layout.of(model.config).pages_for(length + 2 * _FEW) + _FEW // BLOCK + 2
    engine = Engine(
        model,
        max_batch=1,
        max_context=length + _FEW,
        memory=Memory(pages * page_bytes(model.config, default_dtype(device))),
        forward=_skipping(length - _CHUNK) if last_chunk else forward_for,
    )
    if engine.max_context < length + 1:
        raise SystemExit(f"The KV cache fits {engine.max_context} tokens, fewer than {length}.")
    numbers = torch.randint(_COMMON_TOKENS, (length,), generator=torch.Generator().manual_seed(0))
    prompt: list[int] = numbers.tolist()

    async def sample(tokens: list[int]) -> None:
        async for _ in engine.generate(tokens, SamplingParams(max_tokens=1)):
            pass

    engine.start()
    asyncio.run(sample(prompt[-_FEW:]))
    before, began = peak_mib(), time.process_time()
    asyncio.run(sample(prompt))
    seconds = time.process_time() - began
    engine.close()
    return Prefill(length, seconds, before, peak_mib())


def _skipping(first: int) -> MakeForward:
    """A forward pass that only computes rows from position `first` on."""
    import torch

    from reference_engine.generation.graphs import forward_for

    def made(model: Transformer, cache: KVCache) -> Forward:
        run = forward_for(model, cache)
        for pages in cache.layers:
            pages.keys.zero_()
            pages.values.zero_()

        def last(rows: Sequence[Row], length: int) -> Tensor:
            if rows[0].start >= first:
                return run(rows, length)
            return torch.zeros(len(rows), model.config.hidden_size, dtype=model.residual)

        return last

    return made


def main() -> None:
    """Measure every length, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lengths", default="1024,4096,16384", help="prompt lengths in tokens")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--checkpoint", type=Path, default=SHIPPED)
    parser.add_argument("--last-chunk", action="store_true", help="only the last 512 tokens")
    options = parser.parse_args()
    print("| prompt tokens | CPU seconds | ms per token | peak MiB | of them before the prompt |")
    print("| ---: | ---: | ---: | ---: | ---: |")
    for length in map(int, options.lengths.split(",")):
        with multiprocessing.get_context("spawn").Pool(1) as process:
            given = (options.checkpoint, length, options.threads)
            one = process.apply(prefill, given, {"last_chunk": options.last_chunk})
        each = one.seconds / one.tokens * 1000
        row = f"| {one.tokens:,} | {one.seconds:.1f} | {each:.2f} | {one.peak:,.0f} |"
        print(f"{row} {one.before:,.0f} |", flush=True)


if __name__ == "__main__":
    main()
