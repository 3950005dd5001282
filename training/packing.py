"""A group of conversations as tensors: one prefix, then the examples one after another.

Lengths are rounded up with filler tokens, which no token sees. oneDNN compiles a kernel for every
new shape of a matrix product; without rounding, almost every shape would be new.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor

from training.data import Group

ROUND = 64
_ROUND_EXAMPLE = 16


@dataclass(frozen=True)
class Batch:
    """A packed group. Packed order: prefix, filler, each example without padding, filler.

    Attributes:
        ids: token ids, (tokens,).
        positions: each token's position in its own conversation, (tokens,).
        prefix: number of tokens of the shared prefix.
        cut: position in packed order at which the examples begin.
        examples: number of examples.
        longest: slots of an example in the padded form, which is (examples, longest).
        pad_index: for each padded slot the example token in it, counted from the cut (slots
            without a token repeat token 0), (examples * longest,).
        slots: for each example token its padded slot, filler left out.
        target_at: packed places whose next token is a target, (targets,).
        targets: these next tokens, (targets,).
        example_of: the example of each target, (targets,).
    """

    ids: Tensor
    positions: Tensor
    prefix: int
    cut: int
    examples: int
    longest: int
    pad_index: Tensor
    slots: Tensor
    target_at: Tensor
    targets: Tensor
    example_of: Tensor

    @property
    def real_tokens(self) -> int:
        """The number of tokens without filler."""
        return self.prefix + len(self.slots)


def round_up(length: int, multiple: int = ROUND) -> int:
    """Rounds up to a multiple."""
    return -(-length // multiple) * multiple


def pack(group: Group) -> Batch:
    """Packs a group; the last token of a completion is a target but not an input."""
    prefix, cut = len(group.prefix), round_up(len(group.prefix))
    rows = [example.prompt + example.completion[:-1] for example in group.examples]
    longest = round_up(max(len(row) for row in rows), _ROUND_EXAMPLE)
    ids = [*group.prefix, *[0] * (cut - prefix)]
    positions = _positions(group, cut)
    after = prefix + sum(count for _, count in group.skips)
    slots: list[int] = []
    pad_index = torch.zeros(len(rows), longest, dtype=torch.long)
    target_at: list[int] = []
    targets: list[int] = []
    example_of: list[int] = []
    for at, (row, example) in enumerate(zip(rows, group.examples, strict=True)):
        start = len(ids)
        pad_index[at, : len(row)] = torch.arange(start - cut, start - cut + len(row))
        slots += range(at * longest, at * longest + len(row))
        ids += row
        positions += range(after, after + len(row))
        first = start + len(example.prompt) - 1
        target_at += range(first, first + len(example.completion))
        targets += example.completion
        example_of += [at] * len(example.completion)
    filler = round_up(len(ids)) - len(ids)
    return Batch(
        ids=_long(ids + [0] * filler),
        positions=_long(positions + [0] * filler),
        prefix=prefix,
        cut=cut,
        examples=len(rows),
        longest=longest,
        pad_index=pad_index.flatten(),
        slots=_long(slots),
        target_at=_long(target_at),
        targets=_long(targets),
        example_of=_long(example_of),
    )


def _positions(group: Group, count: int) -> list[int]:
    """The positions of the prefix and its filler: consecutive except for the skipped ones."""
    skipped = dict(group.skips)
    return list(accumulate((1 + skipped.get(at, 0) for at in range(1, count)), initial=0))


def _long(values: Sequence[int]) -> Tensor:
    return torch.tensor(values, dtype=torch.long)
