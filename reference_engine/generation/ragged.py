"""Forward passes without padding for the kernels of a GPU, and decode with CUDA graphs.

All new tokens of a batch form one row of the stream, one sequence after another.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from reference_engine.generation.forward import Forward, GatheredForward, Row
from reference_engine.kernels import Kernels
from reference_engine.kernels.attention import paged_attention_of
from reference_engine.kv_cache.cache import KVCache, KVPages
from reference_engine.kv_cache.pages import blocks_of
from reference_engine.model.config import ModelConfig
from reference_engine.model.packed import PackedMixtureOfExperts
from reference_engine.model.transformer import Transformer

_MIN_BLOCKS = 16
_PADDING_LENGTH = 2
"""The context length of a padding row. Its token goes to the second row of the null page."""


def forward_for(model: Transformer, cache: KVCache) -> Forward:
    """Returns the forward pass for the model's device and kernels."""
    if model.kernels == "torch":
        return GatheredForward(model, cache)
    if cache.layers[0].keys.is_cuda and _can_be_recorded(model):
        return GraphedForward(model, cache, record_graphs())
    return RaggedForward(model, cache)


class PagedContext:
    """The context of several sequences' new tokens: each sees the pages of its own sequence.

    The stream has the shape (1, tokens, H).

    Args:
        config: The model's shape.
        kernels: The attention implementation.
        layers: The store of each layer.
        block_tables: (sequences, max_pages), int32, for each kind of layer; the pages of each
            sequence in order.
        query_starts: (sequences + 1,), int32; the first new token of each sequence, then the end.
        context_lengths: (sequences,), int32; lengths including the new tokens.
        tokens: The total number of new tokens, equal to the last of `query_starts`.
    """

    def __init__(
        self,
        config: ModelConfig,
        kernels: Kernels,
        layers: list[KVPages],
        block_tables: Mapping[str, Tensor],
        query_starts: Tensor,
        context_lengths: Tensor,
        tokens: int,
    ) -> None:
        self._config = config
        self._attention = paged_attention_of(kernels)
        self._layers = layers
        self._tables = block_tables
        self._bounds = (query_starts, context_lengths)
        token = torch.arange(tokens, device=query_starts.device)
        sequence = torch.searchsorted(query_starts, token, right=True) - 1
        positions = context_lengths[sequence] - query_starts[sequence + 1] + token
        self.positions = positions[None]
        page_size = layers[0].keys.shape[1]
        self._pages = {
            kind: table[sequence, positions // page_size].long()
            for kind, table in block_tables.items()
        }
        self._row = positions % page_size

    def attend(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, sinks: Tensor
    ) -> Tensor:
        """Writes the new keys and values, then attends over all visible tokens."""
        kind, store = self._config.layer_types[layer], self._layers[layer]
        store.keys[self._pages[kind], self._row] = key[0]
        store.values[self._pages[kind], self._row] = value[0]
        window = self._config.sliding_window if kind == "sliding_attention" else None
        scale = self._config.head_dim**-0.5
        attended = self._attention(
            query[0],
            store.keys,
            store.values,
            self._tables[kind],
            *self._bounds,
            sinks,
            window,
            scale,
        )
        return attended.flatten(1)[None]


class RaggedBatch:
    """New tokens of several rows, one after another, and the page tables of their sequences.

    The tensors keep their addresses when the batch is filled again, so that a CUDA graph can read
    them.

    Args:
        cache: The cache that owns the pages.
        rows: The number of rows.
        tokens: The total number of new tokens.
        blocks: The width of the page tables.
    """

    def __init__(self, cache: KVCache, rows: int, tokens: int, blocks: int) -> None:
        device = cache.layers[0].keys.device
        shapes = ((tokens,), (rows + 1,), (rows,), (rows, blocks), (rows, blocks))
        size = sum(map(_aligned, shapes))
        self._cache = cache
        self._numbers = torch.zeros(size, dtype=torch.int32, device=device)
        self._host = torch.zeros(size, dtype=torch.int32, pin_memory=device.type == "cuda")
        self._written = [each.numpy() for each in _views(self._host, shapes)]
        views = _views(self._numbers, shapes)
        self.tokens, self.starts, self.lengths, self.full, self.sliding = views

    def fill(self, rows: Sequence[Row]) -> None:
        """Copies rows into the batch at once; each remaining row gets one padding token."""
        tokens, starts, lengths, *tables = self._written
        spare = len(lengths) - len(rows)
        tokens[:] = [token for row in rows for token in row.tokens] + [0] * spare
        starts[1:] = np.cumsum([len(row.tokens) for row in rows] + [1] * spare)
        lengths[:] = [row.start + len(row.tokens) for row in rows] + [_PADDING_LENGTH] * spare
        kinds = ([row.full for row in rows], [row.sliding for row in rows])
        for table, kind in zip(tables, kinds, strict=True):
            table[:] = 0
            for row, pages in enumerate(kind):
                table[row, : len(pages)] = pages
        self._numbers.copy_(self._host)

    def run(self, model: Transformer) -> Tensor:
        """Returns the stream at each row's last token, (rows, H)."""
        tables = {"sliding_attention": self.sliding, "full_attention": self.full}
        if len(self.tokens) == len(self.lengths) and has_fused_kernels(model):
            from reference_engine.generation.decode import decode

            return decode(model, self._cache, self.tokens, tables, self.starts, self.lengths)
        context = PagedContext(
            self._cache.config,
            model.kernels,
            self._cache.layers,
            tables,
            self.starts,
            self.lengths,
            len(self.tokens),
        )
        stream = model.stream(self.tokens[None], context)
        return stream[0].index_select(0, self.starts[1:] - 1)


def _aligned(shape: tuple[int, ...]) -> int:
    """Returns the int32 numbers of a tensor that ends at a multiple of 16 bytes.

    Triton compiles a kernel again for pointers that are not such multiples.
    """
    return -(-math.prod(shape) // 4) * 4


def _views(numbers: Tensor, shapes: Sequence[tuple[int, ...]]) -> list[Tensor]:
    """Divides `numbers` into tensors of these shapes."""
    parts = torch.split_with_sizes(numbers, [_aligned(shape) for shape in shapes])
    return [part[: math.prod(shape)].view(shape) for part, shape in zip(parts, shapes, strict=True)]


class RaggedForward:
    """Launches the kernels of every batch one by one."""

    def __init__(self, model: Transformer, cache: KVCache) -> None:
        self._model = model
        self._cache = cache

    def __call__(self, rows: Sequence[Row], length: int) -> Tensor:
        """Runs the batch."""
        tokens = sum(len(row.tokens) for row in rows)
        batch = RaggedBatch(self._cache, len(rows), tokens, width_for(rows))
        batch.fill(rows)
        return batch.run(self._model)


class GraphedForward:
    """Replays a recorded pass for decode batches; runs other batches without recording.

    Records on first use of each pair of row count (see `bucket`) and table width, a power of two.

    Args:
        model: The model.
        cache: Its cache.
        record: Records a pass; `record_graphs` on a GPU.
    """

    def __init__(self, model: Transformer, cache: KVCache, record: Record) -> None:
        self._model = model
        self._cache = cache
        self._eager = RaggedForward(model, cache)
        self._record = record
        self._recorded: dict[tuple[int, int], tuple[RaggedBatch, Recording]] = {}

    def __call__(self, rows: Sequence[Row], length: int) -> Tensor:
        """Runs the batch."""
        if length > 1:
            return self._eager(rows, length)
        count, width = bucket(len(rows)), width_for(rows)
        if (count, width) not in self._recorded:
            batch = RaggedBatch(self._cache, count, count, width)
            batch.fill(rows)
            recording = self._record(partial(batch.run, self._model))
            self._recorded[count, width] = (batch, recording)
        batch, recording = self._recorded[count, width]
        batch.fill(rows)
        recording.replay()
        return recording.result[: len(rows)].clone()


@dataclass(frozen=True)
class Recording:
    """A recorded computation: `replay` repeats it and overwrites `result`."""

    replay: Callable[[], object]
    result: Tensor


Record = Callable[[Callable[[], Tensor]], Recording]
"""Runs a computation once, and records it. Its inputs must keep their addresses."""


def record_graphs() -> Record:
    """Records CUDA graphs, which share the memory of their intermediate results."""
    memory = torch.cuda.graph_pool_handle()

    def record(run: Callable[[], Tensor]) -> Recording:
        run()  # Kernels autotune in this run, not while recording.
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=memory):
            result = run()
        return Recording(graph.replay, result)

    return record


def record_calls(run: Callable[[], Tensor]) -> Recording:
    """Does without a graph what `record_graphs` does: the twin for tests on a CPU."""
    result = run().clone()
    return Recording(lambda: result.copy_(run()), result)


def bucket(rows: int) -> int:
    """Returns the padded row count: a power of two up to 8, then a multiple of 8."""
    return 1 << (rows - 1).bit_length() if rows <= 8 else -(-rows // 8) * 8


def width_for(rows: Sequence[Row]) -> int:
    """Returns the blocks of the longest row, rounded up to a power of two."""
    blocks = max(blocks_of(row.start + len(row.tokens)) for row in rows)
    return max(_MIN_BLOCKS, 1 << (blocks - 1).bit_length())


def has_fused_kernels(model: Transformer) -> bool:
    """Returns whether `decode` can run the model: Triton, one process, experts in MXFP4.

    Faults in the model's numerics expand the experts, so they never apply to `decode`.
    """
    packed = all(isinstance(block.mlp, PackedMixtureOfExperts) for block in model.blocks)
    return model.kernels == "triton" and model.shard.ranks == 1 and packed


def _can_be_recorded(model: Transformer) -> bool:
    """Returns whether one process launches a pass and its launches depend on shapes only."""
    if model.shard.ranks > 1:
        return False
    experts = (block.mlp for block in model.blocks)
    return all(isinstance(each, PackedMixtureOfExperts) or each.dense for each in experts)
