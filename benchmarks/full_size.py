"""The reference engine at the published shapes: tokens per second, and the share of the limits.

    python benchmarks/full_size.py [--shape 20b,120b] [--batch 1,8,64,256] [--peers]

On one GPU, with random weights (written to --folder first, and kept there). Decode is held against
the bytes, prefill against the operations that the shapes demand, at the rates which the device
reaches in a copy and a large matrix product in the same run. With --peers, transformers answers
the same prompts. Without a GPU it says so and gives the tiny shape's tokens per second on the CPU,
where caches are larger than the model and no share of the limits means anything.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from demands import Demand, decode_step, prefill
from kernels import Limits, limits

from reference_engine.checkpoint import load_model
from reference_engine.checkpoint.synthetic import synthesize
from reference_engine.generation.engine import Engine, SamplingParams
from reference_engine.model.config import SHAPES, ModelConfig, shape_named

PROMPT = 128


@dataclass(frozen=True)
class Figure:
    """Tokens over seconds, and the least seconds that the demand would take on a GPU."""

    name: str
    tokens: int
    seconds: float
    least: float

    def line(self) -> str:
        """The figure as a line of the table."""
        share = f"{self.least / self.seconds:10.0%}" if torch.cuda.is_available() else ""
        return f"{self.name:36}{self.tokens / self.seconds:12.0f}{share}"


def prompts(config: ModelConfig, count: int, length: int) -> list[list[int]]:
    generator = torch.Generator().manual_seed(count * length)
    drawn = torch.randint(0, config.vocab_size, (count, length), generator=generator)
    rows: list[list[int]] = drawn.tolist()
    return rows


def arrivals(engine: Engine, batch: list[list[int]], tokens: int) -> list[list[float]]:
    """When each token of each answer came, all asked at once."""

    async def one(prompt: list[int], seed: int) -> list[float]:
        params = SamplingParams(max_tokens=tokens, seed=seed)
        return [time.perf_counter() async for _ in engine.generate(prompt, params)]

    async def every() -> list[list[float]]:
        return await asyncio.gather(*(one(prompt, n) for n, prompt in enumerate(batch)))

    return asyncio.run(every())


def decoding(engine: Engine, config: ModelConfig, batch: int, tokens: int, limit: Limits) -> Figure:
    """The pace while all answers are under way: from the last one's first token on."""
    times = arrivals(engine, prompts(config, batch, PROMPT), tokens)
    begin, end = max(each[0] for each in times), min(each[-1] for each in times)
    made = sum(begin < at <= end for each in times for at in each)
    steps = made / batch
    demand = decode_step(config, batch, PROMPT + tokens // 2)
    least = steps * demand.seconds(limit.bandwidth, limit.operations)
    return Figure(f"decode, batch {batch}", made, max(end - begin, 1e-9), least)


def reading(engine: Engine, config: ModelConfig, length: int, limit: Limits) -> Figure:
    begin = time.perf_counter()
    (times,) = arrivals(engine, prompts(config, 1, length), 1)
    demand: Demand = prefill(config, length)
    least = demand.seconds(limit.bandwidth, limit.operations)
    return Figure(f"prefill, {length} tokens", length, times[0] - begin, least)


def transformers_rate(folder: Path, config: ModelConfig, batch: int, tokens: int) -> float:
    """Tokens a second of transformers' generate, its prefill included."""
    from transformers import GptOssForCausalLM

    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = GptOssForCausalLM.from_pretrained(folder, dtype="auto").to(device)
    rows = torch.tensor(prompts(config, batch, PROMPT), device=device)
    options = {"max_new_tokens": tokens, "min_new_tokens": tokens, "do_sample": True, "top_k": 0}
    mask = torch.ones_like(rows)
    model.generate(
        rows, attention_mask=mask, **{**options, "max_new_tokens": 2, "min_new_tokens": 2}
    )
    begin = time.perf_counter()
    model.generate(rows, attention_mask=mask, **options)
    return batch * tokens / (time.perf_counter() - begin)


def measure(folder: Path, config: ModelConfig, options: argparse.Namespace, limit: Limits) -> None:
    sizes = [int(size) for size in options.batch.split(",")]
    model = load_model(folder, options.device, torch.bfloat16)
    engine = Engine(model, max_batch=max(sizes), max_context=options.prefill + 64)
    engine.start()
    try:
        arrivals(engine, prompts(config, 2, PROMPT), 4)
        for size in sizes:
            arrivals(engine, prompts(config, size, PROMPT)[::-1], 2)
            print(decoding(engine, config, size, options.tokens, limit).line())
        arrivals(engine, prompts(config, 1, options.prefill)[::-1], 1)
        print(reading(engine, config, options.prefill - 1, limit).line())
    finally:
        engine.close()
    del engine, model
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if options.peers:
        for size in sizes:
            rate = transformers_rate(folder, config, size, options.tokens)
            print(f"{f'transformers, batch {size}':36}{rate:12.0f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--shape", default="20b,120b", help=f"of {', '.join(SHAPES)}, or a file")
    parser.add_argument("--batch", default="1,8,64,256")
    parser.add_argument("--tokens", type=int, default=128, help="generated for each prompt")
    parser.add_argument("--prefill", type=int, default=8192, help="tokens of the long prompt")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "gpt-oss")
    parser.add_argument("--peers", action="store_true", help="measure transformers, too")
    options = parser.parse_args()
    options.device = "cuda" if torch.cuda.is_available() else "cpu"
    if options.device == "cpu":
        print("PyTorch sees no CUDA device: the tiny shape on the CPU instead, which says little.")
        options.shape, options.batch, options.prefill = "tiny", "1,8", 512
    limit = limits(options.device)
    if options.device == "cuda":
        rates = (limit.bandwidth / 1e9, limit.operations / 1e12)
        print("{:.0f} GB/s copied, {:.0f} T operations/s in bfloat16".format(*rates))
    for name in options.shape.split(","):
        config = shape_named(name)
        folder = options.folder / Path(name).stem
        if not folder.exists():
            synthesize(config, folder, "hf")
        share = f"{'of limit':>10}" if options.device == "cuda" else ""
        print(f"\n{name:36}{'tokens/s':>12}{share}")
        measure(folder, config, options, limit)


if __name__ == "__main__":
    main()
