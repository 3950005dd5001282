"""MXFP4: 4-bit floats (E2M1) in blocks of 32 values that share one power-of-two scale (E8M0).

A block is 16 bytes with two values per byte, low nibble first. A scale byte s means 2^(s - 127).
"""

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

BLOCK = 32  # number of values that share a scale

VALUES = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, -0.0, -0.5, -1.0, -1.5, -2.0, -3.0, -4.0, -6.0)
"""The value of each nibble: one sign bit, two exponent bits and one mantissa bit."""

_SCALE_BIAS = 127
_LARGEST_EXPONENT = 2
_MIDPOINTS = (0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5.0)


def decode(blocks: Tensor, scales: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Unpack (..., groups, 16) bytes and (..., groups) scales to (..., groups * 32) values."""
    pairs = torch.tensor(
        [(VALUES[byte & 15], VALUES[byte >> 4]) for byte in range(256)],
        dtype=dtype,
        device=blocks.device,
    )
    powers = torch.ldexp(torch.ones(256), torch.arange(256) - _SCALE_BIAS).to(pairs)
    values = pairs[blocks.int()].flatten(-2)
    return values.mul_(powers[scales.int()][..., None]).flatten(-2)


def encode(values: Tensor) -> tuple[Tensor, Tensor]:
    """Quantize (..., n * 32) values to blocks and scales, rounding to nearest, ties to even.

    The scale follows the OCP MX specification: the exponent of the block's largest magnitude minus
    the largest exponent of the element type. Larger values saturate at 6. Raises ValueError.
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
    """Return the index of the nearest non-negative value; a tie goes to the even index."""
    midpoints = torch.tensor(_MIDPOINTS, device=magnitude.device)
    below = torch.bucketize(magnitude, midpoints)
    above = torch.bucketize(magnitude, midpoints, right=True)
    return torch.where(below % 2 == 0, below, above).to(torch.uint8)


@dataclass(frozen=True)
class PackedLinear:
    """One matrix product per expert, with MXFP4 weights in the layout that the kernels read."""

    blocks: Tensor  # (experts, out, in / 8), int32; see `kernel_layout`
    scales: Tensor  # (experts, in / 32, out), uint8
    bias: Tensor  # (experts, out), in the dtype of the tokens


LARGEST_SCALE = 128
"""The largest scale byte of the kernel layout, for weights up to 12: the kernels multiply by
2^(scale - 1), which must be a bfloat16."""

_PLACES = ((15, 8, 7, 6), (9, 2, 1, 0), (19, 12, 11, 10), (13, 14, 5, 4))
"""The bits of a word that hold sign, exponent (two) and mantissa of the first weight of each pair;
those of the second weight are 16 higher, modulo 32."""


def kernel_layout(blocks: Tensor, scales: Tensor) -> tuple[Tensor, Tensor]:
    """Convert blocks and scales from the checkpoint layout to the layout of `PackedLinear`.

    A thread of a matrix unit works on four pairs of weights of each block: t, t + 4, t + 8 and
    t + 12 (PTX ISA, fragments of wgmma's m64nNk16). Word t holds these pairs. Their bits are placed
    so that a rotation and a mask move them to the places where a bfloat16 has its sign, the lower
    two bits of its exponent and the upper bit of its mantissa (see `pairs_of`). The result is the
    weight times 2^-126. A tile loads the scales of adjacent outputs together.

    Args:
        blocks: (experts, out, in / 32, 16).
        scales: (experts, out, in / 32).

    Raises:
        ValueError: A weight is larger than the kernels support.
    """
    if scales.numel() and int(scales.max()) > LARGEST_SCALE:
        raise ValueError(
            "An expert has weights above 12, which the packed layout does not support: use a "
            "checkpoint whose experts are not in MXFP4."
        )
    words = torch.zeros((*blocks.shape[:-1], 4), dtype=torch.int32, device=blocks.device)
    for pair, table in enumerate(_tables(blocks.device)):
        words |= table[blocks[..., 4 * pair : 4 * pair + 4].int()]
    return words.flatten(-2), scales.mT.contiguous()


def pairs_of(words: Tensor) -> list[Tensor]:
    """Return the four pairs of each word as bfloat16, times 2^-126, as the kernels do."""
    rotated = ((words >> 4) & 0x0FFFFFFF) | (words << 28)
    last = ((words << 2) & _signed(0x80C080C0)) | ((words >> 6) & 0x01000100)
    return [x & _signed(0x81C081C0) for x in (words, words << 6, rotated, last)]


def decode_kernel_layout(words: Tensor, scales: Tensor, dtype: torch.dtype) -> Tensor:
    """Unpack the weights (out, in) of one expert from the layout of `PackedLinear`."""
    pairs = torch.stack(pairs_of(words.reshape(*words.shape[:-1], -1, 4)), -2)
    low, high = (((part >> 12) & 8) | ((part >> 6) & 7) for part in (pairs, pairs >> 16))
    return decode((low | (high << 4)).flatten(-2), scales.mT, dtype)


@cache
def _tables(device: torch.device) -> Tensor:
    """Return the bits of a word, (4, 256), that each byte sets as one of its pairs."""
    byte = torch.arange(256)
    tables = torch.zeros(4, 256, dtype=torch.int64)
    for pair, places in enumerate(_PLACES):
        for weight in range(2):
            for bit, place in enumerate(places):
                value = (byte >> (4 * weight + 3 - bit)) & 1
                tables[pair] |= value << ((place + 16 * weight) % 32)
    return tables.to(device, torch.int32)


def _signed(bits: int) -> int:
    """Return the int32 with these bits."""
    return bits - (1 << 32) if bits >> 31 else bits
