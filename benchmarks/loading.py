"""Memory and time of a published shape on a CPU: writing, loading, and generating a few tokens.

    python benchmarks/loading.py [--shape 20b] [--folder DIR] [--tokens N]

Random weights of the shape are written to --folder (13 GB for 20b) and kept there; they are loaded
as by `serve --packed --dtype bfloat16`. Memory is the peak resident memory of each step, including
this process's libraries (Linux).
"""

import argparse
import asyncio
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch

from reference_engine.checkpoint import load_model
from reference_engine.checkpoint.synthetic import synthesize
from reference_engine.generation.engine import Engine, SamplingParams
from reference_engine.model.config import shape_named

PROMPT = 8
PROCESS = Path("/proc/self")

T = TypeVar("T")


def arrivals(engine: Engine, tokens: int) -> list[float]:
    """The arrival time of each token of an answer."""

    async def generate() -> list[float]:
        made = engine.generate(range(PROMPT), SamplingParams(tokens))
        return [time.perf_counter() async for _ in made]

    return asyncio.run(generate())


def reset_peak() -> None:
    """Resets the kernel's peak of resident memory (proc_pid_clear_refs(5))."""
    (PROCESS / "clear_refs").write_text("5", encoding="ascii")


def peak() -> int:
    """The peak resident memory in bytes since the last reset."""
    lines = (PROCESS / "status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def measured(name: str, work: Callable[[], T]) -> T:
    reset_peak()
    begin = time.perf_counter()
    done = work()
    print(f"{name:12}{time.perf_counter() - begin:8.1f} s{peak() / 1e9:8.2f} GB", flush=True)
    return done


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--shape", default="20b")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "gpt-oss")
    parser.add_argument("--layout", choices=["original", "hf"], default="original")
    parser.add_argument("--tokens", type=int, default=4)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    config = shape_named(options.shape)
    folder = options.folder / f"{Path(options.shape).stem}-{options.layout}"
    if not folder.exists():
        measured("writing", lambda: synthesize(config, folder, options.layout))
    size = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    print(f"{'on disk':22}{size / 1e9:8.2f} GB", flush=True)
    model = measured("loading", lambda: load_model(folder, dtype=torch.bfloat16, packed=True))
    engine = Engine(model, max_batch=1)
    engine.start()
    try:
        times = measured("generating", lambda: arrivals(engine, options.tokens))
    finally:
        engine.close()
    made = len(times) - 1
    print(f"{made / (times[-1] - times[0]):.2f} tokens/s after the first")


if __name__ == "__main__":
    main()
