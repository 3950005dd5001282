"""Compares a model on Triton kernels with plain PyTorch; test_kernel_suite.py runs this."""

import pytest
import torch
from tiny_model import packed_transformer

from reference_engine.generation.ragged import PagedContext
from reference_engine.kernels import interpreting
from reference_engine.kv_cache.cache import KVCache, KVPages

DEVICE = "cpu" if interpreting() else "cuda"
PAGE = 8
STEPS = ((13, 3), (4, 2), (1, 1), (1, 1))
"""New tokens of two sequences: two prefill chunks, then decode."""


def paged(model, dtype, tokens):
    """Returns the logprobs of the new tokens of each step, computed with the kernels."""
    config = model.config
    cache = KVCache(config, 0, dtype, torch.device(DEVICE))
    pages = (6, PAGE, config.num_key_value_heads, config.head_dim)
    cache.layers = [
        KVPages(*torch.zeros(2, *pages, dtype=dtype, device=DEVICE))
        for _ in range(config.num_hidden_layers)
    ]
    table = torch.tensor([[4, 0, 2], [3, 5, 1]], dtype=torch.int32, device=DEVICE)
    tables = dict.fromkeys(config.layer_types, table)
    lengths, out = torch.zeros(2, dtype=torch.int32), []
    for new in STEPS:
        first, second = lengths.tolist()
        read = torch.cat((tokens[0, first : first + new[0]], tokens[1, second : second + new[1]]))
        lengths = lengths + torch.tensor(new, dtype=torch.int32)
        starts = torch.tensor([0, new[0], sum(new)], dtype=torch.int32)
        context = PagedContext(cache, tables, starts.to(DEVICE), lengths.to(DEVICE), sum(new))
        out.append(model.logits(model.stream(read[None], context))[0].log_softmax(-1))
    return torch.cat(out)


def uncached(model, tokens):
    """Returns the same logprobs, computed by the plain model from complete sequences."""
    logprobs, start, out = model(tokens).log_softmax(-1), [0, 0], []
    for new in STEPS:
        for sequence, count in enumerate(new):
            out.append(logprobs[sequence, start[sequence] : start[sequence] + count])
            start[sequence] += count
    return torch.cat(out)


@pytest.mark.parametrize(
    ("dtype", "mean", "most"),
    [(torch.float32, 2e-6, 2e-5), (torch.bfloat16, 0.03, float("inf"))],
    ids=["float32", "bfloat16"],
)
@torch.inference_mode()
def test_logprobs_agree(dtype, mean, most):
    """Measured means: 5e-7 and 0.01. In bfloat16, nearly equal router logits can change order."""
    shape = {"num_local_experts": 4, "num_hidden_layers": 2}
    plain, fast = (
        packed_transformer(kernels, dtype, **shape).to(DEVICE) for kernels in ("torch", "triton")
    )
    tokens = torch.randint(0, 300, (2, 19), generator=torch.Generator().manual_seed(3)).to(DEVICE)
    difference = (paged(fast, dtype, tokens) - uncached(plain, tokens)).abs()
    assert difference.mean() <= mean
    assert difference.max() <= most
