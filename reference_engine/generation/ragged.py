"""A batch of new tokens over a paged KV cache, all sequences in one row without padding."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

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


class PagedContext:
    """What the new tokens of several sequences see: their own sequence's pages.

    The stream has the shape (1, tokens, H); `query_starts` cuts it into sequences.

    Args:
        config: The model's shape.
        kernels: What computes attention.
        layers: The pool of each layer.
        block_tables: (sequences, max_pages), int32; the pages of each sequence in order.
        query_starts: (sequences + 1,), int32; where each sequence's new tokens begin.
        context_lengths: (sequences,), int32; their lengths, new tokens included.
        tokens: How many new tokens there are in all, the last of `query_starts`.
    """

    def __init__(
        self,
        config: ModelConfig,
        kernels: Kernels,
        layers: list[KVPages],
        block_tables: Tensor,
        query_starts: Tensor,
        context_lengths: Tensor,
        tokens: int,
    ) -> None:
        self._config = config
        self._attention = paged_attention_of(kernels)
        self._layers = layers
        self._batch = (block_tables, query_starts, context_lengths)
        token = torch.arange(tokens, device=query_starts.device)
        sequence = torch.searchsorted(query_starts, token, right=True) - 1
        positions = context_lengths[sequence] - query_starts[sequence + 1] + token
        self.positions = positions[None]
        page_size = layers[0].keys.shape[1]
        self._page = block_tables[sequence, positions // page_size].long()
        self._row = positions % page_size

    def attend(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, sinks: Tensor
    ) -> Tensor:
        """Writes the new keys and values, then attends over all that each token may see."""
        pages = self._layers[layer]
        pages.keys[self._page, self._row] = key[0]
        pages.values[self._page, self._row] = value[0]
        sliding = self._config.layer_types[layer] == "sliding_attention"
        window = self._config.sliding_window if sliding else None
        scale = self._config.head_dim**-0.5
        attended = self._attention(
            query[0], pages.keys, pages.values, *self._batch, sinks, window, scale
        )
        return attended.flatten(1)[None]


_LEAST_BLOCKS = 16
_SCRATCH = 2
"""The length of a row of padding: its token is written to the second row of the null page."""


def forward_for(model: Transformer, cache: KVCache) -> Forward:
    """What takes batches through a model on its device, with its kernels."""
    if model.kernels == "torch":
        return GatheredForward(model, cache)
    if cache.layers[0].keys.is_cuda and _depends_on_shapes_alone(model):
        return GraphedForward(model, cache)
    return RaggedForward(model, cache)


class RaggedBatch:
    """New tokens of several rows, one after another, and where their sequences' pages are.

    The tensors keep their places when the batch is filled again, so that a CUDA graph may read
    them.

    Args:
        cache: Whose pages the tables name.
        rows: How many rows there are.
        tokens: How many tokens they have in all.
        blocks: The width of the tables.
    """

    def __init__(self, cache: KVCache, rows: int, tokens: int, blocks: int) -> None:
        device = cache.layers[0].keys.device

        def empty(*shape: int) -> Tensor:
            return torch.zeros(shape, dtype=torch.int32, device=device)

        self._cache = cache
        self.tokens = empty(tokens)
        self.starts, self.lengths = empty(rows + 1), empty(rows)
        self.full, self.near = empty(rows, blocks), empty(rows, blocks)

    def fill(self, rows: Sequence[Row]) -> None:
        """Takes rows over; those that are left get one token each that nobody sees."""
        spare = len(self.lengths) - len(rows)
        tokens = [token for row in rows for token in row.tokens] + [0] * spare
        starts = np.cumsum([0] + [len(row.tokens) for row in rows] + [1] * spare)
        lengths = [row.start + len(row.tokens) for row in rows] + [_SCRATCH] * spare
        self.tokens.copy_(torch.tensor(tokens))
        self.starts.copy_(torch.from_numpy(starts))
        self.lengths.copy_(torch.tensor(lengths))
        self.full.copy_(self._table([row.full for row in rows]))
        self.near.copy_(self._table([row.near for row in rows]))

    def run(self, model: Transformer) -> Tensor:
        """The stream at each row's end, (rows, H)."""
        stream = model.stream(self.tokens[None], _LayeredContext(self._cache, model, self))
        return stream[0].index_select(0, self.starts[1:] - 1)

    def _table(self, tables: Sequence[array[int]]) -> Tensor:
        made = np.zeros(tuple(self.full.shape), dtype=np.int32)
        for row, pages in enumerate(tables):
            made[row, : len(pages)] = pages
        return torch.from_numpy(made)


class _LayeredContext:
    """A paged context for each kind of layer: their sequences have different pages."""

    def __init__(self, cache: KVCache, model: Transformer, batch: RaggedBatch) -> None:
        self._kinds = cache.config.layer_types
        self._contexts = {
            kind: PagedContext(
                cache.config,
                model.kernels,
                cache.layers,
                batch.near if kind == "sliding_attention" else batch.full,
                batch.starts,
                batch.lengths,
                len(batch.tokens),
            )
            for kind in set(self._kinds)
        }
        self.positions = self._contexts[self._kinds[0]].positions

    def attend(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, sinks: Tensor
    ) -> Tensor:
        """Writes the new keys and values, then attends over all that each token may see."""
        return self._contexts[self._kinds[layer]].attend(layer, query, key, value, sinks)


class RaggedForward:
    """Runs every batch anew."""

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
    """Replays a CUDA graph where each row has one token; runs other batches anew.

    A graph is recorded for each number of rows of `bucket` and each width of tables, a power of
    two, when it is first needed. All share one memory for what they compute in between.
    """

    def __init__(self, model: Transformer, cache: KVCache) -> None:
        self._model = model
        self._cache = cache
        self._anew = RaggedForward(model, cache)
        self._memory = torch.cuda.graph_pool_handle()
        self._graphs: dict[tuple[int, int], tuple[RaggedBatch, torch.cuda.CUDAGraph, Tensor]] = {}

    def __call__(self, rows: Sequence[Row], length: int) -> Tensor:
        """Runs the batch."""
        if length > 1:
            return self._anew(rows, length)
        size = (bucket(len(rows)), width_for(rows))
        if size not in self._graphs:
            self._graphs[size] = self._recorded(rows, *size)
        batch, graph, stream = self._graphs[size]
        batch.fill(rows)
        graph.replay()
        return stream[: len(rows)].clone()

    def _recorded(
        self, rows: Sequence[Row], count: int, width: int
    ) -> tuple[RaggedBatch, torch.cuda.CUDAGraph, Tensor]:
        batch = RaggedBatch(self._cache, count, count, width)
        batch.fill(rows)
        batch.run(self._model)  # Kernels try their configurations now, not while recording.
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._memory):
            stream = batch.run(self._model)
        return batch, graph, stream


def bucket(rows: int) -> int:
    """The rows that a batch is padded to: a power of two up to 8, then a multiple of 8."""
    return 1 << (rows - 1).bit_length() if rows <= 8 else -(-rows // 8) * 8


def width_for(rows: Sequence[Row]) -> int:
    """The blocks of the longest row, rounded up to a power of two."""
    blocks = max(blocks_of(row.start + len(row.tokens)) for row in rows)
    return max(_LEAST_BLOCKS, 1 << (blocks - 1).bit_length())


def _depends_on_shapes_alone(model: Transformer) -> bool:
    """Whether one process launches all of a pass, the same for all tokens of equal number."""
    if model.shard.ranks > 1:
        return False
    experts = (block.mlp for block in model.blocks)
    return all(isinstance(each, PackedMixtureOfExperts) or each.dense for each in experts)
