"""Compares the expert kernels with plain PyTorch in float64; test_kernel_suite.py runs this."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import triton
import triton.language as tl
from bfloat16_rounding import mean_ratio
from triton import Config
from triton.runtime.interpreter import InterpreterBuilder

from reference_engine.kernels import experts, experts_triton, interpreting
from reference_engine.kernels.experts_triton import packed_experts
from reference_engine.kernels.routing import route
from reference_engine.model import mxfp4
from reference_engine.model.mxfp4 import PackedLinear

DEVICE = "cpu" if interpreting() else "cuda"
BOUNDS = {torch.float32: 4e-6, torch.bfloat16: 2**-7}
MEANS = {torch.float32: 1e-6, torch.bfloat16: 1e-3}
"""Of found / exact; see `mean_ratio`."""

# Tokens, experts, chosen ones, hidden and intermediate size.
SHAPES = {
    "one token": (1, 4, 2, 64, 32),
    "few tokens, most experts empty": (3, 32, 4, 32, 32),
    "sizes that fill no block": (9, 3, 2, 160, 96),
    "more rows than a tile": (75, 2, 1, 64, 32),
    "tiles of 128 rows": (300, 2, 1, 64, 32),
}


def linear(count, outputs, inputs, generator, dtype):
    weights = torch.randn(count, outputs, inputs, generator=generator) * 2 * inputs**-0.5
    blocks, scales = mxfp4.kernel_layout(*mxfp4.encode(weights))
    bias = torch.randn(count, outputs, generator=generator)
    return PackedLinear(blocks.to(DEVICE), scales.to(DEVICE), bias.to(DEVICE, dtype))


def problem(tokens, count, top, hidden, inner, dtype=torch.float32):
    generator = torch.Generator().manual_seed(tokens)
    x = torch.randn(tokens, hidden, generator=generator).to(DEVICE, dtype)
    scores = torch.randn(tokens, count, generator=generator).topk(top)
    gate_up = linear(count, 2 * inner, hidden, generator, dtype)
    down = linear(count, hidden, inner, generator, dtype)
    chosen, weights = scores.indices.to(DEVICE), scores.values.softmax(-1).to(DEVICE)
    return x, chosen, weights, gate_up, down


def check(x, chosen, weights, gate_up, down, limit=7.0):
    found = packed_experts(x, chosen, weights, gate_up, down, limit)
    assert found.dtype == torch.float32
    doubled = [replace(linear, bias=linear.bias.double()) for linear in (gate_up, down)]
    exact = experts.packed_experts(x.double(), chosen, weights.double(), *doubled, limit)
    assert (found - exact).abs().max() <= BOUNDS[x.dtype] * exact.abs().max()
    assert abs(mean_ratio(found, exact) - 1) <= MEANS[x.dtype]
    return found


@pytest.mark.parametrize("dtype", BOUNDS, ids=["float32", "bfloat16"])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_agrees_with_float64(shape, dtype):
    check(*problem(*shape, dtype))


@pytest.mark.parametrize("sizes", [(2880, 32), (32, 2880)], ids=["hidden", "intermediate"])
def test_the_sizes_of_gpt_oss(sizes):
    check(*problem(1, 1, 1, *sizes))


def test_all_tokens_choose_the_same_experts():
    x, chosen, *rest = problem(20, 6, 2, 64, 32)
    chosen[:] = torch.tensor([5, 1])
    check(x, chosen, *rest)


@pytest.mark.parametrize("limit", [0.5, float("inf")])
def test_activations_are_clamped_at_the_limit(limit):
    x, *rest = problem(3, 4, 2, 64, 32)
    check(4 * x, *rest, limit=limit)


def dropping_nan(choose):
    return lambda builder, left, right: builder.binary_op(left, right, choose)


@pytest.mark.parametrize("row", [0, 1], ids=["gate", "linear"])
def test_nan_of_an_activation_stays_nan(row, monkeypatch):
    """Even rows are gates. Unlike a GPU, the interpreter keeps NaN in every minimum."""
    monkeypatch.setattr(InterpreterBuilder, "create_minnumf", dropping_nan(np.fmin))
    monkeypatch.setattr(InterpreterBuilder, "create_maxnumf", dropping_nan(np.fmax))
    x, chosen, weights, gate_up, down = problem(3, 4, 2, 64, 32)
    gate_up.bias[chosen[0, 0], row] = torch.nan
    given = x, chosen, weights, gate_up, down, 7.0
    found, plain = packed_experts(*given), experts.packed_experts(*given)
    assert found[0].isnan().all()
    assert torch.equal(found.isnan(), plain.isnan())


@pytest.mark.parametrize("dtype", BOUNDS, ids=["float32", "bfloat16"])
def test_every_code_and_scale(dtype):
    """One weight row holds all sixteen values; the scales are tiny, large, and of zero blocks."""
    x, chosen, weights, gate_up, down = problem(2, 2, 1, 64, 32, dtype)
    stored = (torch.arange(16) * 17).to(torch.uint8).expand(2, 64, 2, 16)
    scales = torch.tensor([0, 90, 110, 120], dtype=torch.uint8)[torch.arange(64) % 4]
    words, scales = mxfp4.kernel_layout(stored, scales[:, None].expand(2, 64, 2))
    gate_up = replace(gate_up, blocks=words.to(DEVICE), scales=scales.to(DEVICE))
    check(x, chosen, weights, gate_up, down)


@triton.jit
def multiply_pairs(pairs, factor):
    """Does what one instruction of a GPU does to two bfloat16; the products are exact."""
    low = (pairs << 16).to(tl.float32, bitcast=True) * (factor << 16).to(tl.float32, bitcast=True)
    high = (pairs & -65536).to(tl.float32, bitcast=True) * (factor & -65536).to(
        tl.float32, bitcast=True
    )
    low, high = low.to(tl.int32, bitcast=True), high.to(tl.int32, bitcast=True)
    return ((low >> 16) & 0xFFFF) | (high & -65536)


@triton.jit
def unpack_kernel(
    out, words, scales, outputs: tl.constexpr, inputs: tl.constexpr, narrow: tl.constexpr
):
    row = tl.arange(0, outputs)[:, None]
    packed = tl.load(words + row * (inputs // 8) + tl.arange(0, inputs // 8)[None, :])
    scale = tl.load(scales + tl.arange(0, inputs // 32)[None, :] * outputs + row)
    found = experts_triton._unpack(packed, scale, narrow).to(tl.float32)
    tl.store(out + row * inputs + tl.arange(0, inputs)[None, :], found)


@pytest.mark.parametrize("narrow", [False, True], ids=["float32", "bfloat16"])
def test_weights_are_unpacked_exactly(narrow, monkeypatch):
    """All codes, and scales from the smallest one without subnormal weights to the largest."""
    if interpreting():
        monkeypatch.setattr(experts_triton, "_multiply_pairs", multiply_pairs)
    outputs, inputs = 64, 64
    generator = torch.Generator().manual_seed(0)
    shape = (1, outputs, inputs // 32, 16)
    blocks = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
    scales = torch.randint(2, mxfp4.LARGEST_SCALE + 1, shape[:-1], generator=generator).byte()
    scales[0, :4, 0] = torch.tensor([2, 3, mxfp4.LARGEST_SCALE - 1, mxfp4.LARGEST_SCALE])
    words, turned = (x[0].to(DEVICE) for x in mxfp4.kernel_layout(blocks, scales))
    found = torch.empty(outputs, inputs, device=DEVICE)
    unpack_kernel[(1,)](found, words, turned, outputs, inputs, narrow)
    assert torch.equal(found.cpu(), mxfp4.decode(blocks[0], scales[0]))


@pytest.mark.parametrize(
    "chosen", experts_triton.CONFIGURATIONS["more rows"], ids=lambda chosen: str(chosen)
)
def test_loading_scales_ahead_changes_no_bit(chosen, monkeypatch):
    """The inputs end within a round: 160 and 96 for rounds of 64 and 128."""
    given = problem(9, 2, 2, 160, 96, torch.bfloat16)
    found = []
    for ahead in (False, True):
        alone = Config({**chosen.kwargs, "AHEAD": ahead}, chosen.num_warps, chosen.num_stages)
        for kernel in (experts_triton.gate_up_kernel, experts_triton.down_kernel):
            monkeypatch.setattr(kernel, "configs", [alone])
        found.append(check(*given))
    assert torch.equal(*found)


@pytest.mark.parametrize(("rows", "block"), [(20, 64), (50, 128), (70, 128)])
def test_a_tile_that_is_half_empty_changes_no_bit(rows, block, monkeypatch):
    """Tiles of 16 rows are never halved. The second expert has five rows fewer than the first.

    In the interpreter, NumPy multiplies; some processors add in another order for each shape.
    """
    alone = experts_triton.CONFIGURATIONS["more rows"][:1]
    for kernel in (experts_triton.gate_up_kernel, experts_triton.down_kernel):
        monkeypatch.setattr(kernel, "configs", alone)
    x, chosen, weights, *linears = problem(2 * rows - 5, 2, 1, 160, 96, torch.bfloat16)
    chosen[:] = (torch.arange(len(chosen), device=DEVICE) >= rows)[:, None]
    products = []
    for size in (16, block):
        products.append(torch.full((*chosen.shape, 160), torch.nan, device=DEVICE))
        routing = route(chosen, weights, 2, size)
        experts_triton.multiply(products[-1], x, routing, *linears, 7.0, size)
    if DEVICE == "cuda":
        assert torch.equal(*products)
    else:
        torch.testing.assert_close(*products, rtol=1e-5, atol=1e-5)


def test_an_expert_with_more_rows_than_usual_unpacks_its_weights_once():
    """A tile holds twice the average of an expert, from an average of 17 to one of 32."""
    averages = {16: 16, 17: 64, 32: 64, 64: 64, 65: 128, 500: 128}
    tiles = {n: experts_triton.block_rows(32 * n, 32, torch.bfloat16) for n in (1, *averages)}
    assert tiles == {1: 16, **averages}
    assert experts_triton.block_rows(32 * 500, 32, torch.float32) == 16
