"""How the schedulers of several processes stay equal; `ranks` connects real processes.

Every process runs the same scheduler: it has the same sequences, pages and rows, so no process
sends its page tables. Only one process, the leader, knows the requests and reads the drawn tokens.

All processes compute the same streams: routers, norms and sums are not divided. If a stream differs
in one bit, a router can choose other experts in one process than in the others, which no error
shows. So the processes compare `digests` of the streams in each step.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from reference_engine.generation.sampling import Token
from reference_engine.generation.sequence import Sequence

Tokens = list[Token | None]


class Link:
    """The connection of a scheduler that has no other processes."""

    def joined(self, sequence: Sequence) -> None:
        """Note that a sequence was added between two steps."""

    def left(self, sequence: Sequence) -> None:
        """Note that a sequence was removed between two steps, before it was finished."""

    @contextmanager
    def step(self) -> Iterator[None]:
        """Make the other processes run a step as well, with the changes since the last one."""
        yield

    def tokens(self, read: Callable[[], Tokens], digests: Callable[[], list[int]]) -> Tokens:
        """Return the tokens that the leader reads; all processes must have equal digests."""
        return read()

    def close(self) -> None:
        """Stop the other processes."""


def digests(streams: Tensor) -> Tensor:
    """Return a number for the bits of each row of streams (rows, H), int64.

    Rows that differ in one bit have different numbers, because the factors are odd.
    """
    bits = streams.view(torch.int16 if streams.itemsize == 2 else torch.int32)
    factors = torch.arange(1, 2 * bits.shape[1], 2, device=bits.device)
    return (bits * factors).sum(1)
