"""Sorts tokens by expert and divides them into tiles of one expert each.

The shapes depend only on the number of tokens and nothing is read back from the GPU, so the same
kernel launches work for every choice of experts.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Routing:
    """The rows of each tile of a grouped matrix product; all other tensors are int32.

    A slot is a pair of a token and one of its chosen experts, with the number token * top + place.
    A row is a slot in the order of experts.
    """

    slots: Tensor  # (rows,); the slot of each row
    weights: Tensor  # (rows,), float32; the router weight of each row
    tile_experts: Tensor  # (tiles,); the expert of each tile
    tile_rows: Tensor  # (tiles,); the first row of each tile
    tile_ends: Tensor  # (tiles,); the row after the last row, equal to the first row for idle tiles


def route(chosen: Tensor, weights: Tensor, experts: int, block: int) -> Routing:
    """Sort the slots of `chosen`, (tokens, top), into tiles, except those with index `experts`.

    `weights`, (tokens, top), are the router weights of the slots.
    """
    flat, weights = chosen.flatten(), weights.flatten().float()
    rows = len(flat)
    if len(chosen) == 1:  # All experts of one token differ, so each slot gets a tile.
        row = torch.arange(rows, dtype=torch.int32, device=flat.device)
        return Routing(row, weights, flat.int(), row, row + (flat < experts).int())
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
    return Routing(slots.int(), weights[slots], expert.int(), first.int(), end.int())


def most_tiles(rows: int, experts: int, block: int) -> int:
    """Return a number of tiles that suffices for any distribution of `rows` over the experts.

    The last tile of each expert may be partly filled: with n experts in use, sum(ceil(c / block))
    is at most (rows - n) // block + n.
    """
    used = min(rows, experts)
    return (rows - used) // block + used
