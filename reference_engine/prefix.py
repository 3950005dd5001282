"""Reuse of prompt beginnings: the keys and values of recently read blocks, kept by their tokens.

Only whole blocks of a prompt are kept, and prompts are always read in the same blocks, so what is
copied from here is bit for bit what reading the prompt again would give.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from reference_engine.cache import BLOCK, KVCache

_Key = tuple[int, tuple[int, ...]]
_ROOT = 0


@dataclass(frozen=True)
class _Block:
    """One block's keys and values, (2, BLOCK, kv_heads, head_dim) a layer."""

    id: int
    layers: tuple[Tensor, ...]


class PrefixCache:
    """Blocks by (what came before, own tokens); the longest unused is forgotten first."""

    def __init__(self, cache: KVCache, max_bytes: int) -> None:
        self._cache = cache
        self._blocks: OrderedDict[_Key, _Block] = OrderedDict()
        self._next_id = _ROOT + 1
        block_bytes = 2 * BLOCK * sum(keys[0, :, 0].nbytes for keys in cache.keys)
        self._max_blocks = max_bytes // block_bytes

    def restore(self, prompt: Sequence[int], slot: int) -> int:
        """Copies the known beginning of `prompt` into `slot`; returns its length in tokens.

        At least the prompt's last token is left to be read, for it yields the first prediction.
        """
        known = self._match(prompt, (len(prompt) - 1) // BLOCK)
        length = len(known) * BLOCK
        for index, block in enumerate(known):
            out_of_window = (index + 1) * BLOCK <= length - (self._cache.window - 1)
            self._copy(block, slot, index * BLOCK, full_only=out_of_window)
        return length

    def store(self, prompt: Sequence[int], slot: int, start: int) -> None:
        """Keeps the block of `prompt` at `start`, which `slot` holds and has just been read."""
        before = self._match(prompt, start // BLOCK)
        if len(before) * BLOCK != start or self._max_blocks == 0:
            return
        key = (before[-1].id if before else _ROOT, tuple(prompt[start : start + BLOCK]))
        if key in self._blocks:
            return
        positions = torch.arange(start, start + BLOCK, device=self._cache.keys[0].device)
        layers = []
        for layer, (keys, values) in enumerate(
            zip(self._cache.keys, self._cache.values, strict=True)
        ):
            rows = self._cache.rows_of(layer, positions)
            layers.append(torch.stack((keys[slot, :, rows], values[slot, :, rows])))
        self._blocks[key] = _Block(self._next_id, tuple(layers))
        self._next_id += 1
        if len(self._blocks) > self._max_blocks:
            self._blocks.popitem(last=False)

    def _match(self, prompt: Sequence[int], limit: int) -> list[_Block]:
        keys: list[_Key] = []
        found: list[_Block] = []
        parent = _ROOT
        for index in range(limit):
            key = (parent, tuple(prompt[index * BLOCK : (index + 1) * BLOCK]))
            block = self._blocks.get(key)
            if block is None:
                break
            keys.append(key)
            found.append(block)
            parent = block.id
        for key in reversed(keys):
            self._blocks.move_to_end(key)
        return found

    def _copy(self, block: _Block, slot: int, start: int, *, full_only: bool) -> None:
        positions = torch.arange(start, start + BLOCK, device=self._cache.keys[0].device)
        for layer, (key, value) in enumerate(block.layers):
            if full_only and self._cache.sliding[layer]:
                continue
            rows = self._cache.rows_of(layer, positions)
            self._cache.keys[layer][slot, :, rows] = key
            self._cache.values[layer][slot, :, rows] = value
