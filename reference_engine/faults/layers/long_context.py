"""Faults that only long prompts show: positions, pages of the KV cache, and cached prefixes."""

from __future__ import annotations

import threading
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
from reference_engine.generation.forward import Forward, Row
from reference_engine.kv_cache.pages import BLOCK, NULL_PAGE
from reference_engine.model.transformer import Rotary, Transformer

_POSITIONS = 4096
"""The model's context length before YaRN: the size of tables of an engine that ignores it."""
_DAMAGED = 16  # the block that is lost: tokens 1,024 to 1,087
_CACHED = 1024  # tokens from which a prefix is cached


class _ChangedRotary(Rotary):
    """A rotation by other positions (B, T) than the true ones."""

    change: Callable[[Tensor], Tensor]

    def angles(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Return cosine and sine, (B, T, 1, head_dim / 2) each, for positions (B, T)."""
        return super().angles(self.change(positions))


def _positions(change: Callable[[Tensor], Tensor]) -> hooks.ModelChange:
    """Return a change of the positions (B, T) that rotate queries and keys."""

    def damage(model: Transformer) -> None:
        model.rotary.__class__ = _ChangedRotary
        cast("_ChangedRotary", model.rotary).change = change

    return damage


hooks.MODEL.faults(
    {"positions-end-early": _positions(lambda positions: positions.clamp(max=_POSITIONS - 1))}
)
hooks.INPUT.faults(
    {"prefix-cache-ignores-effort": lambda tokens: _cached_head(tokens, tokens.index(START, 1))},
)


@hooks.FORWARD("positions-restarted-by-cache-hit")
def positions_restarted_by_cache_hit(model: Transformer, run: Forward) -> Forward:
    begun: dict[int, tuple[weakref.ref[array[int]], int]] = {}
    running = threading.local()  # `shift` of each token that the thread runs

    def first(row: Row) -> int:
        """Return where the first chunk of the row's sequence, which the cache sets, began."""
        key = id(row.full)
        if key not in begun or begun[key][0]() is not row.full:
            begun[key] = weakref.ref(row.full, lambda _: begun.pop(key, None)), row.start
        return begun[key][1]

    def shifted(positions: Tensor) -> Tensor:
        shift = running.shift
        positions = positions.clone()
        positions.view(-1)[: len(shift)] += shift
        return positions

    def restarted(rows: Sequence[Row], length: int) -> Tensor:
        running.shift = -torch.tensor([first(row) for row in rows for _ in row.tokens])
        return run(rows, length)

    _positions(shifted)(model)
    return restarted


@hooks.ROW("block-lost")
def block_lost(row: Row) -> Row:
    if row.start // BLOCK <= _DAMAGED:  # It is not written yet.
        return row
    full = row.full[:]
    full[_DAMAGED] = NULL_PAGE
    return replace(row, full=full)


@hooks.ROW("window-page-freed-early")
def window_page_freed_early(row: Row) -> Row:
    first = max(row.start - 127, 0) // BLOCK
    if first >= row.start // BLOCK:
        return row
    sliding = row.sliding[:]
    sliding[first] = NULL_PAGE
    return replace(row, sliding=sliding)


_HEADS: OrderedDict[tuple[int, ...], list[int]] = OrderedDict()
_MOST_HEADS = 256


@hooks.INPUT("prefix-cache-ignores-tools")
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
