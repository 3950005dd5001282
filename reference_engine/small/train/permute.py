"""Row gathers whose gradient is a gather too (index_add is slow on a CPU)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class _GatherOnce(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, index: Tensor, inverse: Tensor | None) -> Tensor:  # noqa: ANN401
        ctx.rows = x.shape[0]
        ctx.save_for_backward(index, *([] if inverse is None else [inverse]))
        return x.index_select(0, index)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:  # noqa: ANN401
        index, *inverse = ctx.saved_tensors
        if inverse:
            return grad.index_select(0, inverse[0]), None, None
        out = grad.new_zeros(ctx.rows, *grad.shape[1:])
        return out.index_copy_(0, index, grad.contiguous()), None, None


class _Pad(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, index: Tensor, slots: Tensor) -> Tensor:  # noqa: ANN401
        ctx.save_for_backward(slots)
        return x.index_select(0, index)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:  # noqa: ANN401
        (slots,) = ctx.saved_tensors
        return grad.index_select(0, slots), None, None


def gather_once(x: Tensor, index: Tensor, inverse: Tensor | None = None) -> Tensor:
    """`x[index]` where no row is taken twice; `inverse` undoes a full permutation."""
    out: Tensor = _GatherOnce.apply(x, index, inverse)  # type: ignore[no-untyped-call]
    return out


def pad(x: Tensor, index: Tensor, slots: Tensor) -> Tensor:
    """`x[index]` where row `i` of x stands at `slots[i]` and all other slots hold filler."""
    out: Tensor = _Pad.apply(x, index, slots)  # type: ignore[no-untyped-call]
    return out
