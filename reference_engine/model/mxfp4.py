"""MXFP4: 4-bit floats (E2M1) in blocks of 32 values that share one power-of-two scale (E8M0).

A block is 16 bytes with two values per byte, low nibble first. A scale byte s means 2^(s - 127).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

BLOCK = 32
"""Number of values that share a scale."""

VALUES = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, -0.0, -0.5, -1.0, -1.5, -2.0, -3.0, -4.0, -6.0)
"""The value of each nibble: one sign bit, two exponent bits and one mantissa bit."""

_SCALE_BIAS = 127
_LARGEST_EXPONENT = 2
_MIDPOINTS = (0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5.0)


def decode(blocks: Tensor, scales: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Unpacks (..., groups, 16) bytes and (..., groups) scales to (..., groups * 32) values."""
    pairs = torch.tensor(
        [(VALUES[byte & 15], VALUES[byte >> 4]) for byte in range(256)],
        dtype=dtype,
        device=blocks.device,
    )
    powers = torch.ldexp(torch.ones(256), torch.arange(256) - _SCALE_BIAS).to(pairs)
    values = pairs[blocks.int()].flatten(-2)
    return values.mul_(powers[scales.int()][..., None]).flatten(-2)


def encode(values: Tensor) -> tuple[Tensor, Tensor]:
    """Quantizes (..., n * 32) values to blocks and scales, rounding to nearest, ties to even.

    The scale follows the OCP MX specification: the exponent of the block's largest magnitude minus
    the largest exponent of the element type. Larger values saturate at 6.

    Raises:
        ValueError: The last dimension is not a multiple of 32.
    """
    if values.shape[-1] % BLOCK:
        raise ValueError(f"the last dimension must be a multiple of {BLOCK}: {values.shape[-1]}")
    groups = values.float().contiguous().view(*values.shape[:-1], -1, BLOCK)
    largest = groups.abs().amax(-1)
    exponent = torch.frexp(largest).exponent.sub(1 + _LARGEST_EXPONENT)
    exponent = exponent.clamp(-_SCALE_BIAS, _SCALE_BIAS).masked_fill(largest == 0, -_SCALE_BIAS)
    scaled = torch.ldexp(groups, -exponent[..., None])
    codes = _nearest(scaled.abs()) + (scaled.signbit().to(torch.uint8) << 3)
    blocks = codes[..., ::2] | (codes[..., 1::2] << 4)
    return blocks, exponent.add(_SCALE_BIAS).to(torch.uint8)


def _nearest(magnitude: Tensor) -> Tensor:
    """Returns the index of the nearest non-negative value; a tie goes to the even index."""
    midpoints = torch.tensor(_MIDPOINTS, device=magnitude.device)
    below = torch.bucketize(magnitude, midpoints)
    above = torch.bucketize(magnitude, midpoints, right=True)
    return torch.where(below % 2 == 0, below, above).to(torch.uint8)


@dataclass(frozen=True)
class PackedLinear:
    """One matrix product per expert, with MXFP4 weights in the layout that the kernels read.

    Attributes:
        blocks: (experts, out, in / 32, 4, 4), uint8; [c, j] is byte 4 j + c of a stored block.
        scales: (experts, in / 32, out), uint8.
        bias: (experts, out), in the dtype of the tokens.
    """

    blocks: Tensor
    scales: Tensor
    bias: Tensor


def kernel_layout(blocks: Tensor, scales: Tensor) -> tuple[Tensor, Tensor]:
    """Converts blocks and scales from the checkpoint layout to the layout of `PackedLinear`.

    A thread of a matrix unit works on bytes that are four apart (PTX ISA, fragments of wgmma's
    m64nNk16). With those bytes adjacent, it loads four at once. A tile loads the scales of adjacent
    outputs together.

    Args:
        blocks: (experts, out, in / 32, 16).
        scales: (experts, out, in / 32).
    """
    return blocks.view(*blocks.shape[:-1], 4, 4).mT.contiguous(), scales.mT.contiguous()


def decode_kernel_layout(blocks: Tensor, scales: Tensor, dtype: torch.dtype) -> Tensor:
    """Unpacks the weights (out, in) of one expert from the layout of `PackedLinear`."""
    return decode(blocks.mT.flatten(-2), scales.mT, dtype)
