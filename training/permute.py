"""Row gathers whose gradient is also a gather (index_add is slow on a CPU)."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


class _GatherOnce(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, index: Tensor, rows: int) -> Tensor:  # noqa: ANN401
        ctx.source = x.shape[0]
        ctx.save_for_backward(index)
        return F.pad(x.index_select(0, index), (0, 0) * (x.dim() - 1) + (0, rows - len(index)))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:  # noqa: ANN401
        (index,) = ctx.saved_tensors
        out = grad.new_zeros(ctx.source, *grad.shape[1:])
        return out.index_copy_(0, index, grad[: len(index)].contiguous()), None, None


class _Spread(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, index: Tensor, slots: Tensor) -> Tensor:  # noqa: ANN401
        ctx.save_for_backward(slots)
        ctx.source = x.shape[0]
        return x.index_select(0, index)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:  # noqa: ANN401
        (slots,) = ctx.saved_tensors
        out = grad.index_select(0, slots)
        return F.pad(out, (0, 0) * (grad.dim() - 1) + (0, ctx.source - len(slots))), None, None


def gather_once(x: Tensor, index: Tensor, rows: int | None = None) -> Tensor:
    """Returns `x[index]`, padded with zero rows to `rows`; `index` must not repeat rows."""
    out: Tensor = _GatherOnce.apply(  # type: ignore[no-untyped-call]
        x, index, len(index) if rows is None else rows
    )
    return out


def spread(x: Tensor, index: Tensor, slots: Tensor) -> Tensor:
    """Puts row `i` of x at position `slots[i]`; the other positions are undefined."""
    out: Tensor = _Spread.apply(x, index, slots)  # type: ignore[no-untyped-call]
    return out
