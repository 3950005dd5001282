"""Other ways to compute the mixture of experts of `model.transformer`.

`PackedMixtureOfExperts` keeps the weights in MXFP4. Its computation `packed_experts` in plain
PyTorch defines the correct result of the kernels in `experts_triton`. `SmallMixtureOfExperts` is
the fastest one for a few experts.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from reference_engine.model.config import Kernels, ModelConfig
from reference_engine.model.mxfp4 import PackedLinear, decode_kernel_layout
from reference_engine.model.products import product
from reference_engine.model.transformer import MixtureOfExperts, Transformer, swiglu

PackedExperts = Callable[[Tensor, Tensor, Tensor, PackedLinear, PackedLinear, float], Tensor]
"""The signature of `packed_experts` in PyTorch and Triton."""
PACKED_WEIGHTS = ("mlp1_weight", "mlp2_weight")
"""The parameters that MXFP4 blocks and scales replace."""


class PackedMixtureOfExperts(MixtureOfExperts):
    """The second half of a block with its experts in MXFP4.

    Buffers named `mlp1_weight_blocks`, `mlp1_weight_scales` and so on replace the parameters
    `mlp1_weight` and `mlp2_weight`. They have the layout of `PackedLinear`.
    """

    def __init__(self, config: ModelConfig, kernels: Kernels) -> None:
        super().__init__(config)
        del self.mlp1_weight, self.mlp2_weight
        self._run: PackedExperts = packed_experts
        if kernels == "triton":
            from reference_engine.kernels import experts_triton

            self._run = experts_triton.packed_experts

    def set_kernel_layout(self, name: str, blocks: Tensor, scales: Tensor) -> None:
        """Set the parameter `name` from blocks and scales in the layout of `PackedLinear`."""
        self.register_buffer(f"{name}_blocks", blocks)
        self.register_buffer(f"{name}_scales", scales)

    def run_experts(self, tokens: Tensor, chosen: Tensor, weights: Tensor) -> Tensor:
        """Run tokens (B, T, H) through their `chosen` experts (B, T, top) with `weights`."""
        rows, chosen, weights = (x.flatten(0, 1) for x in (tokens, chosen, weights))
        return self._run(rows, chosen, weights, *self.linears, self.limit).view_as(tokens)

    @property
    def linears(self) -> tuple[PackedLinear, PackedLinear]:
        """Both matrix products: gate and up, then down."""
        gate_up = PackedLinear(*self._pair("mlp1_weight"), self.mlp1_bias)
        return gate_up, PackedLinear(*self._pair("mlp2_weight"), self.mlp2_bias)

    def expanded(self, config: ModelConfig) -> MixtureOfExperts:
        """Return the same experts unpacked; `config` must be the one passed to the constructor."""
        with torch.device("meta"):
            plain = MixtureOfExperts(config).requires_grad_(False)
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
    """Replace the experts of a model that has no weights yet by packed ones."""
    for block in model.blocks:
        block.mlp = PackedMixtureOfExperts(model.config, model.kernels)


def expand_experts(model: Transformer) -> None:
    """Unpack the experts of a model in place, so that their values can be changed."""
    for block in model.blocks:
        if isinstance(block.mlp, PackedMixtureOfExperts):
            block.mlp = block.mlp.expanded(model.config)
    combine_few_experts(model)


class SmallMixtureOfExperts(MixtureOfExperts):
    """The second half of a block with few experts: a single token runs through all of them.

    All experts together are one matrix for each product, and most weights are zero. The launches
    depend only on shapes. Prompts have many rows for each expert; on a CPU, which would have to
    compute those of the other experts, too, they run through their own.
    """

    def run_experts(self, tokens: Tensor, chosen: Tensor, weights: Tensor) -> Tensor:
        """Run tokens (B, T, H) through their `chosen` experts (B, T, top) with `weights`."""
        if tokens.is_cpu and tokens.shape[1] > 1:
            return super().run_experts(tokens, chosen, weights)
        experts, width, hidden = self.mlp1_weight.shape
        share = weights.new_zeros(*tokens.shape[:-1], experts + 1).scatter(-1, chosen, weights)
        share = share[..., :experts].to(tokens.dtype)
        first = product(tokens, self.mlp1_weight.view(-1, hidden), self.mlp1_bias.view(-1))
        first = first.view(*tokens.shape[:-1], experts, width)
        inner = swiglu(first, self.limit) * share[..., None]
        second = product(inner.flatten(-2), self.mlp2_weight.view(-1, hidden).mT)
        return second + product(share, self.mlp2_bias.mT)


def combine_few_experts(model: Transformer) -> None:
    """Run the experts of each block as one matrix, if each token needs at least half of them."""
    for block in model.blocks:
        experts = block.mlp
        if type(experts) is MixtureOfExperts and len(experts.mlp1_bias) <= 2 * experts.gate.top:
            experts.__class__ = SmallMixtureOfExperts


def packed_experts(
    tokens: Tensor,
    chosen: Tensor,
    weights: Tensor,
    gate_up: PackedLinear,
    down: PackedLinear,
    limit: float,
) -> Tensor:
    """Run each token through its chosen experts, unpacking one expert at a time.

    Args:
        tokens: (tokens, H); the matrix products use this dtype.
        chosen: (tokens, top), int64; the different experts of each token. The index after the last
            expert means "no expert" and can repeat.
        weights: (tokens, top); weights of the experts' outputs.
        gate_up: H to 2 I, with interleaved gate and linear values.
        down: I to H; its bias is added before the weight is applied.
        limit: The clamp limit of SwiGLU.

    Returns:
        (tokens, H) in float32, or in float64 if the tokens are float64.
    """
    out = torch.zeros_like(tokens, dtype=torch.promote_types(tokens.dtype, torch.float32))
    for expert in torch.unique(chosen[chosen < len(gate_up.bias)]).tolist():
        row, place = torch.where(chosen == expert)
        inner = swiglu(_product(tokens[row], gate_up, expert), limit)
        outer = _product(inner, down, expert)
        out.index_add_(0, row, outer * weights[row, place, None].to(out.dtype))
    return out


def _product(x: Tensor, linear: PackedLinear, expert: int) -> Tensor:
    weight = decode_kernel_layout(linear.blocks[expert], linear.scales[expert], x.dtype)
    return product(x, weight, linear.bias[expert])
