"""Matrix products whose rows have the same bits in every batch, and products with float32 results.

Products use the dtype of the weights.
"""

from collections.abc import Sequence
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
MOST_ROWS = 512
"""Rows of a product where all heights up to this give the same bits; elsewhere `_COMPARED_ROWS`."""
_COMPARED_ROWS = 64
_HEIGHTS = (*range(LEAST_ROWS, 2 * TILE + 2), 40, 48, 56, 63, _COMPARED_ROWS)
_GREAT_HEIGHTS = (80, 127, 160, 257, 320, MOST_ROWS)
_MULTIPLES = (4, 8, TILE)
_COMPARED_OUTPUTS = 1024


def product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Map (B, T, inputs) or (B, inputs) to outputs, with a weight (outputs, inputs).

    The CPU libraries choose the order of a row's sums by the number of rows. Here the result of a
    token is the same to the last bit in every batch: the rows are padded to a height, and divided
    into products of a height, that gives the same bits as others (`row_heights`).
    """
    if not x.is_cpu:
        return F.linear(x, weight, bias)
    rows = x.flatten(0, -2)
    multiple, most = row_heights(weight, biased=bias is not None)
    if multiple:
        parts = torch.split(_padded(rows, multiple), most)
        made = [F.linear(part, weight, bias) for part in parts]
        out = made[0] if len(made) == 1 else torch.cat(made)
    else:
        out = _tiles(rows, weight, bias)
    return out[: len(rows)].view(*x.shape[:-1], len(weight))


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


def row_heights(weight: Tensor, *, biased: bool = False) -> tuple[int, int]:
    """Return of what the number of rows must be a multiple, and the most rows of a product.

    All such products give a row the same bits. The multiple is 1 if products of all heights from
    `LEAST_ROWS` on agree, and otherwise the smallest of `_MULTIPLES` whose products agree with
    tiles; 0 if none does. This is compared once in a process for weights of each shape, with random
    numbers.
    """
    outputs, inputs = weight.shape
    transposed = weight.stride(0) < weight.stride(1)
    threads = torch.get_num_threads()
    return _row_heights(outputs, inputs, weight.dtype, transposed, biased, threads)


@cache
def _row_heights(
    outputs: int, inputs: int, dtype: torch.dtype, transposed: bool, biased: bool, _threads: int
) -> tuple[int, int]:
    generator = torch.Generator().manual_seed(0)
    shape = (inputs, min(outputs, _COMPARED_OUTPUTS))
    weight = torch.randn(shape, generator=generator).to(dtype).mT
    weight = weight if transposed else weight.contiguous()
    bias = torch.randn(shape[1], generator=generator).to(dtype) if biased else None
    x = torch.randn(MOST_ROWS, inputs, generator=generator).to(dtype)
    few = x[: 2 * _COMPARED_ROWS]

    def agree(
        expected: Tensor, multiple: int, bias: Tensor | None, heights: Sequence[int] = _HEIGHTS
    ) -> bool:
        return all(
            torch.equal(F.linear(x[at : at + height], weight, bias), expected[at : at + height])
            for height in heights
            if height % multiple == 0
            for at in (0, height)
            if at + height <= len(expected)
        )

    multiple = 1
    if not agree(F.linear(few, weight), 1, None):
        tiles = _tiles(few, weight, bias)
        multiple = next((each for each in _MULTIPLES if agree(tiles, each, bias)), 0)
    parts = torch.cat([F.linear(part, weight, bias) for part in torch.split(x, _COMPARED_ROWS)])
    great = multiple and agree(parts, multiple, bias, _GREAT_HEIGHTS)
    return multiple, MOST_ROWS if great else _COMPARED_ROWS


def _padded(rows: Tensor, multiple: int) -> Tensor:
    """Return the rows, at least `LEAST_ROWS`, padded to a multiple."""
    least = max(LEAST_ROWS - len(rows), 0)
    spare = max(least, -len(rows) % multiple)
    return F.pad(rows, (0, 0, 0, spare)) if spare else rows
