"""What a transformer of any kind is made of: matrix products, tables of tokens, norms.

Unlike PyTorch's own these do not initialise themselves: their values come from a checkpoint.
Shapes in comments: B sequences, T positions, H hidden.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Linear(nn.Module):
    """A matrix product, with bias or without."""

    def __init__(self, inputs: int, outputs: int, *, bias: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs))
        self.bias = nn.Parameter(torch.empty(outputs)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """Maps (..., inputs) to (..., outputs)."""
        return F.linear(x, self.weight, self.bias)


class Embedding(nn.Module):
    """A row of numbers for each token."""

    def __init__(self, tokens: int, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(tokens, size))

    def forward(self, tokens: Tensor) -> Tensor:
        """Maps (B, T) token ids to (B, T, H)."""
        return F.embedding(tokens, self.weight)


class RMSNorm(nn.Module):
    """Divides by the root mean square, then scales."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.scale = nn.Parameter(torch.empty(size))

    def forward(self, x: Tensor) -> Tensor:
        """Takes the float32 stream and returns the type that the matrices want."""
        x = x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.eps)
        return (x * self.scale).to(self.scale.dtype)
