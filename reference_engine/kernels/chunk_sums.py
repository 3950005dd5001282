"""The first stage of sampling: one pass over the logits, in plain PyTorch, and the selection."""

import math
from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor

from reference_engine.model.config import Kernels

CHUNK = 128
"""Tokens of a chunk of the vocabulary."""

ChunkSums = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""The signature of `chunk_sums` in PyTorch and Triton."""


def chunk_sums_of(kernels: Kernels) -> ChunkSums:
    """Return the selected implementation."""
    if kernels == "torch":
        return chunk_sums
    from reference_engine.kernels import chunk_sums_triton

    return chunk_sums_triton.chunk_sums


def chunk_sums(logits: Tensor, divisors: Tensor) -> tuple[Tensor, Tensor]:
    """Return the largest logit of each chunk, and the sum of exp((logit - largest) / divisor).

    Args:
        logits: (rows, vocabulary) in float32.
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
