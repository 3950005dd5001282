"""Faults that only long prompts show: positions, pages of the KV cache, and cached prefixes."""

from __future__ import annotations

import math
import weakref
from array import array
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor

from harmony.parse import START
from harmony.vocabulary import harmony_encoding
from reference_engine.faults import hooks
from reference_engine.faults.fault import Hook
from reference_engine.faults.layers.numerics import ATTEND
from reference_engine.generation.forward import Forward, Row
from reference_engine.kv_cache.pages import BLOCK, NULL_PAGE
from reference_engine.model.transformer import Context, Rotary, Transformer

_POSITIONS = 4096
"""The model's context length before YaRN: the size of tables of an engine that ignores it."""
_CHUNK = 2048  # tokens of a chunk of a prefill
_DAMAGED = 16  # the block that is lost or duplicated: tokens 1,024 to 1,087
_CACHED = 1024  # tokens from which a prefix is cached


class _ChangedRotary(Rotary):
    """A rotation by other positions (B, T) than the true ones."""

    change: Callable[[Tensor], Tensor]

    def angles(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Return cosine and sine, (B, T, 1, head_dim / 2) each, for positions (B, T)."""
        return super().angles(self.change(positions))


def _positions(change: Callable[[Tensor], Tensor]) -> hooks.ModelChange:
    def damage(model: Transformer) -> None:
        model.rotary.__class__ = _ChangedRotary
        cast("_ChangedRotary", model.rotary).change = change

    return damage


def _pages(change: Callable[[Row], dict[int, int]]) -> hooks.ForwardChange:
    found: hooks.ForwardChange = hooks.ROW.adapt(lambda row: _with_full(row, change(row)))
    return found


POSITIONS = Hook("model", _positions)  # the positions (B, T) that rotate queries and keys
PAGES = Hook("forward", _pages)
"""Other pages for blocks of a row that were written before, for layers with full attention."""

POSITIONS.faults(
    positions_end_early=lambda positions: positions.clamp(max=_POSITIONS - 1),
    # Single new tokens have their right positions.
    positions_restarted_by_chunks=lambda positions: (
        positions % _CHUNK if positions.shape[1] > 1 else positions
    ),
)
PAGES.faults(
    block_lost=lambda _: {_DAMAGED: NULL_PAGE},
    block_duplicated=lambda row: dict(zip([_DAMAGED], row.full[_DAMAGED + 1 :], strict=False)),
)
hooks.INPUT.faults(
    prompt_cut_unreported=lambda tokens: tokens[-_POSITIONS:],
    prefix_cache_ignores_effort=lambda tokens: _cached_head(tokens, tokens.index(START, 1)),
)


@hooks.FORWARD
def positions_restarted_by_cache_hit(model: Transformer, run: Forward) -> Forward:
    begun: dict[int, tuple[weakref.ref[array[int]], int]] = {}
    shift = torch.zeros(0, dtype=torch.long)

    def first(row: Row) -> int:
        """Return where the first chunk of the row's sequence, which the cache sets, began."""
        key = id(row.full)
        if key not in begun or begun[key][0]() is not row.full:
            begun[key] = weakref.ref(row.full, lambda _: begun.pop(key, None)), row.start
        return begun[key][1]

    def shifted(positions: Tensor) -> Tensor:
        positions = positions.clone()
        positions[: len(shift)] += shift[:, None]
        return positions

    def restarted(rows: Sequence[Row], length: int) -> Tensor:
        nonlocal shift
        shift = -torch.tensor([first(row) for row in rows])
        return run(rows, length)

    _positions(shifted)(model)
    return restarted


@PAGES
def cache_rolls_over(row: Row) -> dict[int, int]:
    size, count = _POSITIONS // BLOCK, (row.start + len(row.tokens)) // BLOCK
    newest = {at: at + (count - 1 - at) // size * size for at in range(count - size)}
    return {at: row.full[other] for at, other in newest.items()}


@hooks.FORWARD
def block_of_another_request(_: Transformer, run: Forward) -> Forward:
    foreign: list[array[int]] = []

    def mixed(rows: Sequence[Row], length: int) -> Tensor:
        changed = []
        for row in rows:
            others = [pages for pages in foreign if pages[0] != row.full[0]]
            if row.start >= _CACHED and others:
                row = _with_full(row, dict(enumerate(others[-1][: _CACHED // BLOCK])))
            elif row.start >= _CACHED:
                foreign[:] = [*foreign[-1:], row.full[: _CACHED // BLOCK]]
            changed.append(row)
        return run(changed, length)

    return mixed


@hooks.ROW
def window_page_freed_early(row: Row) -> Row:
    first = max(row.start - 127, 0) // BLOCK
    if first >= row.start // BLOCK:
        return row
    sliding = row.sliding[:]
    sliding[first] = NULL_PAGE
    return replace(row, sliding=sliding)


@ATTEND
def sinks_forgotten_by_chunks(
    context: Context, layer: int, query: Tensor, key: Tensor, value: Tensor, sinks: Tensor
) -> Tensor:
    out = context.attend(layer, query, key, value, sinks)
    if context.positions.shape[1] == 1:
        return out
    forgotten = torch.full_like(sinks, -math.inf)
    late = context.positions[:, :1, None] >= _CHUNK
    return torch.where(late, context.attend(layer, query, key, value, forgotten), out)


_HEADS: OrderedDict[tuple[int, ...], list[int]] = OrderedDict()
_MOST_HEADS = 256


@hooks.INPUT
def prefix_cache_ignores_tools(tokens: list[int]) -> list[int]:
    user = [START, *harmony_encoding().encode("user")]
    places = (at for at in range(len(tokens)) if tokens[at : at + len(user)] == user)
    return _cached_head(tokens, next(places, len(tokens)))


def _cached_head(tokens: list[int], end: int) -> list[int]:
    """Return the prompt with the head, up to `end`, of the first that continued equally."""
    if len(tokens) - end < _CACHED:
        return tokens
    head = _HEADS.setdefault(tuple(tokens[end : end + _CACHED]), tokens[:end])
    if len(_HEADS) > _MOST_HEADS:
        _HEADS.popitem(last=False)
    return head + tokens[end:]


def _with_full(row: Row, pages: dict[int, int]) -> Row:
    """Return the row with other pages for blocks that were written before."""
    full = row.full[:]
    for block, page in pages.items():
        if block < row.start // BLOCK:
            full[block] = page
    return replace(row, full=full)
