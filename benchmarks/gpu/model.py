"""Models of the published shapes with random weights, created on the device, packed in MXFP4."""

from dataclasses import replace

import torch

from reference_engine.kernels import resolve_kernels
from reference_engine.kernels.experts import PackedMixtureOfExperts, pack_experts
from reference_engine.model.config import ModelConfig, shape_named
from reference_engine.model.mxfp4 import PackedLinear
from reference_engine.model.transformer import Rotary, Transformer

SCALES = (118, 122)
"""The range of scale bytes, around 2^-7: products of 2,880 random values stay near one."""
DEVIATION = 0.02


def shape(name: str, layers: int | None = None) -> ModelConfig:
    """A published shape, perhaps with fewer layers."""
    config = shape_named(name)
    return config if layers is None else replace(config, num_hidden_layers=layers)


def random_model(
    config: ModelConfig, device: str, dtype: torch.dtype = torch.bfloat16
) -> Transformer:
    """A packed model with random weights; nothing is written to disk."""
    generator = torch.Generator(device).manual_seed(0)
    with torch.device("meta"):
        model = Transformer(config, kernels=resolve_kernels("triton", device))
        pack_experts(model)
    model = model.to(dtype).to_empty(device=device).requires_grad_(False)
    for name, parameter in model.named_parameters():
        if name.endswith("scale"):
            parameter.fill_(1)
        else:
            parameter.normal_(0, DEVIATION, generator=generator)
    for block in model.blocks:
        if isinstance(block.mlp, PackedMixtureOfExperts):
            _pack(block.mlp, config, generator)
    model.rotary = Rotary(config).to(device)  # `to_empty` left its frequencies undefined.
    return model.eval()


def random_linear(
    count: int, outputs: int, inputs: int, dtype: torch.dtype, generator: torch.Generator
) -> PackedLinear:
    """The packed weights of one matrix product for `count` experts."""
    device = generator.device
    blocks = torch.randint(
        -(2**31), 2**31, (count, outputs, inputs // 8), device=device, dtype=torch.int32,
        generator=generator,
    )  # fmt: skip
    scales = torch.randint(
        *SCALES, (count, inputs // 32, outputs), device=device, dtype=torch.uint8,
        generator=generator,
    )  # fmt: skip
    bias = torch.randn(count, outputs, device=device, generator=generator).to(dtype)
    return PackedLinear(blocks, scales, bias)


def _pack(experts: PackedMixtureOfExperts, config: ModelConfig, generator: torch.Generator) -> None:
    hidden, inner = config.hidden_size, config.intermediate_size
    for name, outputs, inputs in (("mlp1", 2 * inner, hidden), ("mlp2", hidden, inner)):
        count, dtype = config.num_local_experts, experts.mlp1_bias.dtype
        made = random_linear(count, outputs, inputs, dtype, generator)
        experts.set_kernel_layout(f"{name}_weight", made.blocks, made.scales)
