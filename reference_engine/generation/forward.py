"""One pass of a batch through the model, from new tokens to the stream at each row's end."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from reference_engine.kv_cache.cache import KVCache
from reference_engine.kv_cache.pages import BLOCK
from reference_engine.model.transformer import Transformer, sink_attention


class Forward(Protocol):
    """Takes rows of up to `length` new tokens through the model; (rows, H), each row's last."""

    def __call__(self, rows: Sequence[Row], length: int) -> Tensor:
        """Runs the batch; keys and values of its tokens are in the cache afterwards."""
        ...


MakeForward = Callable[[Transformer, KVCache], Forward]
"""Makes what takes a model with its cache through a batch."""


class GatheredForward:
    """Rows padded to equal length, attention by PyTorch; what a row gets ignores its company."""

    def __init__(self, model: Transformer, cache: KVCache) -> None:
        self._model = model
        self._cache = cache
        self._multiple = row_multiple(model.unembedding.weight)

    def __call__(self, rows: Sequence[Row], length: int) -> Tensor:
        """Runs the batch."""
        nothing = Row((), 0, array("i"), array("i"))
        padded = [*rows, *[nothing] * (-len(rows) * length % self._multiple)]
        tokens = [[*row.tokens, *[0] * (length - len(row.tokens))] for row in padded]
        context = GatheredContext(self._cache, padded, length)
        stream = self._model.stream(torch.tensor(tokens, device=context.positions.device), context)
        last = torch.tensor([len(row.tokens) - 1 for row in rows], device=stream.device)
        return stream[torch.arange(len(rows), device=stream.device), last]


def row_multiple(weight: Tensor) -> int:
    """The multiple to which batches are padded so that a row's result ignores its company.

    Measured for PyTorch's matrix products on CPU: in bfloat16 only a single row is treated apart,
    in float32 every number of rows that is no multiple of eight.
    """
    if weight.is_cuda:
        return 1
    return 2 if weight.dtype == torch.bfloat16 else 8


KEY_MULTIPLE = 512
ROWS_AT_ONCE = 8
"""Few rows at a time, so that what is gathered stays in the processor's cache (measured: 2.5 ms a
layer instead of 4 for 32 rows of 512 keys)."""
_WINDOW_MULTIPLE = 16
_NULL_ROW = 0
_SCRATCH_ROW = 1
"""Rows of the null page: the zeros that stand for the sink, and where padding is written."""


@dataclass(frozen=True)
class Row:
    """New tokens of one sequence, from position `start` on, and the sequence's tables."""

    tokens: Sequence[int]
    start: int
    full: array[int]
    near: array[int]


@dataclass(frozen=True)
class _Group:
    """Rows of a batch that attend over equally many keys; all rows if `members` is None.

    `keys` are (rows, keys) numbers of rows in the cache, the null row first; `visible` is
    (rows, T, keys - 1).
    """

    members: Tensor | None
    keys: Tensor
    visible: Tensor


@dataclass(frozen=True)
class _View:
    """What layers of one kind do: where they write, (B, T), and what they attend over."""

    written: Tensor
    groups: list[_Group]


class GatheredContext:
    """What the rows of one batch see: their own past in the cache, and each other nothing."""

    def __init__(self, cache: KVCache, rows: Sequence[Row], length: int) -> None:
        self._cache = cache
        device = cache.layers[0].keys.device
        starts = torch.tensor([row.start for row in rows])
        ends = starts + torch.tensor([len(row.tokens) for row in rows])
        positions = starts[:, None] + torch.arange(length)
        self._views: dict[str, _View] = {}
        if cache.layout.full:
            place = _Places([row.full for row in rows], ends)
            groups = _full_groups(place, positions)
            self._views["full_attention"] = _view(place, positions, groups, device)
        if (window := cache.layout.window) is not None:
            place = _Places([row.near for row in rows], ends)
            groups = [_near_group(place, positions, window)]
            self._views["sliding_attention"] = _view(place, positions, groups, device)
        self.positions = positions.to(device)

    def attend(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, sinks: Tensor
    ) -> Tensor:
        """Writes the new keys and values, then attends over all that each token may see."""
        view = self._views[self._cache.config.layer_types[layer]]
        pages = self._cache.layers[layer]
        keys, values = pages.keys.flatten(0, 1), pages.values.flatten(0, 1)
        keys[view.written] = key
        values[view.written] = value
        if len(view.groups) == 1:
            return _attend(view.groups[0], query, keys, values, sinks)
        out = query.new_empty((*query.shape[:2], query.shape[2] * query.shape[3]))
        for group in view.groups:
            out[group.members] = _attend(group, query[group.members], keys, values, sinks)
        return out


class _Places:
    """Where the positions of each row lie in the cache; those from `ends` on lie nowhere."""

    def __init__(self, tables: Sequence[array[int]], ends: Tensor) -> None:
        table = np.zeros((len(tables), max(1, *map(len, tables))), dtype=np.int64)
        for row, pages in enumerate(tables):
            table[row, : len(pages)] = pages
        self._table = torch.from_numpy(table)
        self._ends = ends

    def rows(self, positions: Tensor, elsewhere: int, members: Tensor | None = None) -> Tensor:
        """The rows of the cache for positions (rows, n), `elsewhere` for those that lie nowhere."""
        table = self._table if members is None else self._table[members]
        ends = self._ends if members is None else self._ends[members]
        block = (positions // BLOCK).clamp(0, table.shape[1] - 1)
        rows = table.gather(1, block) * BLOCK + positions % BLOCK
        known = (positions >= 0) & (positions < ends[:, None])
        return torch.where(known, rows, elsewhere)


def _view(place: _Places, positions: Tensor, groups: list[_Group], device: torch.device) -> _View:
    moved = [
        _Group(
            group.members if group.members is None else group.members.to(device),
            group.keys.to(device),
            torch.where(group.visible, 0.0, -math.inf).to(device),
        )
        for group in groups
    ]
    return _View(place.rows(positions, _SCRATCH_ROW).to(device), moved)


def _near_group(place: _Places, positions: Tensor, window: int) -> _Group:
    """Every row sees the same number of positions up to its last."""
    length = positions.shape[1]
    count = -(-(window + length) // _WINDOW_MULTIPLE) * _WINDOW_MULTIPLE - 1
    key = positions[:, :1] - (window - 1) + torch.arange(count)
    own = positions[..., None]
    visible = (key[:, None] <= own) & (key[:, None] > own - window) & (key[:, None] >= 0)
    return _Group(None, _with_sink(place.rows(key, _NULL_ROW)), visible)


def _full_groups(place: _Places, positions: Tensor) -> list[_Group]:
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
        own = positions if chosen is None else positions[chosen]
        key = torch.arange(keys - 1).expand(len(rows), keys - 1)
        visible = key[:, None] <= own[..., None]
        groups.append(_Group(chosen, _with_sink(place.rows(key, _NULL_ROW, chosen)), visible))
    return groups


def _with_sink(rows: Tensor) -> Tensor:
    return torch.cat((rows.new_full((len(rows), 1), _NULL_ROW), rows), dim=1)


def _attend(group: _Group, query: Tensor, keys: Tensor, values: Tensor, sinks: Tensor) -> Tensor:
    key, value = (_gathered(store, group.keys) for store in (keys, values))
    return sink_attention(query, key, value, group.visible, sinks)


def _gathered(store: Tensor, rows: Tensor) -> Tensor:
    """(rows, kv_heads, keys, head_dim) from a store (all rows, kv_heads, head_dim)."""
    found = store.flatten(1).index_select(0, rows.flatten())
    return found.view(*rows.shape, *store.shape[1:]).transpose(1, 2)
