"""The engine at the published shapes: graphs against eager mode, decode, prefill, long contexts."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import zip_longest

import torch

from reference_engine.generation.forward import MakeForward
from reference_engine.generation.graphs import (
    GraphedForward,
    forward_for,
    record_calls,
    record_graphs,
)
from reference_engine.generation.ragged import RaggedForward
from reference_engine.generation.runner import Runner
from reference_engine.generation.sampling import SamplingParams
from reference_engine.generation.sequence import Sequence, Step
from reference_engine.kv_cache.cache import KVCache
from reference_engine.kv_cache.pages import BLOCK, blocks_of
from reference_engine.model.transformer import Transformer

from .cards import required
from .demands import decode_step, prefill
from .kernels import chosen
from .measuring import Limits, Result, Setup, Task, limits
from .model import random_model, shape

PROMPT = 128
DECODED = 64
LONG_PROMPT = 8192
CHUNK, SMALLER_CHUNK = 8192, 4096
"""Prompt tokens per step, as in the server; with fewer, decode rows wait half as long."""
LIMITS = ((1.0, 0), (0.9, 0), (1.0, 1500), (0.9, 40))
"""top_p and top_k of random rows; the host draws a row with a top_k above `CANDIDATES`."""
CAP_GIB = 80
FEWER_LAYERS = 2
"""Layers of the model that compares graphs with eager mode; all layers launch the same kernels."""


class NotFiniteError(ArithmeticError):
    """The logits of a row are not finite."""


def graphs(setup: Setup) -> Iterator[Task]:
    """Whether decoding with CUDA graphs yields the tokens of eager mode, for all kinds of sampling.

    The first prompt outgrows its page table, so that a second graph is recorded. On a CPU,
    `record_calls` replaces the graphs.
    """
    model = random_model(shape(setup.shape, FEWER_LAYERS), setup.device)
    for rows in (1, 2, 8, 64) if setup.on_gpu else (2,):
        yield Task(f"graphs, {rows} rows", partial(_graphs, model, rows, setup))


def _graphs(model: Transformer, rows: int, setup: Setup) -> Iterator[Result]:
    lengths = (1000, 50) if setup.on_gpu else (10, 5)
    prompts = [prompt(model, lengths[row > 0] + row, row) for row in range(rows)]
    # In one chunk: otherwise, a few rows decode before the others, and a graph pads them to a
    # number of rows for which a matrix product may round differently.
    chunk = sum(BLOCK * blocks_of(len(prompt)) for prompt in prompts)
    once, twice, replayed = (
        token_ids(generated(model, prompts, DECODED if setup.on_gpu else 4, forward, _drawn, chunk))
        for forward in (RaggedForward, RaggedForward, graphed(setup))
    )
    name = f"graphs, {rows} rows: equal tokens"
    expected = _equality(once, twice)
    found = _equality(once, replayed)
    if found.share < 1 and expected.share < 1:
        note = f"not verifiable: two runs in eager mode also differ ({expected.note})"
        yield Result(name, found.share, "", note=note)
    else:
        yield Result(name, found.share, "", passed=found.share == 1, note=found.note)


def graphed(setup: Setup) -> MakeForward:
    """A forward pass that decodes with graphs, or with `record_calls` on a CPU."""
    return partial(GraphedForward, record=record_graphs() if setup.on_gpu else record_calls)


@dataclass(frozen=True)
class _Equality:
    share: float
    note: str


def _equality(one: list[list[int]], other: list[list[int]]) -> _Equality:
    """Returns the share of equal tokens, and the first token of a row that differs."""
    pairs = [
        (row, place, left == right)
        for row, (lefts, rights) in enumerate(zip(one, other, strict=True))
        for place, (left, right) in enumerate(zip_longest(lefts, rights))
    ]
    equal = sum(same for *_, same in pairs)
    note = f"{equal} of {len(pairs)}; all required"
    different = [(place, row) for row, place, same in pairs if not same]
    if different:
        place, row = min(different)
        note += f"; first difference: token {place} of row {row}"
    return _Equality(equal / len(pairs), note)


def speed(setup: Setup) -> Iterator[Task]:
    """Decode and prefill of the complete model, in tokens per second."""
    limit = limits(setup)
    config = shape(setup.shape)
    model = random_model(config, setup.device)
    for batch in (1, 8, 64, 256) if setup.on_gpu else (1, 2):
        yield Task(f"decode, batch {batch}", partial(_decode, model, batch, limit, setup))
    if setup.on_gpu:
        for batch in (1, 64):
            yield Task(f"eager decode, batch {batch}", partial(_eager, model, batch))
    yield Task("prefill", partial(_prefill, model, limit, setup))
    yield Task("start of a server", partial(_start, model, setup))
    if setup.on_gpu:
        yield Task("kernels of a decode step", partial(_launches, model))
        yield Task("chosen configurations", chosen)


def _start(model: Transformer, setup: Setup) -> Iterator[Result]:
    """Records all decode steps of a server with its default settings."""
    rows, longest, chunk = (32, 8192, CHUNK) if setup.on_gpu else (1, 128, BLOCK)
    weight = model.unembedding.weight
    cache = KVCache(model.config, 2 * blocks_of(longest), weight.dtype, weight.device)
    forward = graphed(setup)(model, cache)
    made = Runner(
        model, cache, max_batch=rows, max_context=longest, prefill_chunk=chunk, forward=forward
    )
    steps: list[int] = []
    before, begin = _free_gib(setup), time.perf_counter()
    made.prepare(lambda done, total: steps.append(done))
    taken, used = time.perf_counter() - begin, before - _free_gib(setup)
    yield Result("recording of all decode steps", taken, "s", note=f"{len(steps)} steps")
    yield Result("memory of steps and kernels", used, "GiB", note="besides weights and cache")


def _free_gib(setup: Setup) -> float:
    return torch.cuda.mem_get_info()[0] / 2**30 if setup.on_gpu else 0.0


def _decode(model: Transformer, batch: int, limit: Limits, setup: Setup) -> Iterator[Result]:
    prompts = [prompt(model, PROMPT if setup.on_gpu else 8, row) for row in range(batch)]
    generated(model, prompts, 4, forward_for)
    taken = _decode_seconds(model, prompts, DECODED if setup.on_gpu else 4)
    demand = decode_step(model.config, batch, PROMPT + DECODED // 2)
    share = demand.seconds(limit.bandwidth, limit.operations) / taken
    name = f"decode, batch {batch}"
    judged = required(setup.shape, name, share, limit)
    yield Result(name, batch / taken, "tokens/s", share, *judged)


def _eager(model: Transformer, batch: int) -> Iterator[Result]:
    """Decode without graphs, which shows what they gain, and how fast decode is if they fail."""
    prompts = [prompt(model, PROMPT, row) for row in range(batch)]
    taken = _decode_seconds(model, prompts, 8, RaggedForward)
    yield Result(f"decode without graphs, batch {batch}", batch / taken, "tokens/s")


def _prefill(model: Transformer, limit: Limits, setup: Setup) -> Iterator[Result]:
    length = LONG_PROMPT if setup.on_gpu else 20
    shortest = prefill(model.config, length).seconds(limit.bandwidth, limit.operations)
    for chunk in (SMALLER_CHUNK, CHUNK) if setup.on_gpu else (CHUNK,):
        taken = _prefill_seconds(model, length, chunk)
        share, name = shortest / taken, f"prefill, {length} tokens in chunks of {chunk}"
        judged = required(setup.shape, name, share, limit)
        yield Result(name, length / taken, "tokens/s", share, *judged)


def context(setup: Setup) -> Iterator[Task]:
    """A prompt of nearly 131,072 tokens within the memory of an 80 GB GPU."""
    if setup.on_gpu:
        total = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction(min(1.0, CAP_GIB * 2**30 / total))
    model = random_model(shape(setup.shape), setup.device)
    yield Task("a long prompt", partial(_context, model, setup))


def _context(model: Transformer, setup: Setup) -> Iterator[Result]:
    length = model.config.max_position_embeddings - BLOCK if setup.on_gpu else 40
    taken = _prefill_seconds(model, length)
    yield Result(f"prefill, {length} tokens", length / taken, "tokens/s")
    if setup.on_gpu:
        peak = torch.cuda.max_memory_reserved() / 2**30
        yield Result("peak memory", peak, "GiB", passed=peak <= CAP_GIB, note=f"at most {CAP_GIB}")


def prompt(model: Transformer, length: int, seed: int) -> tuple[int, ...]:
    """Random tokens."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(0, model.config.vocab_size, (length,), generator=generator)
    return tuple(drawn.tolist())


def _greedy(row: int, tokens: int) -> SamplingParams:
    return SamplingParams(tokens, temperature=0)


def _drawn(row: int, tokens: int) -> SamplingParams:
    """Alternates between greedy and random rows, most of them with a top_p, a top_k, or both."""
    top_p, top_k = LIMITS[row // 2 % len(LIMITS)]
    return SamplingParams(tokens, temperature=float(row % 2), top_p=top_p, top_k=top_k, seed=row)


def _runner(
    model: Transformer,
    prompts: list[tuple[int, ...]],
    tokens: int,
    forward: MakeForward,
    params: Callable[[int, int], SamplingParams] = _greedy,
    chunk: int = CHUNK,
) -> Runner:
    longest = max(map(len, prompts)) + tokens + BLOCK
    # A block of a chunk also needs a page for the layers with a window until the end of the step.
    pages = len(prompts) * (4 + blocks_of(longest)) + blocks_of(chunk)
    weight = model.unembedding.weight
    cache = KVCache(model.config, pages, weight.dtype, weight.device)
    made = Runner(
        model,
        cache,
        max_batch=len(prompts),
        max_context=longest,
        prefill_chunk=chunk,
        forward=forward(model, cache),
    )
    for row, prompt in enumerate(prompts):
        made.add(Sequence(prompt, params(row, tokens)))
    return made


def generated(
    model: Transformer,
    prompts: list[tuple[int, ...]],
    tokens: int,
    forward: MakeForward,
    params: Callable[[int, int], SamplingParams] = _greedy,
    chunk: int = CHUNK,
) -> list[Step]:
    """Generate this many tokens after each prompt. Raises NotFiniteError."""
    made = _runner(model, prompts, tokens, forward, params, chunk)
    steps: list[Step] = []
    while made.scheduler.running:
        steps += _advanced(made)
    return steps


def _advanced(made: Runner) -> list[Step]:
    """Run a step. Raises NotFiniteError."""
    steps = made.step()
    failed = sum(step.token is None for step in steps)
    if failed:
        raise NotFiniteError(f"{failed} of {len(steps)} rows have no finite logits")
    return steps


def token_ids(steps: list[Step]) -> list[list[int]]:
    """The tokens of each sequence, in the order in which the sequences were added."""
    by_order: dict[int, list[int]] = {}
    for step in steps:
        assert step.token is not None
        by_order.setdefault(step.sequence.order, []).append(step.token.id)
    return [by_order[order] for order in sorted(by_order)]


def _decode_seconds(
    model: Transformer,
    prompts: list[tuple[int, ...]],
    tokens: int,
    forward: MakeForward = forward_for,
) -> float:
    """Median seconds of a step that decodes one token of every sequence."""
    made = _runner(model, prompts, tokens, forward)
    taken = []
    while made.scheduler.running:
        begin = time.perf_counter()
        steps = _advanced(made)  # The tokens of the previous step were read back.
        if len(steps) == len(prompts):
            taken.append(time.perf_counter() - begin)
    return sorted(taken)[len(taken) // 2]


def _prefill_seconds(model: Transformer, length: int, chunk: int = CHUNK) -> float:
    """Seconds until the first token, after a short prompt has autotuned the kernels."""
    generated(model, [prompt(model, min(length, chunk), 1)], 1, forward_for, chunk=chunk)
    made = _runner(model, [prompt(model, length, 2)], 1, forward_for, chunk=chunk)
    begin = time.perf_counter()
    while made.scheduler.running:
        _advanced(made)
    return time.perf_counter() - begin


def _launches(model: Transformer) -> Iterator[Result]:
    """The number of kernels of an eager decode step, and those that take longest."""
    made = _runner(model, [prompt(model, PROMPT, 3)], DECODED, RaggedForward)
    for _ in range(3):
        made.step()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        made.step()
        torch.cuda.synchronize()
    spent: Counter[str] = Counter()
    count: Counter[str] = Counter()
    for event in profile.events():
        if event.device_type.name == "CUDA":  # not the call that launches it
            spent[event.name] += event.time_range.elapsed_us()
            count[event.name] += 1
    layers = model.config.num_hidden_layers
    yield Result("kernels of a decode step", sum(count.values()), "launches")
    yield Result("kernels per layer", sum(count.values()) / layers, "launches")
    for name, microseconds in spent.most_common(12):
        yield Result(f"in {name[:60]}", microseconds, "µs", note=f"{count[name]} launches")
