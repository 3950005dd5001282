"""Forward passes without padding, for the kernels of a GPU: all new tokens form one row."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from reference_engine.generation.forward import Row
from reference_engine.generation.sampling import Draw, settings_of
from reference_engine.kernels.experts import PackedMixtureOfExperts
from reference_engine.kv_cache.cache import KVCache
from reference_engine.kv_cache.pages import blocks_of
from reference_engine.model.transformer import Transformer

_WIDTHS = (16, 128, 1024)
"""Blocks of a page table. Longer ones have a power of two. Each width needs graphs; a wide table
costs little, because the kernels read only the pages of a sequence."""
_PADDING_LENGTH = 2
"""The context length of a padding row. Its token goes to the second row of the null page."""
_GREEDY = (1.0, 0.0, 1.0, math.inf, 0.0)  # the settings of a padding row


class PagedContext:
    """The context of several sequences' new tokens; each token sees the pages of its own sequence.

    The stream has the shape (1, tokens, H).

    Args:
        cache: The pages of each layer.
        block_tables: (sequences, max_pages), int32, for each kind of layer; the pages of each
            sequence in order.
        query_starts: (sequences + 1,), int32; the first new token of each sequence, then the end.
        context_lengths: (sequences,), int32; lengths including the new tokens.
        tokens: The total number of new tokens, equal to the last of `query_starts`.
    """

    def __init__(
        self,
        cache: KVCache,
        block_tables: Mapping[str, Tensor],
        query_starts: Tensor,
        context_lengths: Tensor,
        tokens: int,
    ) -> None:
        self._cache = cache
        self._tables = block_tables
        self._bounds = (query_starts, context_lengths)
        sequence, positions = _places(query_starts, context_lengths, tokens)
        self.positions = positions[None]
        page_size = cache.layers[0].keys.shape[1]
        self._pages = {
            kind: table[sequence, positions // page_size].long()
            for kind, table in block_tables.items()
        }
        self._row = positions % page_size

    def attend(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, sinks: Tensor
    ) -> Tensor:
        """Write the new keys and values, then attend over all visible tokens."""
        # Imported here because Triton is optional.
        from reference_engine.kernels.attention_triton import paged_attention

        config, store = self._cache.config, self._cache.layers[layer]
        kind = config.layer_types[layer]
        store.keys[self._pages[kind], self._row] = key[0]
        store.values[self._pages[kind], self._row] = value[0]
        window = config.sliding_window if kind == "sliding_attention" else None
        scale = config.head_dim**-0.5
        attended = paged_attention(
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
    them: `tokens`, (tokens,) in int32, and `settings`, (rows, 5) in float64, see
    `sampling.settings_of`.
    """

    def __init__(self, cache: KVCache, rows: int, tokens: int, blocks: int) -> None:
        self._cache = cache
        self._shapes = ((tokens,), (rows + 1,), (rows,), (rows, blocks), (rows, blocks), (rows, 10))
        self._numbers = torch.zeros(
            sum(map(_aligned, self._shapes)), dtype=torch.int32, device=cache.layers[0].keys.device
        )
        views = _views(self._numbers, self._shapes)
        self.tokens, self._starts, self._lengths, self._full, self._sliding, settings = views
        self.settings = settings.view(torch.float64)

    def fill(self, rows: Sequence[Row], draws: Sequence[Draw] = ()) -> None:
        """Copy rows into the batch without waiting for the GPU; pad the remaining rows."""
        host = torch.zeros(len(self._numbers), dtype=torch.int32, pin_memory=self._numbers.is_cuda)
        written = (view.numpy() for view in _views(host, self._shapes))
        tokens, starts, lengths, full, sliding, settings = written
        spare = len(lengths) - len(rows)
        tokens[:] = [token for row in rows for token in row.tokens] + [0] * spare
        starts[1:] = np.cumsum([len(row.tokens) for row in rows] + [1] * spare)
        lengths[:] = [row.start + len(row.tokens) for row in rows] + [_PADDING_LENGTH] * spare
        for at, row in enumerate(rows):
            full[at, : len(row.full)] = row.full
            sliding[at, : len(row.sliding)] = row.sliding
        settings = settings.view(np.float64)
        settings[:] = _GREEDY
        if draws:
            settings[: len(draws)] = settings_of(draws)
        self._numbers.copy_(host, non_blocking=True)

    def run(self, model: Transformer, tokens: Tensor) -> Tensor:
        """Run `tokens`, (tokens,); return the stream at each row's last token, (rows, H)."""
        tables = {"sliding_attention": self._sliding, "full_attention": self._full}
        if has_fused_kernels(model):
            from reference_engine.generation.fused import NewTokens, fused_pass

            if len(tokens) == len(self._lengths):
                sequences, positions = self._starts[:-1], self._lengths - 1
            else:
                sequences, positions = _places(self._starts, self._lengths, len(tokens))
            new = NewTokens(sequences.int(), positions.int(), self._starts, self._lengths)
            return fused_pass(model, self._cache, tokens, tables, new)
        context = PagedContext(self._cache, tables, self._starts, self._lengths, len(tokens))
        stream = model.stream(tokens[None], context)
        normalized: Tensor = model.norm(stream[0].index_select(0, self._starts[1:] - 1))
        return normalized


def _places(starts: Tensor, lengths: Tensor, tokens: int) -> tuple[Tensor, Tensor]:
    """Return the sequence of each new token, and its position in it; see `PagedContext`."""
    token = torch.arange(tokens, device=starts.device)
    sequence = torch.searchsorted(starts, token, right=True) - 1
    return sequence, lengths[sequence] - starts[sequence + 1] + token


def _aligned(shape: tuple[int, ...]) -> int:
    """Return the size, in int32 numbers, of a tensor padded to a multiple of 16 bytes.

    Triton compiles a kernel again for pointers that are not multiples of 16 bytes.
    """
    return -(-math.prod(shape) // 4) * 4


def _views(numbers: Tensor, shapes: Sequence[tuple[int, ...]]) -> list[Tensor]:
    """Divide `numbers` into tensors of these shapes."""
    parts = torch.split_with_sizes(numbers, [_aligned(shape) for shape in shapes])
    return [part[: math.prod(shape)].view(shape) for part, shape in zip(parts, shapes, strict=True)]


class RaggedForward:
    """Launches the kernels of every batch one by one."""

    def __init__(self, model: Transformer, cache: KVCache) -> None:
        self._model = model
        self._cache = cache

    def __call__(self, rows: Sequence[Row], length: int) -> Tensor:
        """Run the batch."""
        tokens = sum(len(row.tokens) for row in rows)
        batch = RaggedBatch(self._cache, len(rows), tokens, width_for(rows))
        batch.fill(rows)
        return batch.run(self._model, batch.tokens)


def width_for(rows: Sequence[Row]) -> int:
    """Return the width of the page tables of these rows."""
    return width_of(max(blocks_of(row.start + len(row.tokens)) for row in rows))


def width_of(blocks: int) -> int:
    """Return the width of a page table with at least this many blocks."""
    fitting = (width for width in _WIDTHS if width >= blocks)
    return next(fitting, 1 << (blocks - 1).bit_length())


def has_fused_kernels(model: Transformer) -> bool:
    """Return whether `fused_pass` can run the model: Triton, experts in MXFP4."""
    packed = all(isinstance(block.mlp, PackedMixtureOfExperts) for block in model.blocks)
    return model.kernels == "triton" and packed
