"""Tokens per second of the reference engine, for one request and for 32 concurrent requests.

The rates are compared with those of other engines on the same weights and prompts, if they are
installed: transformers, and OpenAI's PyTorch model (`pip install --no-deps gpt-oss`; it requires
Python 3.12).

    python benchmarks/engine_speed.py [--checkpoint DIR] [--tokens N] [--requests N]

Without --checkpoint, the shipped small one is used, or random weights of its shape. Times vary with
the load of the machine. The engines take turns, each time with new prompts, and the ratios are
those within a turn. At the end, it prints which operators of PyTorch take the time of 64 requests
in flight, with their prompts already read.
"""

import argparse
import asyncio
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import torch
from peers import Peer, apart, installed_peers
from torch._C._profiler import _ExperimentalConfig
from torch.profiler import ProfilerActivity, profile

from reference_engine.checkpoint import load_model
from reference_engine.checkpoint.loading import default_dtype
from reference_engine.generation.engine import Engine, SamplingParams
from reference_engine.model.config import ModelConfig
from reference_engine.model.transformer import Transformer

SHIPPED = Path(__file__).parents[1] / "reference_engine" / "small" / "checkpoint"
SHARED_PROMPT = 400
OWN_PROMPT = 24
ALONE = "alone"
PROFILED = 64  # requests in flight
OPERATORS = 12  # that are printed
COMPARED = 256
"""Length of the prompt whose log probabilities are compared with a peer's: twice the window."""


@dataclass(frozen=True)
class Rate:
    """The number of tokens that an engine generated or read, and the time it took."""

    name: str
    engine: str
    tokens: int
    wall: float
    cpu: float

    @property
    def per_second(self) -> float:
        """Tokens per second of wall-clock time."""
        return self.tokens / self.wall


def timed(name: str, engine: str, work: Callable[[], int]) -> Rate:
    wall, cpu = time.perf_counter(), time.process_time()
    tokens = work()
    return Rate(name, engine, tokens, time.perf_counter() - wall, time.process_time() - cpu)


def random_model(dtype: torch.dtype) -> Transformer:
    config = ModelConfig(
        vocab_size=201088,
        hidden_size=192,
        num_hidden_layers=6,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=64,
        num_local_experts=4,
        num_experts_per_tok=2,
        intermediate_size=512,
    )
    torch.manual_seed(0)
    model = Transformer(config).requires_grad_(False)
    for name, parameter in model.named_parameters():
        parameter.fill_(1) if name.endswith("scale") else parameter.normal_(0, 0.05)
    return model.to(dtype).eval()


def prompts(count: int, vocabulary: int, seed: int) -> list[list[int]]:
    """Prompts with a long common prefix, like those of the smoke test."""
    generator = torch.Generator().manual_seed(seed)

    def draw(size: int) -> list[int]:
        return torch.randint(0, vocabulary, (size,), generator=generator).tolist()

    shared = draw(SHARED_PROMPT)
    return [shared + draw(OWN_PROMPT) for _ in range(count)]


def run_engine(engine: Engine, batch: list[list[int]], tokens: int) -> int:
    """Generates exactly `tokens` tokens for every prompt concurrently; returns the total number."""

    async def one(prompt: list[int], seed: int) -> int:
        params = SamplingParams(max_tokens=tokens, seed=seed)
        return sum([1 async for _ in engine.generate(prompt, params)])

    async def every() -> int:
        return sum(await asyncio.gather(*(one(prompt, n) for n, prompt in enumerate(batch))))

    return asyncio.run(every())


def measure_turn(
    engine: Engine, peers: list[Peer], requests: int, tokens: int, turn: int
) -> Iterator[Rate]:
    """The rates of the engine and all peers, one after another, for prompts that are new to all."""
    size = engine.vocab_size
    alone = prompts(1, size, seed=2 * turn)
    yield timed(ALONE, "engine", lambda: run_engine(engine, alone, tokens))
    for peer in peers:
        yield timed(ALONE, peer.name, partial(peer.generate, alone, tokens))
    batch = prompts(requests, size, seed=2 * turn + 1)
    name = f"{requests} in flight"
    yield timed(name, "engine", lambda: run_engine(engine, batch, tokens))
    for peer in peers:
        if peer.batches:
            yield timed(name, peer.name, partial(peer.generate, batch, tokens))
    fresh = [prompt[::-1] for prompt in batch]
    read = timed("prompts read", "engine", lambda: run_engine(engine, fresh, 1))
    yield replace(read, tokens=sum(map(len, fresh)))


def measure(
    model: Transformer, peers: list[Peer], requests: int, tokens: int, turns: int
) -> list[list[Rate]]:
    """The rates of each turn, after a turn that does not count."""
    engine = Engine(model, max_batch=requests)
    engine.start()
    try:
        list(measure_turn(engine, peers, requests, 2, turn=0))
        return [
            list(measure_turn(engine, peers, requests, tokens, turn))
            for turn in range(1, 1 + turns)
        ]
    finally:
        engine.close()


def report(turns: list[list[Rate]]) -> None:
    """Print the median rates, and the median of the turns' ratios of the engine to each peer."""
    print(f"{'':30}{'tokens/s':>10}{'tokens / CPU second':>22}{'engine, times this':>20}")
    for same in zip(*turns, strict=True):
        first = same[0]
        ours = [next(r for r in turn if r.name == first.name) for turn in turns]
        ratios = [own.per_second / rate.per_second for own, rate in zip(ours, same, strict=True)]
        cpu = median(rate.tokens / rate.cpu for rate in same)
        figures = f"{median(rate.per_second for rate in same):10.1f}{cpu:22.1f}"
        spread = f"{median(ratios):8.1f} ({min(ratios):.1f} to {max(ratios):.1f})"
        ratio = "" if first.engine == "engine" else spread
        print(f"{first.engine + ', ' + first.name:30}{figures}{ratio:>20}")


def operators(model: Transformer, tokens: int) -> Iterator[str]:
    """The operators that take most of the time of a batch, with their calls and milliseconds.

    The engine computes in a thread of its own, so all threads are profiled. The profiler itself
    costs most where an operator is called most often.
    """
    engine = Engine(model, max_batch=PROFILED)
    engine.start()
    try:
        batch = prompts(PROFILED, engine.vocab_size, seed=0)
        run_engine(engine, batch, 2)
        every = _ExperimentalConfig(profile_all_threads=True)
        with profile(activities=[ProfilerActivity.CPU], experimental_config=every) as profiled:
            run_engine(engine, batch, tokens)
    finally:
        engine.close()
    rows = sorted(profiled.key_averages(), key=lambda row: row.self_cpu_time_total, reverse=True)
    total = sum(row.self_cpu_time_total for row in rows)
    yield f"\n{f'{PROFILED} in flight, {tokens} tokens each':48}{'calls':>9}{'ms':>10}{'share':>8}"
    for row in rows[:OPERATORS]:
        spent = row.self_cpu_time_total
        yield f"{row.key[:47]:48}{row.count:9,}{spent / 1e3:10,.1f}{spent / total:8.1%}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--tokens", type=int, default=64, help="tokens per request")
    parser.add_argument("--requests", type=int, default=32)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--without-peers", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    dtype = getattr(torch, options.dtype) if options.dtype else default_dtype(options.device)
    folder = options.checkpoint or (SHIPPED if (SHIPPED / "config.json").exists() else None)
    model = load_model(folder, options.device, dtype) if folder else random_model(dtype)
    print(f"{folder or 'random weights'}, {dtype}, {options.device}, {options.threads} threads")

    peers = [] if options.without_peers else installed_peers(model)
    for peer in peers:
        middle, most = apart(model, peer, prompts(1, model.config.vocab_size, 0)[0][:COMPARED])
        print(f"{peer.name}: log probabilities apart by {middle:.2g} (median), {most:.2g} at most")
    report(measure(model, peers, options.requests, options.tokens, options.turns))
    if options.device == "cpu":
        print("\n".join(operators(model, min(options.tokens, 16))))


if __name__ == "__main__":
    main()
