"""Tokens per second of the reference engine, for one request and for 32 concurrent requests.

The rates are compared with those of other engines on the same weights and prompts, if they are
installed: transformers, and OpenAI's PyTorch model (`pip install --no-deps gpt-oss`; it requires
Python 3.12).

    python benchmarks/engine.py [--checkpoint DIR] [--tokens N] [--requests N]

Without --checkpoint, the shipped small one is used, or random weights of its shape. Times vary with
the load of the machine; the ratios are measured within one run and hardly vary.
"""

import argparse
import asyncio
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import torch
from peers import Peer, apart, installed_peers

from reference_engine.checkpoint import load_model
from reference_engine.checkpoint.loading import default_dtype
from reference_engine.generation.engine import Engine, SamplingParams
from reference_engine.model.config import ModelConfig
from reference_engine.model.transformer import Transformer

SHIPPED = Path(__file__).parents[1] / "reference_engine" / "small" / "checkpoint"
SHARED_PROMPT = 400
OWN_PROMPT = 24
COMPARED = 256
"""Length of the prompt whose log probabilities are compared with a peer's: twice the window."""


@dataclass(frozen=True)
class Rate:
    """The number of generated tokens, and the time it took."""

    name: str
    tokens: int
    wall: float
    cpu: float

    @property
    def per_second(self) -> float:
        """Tokens per second of wall-clock time."""
        return self.tokens / self.wall


def timed(name: str, work: Callable[[], int]) -> Rate:
    wall, cpu = time.perf_counter(), time.process_time()
    tokens = work()
    return Rate(name, tokens, time.perf_counter() - wall, time.process_time() - cpu)


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


def prompts(count: int, vocabulary: int) -> list[list[int]]:
    """Prompts with a long common prefix, like those of the smoke test."""
    generator = torch.Generator().manual_seed(1)

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


def measure_engine(model: Transformer, requests: int, tokens: int) -> tuple[Rate, Rate, Rate]:
    """The rates of one request, of concurrent requests, and of prefill without shared prefixes."""
    engine = Engine(model, max_batch=requests)
    engine.start()
    try:
        batch = prompts(requests, model.config.vocab_size)
        run_engine(engine, batch[:2], 4)
        alone = timed("engine, alone", lambda: run_engine(engine, batch[:1], tokens))
        name = f"engine, {requests} in flight"
        together = timed(name, lambda: run_engine(engine, batch, tokens))
        fresh = [prompt[::-1] for prompt in batch]
        read = timed("engine, reading prompts", lambda: run_engine(engine, fresh, 1))
    finally:
        engine.close()
    return alone, together, Rate(read.name, sum(map(len, fresh)), read.wall, read.cpu)


def measure_peer(model: Transformer, peer: Peer, requests: int, tokens: int) -> list[Rate]:
    """The rates of a peer for one request and, if it supports batches, for all prompts in one."""
    batch = prompts(requests, model.config.vocab_size)
    median, most = apart(model, peer, batch[0][:COMPARED])
    print(f"{peer.name}: log probabilities apart by {median:.2g} in the median, {most:.2g} at most")
    peer.generate([batch[0][:8]], tokens)
    rates = [timed(f"{peer.name}, alone", lambda: peer.generate(batch[:1], tokens))]
    if peer.batches:
        name = f"{peer.name}, batch of {requests}"
        rates.append(timed(name, lambda: peer.generate(batch, tokens)))
    return rates


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--tokens", type=int, default=64, help="tokens per request")
    parser.add_argument("--requests", type=int, default=32)
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

    ours = measure_engine(model, options.requests, options.tokens)
    others = [] if options.without_peers else installed_peers(model)
    theirs = [measure_peer(model, peer, options.requests, options.tokens) for peer in others]
    print(f"{'':34}{'tokens/s':>10}{'tokens / CPU second':>22}")
    for rate in (*ours, *chain(*theirs)):
        print(f"{rate.name:34}{rate.per_second:10.1f}{rate.tokens / rate.cpu:22.1f}")
    alone, together, _ = ours
    print(f"batching: {together.per_second / alone.per_second:.1f} times the rate alone")
    for rates in theirs:
        for mine, other in zip(ours, rates, strict=False):
            print(f"{mine.name}: {mine.per_second / other.per_second:.1f} times {other.name}")


if __name__ == "__main__":
    main()
