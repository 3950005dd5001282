"""A group of conversations as tensors: one prefix, then the examples one after another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from reference_engine.small.data import Group


@dataclass(frozen=True)
class Batch:
    """A packed group. Packed order is the prefix, then each example without padding.

    Attributes:
        ids: token ids, (tokens,).
        positions: each token's position in its own conversation, (tokens,).
        prefix: how many tokens the shared prefix has.
        examples, longest: the padded form of the examples is (examples, longest).
        pad_index: for each padded slot the example token in it, counted from the prefix's end
            (filler slots repeat token 0), (examples * longest,).
        slots: for each example token its padded slot, (tokens - prefix,).
        target_at: packed places whose next token is to be learned, (targets,).
        targets: those next tokens, (targets,).
        example_of: which example each target belongs to, (targets,).
    """

    ids: Tensor
    positions: Tensor
    prefix: int
    examples: int
    longest: int
    pad_index: Tensor
    slots: Tensor
    target_at: Tensor
    targets: Tensor
    example_of: Tensor


def pack(group: Group) -> Batch:
    """Lay a group out; the last token of a completion is a target but never an input."""
    prefix = len(group.prefix)
    rows = [example.prompt + example.completion[:-1] for example in group.examples]
    longest = max(len(row) for row in rows)
    ids = list(group.prefix)
    positions = list(range(prefix))
    slots: list[int] = []
    pad_index = torch.zeros(len(rows), longest, dtype=torch.long)
    target_at: list[int] = []
    targets: list[int] = []
    example_of: list[int] = []
    for at, (row, example) in enumerate(zip(rows, group.examples, strict=True)):
        start = len(ids)
        pad_index[at, : len(row)] = torch.arange(start - prefix, start - prefix + len(row))
        slots += range(at * longest, at * longest + len(row))
        ids += row
        positions += range(prefix, prefix + len(row))
        first = start + len(example.prompt) - 1
        target_at += range(first, first + len(example.completion))
        targets += example.completion
        example_of += [at] * len(example.completion)
    return Batch(
        ids=_long(ids),
        positions=_long(positions),
        prefix=prefix,
        examples=len(rows),
        longest=longest,
        pad_index=pad_index.flatten(),
        slots=_long(slots),
        target_at=_long(target_at),
        targets=_long(targets),
        example_of=_long(example_of),
    )


def _long(values: Sequence[int]) -> Tensor:
    return torch.tensor(values, dtype=torch.long)
