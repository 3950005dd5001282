"""The same work many times: all results must have the same bits.

A kernel whose result depends on the order in which a GPU executes it is wrong now and then, mostly
by finite values that no other stage notices.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from unittest import mock

import torch
from torch import Tensor

from reference_engine.generation.forward import Forward, Row
from reference_engine.generation.ragged import RaggedForward
from reference_engine.kernels.experts_triton import (
    CONFIGURATIONS,
    block_rows,
    down_kernel,
    gate_up_kernel,
    multiply_down,
    multiply_up,
)
from reference_engine.kernels.routing import route
from reference_engine.kv_cache.cache import KVCache
from reference_engine.model.transformer import Transformer

from .engine import DECODED, NotFiniteError, generated, graphed, prompt, token_ids
from .kernels import described, expert_layer, routed
from .measuring import Result, Setup, Task
from .model import random_model, shape

LAUNCHES, PASSES, PROMPT_RUNS, DECODE_RUNS = 1000, 100, 20, 5
ROWS_PER_EXPERT = {16: 4, 64: 38, 128: 512}
"""For each number of rows per tile, an average number of rows of an expert that selects it, with
tiles that are less than half full among them."""
MOST_TOKENS = 4096


def repeat(setup: Setup) -> Iterator[Task]:
    """Whether repeated work has the same bits: each expert kernel alone, prompts, and decode."""
    for name in ("20b", "120b") if setup.on_gpu else ("tiny",):
        yield Task(f"{name}: kernels", partial(_kernels, name, setup))
        yield Task(f"{name}: engine", partial(_engine, name, setup))


def _kernels(name: str, setup: Setup) -> Iterator[Result]:
    """Every configuration in bfloat16, with its output filled with NaN before each launch."""
    config = shape(name)
    generator = torch.Generator(setup.device).manual_seed(0)
    gate_up, down = expert_layer(config, torch.bfloat16, generator)
    experts, top = config.num_local_experts, config.num_experts_per_tok
    for block, average in ROWS_PER_EXPERT.items() if setup.on_gpu else [(16, 4)]:
        count = min(average * experts // top, MOST_TOKENS)
        tokens, chosen, weights = routed(config, count, torch.bfloat16, generator)
        assert block_rows(chosen.numel(), experts, tokens.dtype) == block
        routing, limit = route(chosen, weights, experts, block), config.swiglu_limit
        inner = tokens.new_empty((chosen.numel(), config.intermediate_size))
        product = tokens.new_empty((*chosen.shape, config.hidden_size), dtype=torch.float32)
        up = partial(multiply_up, inner, tokens, top, routing, gate_up, limit, block)
        up()
        given = inner.clone()
        lower = partial(multiply_down, product, given, routing, down, block)
        kernels = ((gate_up_kernel, up, inner), (down_kernel, lower, product))
        for choice in CONFIGURATIONS["16 rows" if block == 16 else "more rows"]:
            for kernel, launch, out in kernels:
                made = f"{kernel.base_fn.__name__}, {block} rows, {described(choice)}"
                with mock.patch.object(kernel, "configs", [choice]):
                    yield _launched(f"{name}: {made}", launch, out, setup)


def _launched(name: str, launch: Callable[[], None], out: Tensor, setup: Setup) -> Result:
    """Launch a kernel many times; count the launches that differ from the first, and their NaN."""
    launches = LAUNCHES if setup.on_gpu else 2
    counts = torch.zeros(2, dtype=torch.int64, device=setup.device)
    first = None
    for _ in range(launches):
        out.fill_(torch.nan)
        launch()
        first = out.clone() if first is None else first
        # NaN differs from itself.
        counts += torch.stack(((out != first).any(), (~out.isfinite()).sum()))
    wrong, not_finite = counts.tolist()
    note = f"of {launches} launches; none allowed; {not_finite} values not finite"
    return Result(name, wrong, "differ", passed=wrong == not_finite == 0, note=note)


def _engine(name: str, setup: Setup) -> Iterator[Result]:
    """Prompts in one pass and in several, then decode, with the complete model."""
    model = random_model(shape(name), setup.device)
    for count, length, runs in (
        ((64, 64, PASSES), (256, 128, PROMPT_RUNS)) if setup.on_gpu else ((2, 9, 2),)
    ):
        prompts = [prompt(model, length, row) for row in range(count)]
        yield _compared(
            f"{name}: {count} prompts of {length} tokens", partial(_streams, model, prompts), runs
        )
    rows, length, tokens = (256, 128, DECODED) if setup.on_gpu else (2, 9, 3)
    prompts = [prompt(model, length, row) for row in range(rows)]

    def decoded() -> Tensor:
        return torch.tensor(token_ids(generated(model, prompts, tokens, graphed(setup))))

    runs = DECODE_RUNS if setup.on_gpu else 2
    yield _compared(f"{name}: {rows} rows, {tokens} greedy tokens with graphs", decoded, runs)


def _streams(model: Transformer, prompts: list[tuple[int, ...]]) -> Tensor:
    """The stream at the last token of every block of the prompts, (blocks, H)."""
    found: list[Tensor] = []

    def recorded(model: Transformer, cache: KVCache) -> Forward:
        forward = RaggedForward(model, cache)

        def run(rows: Sequence[Row], length: int) -> Tensor:
            found.append(forward(rows, length))
            return found[-1]

        return run

    generated(model, prompts, 1, recorded)
    return torch.cat(found)


def _compared(name: str, run: Callable[[], Tensor], runs: int) -> Result:
    """Count the runs that differ from the first one with finite results."""
    first, equal, failed = None, 0, 0
    for _ in range(runs):
        try:
            found = run()
        except NotFiniteError:
            failed += 1
            continue
        first = found if first is None else first
        equal += torch.equal(found, first)
    note = f"of {runs} runs; none allowed; {failed} with logits that are not finite"
    return Result(name, runs - equal, "differ", passed=equal == runs, note=note)
