"""Experts that stay in MXFP4 in memory, at a quarter of the size of bfloat16."""

import torch
from torch import Tensor

from reference_engine.kernels.experts import packed_experts_of
from reference_engine.model.config import Kernels, ModelConfig
from reference_engine.model.mxfp4 import PackedLinear, decode_kernel_layout
from reference_engine.model.sharding import UNSHARDED, Shard
from reference_engine.model.transformer import MixtureOfExperts, Transformer

PACKED_WEIGHTS = ("mlp1_weight", "mlp2_weight")
"""The parameters that MXFP4 blocks and scales replace."""


class PackedMixtureOfExperts(MixtureOfExperts):
    """The second half of a block with its experts in MXFP4.

    Buffers named `mlp1_weight_blocks`, `mlp1_weight_scales` and so on replace the parameters
    `mlp1_weight` and `mlp2_weight`. They have the layout of `PackedLinear`.
    """

    def __init__(self, config: ModelConfig, kernels: Kernels, shard: Shard = UNSHARDED) -> None:
        super().__init__(config, shard)
        del self.mlp1_weight, self.mlp2_weight
        self._run = packed_experts_of(kernels)

    def set_kernel_layout(self, name: str, blocks: Tensor, scales: Tensor) -> None:
        """Sets the parameter `name` from blocks and scales in the layout of `PackedLinear`."""
        self.register_buffer(f"{name}_blocks", blocks)
        self.register_buffer(f"{name}_scales", scales)

    def run_experts(self, tokens: Tensor, chosen: Tensor, weights: Tensor) -> Tensor:
        """Runs tokens (B, T, H) through their `chosen` experts (B, T, top) with `weights`."""
        rows, chosen, weights = (each.flatten(0, 1) for each in (tokens, chosen, weights))
        return self._run(rows, chosen, weights, *self.linears, self.limit).view_as(tokens)

    @property
    def linears(self) -> tuple[PackedLinear, PackedLinear]:
        """Both matrix products: gate and up, then down."""
        gate_up = PackedLinear(*self._pair("mlp1_weight"), self.mlp1_bias)
        return gate_up, PackedLinear(*self._pair("mlp2_weight"), self.mlp2_bias)

    def expanded(self, config: ModelConfig) -> MixtureOfExperts:
        """Returns the same experts unpacked; `config` must be the one passed to the constructor."""
        with torch.device("meta"):
            plain = MixtureOfExperts(config, self.shard).requires_grad_(False)
        weights = {name: self._decoded(name) for name in PACKED_WEIGHTS}
        plain.load_state_dict(weights | dict(self.named_parameters()), assign=True)
        return plain.train(self.training)

    def _pair(self, name: str) -> tuple[Tensor, Tensor]:
        return self.get_buffer(f"{name}_blocks"), self.get_buffer(f"{name}_scales")

    def _decoded(self, name: str) -> Tensor:
        experts = zip(*self._pair(name), strict=True)
        dtype = self.mlp1_bias.dtype
        weight = torch.stack([decode_kernel_layout(*pair, dtype) for pair in experts])
        return weight.mT.contiguous() if name == "mlp2_weight" else weight


def pack_experts(model: Transformer) -> None:
    """Replaces the experts of a model that has no weights yet by packed ones."""
    for block in model.blocks:
        block.mlp = PackedMixtureOfExperts(model.config, model.kernels, model.shard)


def expand_experts(model: Transformer) -> None:
    """Unpacks the experts of a model in place, so that their values can be changed."""
    for block in model.blocks:
        if isinstance(block.mlp, PackedMixtureOfExperts):
            block.mlp = block.mlp.expanded(model.config)
