"""Whether two sets of sampled texts come from the same model: a two-sample test. Pure.

Model Equality Testing (Gao, Liang and Guestrin 2024, arXiv 2410.20247): the maximum mean
discrepancy with a Hamming kernel, which counts the places at which two replies to the same prompt
have the same character, and a p-value by permutation. Labels are exchanged within each prompt, so
that the test is exact for any number of replies to it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

LENGTH = 120
"""Characters that are compared; shorter texts are padded."""
PERMUTATIONS = 4999
_SEED = 20_250_805

Texts = Mapping[str, Sequence[str]]
"""Replies by prompt."""


def p_value(one: Texts, other: Texts) -> float:
    """Probability of a discrepancy this large if both sets came from one distribution.

    Prompts that only one of them has are left out; at least one must be shared.
    """
    generator = np.random.default_rng(_SEED)
    shared = sorted(set(one) & set(other))
    found = 0.0
    permuted = np.zeros(PERMUTATIONS)
    for prompt in shared:
        kernel = _hamming([*one[prompt], *other[prompt]])
        weights = np.concatenate(
            [np.full(len(one[prompt]), 1 / len(one[prompt])), _less(len(other[prompt]))]
        )
        found += float(weights @ kernel @ weights)
        mixed = generator.permuted(np.tile(weights, (PERMUTATIONS, 1)), axis=1)
        permuted += np.einsum("pi,ij,pj->p", mixed, kernel, mixed, optimize=True)
    at_least = int((permuted >= found - 1e-12).sum())
    return (1 + at_least) / (1 + PERMUTATIONS)


def _less(count: int) -> NDArray[np.float64]:
    return np.full(count, -1 / count)


def _hamming(texts: Sequence[str]) -> NDArray[np.float64]:
    """The share of places with the same character, for each pair of texts."""
    codes = np.array([[ord(c) for c in text[:LENGTH].ljust(LENGTH, "\0")] for text in texts])
    same: NDArray[np.float64] = (codes[:, None] == codes[None]).mean(-1, dtype=np.float64)
    return same
