"""Checkpoints of any shape with random weights: for load tests and benchmarks, not for answers.

The values are drawn a few rows at a time as they are written, from the seed and their place in
Hugging Face's layout; so both layouts of one seed hold the same model.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from reference_engine.checkpoint.convert import write_checkpoint
from reference_engine.checkpoint.layouts import (
    CheckpointError,
    Layout,
    Shape,
    pair_names,
    pair_shapes,
    sources,
)
from reference_engine.checkpoint.writer import SHARD_BYTES
from reference_engine.model import mxfp4
from reference_engine.model.config import ModelConfig

_SCALE_BIAS = 127
_NIBBLE_RMS = 2.93
"""Root mean square of the sixteen values of a nibble, all alike probable."""
_SMALL = 0.02


def synthesize(
    config: ModelConfig,
    dest: Path,
    layout: Layout,
    *,
    seed: int = 0,
    shard_bytes: int = SHARD_BYTES,
) -> None:
    """Writes a checkpoint with random weights, experts in MXFP4, a few rows in memory at a time.

    Args:
        config: Its shape; hidden and intermediate size must be multiples of 32.
        dest: The folder to make; it must not be there, or be empty. It appears when it is complete.
        layout: The layout to write.
        seed: Of the weights.
        shard_bytes: Largest file of weights.

    Raises:
        CheckpointError: MXFP4 does not fit the shape, or `dest` cannot be written.
        VocabularyError: The vocabulary, which the tokenizer is made of, cannot be had.
    """
    origin = SyntheticWeights(config, seed)
    write_checkpoint(origin, dest, layout, shard_bytes=shard_bytes, title="Synthesizing")


class SyntheticWeights:
    """Random tensors under Hugging Face's names.

    Matrices keep the size of what goes through them: their values have the variance 1 / inputs.
    Norms are one; biases and sinks are small.
    """

    layout: Layout = "hf"

    def __init__(self, config: ModelConfig, seed: int) -> None:
        if config.hidden_size % mxfp4.BLOCK or config.intermediate_size % mxfp4.BLOCK:
            raise CheckpointError(
                f"MXFP4 needs hidden_size and intermediate_size in multiples of {mxfp4.BLOCK}."
            )
        self.config = config
        self._seed = seed
        self._shapes: dict[str, Shape] = {}
        self._inputs: dict[str, int] = {}
        for source in sources(config, "hf").values():
            if source.packed is None:
                self._shapes |= dict(source.tensors)
                continue
            base, decoded = source.packed
            names = pair_names(base, "hf")
            self._shapes |= dict(zip(names, pair_shapes(decoded), strict=True))
            self._inputs[names[1]] = decoded[-1]

    def dtype(self, name: str) -> torch.dtype | None:
        """The type of a tensor, None if there is no such tensor."""
        if name not in self._shapes:
            return None
        return torch.uint8 if name.endswith(("_blocks", "_scales")) else torch.bfloat16

    @contextmanager
    def rows(self, name: str, rows: range) -> Iterator[Tensor]:
        """Lends some rows of a tensor; the same draw gives the same rows again."""
        shape = (len(rows), *self._shapes[name][1:])
        digest = hashlib.sha256(f"{self._seed}/{name}/{rows.start}".encode()).digest()
        random = np.random.default_rng(int.from_bytes(digest[:16], "little"))
        yield self._draw(name, shape, random)

    def _draw(self, name: str, shape: Shape, random: np.random.Generator) -> Tensor:
        if name.endswith("_blocks"):
            data = bytearray(random.bytes(math.prod(shape)))
            return torch.frombuffer(data, dtype=torch.uint8).view(shape)
        if name.endswith("_scales"):
            lower = _SCALE_BIAS + _exponent(self._inputs[name])
            drawn = random.integers(lower, lower + 2, size=shape, dtype=np.uint8)
            return torch.from_numpy(drawn)
        if name.endswith("norm.weight"):
            return torch.ones(shape, dtype=torch.bfloat16)
        values = torch.from_numpy(random.standard_normal(shape, dtype=np.float32))
        return values.mul_(_spread(name, shape)).bfloat16()


def _exponent(inputs: int) -> int:
    """The lower of two powers of two between which a scale of variance 1 / inputs lies."""
    return math.floor(math.log2(1 / (_NIBBLE_RMS * math.sqrt(inputs))))


def _spread(name: str, shape: Shape) -> float:
    if name == "model.embed_tokens.weight":
        return 1.0
    if name.endswith(("bias", "sinks")):
        return _SMALL
    return 1 / math.sqrt(shape[-1])
