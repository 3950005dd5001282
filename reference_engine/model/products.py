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
_COMPARED_OUTPUTS = 1024


def product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Map (B, T, inputs) or (B, inputs) to outputs, with a weight (outputs, inputs).

    The CPU libraries choose the order of a row's sums by the number of rows. Here the result of a
    sequence is the same to the last bit in every batch: a block of tokens is a product of its own,
    and single tokens go in tiles of `TILE` rows, the last one padded. If all heights give the same
    bits (`any_height`), they are one product.
    """
    if not x.is_cpu:
        return F.linear(x, weight, bias)
    if x.ndim == 3 and x.shape[1] > 1:
        return torch.stack([F.linear(block, weight, bias) for block in x])
    rows = x.flatten(0, -2)
    if any_height(weight):
        out = F.linear(_padded(rows), weight, bias)
    else:
        tiles = torch.split(F.pad(rows, (0, 0, 0, -len(rows) % TILE)), TILE)
        out = x.new_empty(TILE * len(tiles), len(weight))
        for made, tile in zip(torch.split(out, TILE), tiles, strict=True):
            if bias is None:
                made.copy_((weight @ tile.mT).mT)
            else:
                made.copy_(torch.addmm(bias[:, None], weight, tile.mT).mT)
    return out[: len(rows)].view(*x.shape[:-1], len(weight))


def product_into(out: Tensor, x: Tensor, weight: Tensor) -> None:
    """Write the product of rows (B, inputs) to the first rows of `out`, without a copy if possible.

    `out` has at least `LEAST_ROWS` rows, of which those after the first B may be overwritten.
    """
    if any_height(weight):
        rows = _padded(x)
        torch.mm(rows, weight.mT, out=out[: len(rows)])
    else:
        out[: len(x)] = product(x, weight)


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


def any_height(weight: Tensor) -> bool:
    """Return whether rows have the same bits in products of any height with such a weight.

    This is compared once in a process for weights of each shape, with random numbers.
    """
    outputs, inputs = weight.shape
    transposed = weight.stride(0) < weight.stride(1)
    return _any_height(outputs, inputs, weight.dtype, transposed, torch.get_num_threads())


@cache
def _any_height(
    outputs: int, inputs: int, dtype: torch.dtype, transposed: bool, _threads: int
) -> bool:
    generator = torch.Generator().manual_seed(0)
    shape = (inputs, min(outputs, _COMPARED_OUTPUTS))
    weight = torch.randn(shape, generator=generator).to(dtype).mT
    weight = weight if transposed else weight.contiguous()
    x = torch.randn(2 * max(_HEIGHTS), inputs, generator=generator).to(dtype)
    every = F.linear(x, weight)
    return all(
        torch.equal(F.linear(x[at : at + height], weight), every[at : at + height])
        for height in _HEIGHTS
        for at in (0, height)
    )


def _padded(rows: Tensor) -> Tensor:
    return F.pad(rows, (0, 0, 0, max(LEAST_ROWS - len(rows), 0)))
