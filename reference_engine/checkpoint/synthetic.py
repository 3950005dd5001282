"""Checkpoints of any shape with random weights, for load tests and benchmarks.

Each value depends on the seed and on its position in Hugging Face's layout. Both layouts of one
seed therefore contain the same model. The values are drawn a few rows at a time while writing.
"""

import hashlib
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from reference_engine.checkpoint.convert import write_checkpoint
from reference_engine.checkpoint.layouts import Layout, Shape, pair_names, pair_shapes, sources
from reference_engine.checkpoint.writer import SHARD_BYTES
from reference_engine.errors import SetupError
from reference_engine.model import mxfp4
from reference_engine.model.config import ModelConfig

_SCALE_BIAS = 127
_NIBBLE_RMS = 2.93  # root mean square of the sixteen equally probable values of a nibble
_SMALL = 0.02


def synthesize(
    config: ModelConfig,
    dest: Path,
    layout: Layout,
    *,
    seed: int = 0,
    shard_bytes: int = SHARD_BYTES,
) -> None:
    """Write random weights with MXFP4 experts. Raises SetupError or VocabularyError."""
    origin = SyntheticWeights(config, seed)
    write_checkpoint(origin, dest, layout, shard_bytes=shard_bytes, title="Synthesizing")


class SyntheticWeights:
    """Random tensors with Hugging Face's names; matrix values have the variance 1 / inputs."""

    layout: Layout = "hf"

    def __init__(self, config: ModelConfig, seed: int) -> None:
        if config.hidden_size % mxfp4.BLOCK or config.intermediate_size % mxfp4.BLOCK:
            raise SetupError(
                f"hidden_size and intermediate_size must be multiples of {mxfp4.BLOCK} for MXFP4."
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
        """Return the dtype of a tensor, or None if it does not exist."""
        if name not in self._shapes:
            return None
        return torch.uint8 if name.endswith(("_blocks", "_scales")) else torch.bfloat16

    @contextmanager
    def rows(self, name: str, rows: range) -> Iterator[Tensor]:
        """Provide a range of rows; the same range has the same values every time."""
        shape = (len(rows), *self._shapes[name][1:])
        digest = hashlib.sha256(f"{self._seed}/{name}/{rows.start}".encode()).digest()
        random = np.random.default_rng(int.from_bytes(digest[:16], "little"))
        yield self._draw(name, shape, random)

    def _draw(self, name: str, shape: Shape, random: np.random.Generator) -> Tensor:
        if name.endswith("_blocks"):
            data = bytearray(random.bytes(math.prod(shape)))
            return torch.frombuffer(data, dtype=torch.uint8).view(shape)
        if name.endswith("_scales"):
            scale = 1 / (_NIBBLE_RMS * math.sqrt(self._inputs[name]))  # for variance 1 / inputs
            lower = _SCALE_BIAS + math.floor(math.log2(scale))
            return torch.from_numpy(random.integers(lower, lower + 2, size=shape, dtype=np.uint8))
        if name.endswith("norm.weight"):
            return torch.ones(shape, dtype=torch.bfloat16)
        values = torch.from_numpy(random.standard_normal(shape, dtype=np.float32))
        return values.mul_(_spread(name, shape)).bfloat16()


def _spread(name: str, shape: Shape) -> float:
    if name == "model.embed_tokens.weight":
        return 1.0
    if name.endswith(("bias", "sinks")):
        return _SMALL
    return 1 / math.sqrt(shape[-1])
