"""MXFP4 weights: decoding, rounding, and the layout of the kernels."""

import pytest
import torch

from reference_engine.model import mxfp4

# Computed by hand from the OCP specification: sign, two exponent bits (bias 1), one mantissa bit.
E2M1 = {
    0b0000: 0.0,
    0b0001: 0.5,
    0b0010: 1.0,
    0b0011: 1.5,
    0b0100: 2.0,
    0b0101: 3.0,
    0b0110: 4.0,
    0b0111: 6.0,
    0b1001: -0.5,
    0b1010: -1.0,
    0b1011: -1.5,
    0b1100: -2.0,
    0b1101: -3.0,
    0b1110: -4.0,
    0b1111: -6.0,
}


@pytest.mark.parametrize(("nibble", "value"), E2M1.items())
def test_each_nibble_is_decoded(nibble, value):
    blocks = torch.full((1, 16), nibble | nibble << 4, dtype=torch.uint8)
    assert mxfp4.decode(blocks, torch.tensor([127], dtype=torch.uint8)).tolist() == [value] * 32


def test_the_low_nibble_comes_first():
    blocks = torch.zeros(1, 16, dtype=torch.uint8)
    blocks[0, 0], blocks[0, 15] = 0x52, 0xE0
    values = mxfp4.decode(blocks, torch.tensor([127], dtype=torch.uint8)).tolist()
    assert (values[:2], values[30:]) == ([1.0, 3.0], [0.0, -4.0])


@pytest.mark.parametrize(("scale", "factor"), [(127, 1.0), (128, 2.0), (120, 2**-7), (0, 2**-127)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_scales_are_powers_of_two(scale, factor, dtype):
    blocks = torch.full((2, 3, 16), 0x77, dtype=torch.uint8)
    values = mxfp4.decode(blocks, torch.full((2, 3), scale, dtype=torch.uint8), dtype)
    assert (values.shape, values.dtype) == ((2, 96), dtype)
    assert (values.double() == 6 * factor).all()


@pytest.mark.parametrize(
    ("value", "rounded"),
    [
        (0.24, 0.0),
        (0.25, 0.0),
        (0.26, 0.5),
        (0.75, 1.0),
        (1.25, 1.0),
        (1.75, 2.0),
        (2.5, 2.0),
        (3.5, 4.0),
        (5.0, 4.0),
        (5.01, 6.0),
        (7.9, 6.0),
        (-1.75, -2.0),
    ],
)
def test_rounding_is_to_nearest_and_ties_go_to_even(value, rounded):
    block = torch.zeros(32)
    block[0], block[1] = 4.0, value
    assert mxfp4.decode(*mxfp4.encode(block))[1] == rounded


def test_representable_values_are_exact():
    generator = torch.Generator().manual_seed(1)
    nibbles = torch.randint(0, 256, (5, 7, 16), generator=generator, dtype=torch.uint8)
    nibbles[..., 0] = 0x76  # The largest value determines the scale, so it must be 4 or 6.
    scales = torch.randint(1, 250, (5, 7), generator=generator, dtype=torch.uint8)
    values = mxfp4.decode(nibbles, scales)
    blocks, again = mxfp4.encode(values)
    assert torch.equal(again, scales)
    assert torch.equal(mxfp4.decode(blocks, again), values)


def test_a_block_of_zeros_is_zero():
    blocks, scales = mxfp4.encode(torch.zeros(64))
    assert mxfp4.decode(blocks, scales).eq(0).all()


def test_the_last_dimension_must_be_a_multiple_of_the_block():
    with pytest.raises(ValueError, match="multiple of 32"):
        mxfp4.encode(torch.zeros(33))


def every_code_and_scale():
    """Blocks (129, 256, 1, 16) of all bytes in all places, and every scale that kernels support."""
    place = (torch.arange(256)[:, None] + 37 * torch.arange(16)) % 256
    blocks = place.to(torch.uint8)[None, :, None].expand(129, -1, -1, -1)
    return blocks, torch.arange(129, dtype=torch.uint8)[:, None, None].expand(-1, 256, 1)


def test_the_kernel_layout_is_exact_for_every_code_and_scale():
    blocks, scales = every_code_and_scale()
    packed = mxfp4.kernel_layout(blocks, scales)
    for expert in (0, 1, 70, 128):
        found = mxfp4.decode_kernel_layout(packed[0][expert], packed[1][expert], torch.float64)
        assert torch.equal(found, mxfp4.decode(blocks[expert], scales[expert], torch.float64))


def test_one_product_of_bfloat16_unpacks_a_weight_exactly():
    """This is the arithmetic of the kernels: a pair of the word times 2^(scale - 1)."""
    blocks, scales = every_code_and_scale()
    words, _ = mxfp4.kernel_layout(blocks, scales)
    pairs = torch.stack([half.view(torch.bfloat16) for half in mxfp4.pairs_of(words)], -1)
    powers = ((scales.int() + 126) << 7).to(torch.int16).view(torch.bfloat16)
    # (expert, out, thread, weight, pair of a half, half) to the order of the inputs.
    weights = (pairs.view(129, 256, 4, 2, 2, 2) * powers[..., None, None, None]).permute(
        0, 1, 4, 5, 2, 3
    )
    exact = mxfp4.decode(blocks, scales, torch.float64)
    assert torch.equal(weights.flatten(2).double(), exact)


def test_weights_above_twelve_do_not_fit_the_kernel_layout():
    blocks, scales = mxfp4.encode(torch.full((1, 1, 32), 30.0))
    with pytest.raises(ValueError, match="above 12"):
        mxfp4.kernel_layout(blocks[:, :, None].flatten(2, 3), scales)
