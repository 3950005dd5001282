"""Matrix products whose rows have the same bits in every batch, and products with float32 results.

Products use the dtype of the weights.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

CONVERTED_ROWS = 1024
"""Rows of a weight that `wide_product` converts at a time."""
TILE = 16
"""Rows of a matrix product over single tokens on a CPU: the full height of the libraries' innermost
loops. With 6, 8, 24 or 32 rows, some sum the first and the last rows in a different order."""


def product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Map (B, T, inputs) or (B, inputs) to outputs, with a weight (outputs, inputs).

    The CPU libraries choose the order of a row's sums by the number of rows. Here this number never
    depends on B, and so the result of a sequence is the same to the last bit in every batch: a
    block of tokens is a product of its own, and single tokens go in tiles of `TILE` rows, the last
    one padded.
    """
    if not x.is_cpu:
        return F.linear(x, weight, bias)
    if x.ndim == 3 and x.shape[1] > 1:
        return torch.stack([F.linear(block, weight, bias) for block in x])
    rows = x.flatten(0, -2)
    padded = F.pad(rows, (0, 0, 0, -len(rows) % TILE))
    out = x.new_empty(len(padded), len(weight))
    for first in range(0, len(padded), TILE):
        tile = padded[first : first + TILE].mT
        made = weight @ tile if bias is None else torch.addmm(bias[:, None], weight, tile)
        out[first : first + TILE] = made.mT
    return out[: len(rows)].view(*x.shape[:-1], len(weight))


def wide_product(x: Tensor, weight: Tensor) -> Tensor:
    """Map (..., inputs) to (..., outputs) in float32, with a weight (outputs, inputs).

    Only CUDA has a product of this kind for bfloat16. Elsewhere, a part of the weight at a time is
    converted to float32, which is exact and needs little memory.
    """
    if weight.dtype == torch.bfloat16 and weight.device.type in {"cuda", "meta"}:
        made = torch.mm(x.flatten(0, -2), weight.mT, out_dtype=torch.float32)
        return made.view(*x.shape[:-1], len(weight))
    if weight.dtype == torch.float32:
        return product(x, weight)
    parts = torch.split(weight, CONVERTED_ROWS)
    return torch.cat([product(x.float(), part.float()) for part in parts], dim=-1)
