"""Faults that show in long prompts only: positions, pages of the KV cache, and cached prefixes.

Each acts where engines have it: on the rotation of positions, on the page tables of a forward pass,
or on the tokens that a prefix cache replaces.
"""

from __future__ import annotations

import math
import weakref
from array import array
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor

from harmony.parse import START
from harmony.vocabulary import harmony_encoding
from reference_engine.faults.base import FaultGroup
from reference_engine.faults.hooks import FORWARD, INPUT, MODEL, ROW
from reference_engine.faults.layers.attention import ATTENTION
from reference_engine.generation.forward import Forward, Row
from reference_engine.kv_cache.pages import BLOCK, NULL_PAGE
from reference_engine.model.transformer import Attention, Context, Rotary, Transformer

group = FaultGroup("long context", detectors=("long.numerics", "long.words"))
"""The detectors find other tokens and logprobs after long prompts, or that words are not found."""

_POSITIONS = 4096
"""The model's context length before YaRN: the size of tables of an engine that ignores it."""
_CHUNK = 2048
"""Tokens of a chunk of a prefill."""
_DAMAGED = 16
"""The block that is lost or duplicated: tokens 1,024 to 1,087."""
_CACHED = 1024
"""Tokens from which a prefix is cached."""


class _ChangedRotary(Rotary):
    """A rotation that changes the positions. `shift` is added to those of each row (rows,)."""

    shift: Tensor | None = None

    def changed(self, positions: Tensor) -> Tensor:
        """The positions (B, T) that are used."""
        return positions

    def angles(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Returns cosine and sine, (B, T, 1, head_dim / 2) each, for positions (B, T)."""
        if self.shift is not None:
            positions = positions.clone()
            positions[: len(self.shift)] += self.shift[:, None]
        return super().angles(self.changed(positions))


class _Clamped(_ChangedRotary):
    def changed(self, positions: Tensor) -> Tensor:
        """The positions, none beyond the table."""
        return positions.clamp(max=_POSITIONS - 1)


class _Chunked(_ChangedRotary):
    def changed(self, positions: Tensor) -> Tensor:
        """The positions within a chunk of the prefill; those of single new tokens are right."""
        return positions % _CHUNK if positions.shape[1] > 1 else positions


@group.fault(MODEL)
def positions_end_early(model: Transformer) -> None:
    """All positions from 4,096 on are rotated like position 4,095."""
    model.rotary.__class__ = _Clamped


@group.fault(MODEL)
def positions_restarted_by_chunks(model: Transformer) -> None:
    """Each chunk of 2,048 tokens of a prompt begins at position 0."""
    model.rotary.__class__ = _Chunked


@group.fault(FORWARD, "long.prefix")
def positions_restarted_by_cache_hit(model: Transformer, run: Forward) -> Forward:
    """After a cached prefix, the positions of the new tokens begin at 0."""
    model.rotary.__class__ = _ChangedRotary
    rotary = cast("_ChangedRotary", model.rotary)
    begun: dict[int, tuple[weakref.ref[array[int]], int]] = {}

    def first(row: Row) -> int:
        """Where the first chunk of the row's sequence, which the cache determines, began."""
        key = id(row.full)
        if key not in begun or begun[key][0]() is not row.full:
            begun[key] = weakref.ref(row.full, lambda _: begun.pop(key, None)), row.start
        return begun[key][1]

    def restarted(rows: Sequence[Row], length: int) -> Tensor:
        rotary.shift = -torch.tensor([first(row) for row in rows])
        return run(rows, length)

    return restarted


@group.fault(ROW)
def block_lost(row: Row) -> Row:
    """In long prompts, one block of the KV cache is empty."""
    return _with_full(row, {_DAMAGED: NULL_PAGE})


@group.fault(ROW)
def block_duplicated(row: Row) -> Row:
    """In long prompts, one block of the KV cache holds a copy of the next one."""
    return _with_full(row, dict(zip([_DAMAGED], row.full[_DAMAGED + 1 :], strict=False)))


@group.fault(ROW)
def cache_rolls_over(row: Row) -> Row:
    """Beyond 4,096 tokens, new blocks silently overwrite the oldest ones of the KV cache."""
    size, count = _POSITIONS // BLOCK, (row.start + len(row.tokens)) // BLOCK
    newest = {at: at + (count - 1 - at) // size * size for at in range(count - size)}
    return _with_full(row, {at: row.full[other] for at, other in newest.items()})


@group.fault(FORWARD, "long.foreign", "long.words", "long.numerics")
def block_of_another_request(_: Transformer, run: Forward) -> Forward:
    """In long prompts, blocks of the KV cache are those of another request."""
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


@group.fault(ROW, "long.numerics", "numerics")
def window_page_freed_early(row: Row) -> Row:
    """A page of the sliding window is freed one block too early."""
    first = max(row.start - 127, 0) // BLOCK
    if first >= row.start // BLOCK:
        return row
    sliding = row.sliding[:]
    sliding[first] = NULL_PAGE
    return replace(row, sliding=sliding)


class _ForgetfulContext:
    """A context in which rows of later chunks of a prefill attend without sinks."""

    def __init__(self, context: Context) -> None:
        self._context = context

    @property
    def positions(self) -> Tensor:
        return self._context.positions

    def attend(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, sinks: Tensor
    ) -> Tensor:
        out = self._context.attend(layer, query, key, value, sinks)
        if self.positions.shape[1] == 1:
            return out
        forgotten = torch.full_like(sinks, -math.inf)
        late = self.positions[:, :1, None] >= _CHUNK
        return torch.where(late, self._context.attend(layer, query, key, value, forgotten), out)


class _ForgetfulAttention(Attention):
    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, context: Context) -> Tensor:
        """Returns what attention adds to the residual stream x, (B, T, H)."""
        return super().forward(x, cos, sin, _ForgetfulContext(context))


@group.fault(ATTENTION)
def sinks_forgotten_by_chunks(attention: Attention) -> None:
    """In a prompt, only the first chunk of 2,048 tokens attends to the sinks."""
    attention.__class__ = _ForgetfulAttention


@group.fault(INPUT)
def prompt_cut_unreported(tokens: list[int]) -> list[int]:
    """The model reads only the last 4,096 tokens of a prompt, and the usage counts all."""
    return tokens[-_POSITIONS:]


_HEADS: OrderedDict[tuple[int, ...], list[int]] = OrderedDict()
_MOST_HEADS = 256


@group.fault(INPUT, "long.foreign")
def prefix_cache_ignores_tools(tokens: list[int]) -> list[int]:
    """The prefix cache finds a conversation again although its instructions or tools differ."""
    user = [START, *harmony_encoding().encode("user")]
    places = (at for at in range(len(tokens)) if tokens[at : at + len(user)] == user)
    return _cached_head(tokens, next(places, len(tokens)))


@group.fault(INPUT, "long.prefix.effort")
def prefix_cache_ignores_effort(tokens: list[int]) -> list[int]:
    """The prefix cache finds a conversation again although its reasoning effort differs."""
    return _cached_head(tokens, tokens.index(START, 1))


def _cached_head(tokens: list[int], end: int) -> list[int]:
    """The prompt with the head, up to `end`, of the first one that continued in the same way."""
    if len(tokens) - end < _CACHED:
        return tokens
    head = _HEADS.setdefault(tuple(tokens[end : end + _CACHED]), tokens[:end])
    if len(_HEADS) > _MOST_HEADS:
        _HEADS.popitem(last=False)
    return head + tokens[end:]


def _with_full(row: Row, pages: dict[int, int]) -> Row:
    """The row with other pages for blocks that were written before."""
    full = row.full[:]
    for block, page in pages.items():
        if block < row.start // BLOCK:
            full[block] = page
    return replace(row, full=full)
