"""The kernels that a decode step launches on a GPU, counted without a GPU.

The step runs on tensors without data, and launches of Triton kernels are recorded instead of made.
Each PyTorch operator is counted as one launch unless it returns a view or only allocates memory.
The count is a lower bound: a few operators, such as sort, launch several kernels.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import product
from typing import cast
from unittest import mock

import torch
from torch import distributed
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode
from triton.runtime import Autotuner, KernelInterface

from reference_engine.generation.graphs import Decoder, record_calls
from reference_engine.generation.ragged import RaggedBatch
from reference_engine.kernels import attention_triton
from reference_engine.kernels.experts import PackedMixtureOfExperts, pack_experts
from reference_engine.kv_cache.cache import KVCache
from reference_engine.model.config import ModelConfig
from reference_engine.model.division import divide
from reference_engine.model.sharding import UNSHARDED, Shard
from reference_engine.model.transformer import Transformer

from .measuring import Result, Setup, Task
from .model import shape

MULTIPROCESSORS = 132
"""Multiprocessors of an H200; the number determines whether the keys of a sequence are split."""
WIDTH = 16
"""Blocks per page table: up to 1,024 tokens of context."""
ALLOCATIONS = ("empty", "detach", "alias", "_unsafe_view", "lift_fresh")
"""Name prefixes of operators that launch nothing; `new_empty` is decomposed."""


class _Operators(TorchDispatchMode):
    """Counts the operators of PyTorch that launch a kernel."""

    def __init__(self, launches: Counter[str]) -> None:
        super().__init__()
        self._launches = launches

    def __torch_dispatch__(
        self,
        func: OpOverload,
        types: object,
        args: Sequence[object] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> object:
        name = func.overloadpacket.__name__
        if not func.is_view and not name.removeprefix("new_").startswith(ALLOCATIONS):
            self._launches[name] += 1
        return func(*args, **(kwargs or {}))


@contextmanager
def counted() -> Iterator[Counter[str]]:
    """Counts launches by name within the context, in which Triton kernels do not run."""
    launches: Counter[str] = Counter()

    def launch(kernel: KernelInterface, grid: object) -> object:
        name = (kernel.fn if isinstance(kernel, Autotuner) else kernel).fn.__name__
        return lambda *args, **kwargs: launches.update([name])

    with (
        mock.patch.object(KernelInterface, "__getitem__", launch),
        mock.patch.object(attention_triton, "multiprocessors", return_value=MULTIPROCESSORS),
        torch.no_grad(),
        _Operators(launches),
    ):
        yield launches


def step_without_data(
    config: ModelConfig, rows: int, shard: Shard = UNSHARDED
) -> tuple[Decoder, RaggedBatch]:
    """A decode step whose tensors have no data, so that reading a value fails."""
    with torch.device("meta"):
        model = Transformer(config, kernels="triton")
        pack_experts(model)
        divide(model, shard)
        for block in model.blocks:
            _pack(cast("PackedMixtureOfExperts", block.mlp), config)
    model = model.to("meta", torch.bfloat16)
    cache = KVCache(model.config, rows * WIDTH, torch.bfloat16, torch.device("meta"))
    return Decoder(model, cache, record_calls, rows), RaggedBatch(cache, rows, rows, WIDTH)


@contextmanager
def exchanges_skipped(launches: Counter[str]) -> Iterator[None]:
    """Counts exchanges between processes as launches within the context, and makes none."""

    def skip(name: str) -> object:
        return lambda *tensors: launches.update([name])

    with (
        mock.patch.object(distributed, "all_reduce", skip("all_reduce")),
        mock.patch.object(distributed, "all_gather", skip("all_gather")),
    ):
        yield


@torch.inference_mode(mode=False)  # Inference mode would hide a few operators inside others.
def decode_launches(config: ModelConfig, rows: int, shard: Shard = UNSHARDED) -> Counter[str]:
    """Returns the launches of a step that draws one token of each row, without top_p.

    With several processes, it returns those of one of them; the exchanges are not made.
    """
    decoder, batch = step_without_data(config, rows, shard)
    with counted() as launches, exchanges_skipped(launches):
        decoder.run(batch, nucleus=False)
    return launches


def per_layer(name: str, rows: int) -> float:
    """Returns the mean launches of a layer of a published shape."""
    config, small = shape(name), shape(name, 2)
    further = decode_launches(config, rows).total() - decode_launches(small, rows).total()
    return further / (config.num_hidden_layers - small.num_hidden_layers)


def launches(_setup: Setup) -> Iterator[Task]:
    """Launches of a decode step, counted from the program."""
    for name, rows in product(("20b", "120b"), (1, 8, 64)):
        yield Task(f"{name}, {rows} rows", partial(_launches, name, rows))


def _launches(name: str, rows: int) -> Iterator[Result]:
    total = decode_launches(shape(name), rows).total()
    yield Result(f"{name}, {rows} rows", total, "launches")
    yield Result(f"{name}, {rows} rows, per layer", per_layer(name, rows), "launches")


def _pack(experts: PackedMixtureOfExperts, config: ModelConfig) -> None:
    hidden, inner = config.hidden_size, config.intermediate_size
    count = len(experts.mlp1_bias)
    for name, outputs, inputs in (("mlp1", 2 * inner, hidden), ("mlp2", hidden, inner)):
        blocks = torch.empty(count, outputs, inputs // 8, dtype=torch.int32)
        scales = torch.empty(count, inputs // 32, outputs, dtype=torch.uint8)
        experts.set_kernel_layout(f"{name}_weight", blocks, scales)
