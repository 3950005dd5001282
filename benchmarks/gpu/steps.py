"""The pass with fused kernels, compared with the model's own code."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from functools import partial
from unittest import mock

import torch

from reference_engine.generation import ragged
from reference_engine.generation.forward import Row
from reference_engine.generation.ragged import RaggedForward
from reference_engine.kv_cache.cache import KVCache
from reference_engine.kv_cache.pages import BLOCK, blocks_of

from .measuring import Result, Setup, Task
from .model import random_model, shape

LAYERS = 2
"""One of each kind of attention."""
BOUNDS = {torch.float32: 1e-4, torch.bfloat16: 2**-5}
"""Largest mean difference as a share of the mean size of what the step computes. In bfloat16,
nearly equal scores of the router can change order; a wrong kernel differs far more."""


def steps(setup: Setup) -> Iterator[Task]:
    """Decode steps and prompts with fused kernels, compared with the model's own code."""
    for dtype in BOUNDS:
        for rows, new in ((1, 1), (8, 1), (64, 1), (8, 60)) if setup.on_gpu else ((3, 1), (2, 9)):
            name = f"{rows} × {new} tokens, {str(dtype).removeprefix('torch.')}"
            yield Task(name, partial(_difference, name, rows, new, dtype, setup))


def _difference(
    name: str, rows: int, new: int, dtype: torch.dtype, setup: Setup
) -> Iterator[Result]:
    config = shape(setup.shape, LAYERS)
    model = random_model(config, setup.device, dtype)
    longest = 300 if setup.on_gpu else 70
    blocks = blocks_of(longest + new)
    cache = KVCache(config, 2 * rows * blocks, dtype, torch.device(setup.device))
    for store in cache.layers:
        store.keys.zero_()
        store.values.zero_()
    tables = [
        (_pages(2 * row * blocks, blocks), _pages((2 * row + 1) * blocks, blocks))
        for row in range(rows)
    ]
    lengths = [1 + (longest - 1) * (row + 1) // rows for row in range(rows)]
    run = RaggedForward(model, cache)
    for length, (full, sliding) in zip(lengths, tables, strict=True):
        starts = range(0, length, BLOCK)
        run([Row(_tokens(at, min(BLOCK, length - at)), at, full, sliding) for at in starts], BLOCK)
    step = [
        Row(_tokens(length, new), length, *table)
        for length, table in zip(lengths, tables, strict=True)
    ]
    before = [torch.zeros((), device=setup.device), *_stored(cache)]
    fused = [run(step, new), *_stored(cache)]
    with mock.patch.object(ragged, "has_fused_kernels", return_value=False):
        plain = [run(step, new), *_stored(cache)]
    bound = BOUNDS[dtype]
    for place, what in enumerate(("result", "keys", "values")):
        changed = (plain[place] - before[place]).abs().float().sum()
        error = float((fused[place] - plain[place]).abs().float().sum() / changed)
        yield Result(f"{name}: {what}", error, "", None, error <= bound, f"at most {bound:.1e}")


def _pages(first: int, count: int) -> array[int]:
    return array("i", range(1 + first, 1 + first + count))


def _tokens(start: int, count: int) -> list[int]:
    return [(7 * place + 11) % 256 for place in range(start, start + count)]


def _stored(cache: KVCache) -> list[torch.Tensor]:
    """A copy of all keys, and of all values."""
    stores = list(dict.fromkeys(cache.layers))
    return [torch.stack([getattr(each, part) for each in stores]) for part in ("keys", "values")]
