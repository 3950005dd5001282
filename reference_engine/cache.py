"""Keys and values of the past: one slot a sequence, rings for layers with a sliding window.

A batch of B rows brings T new tokens each (T = 1 when decoding, a block when reading a prompt).
Their keys are written first, then everything is read back, so a row may be padded at its end: what
the padding leaves behind lies at positions that are written again before anyone may look at them.

A row's result depends on its own sequence only. The number of keys it attends over is rounded up
to a multiple of `KEY_MULTIPLE` by its own length; rows of equal rounded length go together.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from reference_engine.config import ModelConfig
from reference_engine.model import sink_attention

BLOCK = 64
"""Prompts are read in blocks of this many tokens that begin at its multiples."""

KEY_MULTIPLE = 512

Selection = slice | Tensor


class KVCache:
    """Keys and values of `slots` sequences; grows with the longest of them."""

    def __init__(
        self, config: ModelConfig, slots: int, dtype: torch.dtype, device: torch.device
    ) -> None:
        self.window = config.sliding_window
        self.ring = round_up(self.window + BLOCK, BLOCK) - 1
        self.sliding = [kind == "sliding_attention" for kind in config.layer_types]
        self._capacity = KEY_MULTIPLE
        heads, size = config.num_key_value_heads, config.head_dim

        def empty(keys: int) -> Tensor:
            return torch.zeros((slots, heads, keys, size), dtype=dtype, device=device)

        # Row 0 of every sequence stays zero: the sink, see `sink_attention`.
        rows = [1 + self.ring if sliding else self._capacity for sliding in self.sliding]
        self.keys = [empty(count) for count in rows]
        self.values = [empty(count) for count in rows]

    def rows_of(self, layer: int, positions: Tensor) -> Tensor:
        """The rows of a layer's cache where these positions are kept."""
        return 1 + (positions % self.ring if self.sliding[layer] else positions)

    def reserve(self, length: int) -> None:
        """Makes room for sequences of `length` tokens."""
        if 1 + length <= self._capacity:
            return
        while self._capacity < 1 + length:
            self._capacity *= 2
        for store in (self.keys, self.values):
            for layer, sliding in enumerate(self.sliding):
                if not sliding:
                    old = store[layer]
                    store[layer] = old.new_zeros(
                        (old.shape[0], old.shape[1], self._capacity, old.shape[3])
                    )
                    store[layer][:, :, : old.shape[2]] = old

    def context(self, slots: Sequence[int], starts: Sequence[int], length: int) -> CachedContext:
        """The context of a batch: row i continues slot `slots[i]` at position `starts[i]`."""
        self.reserve(max(starts) + length)
        return CachedContext(self, slots, starts, length)


@dataclass(frozen=True)
class _Group:
    """Rows of a batch that attend over the same number of cache rows."""

    rows: Selection
    slots: Selection
    keys: int
    visible: Tensor


class CachedContext:
    """What the rows of one batch see: their own past in the cache, and each other nothing."""

    def __init__(
        self, cache: KVCache, slots: Sequence[int], starts: Sequence[int], length: int
    ) -> None:
        self._cache = cache
        device = cache.keys[0].device
        self._slots = torch.tensor(slots, device=device)
        offsets = torch.arange(length, device=device)
        self.positions = torch.tensor(starts, device=device)[:, None] + offsets
        self._ring_rows = 1 + self.positions % cache.ring
        every = range(len(slots))
        self._near = [_Group(_select(every), _select(slots), 1 + cache.ring, self._near_mask())]
        self._full = self._full_groups(slots, starts, length)

    def attend(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, sinks: Tensor
    ) -> Tensor:
        """Writes the new keys and values, then attends over all that each token may see."""
        keys, values = self._cache.keys[layer], self._cache.values[layer]
        sliding = self._cache.sliding[layer]
        rows = self._ring_rows if sliding else 1 + self.positions
        keys[self._slots[:, None], :, rows] = key
        values[self._slots[:, None], :, rows] = value
        groups = self._near if sliding else self._full
        if len(groups) == 1:
            return _attend_group(groups[0], query, keys, values, sinks)
        out = query.new_empty((*query.shape[:2], query.shape[2] * query.shape[3]))
        for group in groups:
            out[group.rows] = _attend_group(group, query[group.rows], keys, values, sinks)
        return out

    def _near_mask(self) -> Tensor:
        """Which rows of the ring each token may see: those of the last `window` positions."""
        ring = torch.arange(self._cache.ring, device=self.positions.device)
        position = self.positions[..., None]
        age = (position - ring) % self._cache.ring
        return _mask((age < self._cache.window) & (age <= position))

    def _full_groups(
        self, slots: Sequence[int], starts: Sequence[int], length: int
    ) -> list[_Group]:
        members: dict[int, list[int]] = {}
        for row, start in enumerate(starts):
            keys = round_up(1 + start + length, KEY_MULTIPLE)
            members.setdefault(keys, []).append(row)
        groups = []
        for keys, rows in members.items():
            chosen = _select(rows)
            position = self.positions[chosen][..., None]
            visible = _mask(torch.arange(keys - 1, device=position.device) <= position)
            groups.append(_Group(chosen, _select([slots[row] for row in rows]), keys, visible))
        return groups


def _attend_group(
    group: _Group, query: Tensor, keys: Tensor, values: Tensor, sinks: Tensor
) -> Tensor:
    key, value = keys[group.slots, :, : group.keys], values[group.slots, :, : group.keys]
    return sink_attention(query, key, value, group.visible, sinks)


def round_up(count: int, multiple: int) -> int:
    """The least multiple that is at least `count`."""
    return -(-count // multiple) * multiple


def _mask(visible: Tensor) -> Tensor:
    return torch.where(visible, 0.0, -math.inf)


def _select(indices: Sequence[int]) -> Selection:
    """A slice (no copy) where the indices are consecutive."""
    first = indices[0]
    if list(indices) == list(range(first, first + len(indices))):
        return slice(first, first + len(indices))
    return torch.tensor(indices)
