"""The engine at the published shapes: graphs against eager mode, decode, prefill, long contexts."""

import time
from collections import Counter
from collections.abc import Callable, Iterator

import torch

from reference_engine.generation.forward import MakeForward
from reference_engine.generation.graphs import (
    GraphedForward,
    forward_for,
    record_calls,
    record_graphs,
)
from reference_engine.generation.ragged import RaggedForward
from reference_engine.generation.sampling import SamplingParams
from reference_engine.generation.scheduler import Scheduler
from reference_engine.generation.sequence import Sequence, Step
from reference_engine.kv_cache.cache import KVCache
from reference_engine.kv_cache.pages import BLOCK
from reference_engine.model.transformer import Transformer

from .demands import decode_step, prefill
from .measuring import Result, Setup, limits
from .model import random_model, shape

PROMPT = 128
DECODED = 64
LONG_PROMPT = 8192
CAP_GIB = 80
FEWER_LAYERS = 2
"""Layers of the model that compares graphs with eager mode; all layers launch the same kernels."""


def graphs(setup: Setup) -> Iterator[Result]:
    """Whether decoding with CUDA graphs yields the tokens of eager mode, for all kinds of sampling.

    The first prompt outgrows its page table, so that a second graph is recorded. On a CPU,
    `record_calls` replaces the graphs.
    """
    model = random_model(shape(setup.shape, FEWER_LAYERS), setup.device)
    record = record_graphs() if setup.on_gpu else record_calls
    for rows in (1, 2, 8, 64) if setup.on_gpu else (2,):
        lengths = (1000, 50) if setup.on_gpu else (10, 5)
        prompts = [_prompt(model, lengths[row > 0] + row, row) for row in range(rows)]
        made = [
            _tokens(_run(model, prompts, DECODED if setup.on_gpu else 4, forward, _drawn))
            for forward in (
                RaggedForward,
                lambda model, cache: GraphedForward(model, cache, record),
            )
        ]
        pairs = [pair for each in zip(*made, strict=True) for pair in zip(*each, strict=True)]
        equal = sum(eager == graphed for eager, graphed in pairs)
        yield Result(
            f"graphs, {rows} rows: equal tokens",
            equal / len(pairs),
            "",
            passed=equal == len(pairs),
            note=f"{equal} of {len(pairs)}; all required",
        )


def speed(setup: Setup) -> Iterator[Result]:
    """Decode and prefill of the complete model, in tokens per second."""
    limit = limits(setup)
    config = shape(setup.shape)
    model = random_model(config, setup.device)
    alone = None
    for batch in (1, 8, 64, 256) if setup.on_gpu else (1, 2):
        prompts = [_prompt(model, PROMPT if setup.on_gpu else 8, row) for row in range(batch)]
        _run(model, prompts, 4, forward_for)
        taken = _decode_seconds(model, prompts, DECODED if setup.on_gpu else 4)
        demand = decode_step(config, batch, PROMPT + DECODED // 2)
        share = demand.seconds(limit.bandwidth, limit.operations) / taken
        rate = batch / taken
        alone = alone or rate
        wanted = {1: (share >= 0.5, "50 % of the limit"), 64: (rate >= 10 * alone, "10 × batch 1")}
        passed, note = wanted.get(batch, (None, ""))
        passed = passed if setup.on_gpu else None
        yield Result(f"decode, batch {batch}", rate, "tokens/s", share, passed, note)
    length = LONG_PROMPT if setup.on_gpu else 20
    taken = _prefill_seconds(model, length)
    share = prefill(config, length).seconds(limit.bandwidth, limit.operations) / taken
    passed = share >= 0.4 if setup.on_gpu else None
    yield Result(
        f"prefill, {length} tokens", length / taken, "tokens/s", share, passed, "40 % of the limit"
    )
    if setup.on_gpu:
        yield from _launches(model)


def context(setup: Setup) -> Iterator[Result]:
    """A prompt of nearly 131,072 tokens within the memory of an 80 GB GPU."""
    if setup.on_gpu:
        total = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction(min(1.0, CAP_GIB * 2**30 / total))
    model = random_model(shape(setup.shape), setup.device)
    length = model.config.max_position_embeddings - BLOCK if setup.on_gpu else 40
    taken = _prefill_seconds(model, length)
    yield Result(f"prefill, {length} tokens", length / taken, "tokens/s")
    if setup.on_gpu:
        peak = torch.cuda.max_memory_allocated() / 2**30
        yield Result("peak memory", peak, "GiB", passed=peak <= CAP_GIB, note=f"at most {CAP_GIB}")


def _prompt(model: Transformer, length: int, seed: int) -> tuple[int, ...]:
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(0, model.config.vocab_size, (length,), generator=generator)
    return tuple(drawn.tolist())


def _greedy(row: int, tokens: int) -> SamplingParams:
    return SamplingParams(tokens, temperature=0)


def _drawn(row: int, tokens: int) -> SamplingParams:
    """Alternates between greedy and random rows; every fourth row has a top_p."""
    return SamplingParams(
        tokens, temperature=float(row % 2), top_p=0.9 if row % 4 == 3 else 1.0, seed=row
    )


def _scheduler(
    model: Transformer,
    prompts: list[tuple[int, ...]],
    tokens: int,
    forward: MakeForward,
    params: Callable[[int, int], SamplingParams] = _greedy,
) -> Scheduler:
    longest = max(map(len, prompts)) + tokens + BLOCK
    pages = len(prompts) * (4 + -(-longest // BLOCK))
    weight = model.unembedding.weight
    cache = KVCache(model.config, pages, weight.dtype, weight.device)
    made = Scheduler(
        model,
        cache,
        max_batch=len(prompts),
        max_context=longest,
        prefill_chunk=4096,
        forward=forward(model, cache),
    )
    for row, prompt in enumerate(prompts):
        made.add(Sequence(prompt, params(row, tokens)))
    return made


def _run(
    model: Transformer,
    prompts: list[tuple[int, ...]],
    tokens: int,
    forward: MakeForward,
    params: Callable[[int, int], SamplingParams] = _greedy,
) -> list[Step]:
    made = _scheduler(model, prompts, tokens, forward, params)
    steps: list[Step] = []
    while made.running:
        steps += made.step()
    return steps


def _tokens(steps: list[Step]) -> list[list[int]]:
    """The tokens of each sequence, in the order in which the sequences were added."""
    by_order: dict[int, list[int]] = {}
    for step in steps:
        drawn = -1 if step.token is None else step.token.id
        by_order.setdefault(step.sequence.order, []).append(drawn)
    return [by_order[order] for order in sorted(by_order)]


def _decode_seconds(model: Transformer, prompts: list[tuple[int, ...]], tokens: int) -> float:
    """Median seconds of a step that decodes one token of every sequence."""
    made = _scheduler(model, prompts, tokens, forward_for)
    taken = []
    while made.running:
        begin = time.perf_counter()
        steps = made.step()  # The tokens of the previous step were read back.
        if len(steps) == len(prompts):
            taken.append(time.perf_counter() - begin)
    return sorted(taken)[len(taken) // 2]


def _prefill_seconds(model: Transformer, length: int) -> float:
    """Seconds until the first token, after a short prompt has autotuned the kernels."""
    _run(model, [_prompt(model, min(length, 4096), 1)], 1, forward_for)
    made = _scheduler(model, [_prompt(model, length, 2)], 1, forward_for)
    begin = time.perf_counter()
    while made.running:
        made.step()
    return time.perf_counter() - begin


def _launches(model: Transformer) -> Iterator[Result]:
    """The number of kernels of an eager decode step, and those that take longest."""
    made = _scheduler(model, [_prompt(model, PROMPT, 3)], DECODED, RaggedForward)
    for _ in range(3):
        made.step()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        made.step()
        torch.cuda.synchronize()
    spent: Counter[str] = Counter()
    count: Counter[str] = Counter()
    for event in profile.events():
        spent[event.name] += event.device_time
        count[event.name] += 1
    layers = model.config.num_hidden_layers
    yield Result("kernels of a decode step", sum(count.values()), "launches")
    yield Result("kernels per layer", sum(count.values()) / layers, "launches")
    for name, microseconds in spent.most_common(8):
        yield Result(f"in {name[:60]}", microseconds, "µs", note=f"{count[name]} launches")
