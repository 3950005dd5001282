"""The memory of the KV cache, in pages that all sequences and all layers share.

A page of a sequence serves either all layers with full attention or all layers with a sliding
window. The number of stores is the number of layers of the more frequent kind: the n-th layer of
either kind uses the n-th store, with different pages. One pool therefore counts the pages of all
stores, and the ratio between the kinds does not have to be known in advance.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from reference_engine.errors import SetupError
from reference_engine.kv_cache.pages import BLOCK, NULL_PAGE, BlockTable, Layout, PagePool
from reference_engine.model.config import ModelConfig

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class KVPages:
    """The pages of a store: keys and values, (pages, page_size, kv_heads, head_dim) each."""

    keys: Tensor
    values: Tensor


class KVCache:
    """The memory of `pages` pages, and the pool that tracks their use.

    `layers` has the store of each layer, with 1 + `pages` pages of BLOCK tokens. The first rows of
    page `NULL_PAGE` are zero.
    """

    def __init__(
        self, config: ModelConfig, pages: int, dtype: torch.dtype, device: torch.device
    ) -> None:
        self.config = config
        self.layout = Layout.of(config)
        self.pool = PagePool(pages)
        shape = (1 + pages, BLOCK, config.num_key_value_heads, config.head_dim)
        stores = [
            KVPages(*(torch.empty(shape, dtype=dtype, device=device) for _ in range(2)))
            for _ in range(_store_count(config))
        ]
        for store in stores:
            store.keys[NULL_PAGE] = 0
            store.values[NULL_PAGE] = 0
        seen: Counter[str] = Counter()
        self.layers: list[KVPages] = []
        for kind in config.layer_types:
            self.layers.append(stores[seen[kind]])
            seen[kind] += 1

    def table(self, hashes: Sequence[bytes]) -> BlockTable:
        """Return an empty table for a sequence whose prompt has these block hashes."""
        return BlockTable(self.pool, self.layout, hashes)

    def longest_context(self, requested: int) -> int:
        """Return the context length that model and memory allow. Raises SetupError if it is 0."""
        context = min(requested, self.config.max_position_embeddings)
        longest = self.layout.longest(self.pool.size)
        if longest is None or longest >= context:
            return context
        if longest < BLOCK:
            raise SetupError(
                f"The KV cache has {self.pool.size} pages of {BLOCK} tokens, which is too small "
                "for any request. Increase it with --kv-memory."
            )
        _log.warning(
            "The KV cache fits only %d tokens, so the context is limited to that.", longest
        )
        return longest


def page_bytes(config: ModelConfig, dtype: torch.dtype) -> int:
    """Return the size of one page in all stores together."""
    numbers = BLOCK * config.num_key_value_heads * config.head_dim
    return 2 * _store_count(config) * numbers * dtype.itemsize


def _store_count(config: ModelConfig) -> int:
    return max(Counter(config.layer_types).values())
