"""The first stage of sampling in Triton, as `model.logits` has it in plain PyTorch.

Each logit is read once. Softmax, division and argmax in PyTorch would read and write all logits
about ten times, and the softmax of a row would run in one program.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from reference_engine.model.logits import CHUNK

_CHUNKS = 16  # chunks of a program


@triton.jit(do_not_specialize=["chunks"])
def chunk_kernel(
    largest,
    sums,
    logits,
    divisors,
    vocabulary,
    chunks,
    CHUNKS: tl.constexpr,
    CHUNK: tl.constexpr,
):
    """Compute some chunks of a row; grid (rows, blocks of chunks)."""
    row = tl.program_id(0).to(tl.int64)
    chunk = tl.program_id(1) * CHUNKS + tl.arange(0, CHUNKS)
    token = chunk[:, None] * CHUNK + tl.arange(0, CHUNK)[None, :]
    minus_infinity = float("-inf")
    x = tl.load(logits + row * vocabulary + token, mask=token < vocabulary, other=minus_infinity)
    highest = tl.max(x, 1)
    reference = tl.where(highest == minus_infinity, 0.0, highest)
    total = tl.sum(tl.exp((x - reference[:, None]) / tl.load(divisors + row)), 1)
    at = row * chunks + chunk
    tl.store(largest + at, highest, mask=chunk < chunks)
    tl.store(sums + at, total, mask=chunk < chunks)


def chunk_sums(logits: Tensor, divisors: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the same as the plain `chunk_sums`, with the same arguments."""
    rows, vocabulary = logits.shape
    chunks = triton.cdiv(vocabulary, CHUNK)
    largest, sums = logits.new_empty((2, rows, chunks), dtype=torch.float32)
    chunk_kernel[(rows, triton.cdiv(chunks, _CHUNKS))](
        largest,
        sums,
        logits,
        divisors,
        vocabulary,
        chunks,
        CHUNKS=_CHUNKS,
        CHUNK=CHUNK,
        num_warps=4,
    )
    return largest, sums
