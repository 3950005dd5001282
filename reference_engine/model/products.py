"""Matrix products whose rows have the same bits in every batch, and products with float32 results.

Products use the dtype of the weights.
"""

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

CONVERTED_ROWS = 1024
"""Rows of a weight that `wide_product` converts at a time."""
TILE = 16
"""Rows of a matrix product over single tokens on a CPU: the full height of the libraries' innermost
loops. With 6, 8, 24 or 32 rows, some sum the first and the last rows in a different order."""
LEAST_ROWS = 4
"""Rows of a product of any height; fewer are padded, because the libraries have other loops for
them."""
_HEIGHTS = (*range(LEAST_ROWS, 2 * TILE + 2), 40, 48, 56, 63, 64)
_MULTIPLES = (4, 8, TILE)
_COMPARED_OUTPUTS = 1024


def product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Map (B, T, inputs) or (B, inputs) to outputs, with a weight (outputs, inputs).

    The CPU libraries choose the order of a row's sums by the number of rows. Here the result of a
    sequence is the same to the last bit in every batch: a block of tokens is a product of its own,
    and single tokens are padded to a height that gives the same bits as others (`row_multiple`).
    """
    if not x.is_cpu:
        return F.linear(x, weight, bias)
    if x.ndim == 3 and x.shape[1] > 1:
        return torch.stack([F.linear(block, weight, bias) for block in x])
    rows = x.flatten(0, -2)
    if multiple := row_multiple(weight, biased=bias is not None):
        out = F.linear(_padded(rows, multiple), weight, bias)
    else:
        out = _tiles(rows, weight, bias)
    return out[: len(rows)].view(*x.shape[:-1], len(weight))


def product_into(out: Tensor, x: Tensor, weight: Tensor) -> None:
    """Write the product of rows (B, inputs) to the first rows of `out`, without a copy if possible.

    The number of rows of `out` is a multiple of `TILE`; those after the first B may be overwritten.
    """
    if multiple := row_multiple(weight):
        rows = _padded(x, multiple)
        torch.mm(rows, weight.mT, out=out[: len(rows)])
    else:
        out[: len(x)] = product(x, weight)


def _tiles(rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return the product of rows in tiles of `TILE` rows, the last one padded."""
    tiles = torch.split(_padded(rows, TILE), TILE)
    out = rows.new_empty(TILE * len(tiles), len(weight))
    for made, tile in zip(torch.split(out, TILE), tiles, strict=True):
        if bias is None:
            made.copy_((weight @ tile.mT).mT)
        else:
            made.copy_(torch.addmm(bias[:, None], weight, tile.mT).mT)
    return out


def wide_product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Map (..., inputs) to (..., outputs) in float32, with a weight (outputs, inputs).

    Only CUDA has a product of this kind for bfloat16. Elsewhere, a part of the weight at a time is
    converted to float32, which is exact and needs little memory.
    """
    if weight.dtype == torch.bfloat16 and weight.device.type in {"cuda", "meta"}:
        rows = x.flatten(0, -2)
        if bias is None:
            made = torch.mm(rows, weight.mT, out_dtype=torch.float32)
        else:
            made = torch.addmm(bias, rows, weight.mT, out_dtype=torch.float32)
        return made.view(*x.shape[:-1], len(weight))
    if weight.dtype == torch.float32:
        return product(x, weight, bias)
    parts = torch.split(weight, CONVERTED_ROWS)
    made = torch.cat([product(x.float(), part.float()) for part in parts], dim=-1)
    return made if bias is None else made + bias


def row_multiple(weight: Tensor, *, biased: bool = False) -> int:
    """Return of what the number of rows must be a multiple, so that a row has the same bits in all.

    It is 1 if products of all heights from `LEAST_ROWS` on agree, and otherwise the smallest of
    `_MULTIPLES` whose products agree with tiles; 0 if none does. This is compared once in a process
    for weights of each shape, with random numbers.
    """
    outputs, inputs = weight.shape
    transposed = weight.stride(0) < weight.stride(1)
    threads = torch.get_num_threads()
    return _row_multiple(outputs, inputs, weight.dtype, transposed, biased, threads)


@cache
def _row_multiple(
    outputs: int, inputs: int, dtype: torch.dtype, transposed: bool, biased: bool, _threads: int
) -> int:
    generator = torch.Generator().manual_seed(0)
    shape = (inputs, min(outputs, _COMPARED_OUTPUTS))
    weight = torch.randn(shape, generator=generator).to(dtype).mT
    weight = weight if transposed else weight.contiguous()
    bias = torch.randn(shape[1], generator=generator).to(dtype) if biased else None
    x = torch.randn(2 * max(_HEIGHTS), inputs, generator=generator).to(dtype)

    def agree(expected: Tensor, multiple: int, bias: Tensor | None) -> bool:
        return all(
            torch.equal(F.linear(x[at : at + height], weight, bias), expected[at : at + height])
            for height in _HEIGHTS
            if height % multiple == 0
            for at in (0, height)
        )

    if agree(F.linear(x, weight), 1, None):
        return 1
    tiles = _tiles(x, weight, bias)
    return next((multiple for multiple in _MULTIPLES if agree(tiles, multiple, bias)), 0)


def _padded(rows: Tensor, multiple: int) -> Tensor:
    """Return the rows, at least `LEAST_ROWS`, padded to a multiple."""
    least = max(LEAST_ROWS - len(rows), 0)
    spare = max(least, -len(rows) % multiple)
    return F.pad(rows, (0, 0, 0, spare)) if spare else rows
