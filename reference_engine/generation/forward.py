"""One forward pass of a batch: the interface, and the implementation in PyTorch.

A batch of B rows has T new tokens per row: T = 1 for decode, up to a block for prefill. All keys
and values are written before any are read, so consecutive blocks of one prompt can be rows of the
same batch. The new tokens of a prefill are one sequence, (1, tokens), for all matrix products; for
attention, the rows are padded at their end to a block. No token sees the padding.

The result of a row depends only on its own sequence. For layers with full attention, the number of
keys is the row's own length rounded up to a multiple of `KEY_MULTIPLE`, and rows with the same
rounded length form a group. For layers with a sliding window it is the same for all rows.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import starmap

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from reference_engine.kv_cache.cache import KVCache
from reference_engine.kv_cache.pages import BLOCK
from reference_engine.model.products import TILE
from reference_engine.model.transformer import Transformer, scored_attention, sink_scores

KEY_MULTIPLE = 64
ROWS_AT_ONCE = 8
"""Rows per attention call. With few rows, the gathered keys stay in the CPU cache (measured: 2.5 ms
per layer instead of 4 ms for 32 rows of 512 keys)."""
_PREFILL_MULTIPLE = 16
"""The same for blocks of prompts, whose lengths are multiples of a block, and for windows."""
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
    """Computes attention with PyTorch, over the gathered keys and values of each row."""

    def __init__(self, model: Transformer, cache: KVCache) -> None:
        self._model = model
        self._cache = cache

    def __call__(self, rows: Sequence[Row], length: int) -> Tensor:
        """Run the batch."""
        context = GatheredContext(self._cache, rows, length)
        device = context.positions.device
        tokens = torch.tensor([token for row in rows for token in row.tokens], device=device)
        if length == 1:
            stream = self._model.stream(tokens[:, None], context)[:, 0]
        else:
            ends = torch.tensor([len(row.tokens) for row in rows], device=device).cumsum(0) - 1
            stream = self._model.stream(_filled(tokens)[None], context, _filled(ends))[0]
        normalized: Tensor = self._model.norm(stream[: len(rows)])
        return normalized


def _filled(numbers: Tensor, value: int = 0) -> Tensor:
    """Return numbers, (n,), with more of them up to a multiple of the height of a product."""
    return F.pad(numbers, (0, -len(numbers) % TILE), value=value)


@dataclass(frozen=True)
class _Group:
    """Rows of a batch that attend over the same number of keys; all rows if `members` is None.

    `keys` are row numbers of the cache, (rows, keys), with the zero row first. `scores` are the
    `sink_scores` of the rows, which the layers share.
    """

    members: Tensor | None
    keys: Tensor
    scores: Tensor


@dataclass(frozen=True)
class _LayerPlan:
    """For layers of one kind: the cache rows to write, (B T,), and the attention groups."""

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
            index = _CacheIndex(cache, [row.full for row in rows], ends)
            self._plans["full_attention"] = index.plan(positions, _full_keys(positions))
        if (window := cache.layout.window) is not None:
            index = _CacheIndex(cache, [row.sliding for row in rows], ends)
            self._plans["sliding_attention"] = index.plan(
                positions, [_window_keys(positions, window)]
            )
        self._padding: _Padding | None = None
        self.positions = positions.to(device)
        if length > 1:
            places = (positions < ends[:, None]).flatten().nonzero()[:, 0]
            self.positions = _filled(positions.flatten()[places])[None].to(device)
            tokens = torch.zeros(positions.numel(), dtype=torch.int64)
            tokens[places] = torch.arange(len(places))
            self._padding = _Padding(positions.shape, tokens.to(device), _filled(places).to(device))

    def attend(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, sinks: Tensor
    ) -> Tensor:
        """Write the new keys and values, then attend over all visible tokens."""
        plan = self._plans[self._cache.config.layer_types[layer]]
        pages = self._cache.layers[layer]
        keys, values = pages.keys.flatten(0, 1), pages.values.flatten(0, 1)
        padding = self._padding
        if padding is not None:
            query, key, value = (
                x[0].index_select(0, padding.tokens).view(*padding.shape, *x.shape[2:])
                for x in (query, key, value)
            )
        keys.index_copy_(0, plan.written, key.flatten(0, 1))
        values.index_copy_(0, plan.written, value.flatten(0, 1))
        out = _attend_groups(plan.groups, query, keys, values, sinks)
        return out if padding is None else out.flatten(0, 1).index_select(0, padding.places)[None]


@dataclass(frozen=True)
class _Padding:
    """How the new tokens of a prefill, (1, tokens), become rows of blocks, (B, T), and back."""

    shape: torch.Size
    tokens: Tensor  # (B T,): the token in each place; any in unused places
    places: Tensor  # (tokens,): the place of each token


_Keys = tuple[Tensor | None, Tensor, Tensor]
"""The members of a group, positions of keys, (rows, keys), and what is visible, (rows, T, keys)."""


class _CacheIndex:
    """Maps positions of each row to rows of the cache; positions from `ends` on have no row."""

    def __init__(self, cache: KVCache, tables: Sequence[array[int]], ends: Tensor) -> None:
        table = np.zeros((len(tables), max(1, *map(len, tables))), dtype=np.int64)
        for row, pages in enumerate(tables):
            table[row, : len(pages)] = pages
        self._table = torch.from_numpy(table)
        self._ends = ends
        self._heads = cache.config.num_attention_heads
        self._store = cache.layers[0].keys

    def plan(self, positions: Tensor, groups: Sequence[_Keys]) -> _LayerPlan:
        """Return the plan of layers where new tokens have these positions, (B, T)."""
        written = self._rows(positions, _SCRATCH_ROW).flatten()
        return _LayerPlan(written.to(self._store.device), list(starmap(self._group, groups)))

    def _group(self, members: Tensor | None, keys: Tensor, visible: Tensor) -> _Group:
        rows = F.pad(self._rows(keys, _ZERO_ROW, members), (1, 0), value=_ZERO_ROW)
        shown = torch.where(visible, 0.0, -math.inf).to(self._store)
        device = self._store.device
        return _Group(
            members if members is None else members.to(device),
            rows.to(device),
            sink_scores(shown, self._heads),
        )

    def _rows(self, positions: Tensor, default: int, members: Tensor | None = None) -> Tensor:
        """Return cache rows for positions (rows, n), `default` for positions outside the row."""
        table = self._table if members is None else self._table[members]
        ends = self._ends if members is None else self._ends[members]
        block = (positions // BLOCK).clamp(0, table.shape[1] - 1)
        rows = table.gather(1, block) * BLOCK + positions % BLOCK
        return torch.where((positions >= 0) & (positions < ends[:, None]), rows, default)


def _window_keys(positions: Tensor, window: int) -> _Keys:
    """Return one group: every row attends over the same number of positions before its end."""
    count = -(-(window + positions.shape[1]) // _PREFILL_MULTIPLE) * _PREFILL_MULTIPLE - 1
    key = positions[:, :1] - (window - 1) + torch.arange(count)
    query = positions[..., None]
    visible = (key[:, None] <= query) & (key[:, None] > query - window) & (key[:, None] >= 0)
    return None, key, visible


def _full_keys(positions: Tensor) -> list[_Keys]:
    multiple = KEY_MULTIPLE if positions.shape[1] == 1 else _PREFILL_MULTIPLE
    members: dict[int, list[int]] = {}
    for row, last in enumerate(positions[:, -1].tolist()):
        members.setdefault(-(-(2 + last) // multiple) * multiple, []).append(row)
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
        groups.append((chosen, key, key[:, None] <= query[..., None]))
    return groups


def _attend_groups(
    groups: Sequence[_Group], query: Tensor, keys: Tensor, values: Tensor, sinks: Tensor
) -> Tensor:
    if len(groups) == 1:
        return _attend(groups[0], query, keys, values, sinks)
    out = query.new_empty((*query.shape[:2], query.shape[2] * query.shape[3]))
    for group in groups:
        out[group.members] = _attend(group, query[group.members], keys, values, sinks)
    return out


def _attend(group: _Group, query: Tensor, keys: Tensor, values: Tensor, sinks: Tensor) -> Tensor:
    key, value = (_gather(store, group.keys) for store in (keys, values))
    return scored_attention(query, key, value, group.scores, sinks)


def _gather(store: Tensor, rows: Tensor) -> Tensor:
    """Return (rows, kv_heads, keys, head_dim) from a store (all rows, kv_heads, head_dim)."""
    found = store.flatten(1).index_select(0, rows.flatten())
    return found.view(*rows.shape, *store.shape[1:]).transpose(1, 2)
