"""Keys and values of the past, in pages that all sequences and all layers share.

A page of a sequence serves either all layers that see everything or all that have a sliding window.
There are as many stores as the more numerous of the two kinds has layers: the n-th layer of either
kind keeps its keys and values in the n-th store, in pages of its own. One pool counts the pages of
all stores, and no ratio between the kinds has to be guessed.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from reference_engine.kv_cache.memory import Memory, MemoryTooSmallError
from reference_engine.kv_cache.pages import BLOCK, NULL_PAGE, BlockTable, Layout, PagePool
from reference_engine.model.config import ModelConfig

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class KVPages:
    """A layer's pool of pages: keys and values, (pages, page_size, kv_heads, head_dim) each."""

    keys: Tensor
    values: Tensor


class KVCache:
    """The memory of `pages` pages, and which of them are in use.

    Attributes:
        layers: Keys and values of each layer, (1 + pages, BLOCK, kv_heads, head_dim) each; page
            `NULL_PAGE` holds zeros at its beginning.
        layout: What a sequence needs pages for.
        pool: Who uses which page.
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
            for _ in range(_stores(config))
        ]
        for store in stores:
            store.keys[NULL_PAGE] = 0
            store.values[NULL_PAGE] = 0
        seen: Counter[str] = Counter()
        self.layers: list[KVPages] = []
        for kind in config.layer_types:
            self.layers.append(stores[seen[kind]])
            seen[kind] += 1

    def table(self, names: Sequence[bytes]) -> BlockTable:
        """An empty table for a sequence whose prompt has blocks of these names."""
        return BlockTable(self.pool, self.layout, names)

    def longest_context(self, wanted: int) -> int:
        """The longest context that is wanted, that the model knows, and that the pages hold.

        Raises:
            MemoryTooSmallError: The pages hold next to nothing.
        """
        context = min(wanted, self.config.max_position_embeddings)
        held = self.layout.longest(self.pool.size)
        if held is None or held >= context:
            return context
        if held < BLOCK:
            raise MemoryTooSmallError(
                f"The memory for keys and values holds {self.pool.size} pages of {BLOCK} tokens, "
                "too few for any request: give it more with --kv-memory."
            )
        _log.warning(
            "The memory for keys and values holds no more than %d tokens: contexts end there.", held
        )
        return held


def cache_for(
    config: ModelConfig, dtype: torch.dtype, device: torch.device, memory: Memory
) -> KVCache:
    """A cache of as many pages as the memory holds."""
    pages = memory.bytes_on(device) // page_bytes(config, dtype)
    return KVCache(config, pages, dtype, device)


def page_bytes(config: ModelConfig, dtype: torch.dtype) -> int:
    """What one page takes in all stores together."""
    numbers = BLOCK * config.num_key_value_heads * config.head_dim
    return 2 * _stores(config) * numbers * dtype.itemsize


def _stores(config: ModelConfig) -> int:
    return max(Counter(config.layer_types).values())
