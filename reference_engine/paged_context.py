"""A batch of new tokens over a paged KV cache, all sequences in one row without padding."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from reference_engine.config import ModelConfig
from reference_engine.kernels import Kernels
from reference_engine.kernels.attention import paged_attention_of


@dataclass(frozen=True)
class KVPages:
    """A layer's pool of pages: keys and values, (pages, page_size, kv_heads, head_dim) each."""

    keys: Tensor
    values: Tensor


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
