"""Logits of the next tokens, as far as the sampler asks for them.

The sampler first draws a chunk of the vocabulary and then a token of this chunk. It needs the
maximum and a sum of each chunk, the logits of one chunk, and all logits of a row only for logprobs,
for a top_p or top_k, and if a grammar does not allow the token.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

CHUNK = 128
"""Tokens of a chunk of the vocabulary."""
_ROWS_AT_ONCE = 4
"""Rows per pass on a CPU. With few rows, the copies are small and the allocator reuses their
memory. Fresh pages for the whole batch would cost more than the arithmetic."""

ChunkSums = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""The signature of `chunk_sums` in PyTorch and Triton."""


class Logits(Protocol):
    """The logits of the next tokens of some rows.

    The chunks divide the vocabulary in any order, which is the same for all rows. The numbers of a
    row do not depend on the other rows.
    """

    @property
    def device(self) -> torch.device:
        """The device of all results."""
        ...

    def chunk_sums(self, divisors: Tensor) -> tuple[Tensor, Tensor]:
        """Return the largest logit of each chunk, and the sum of exp((logit - largest) / divisor).

        `divisors` are (rows,), above 0, and the results (rows, chunks), all in float32. A sum is
        NaN if a logit of the chunk is NaN or positive infinity. It may be 0 for a chunk that has
        less than 2^-54 of the row's probability.
        """
        ...

    def chunk(self, chosen: Tensor) -> tuple[Tensor, Tensor]:
        """Return the tokens and the logits of one chunk of each row, (rows, CHUNK) each.

        `chosen` has the numbers of the chunks, (rows, 1). Unused places have the logit -inf.
        """
        ...

    def at(self, rows: Tensor, tokens: Tensor) -> Tensor:
        """Return the logits of single tokens: (n,) in float32 of n rows and their tokens."""
        ...

    def of(self, rows: Sequence[int] | None = None) -> Tensor:
        """Return all logits of some rows, or of all, by token: (rows, vocabulary) in float32."""
        ...


def chunk_sums(logits: Tensor, divisors: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the first stage of sampling; see `Logits.chunk_sums`.

    Args:
        logits: (rows, vocabulary) in float32; the chunks have consecutive tokens.
        divisors: (rows,) in float32, above 0.

    Returns:
        Two float32 tensors (rows, chunks). A chunk without a finite logit has the sum 0, and NaN if
        one of its logits is NaN or positive infinity.
    """
    padded = F.pad(logits, (0, -logits.shape[1] % CHUNK), value=-math.inf)
    chunks = padded.reshape(len(logits), -1, CHUNK)
    largest = chunks.amax(-1, keepdim=True)
    reference = largest.masked_fill(largest == -math.inf, 0.0)
    powers = ((chunks - reference) / divisors[:, None, None]).exp()
    return largest[..., 0], powers.sum(-1)


@dataclass(frozen=True)
class AllLogits:
    """Logits that have been computed for the whole vocabulary, in chunks of consecutive tokens."""

    values: Tensor  # (rows, vocabulary) in float32
    first_stage: ChunkSums = chunk_sums

    @property
    def device(self) -> torch.device:
        """See `Logits`."""
        return self.values.device

    def chunk_sums(self, divisors: Tensor) -> tuple[Tensor, Tensor]:
        """See `Logits`. On a CPU, some rows at a time."""
        if not self.values.is_cpu:
            return self.first_stage(self.values, divisors)
        parts = zip(*(torch.split(x, _ROWS_AT_ONCE) for x in (self.values, divisors)), strict=True)
        largest, sums = zip(*(self.first_stage(*part) for part in parts), strict=True)
        return torch.cat(largest), torch.cat(sums)

    def chunk(self, chosen: Tensor) -> tuple[Tensor, Tensor]:
        """See `Logits`."""
        spare = -self.values.shape[1] % CHUNK
        padded = F.pad(self.values, (0, spare), value=-math.inf) if spare else self.values
        tokens = torch.add(torch.arange(CHUNK, device=self.device), chosen, alpha=CHUNK)
        return tokens, padded.gather(1, tokens)

    def at(self, rows: Tensor, tokens: Tensor) -> Tensor:
        """See `Logits`."""
        return self.values[rows, tokens]

    def of(self, rows: Sequence[int] | None = None) -> Tensor:
        """See `Logits`."""
        return self.values if rows is None else self.values[list(rows)]
