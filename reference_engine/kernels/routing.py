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
        ends: (experts,); the row after each expert's last.
        tile_experts: (tiles,); the expert of each tile, or the number of experts for an idle one.
        tile_rows: (tiles,); the first row of each tile.
    """

    slots: Tensor
    ends: Tensor
    tile_experts: Tensor
    tile_rows: Tensor


def route(chosen: Tensor, experts: int, block: int) -> Routing:
    """Sorts the slots of `chosen`, (tokens, top) expert numbers, into tiles of `block` rows."""
    flat = chosen.flatten()
    rows = len(flat)
    slots = flat.argsort(stable=True)
    counts = torch.zeros(experts, dtype=torch.int64, device=flat.device)
    counts.scatter_add_(0, flat, torch.ones_like(flat))
    ends = counts.cumsum(0)
    tile_ends = ((counts + block - 1) // block).cumsum(0)
    tile = torch.arange(most_tiles(rows, experts, block), device=flat.device)
    expert = torch.searchsorted(tile_ends, tile, right=True)
    known = expert.clamp(max=experts - 1)
    last_tiles = tile_ends[known]
    tiles_before = last_tiles - (counts[known] + block - 1) // block
    first = ends[known] - counts[known] + (tile - tiles_before) * block
    return Routing(slots.int(), ends.int(), expert.int(), first.int())


def most_tiles(rows: int, experts: int, block: int) -> int:
    """Tiles enough for any distribution of `rows` over the experts.

    Each expert's last tile may be partly filled: with n experts in use, sum(ceil(c / block)) is at
    most (rows - n) // block + n.
    """
    used = min(rows, experts)
    return (rows - used) // block + used
