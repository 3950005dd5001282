"""Whether two sets of sampled texts come from the same model: a two-sample permutation test.

Model Equality Testing (Gao, Liang and Guestrin 2024, arXiv 2410.20247): the maximum mean
discrepancy with a Hamming kernel, which counts the positions at which two replies to the same
prompt have the same character.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LENGTH = 120  # number of characters compared; shorter texts are padded
PERMUTATIONS = 4999
_SEED = 20_250_805

Texts = Mapping[str, Sequence[str]]  # replies by prompt


def p_value(one: Texts, other: Texts) -> float:
    """Return the probability of a discrepancy this large if both sets have the same distribution.

    Labels are permuted within each prompt, so the test is exact for any number of replies. This is
    why it does not call `scipy.stats.permutation_test`, which permutes all values together. Only
    prompts in both sets count; there must be at least one.
    """
    import numpy as np

    generator = np.random.default_rng(_SEED)
    statistic = 0.0
    permuted = np.zeros(PERMUTATIONS)
    for prompt in sorted(set(one) & set(other)):
        sizes = len(one[prompt]), len(other[prompt])
        kernel = _hamming([*one[prompt], *other[prompt]])
        weights = np.repeat([1 / sizes[0], -1 / sizes[1]], sizes)
        statistic += float(weights @ kernel @ weights)
        mixed = generator.permuted(np.tile(weights, (PERMUTATIONS, 1)), axis=1)
        permuted += np.einsum("pi,ij,pj->p", mixed, kernel, mixed, optimize=True)
    at_least = int((permuted >= statistic - 1e-12).sum())
    return (1 + at_least) / (1 + PERMUTATIONS)


def _hamming(texts: Sequence[str]) -> NDArray[np.float64]:
    """Return the share of positions with the same character, for each pair of texts."""
    import numpy as np

    codes = np.array([[ord(c) for c in text[:LENGTH].ljust(LENGTH, "\0")] for text in texts])
    same: NDArray[np.float64] = (codes[:, None] == codes[None]).mean(-1, dtype=np.float64)
    return same
