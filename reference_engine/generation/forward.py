"""One forward pass of a batch: the interface, and the implementation with padded rows in PyTorch.

A batch of B rows has T new tokens per row: T = 1 for decode, a block for prefill. All keys and
values are written before any are read, so consecutive blocks of one prompt can be rows of the same
batch. Rows are padded at their end; no token sees the padding.

The result of a row depends only on its own sequence. For layers with full attention, the number of
keys is the row's own length rounded up to a multiple of `KEY_MULTIPLE`, and rows with the same
rounded length form a group. For layers with a sliding window it is the same for all rows.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from reference_engine.kv_cache.cache import KVCache
from reference_engine.kv_cache.pages import BLOCK
from reference_engine.model.transformer import Transformer, sink_attention

KEY_MULTIPLE = 64
ROWS_AT_ONCE = 8
"""Rows per attention call. With few rows, the gathered keys stay in the CPU cache (measured: 2.5 ms
per layer instead of 4 ms for 32 rows of 512 keys)."""
_WINDOW_MULTIPLE = 16
_ZERO_ROW = 0
_SCRATCH_ROW = 1
"""Rows of the null page: the zeros of the sink, and the target of writes from padding."""


@dataclass(frozen=True)
class Row:
    """New tokens of one sequence from position `start`, and the sequence's page tables."""

    tokens: Sequence[int]
    start: int
    full: array[int]
    sliding: array[int]


Forward = Callable[[Sequence[Row], int], Tensor]
"""Runs rows of up to n new tokens through the model: writes all new tokens to the cache and returns
each row's last stream, normalized, (rows, H)."""

MakeForward = Callable[[Transformer, KVCache], Forward]


class GatheredForward:
    """Pads rows to equal length and computes attention with PyTorch."""

    def __init__(self, model: Transformer, cache: KVCache) -> None:
        self._model = model
        self._cache = cache

    def __call__(self, rows: Sequence[Row], length: int) -> Tensor:
        """Run the batch."""
        tokens = [[*row.tokens, *[0] * (length - len(row.tokens))] for row in rows]
        context = GatheredContext(self._cache, rows, length)
        stream = self._model.stream(torch.tensor(tokens, device=context.positions.device), context)
        last = torch.tensor([len(row.tokens) - 1 for row in rows], device=stream.device)
        normalized: Tensor = self._model.norm(
            stream[torch.arange(len(rows), device=stream.device), last]
        )
        return normalized


@dataclass(frozen=True)
class _Group:
    """Rows of a batch that attend over the same number of keys; all rows if `members` is None.

    `keys` are row numbers of the cache, (rows, keys), with the zero row first. `visible` is
    (rows, T, keys - 1), 0 or -inf.
    """

    members: Tensor | None
    keys: Tensor
    visible: Tensor


@dataclass(frozen=True)
class _LayerPlan:
    """For layers of one kind: the cache rows to write, (B, T), and the attention groups."""

    written: Tensor
    groups: list[_Group]


class GatheredContext:
    """The context of one batch: each row sees only its own sequence, gathered from its pages."""

    def __init__(self, cache: KVCache, rows: Sequence[Row], length: int) -> None:
        self._cache = cache
        device = cache.layers[0].keys.device
        starts = torch.tensor([row.start for row in rows])
        ends = starts + torch.tensor([len(row.tokens) for row in rows])
        positions = starts[:, None] + torch.arange(length)
        self._plans: dict[str, _LayerPlan] = {}
        if cache.layout.full:
            index = _CacheIndex([row.full for row in rows], ends)
            groups = _full_groups(index, positions)
            self._plans["full_attention"] = _plan(index, positions, groups, device)
        if (window := cache.layout.window) is not None:
            index = _CacheIndex([row.sliding for row in rows], ends)
            groups = [_window_group(index, positions, window)]
            self._plans["sliding_attention"] = _plan(index, positions, groups, device)
        self.positions = positions.to(device)

    def attend(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, sinks: Tensor
    ) -> Tensor:
        """Write the new keys and values, then attend over all visible tokens."""
        plan = self._plans[self._cache.config.layer_types[layer]]
        pages = self._cache.layers[layer]
        keys, values = pages.keys.flatten(0, 1), pages.values.flatten(0, 1)
        keys[plan.written] = key
        values[plan.written] = value
        if len(plan.groups) == 1:
            return _attend(plan.groups[0], query, keys, values, sinks)
        out = query.new_empty((*query.shape[:2], query.shape[2] * query.shape[3]))
        for group in plan.groups:
            out[group.members] = _attend(group, query[group.members], keys, values, sinks)
        return out


class _CacheIndex:
    """Maps positions of each row to rows of the cache; positions from `ends` on have no row."""

    def __init__(self, tables: Sequence[array[int]], ends: Tensor) -> None:
        table = np.zeros((len(tables), max(1, *map(len, tables))), dtype=np.int64)
        for row, pages in enumerate(tables):
            table[row, : len(pages)] = pages
        self._table = torch.from_numpy(table)
        self._ends = ends

    def rows(self, positions: Tensor, default: int, members: Tensor | None = None) -> Tensor:
        """Return cache rows for positions (rows, n), `default` for positions outside the row."""
        table = self._table if members is None else self._table[members]
        ends = self._ends if members is None else self._ends[members]
        block = (positions // BLOCK).clamp(0, table.shape[1] - 1)
        rows = table.gather(1, block) * BLOCK + positions % BLOCK
        return torch.where((positions >= 0) & (positions < ends[:, None]), rows, default)


def _plan(
    index: _CacheIndex, positions: Tensor, groups: list[_Group], device: torch.device
) -> _LayerPlan:
    moved = [
        _Group(
            group.members if group.members is None else group.members.to(device),
            group.keys.to(device),
            torch.where(group.visible, 0.0, -math.inf).to(device),
        )
        for group in groups
    ]
    return _LayerPlan(index.rows(positions, _SCRATCH_ROW).to(device), moved)


def _window_group(index: _CacheIndex, positions: Tensor, window: int) -> _Group:
    """Return one group: every row attends over the same number of positions before its end."""
    count = -(-(window + positions.shape[1]) // _WINDOW_MULTIPLE) * _WINDOW_MULTIPLE - 1
    key = positions[:, :1] - (window - 1) + torch.arange(count)
    query = positions[..., None]
    visible = (key[:, None] <= query) & (key[:, None] > query - window) & (key[:, None] >= 0)
    return _Group(None, _with_sink(index.rows(key, _ZERO_ROW)), visible)


def _full_groups(index: _CacheIndex, positions: Tensor) -> list[_Group]:
    members: dict[int, list[int]] = {}
    for row, last in enumerate(positions[:, -1].tolist()):
        members.setdefault(-(-(2 + last) // KEY_MULTIPLE) * KEY_MULTIPLE, []).append(row)
    pieces = [
        (keys, rows[first : first + ROWS_AT_ONCE])
        for keys, rows in members.items()
        for first in range(0, len(rows), ROWS_AT_ONCE)
    ]
    groups = []
    for keys, rows in pieces:
        chosen = torch.tensor(rows) if len(pieces) > 1 else None
        query = positions if chosen is None else positions[chosen]
        key = torch.arange(keys - 1).expand(len(rows), keys - 1)
        visible = key[:, None] <= query[..., None]
        groups.append(_Group(chosen, _with_sink(index.rows(key, _ZERO_ROW, chosen)), visible))
    return groups


def _with_sink(rows: Tensor) -> Tensor:
    return torch.cat((rows.new_full((len(rows), 1), _ZERO_ROW), rows), dim=1)


def _attend(group: _Group, query: Tensor, keys: Tensor, values: Tensor, sinks: Tensor) -> Tensor:
    key, value = (_gather(store, group.keys) for store in (keys, values))
    return sink_attention(query, key, value, group.visible, sinks)


def _gather(store: Tensor, rows: Tensor) -> Tensor:
    """Return (rows, kv_heads, keys, head_dim) from a store (all rows, kv_heads, head_dim)."""
    found = store.flatten(1).index_select(0, rows.flatten())
    return found.view(*rows.shape, *store.shape[1:]).transpose(1, 2)
