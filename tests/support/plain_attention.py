"""The attention kernel in plain PyTorch, sequence by sequence: it defines the correct result.

A test can put this module in the place of `kernels.attention_triton`, which needs Triton.
"""

import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor

from reference_engine.model.transformer import sink_attention


@contextmanager
def without_triton() -> Iterator[None]:
    """Replace the kernel of attention by this module."""
    name = "reference_engine.kernels.attention_triton"
    kernel = sys.modules.get(name)
    sys.modules[name] = sys.modules[__name__]
    try:
        yield
    finally:
        del sys.modules[name]
        if kernel is not None:
            sys.modules[name] = kernel


def paged_attention(
    query: Tensor,
    key_pages: Tensor,
    value_pages: Tensor,
    block_tables: Tensor,
    query_starts: Tensor,
    context_lengths: Tensor,
    sinks: Tensor,
    window: int | None,
    scale: float,
) -> Tensor:
    """Compute the same as `attention_triton.paged_attention`, in the dtype of the tensors."""
    assert scale == query.shape[-1] ** -0.5
    page_size, starts = key_pages.shape[1], query_starts.tolist()
    out = torch.empty_like(query)
    for sequence, length in enumerate(context_lengths.tolist()):
        rows = slice(starts[sequence], starts[sequence + 1])
        position = torch.arange(length - (rows.stop - rows.start), length, device=query.device)
        seen = max(length - len(position) - window + 1, 0) if window else 0
        pages = block_tables[sequence, seen // page_size : -(-length // page_size)].long()
        first = seen // page_size * page_size
        distance = position[:, None] - torch.arange(first, length, device=query.device)
        visible = torch.zeros_like(distance, dtype=query.dtype)
        visible = visible.masked_fill((distance < 0) | (distance >= (window or length)), -math.inf)
        key, value = (
            F.pad(store[pages].flatten(0, 1)[: len(visible.mT)].transpose(0, 1), (0, 0, 1, 0))
            for store in (key_pages, value_pages)
        )
        attended = sink_attention(query[rows][None], key[None], value[None], visible[None], sinks)
        out[rows] = attended.view_as(out[rows])
    return out
