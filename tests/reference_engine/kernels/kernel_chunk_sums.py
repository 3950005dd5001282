"""Compares the first stage of sampling with plain PyTorch; test_kernel_suite.py runs this."""

import math

import pytest
import torch

from reference_engine.kernels import interpreting
from reference_engine.kernels.chunk_sums_triton import chunk_sums
from reference_engine.model import logits as plain_kernel

DEVICE = "cpu" if interpreting() else "cuda"


@pytest.mark.parametrize("vocabulary", [5, 128, 300, 5000])
def test_sums_agree_with_plain_pytorch(vocabulary):
    logits = torch.randn(3, vocabulary, generator=torch.Generator().manual_seed(0)).to(DEVICE) * 9
    logits[1, 2] = -math.inf
    logits[2] = -math.inf
    divisors = torch.tensor([1.0, 0.3, 1e-20], device=DEVICE)
    found, plain = chunk_sums(logits, divisors), plain_kernel.chunk_sums(logits, divisors)
    assert torch.equal(found[0], plain[0])
    assert torch.allclose(found[1], plain[1], rtol=1e-5, atol=0)


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize("wrong", [math.nan, math.inf])
def test_logits_without_a_number_are_not_hidden(wrong):
    logits = torch.zeros(1, 300, device=DEVICE)
    logits[0, 130] = wrong
    _, sums = chunk_sums(logits, torch.ones(1, device=DEVICE))
    assert sums.isnan().tolist() == [[False, True, False]]
