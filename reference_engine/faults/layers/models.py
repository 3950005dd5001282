"""Worse models behind the healthy server: the only defect is that they are not gpt-oss.

Fine-tunes, coarse quantization and wrong weights make models that obey less. No rule may take what
they do for a defect of the server. Each sample of noise makes other forms of a request hard.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from reference_engine.faults import hooks
from reference_engine.model.transformer import Transformer


def _matrices(model: Transformer) -> Iterator[Tensor]:
    """Yield all matrices, those of the experts of a layer as one: (..., rows, columns)."""
    return (x for name, x in model.named_parameters() if name.endswith("weight") and x.dim() > 1)


def _noisy(share: float, seed: int) -> hooks.ModelChange:
    """Return a change that adds noise: this share of each matrix's standard deviation."""

    def damage(model: Transformer) -> None:
        generator = torch.Generator().manual_seed(seed)
        for matrix in _matrices(model):
            noise = torch.randn(matrix.shape, generator=generator) * matrix.float().std().cpu()
            matrix.add_((share * noise).to(matrix))

    return damage


def _rounded(steps: int) -> hooks.ModelChange:
    """Return a change that rounds each row to integers from `-steps` to `steps` times a scale."""

    def damage(model: Transformer) -> None:
        for matrix in _matrices(model):
            step = matrix.abs().amax(-1, keepdim=True).clamp(min=1e-9) / steps
            matrix.copy_((matrix / step).round() * step)

    return damage


hooks.MODEL.faults(
    {
        "model-noise-10": _noisy(0.1, seed=7),
        "model-noise-12": _noisy(0.12, seed=3),
        "model-noise-13": _noisy(0.13, seed=11),
        "model-noise-16": _noisy(0.16, seed=5),
        "model-noise-20": _noisy(0.2, seed=1),
        "model-noise-24": _noisy(0.24, seed=2),
        "model-of-four-bits": _rounded(7),
        "model-of-three-bits": _rounded(3),
    },
)


@hooks.MODEL("model-less-certain")
def model_less_certain(model: Transformer) -> None:
    model.norm.scale.mul_(0.6)  # so all logits are multiplied by 0.6
