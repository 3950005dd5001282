"""Experts that stay in MXFP4 in memory: a quarter of what bfloat16 takes."""

from __future__ import annotations

import torch
from torch import Tensor

from reference_engine.kernels import Kernels
from reference_engine.kernels.experts import packed_experts_of
from reference_engine.model.config import ModelConfig
from reference_engine.model.mxfp4 import PackedLinear, kernel_layout, unpack
from reference_engine.model.sharding import ALONE, Shard
from reference_engine.model.transformer import MixtureOfExperts, Transformer

PACKED_WEIGHTS = ("mlp1_weight", "mlp2_weight")
"""The parameters that a pair of blocks and scales stands for."""


class PackedMixtureOfExperts(MixtureOfExperts):
    """The second half of a block, its experts in MXFP4.

    In the place of `mlp1_weight` and `mlp2_weight` it has buffers of these names with `_blocks` and
    `_scales`, laid out as in a `PackedLinear`.
    """

    def __init__(self, config: ModelConfig, kernels: Kernels, shard: Shard = ALONE) -> None:
        super().__init__(config, shard)
        del self.mlp1_weight, self.mlp2_weight
        self._run = packed_experts_of(kernels)

    def hold(self, name: str, blocks: Tensor, scales: Tensor) -> None:
        """Takes a checkpoint's MXFP4 pair for the parameter `name`."""
        self.set_kernel_layout(name, *kernel_layout(blocks, scales))

    def set_kernel_layout(self, name: str, blocks: Tensor, scales: Tensor) -> None:
        """Takes blocks and scales as a `PackedLinear` has them."""
        self.register_buffer(f"{name}_blocks", blocks)
        self.register_buffer(f"{name}_scales", scales)

    def mixed(self, tokens: Tensor, chosen: Tensor, weights: Tensor) -> Tensor:
        """Tokens (N, H) through their `chosen` experts (N, top), weighted by `weights`."""
        gate_up = PackedLinear(*self._pair("mlp1_weight"), self.mlp1_bias)
        down = PackedLinear(*self._pair("mlp2_weight"), self.mlp2_bias)
        return self._run(tokens, chosen, weights, gate_up, down, self.limit)

    def expanded(self, config: ModelConfig) -> MixtureOfExperts:
        """The same experts unpacked; `config` is the one they were made with."""
        with torch.device("meta"):
            plain = MixtureOfExperts(config, self.shard).requires_grad_(False)
        weights = {name: self._decoded(name) for name in PACKED_WEIGHTS}
        plain.load_state_dict(weights | dict(self.named_parameters()), assign=True)
        return plain.train(self.training)

    def _pair(self, name: str) -> tuple[Tensor, Tensor]:
        return self.get_buffer(f"{name}_blocks"), self.get_buffer(f"{name}_scales")

    def _decoded(self, name: str) -> Tensor:
        blocks, scales = self._pair(name)
        experts = zip(blocks, scales, strict=True)
        weight = torch.stack([unpack(*pair, self.mlp1_bias.dtype) for pair in experts])
        return weight.mT.contiguous() if name == "mlp2_weight" else weight


def pack_experts(model: Transformer) -> None:
    """Gives every block of a model without weights experts that hold theirs packed."""
    for block in model.blocks:
        block.mlp = PackedMixtureOfExperts(model.config, model.kernels, model.shard)


def expand_experts(model: Transformer) -> None:
    """Unpacks the experts of a model, in place, so that their values can be changed."""
    for block in model.blocks:
        if isinstance(block.mlp, PackedMixtureOfExperts):
            block.mlp = block.mlp.expanded(model.config)
