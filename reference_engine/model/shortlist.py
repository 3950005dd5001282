"""The few tokens that can follow a prompt, in checkpoints whose format says so."""

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor


class Shortlist(Protocol):
    """The tokens of a checkpoint's shortlist; `generation.shortlist` draws from them."""

    common: Tensor  # token IDs of all prompts, in ascending order

    def own(self, prompt: Sequence[int]) -> Tensor:
        """Return the further token IDs of one prompt, in ascending order."""
        ...
