"""Which rows of which stored tensors make each tensor of the other layout, and their bytes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from reference_engine.checkpoint.errors import CheckpointError
from reference_engine.checkpoint.names import (
    Layout,
    Piece,
    Shape,
    Source,
    pair_names,
    pair_shapes,
    pieces,
    portions,
    sources,
)
from reference_engine.config import ModelConfig


class Origin(Protocol):
    """Tensors in one layout, lent a few rows at a time."""

    @property
    def config(self) -> ModelConfig:
        """The shape of the model."""
        ...

    @property
    def layout(self) -> Layout:
        """How the tensors are named and cut."""
        ...

    def dtype(self, name: str) -> torch.dtype | None:
        """The type of a tensor, None if there is no such tensor."""
        ...

    def rows(self, name: str, rows: range) -> AbstractContextManager[Tensor]:
        """Lends some rows of a tensor."""
        ...


@dataclass(frozen=True)
class Target:
    """A tensor to write.

    Attributes:
        pieces: The rows of stored tensors which, one after the other, are its rows.
        swapped: Whether the last two dimensions of these have to change places.
    """

    name: str
    dtype: torch.dtype
    shape: Shape
    pieces: tuple[Piece, ...]
    swapped: bool = False

    @property
    def nbytes(self) -> int:
        """Its size."""
        return math.prod(self.shape) * self.dtype.itemsize


def plan(origin: Origin, layout: Layout) -> list[Target]:
    """The tensors of a checkpoint in `layout` that holds what `origin` holds, bit for bit.

    Raises:
        CheckpointError: Tensors that have to become one are of different types.
    """
    wanted = sources(origin.config, layout)
    targets: list[Target] = []
    for parameter, source in sources(origin.config, origin.layout).items():
        pair = _pair(origin, source, wanted[parameter], layout)
        targets += pair or _plain(origin, source, wanted[parameter])
    return targets


def contents(origin: Origin, target: Target) -> Iterator[Tensor]:
    """The rows of a target in order, a bounded number of bytes at a time.

    Each tensor is lent until the next is asked for.
    """
    for piece in target.pieces:
        for portion in portions(piece.rows, target.nbytes // target.shape[0]):
            with origin.rows(piece.tensor, portion) as rows:
                yield rows.mT if target.swapped else rows


def _pair(origin: Origin, source: Source, wanted: Source, layout: Layout) -> list[Target]:
    """Blocks and scales, which both layouts store alike; nothing where `origin` has none."""
    if source.packed is None or wanted.packed is None:
        return []
    stored = pair_names(source.packed[0], origin.layout)
    if origin.dtype(stored[0]) is None:
        return []
    names, shapes = pair_names(wanted.packed[0], layout), pair_shapes(source.packed[1])
    return [
        Target(name, torch.uint8, shape, (Piece(old, range(shape[0])),))
        for old, name, shape in zip(stored, names, shapes, strict=True)
    ]


def _plain(origin: Origin, source: Source, wanted: Source) -> list[Target]:
    targets = []
    begin = 0
    for name, shape in wanted.tensors:
        parts = tuple(pieces(source, range(begin, begin + shape[0])))
        dtypes = {origin.dtype(part.tensor) for part in parts}
        dtype = dtypes.pop()
        if dtypes or dtype is None:
            names = ", ".join(part.tensor for part in parts)
            raise CheckpointError(
                f"{names} have to become the one tensor {name!r}, but are not of one type."
            )
        swapped = source.transposed != wanted.transposed
        targets.append(Target(name, dtype, shape, parts, swapped))
        begin += shape[0]
    return targets
