"""One pass of a batch through the model, from new tokens to the stream at each row's end."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from reference_engine.cache import KVCache
from reference_engine.gathered_context import GatheredContext, Row
from reference_engine.model import Transformer


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
