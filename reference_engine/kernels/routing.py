"""Tokens sorted by expert, and cut into tiles that belong to one expert each.

Shapes follow from the number of tokens alone and nothing is read back from the GPU, so that the
same launches serve every choice of experts.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Routing:
    """Which rows each tile of a grouped product works on; all int32.

    A slot is a (token, place among its chosen experts), numbered token * top + place. A row is a
    slot in the order of experts.

    Attributes:
        slots: (rows,); the slot of each row.
        tile_experts: (tiles,); the expert of each tile.
        tile_rows: (tiles,); the first row of each tile.
        tile_ends: (tiles,); the row after its last, equal to the first for idle tiles.
    """

    slots: Tensor
    tile_experts: Tensor
    tile_rows: Tensor
    tile_ends: Tensor


def route(chosen: Tensor, experts: int, block: int) -> Routing:
    """Sorts the slots of `chosen`, (tokens, top) expert numbers, into tiles of `block` rows.

    Slots with the number `experts`, which stands for none, are in no tile.
    """
    flat = chosen.flatten()
    rows = len(flat)
    if len(chosen) == 1:  # Its experts are all different: nothing to sort, a tile for each.
        row = torch.arange(rows, dtype=torch.int32, device=flat.device)
        return Routing(row, flat.int(), row, row + (flat < experts).int())
    slots = flat.argsort(stable=True)
    counts = torch.zeros(experts + 1, dtype=torch.int64, device=flat.device)
    counts = counts.scatter_add_(0, flat, torch.ones_like(flat))[:experts]
    tiles = (counts + block - 1) // block
    ends, tile_ends = counts.cumsum(0), tiles.cumsum(0)
    tile = torch.arange(most_tiles(rows, experts, block), device=flat.device)
    expert = torch.searchsorted(tile_ends, tile, right=True).clamp(max=experts - 1)
    end = ends[expert]
    first = end - counts[expert] + (tile - tile_ends[expert] + tiles[expert]) * block
    first = first.clamp(max=end)
    end = end.clamp(max=first + block)
    return Routing(slots.int(), expert.int(), first.int(), end.int())


def most_tiles(rows: int, experts: int, block: int) -> int:
    """Tiles enough for any distribution of `rows` over the experts.

    Each expert's last tile may be partly filled: with n experts in use, sum(ceil(c / block)) is at
    most (rows - n) // block + n.
    """
    used = min(rows, experts)
    return (rows - used) // block + used
