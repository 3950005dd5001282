"""Recognize a known defect by its pattern of changes in the logprobs. Pure.

A defect of the computation changes every logprob by an amount that follows from the weights, and
the reference engine computes these amounts by reproducing the defect. Rounding changes logprobs,
too, but independently of the defect's pattern. The regression of a provider's changes x on the
pattern s through the origin, Σ x·s / Σ s², is therefore near 0 for a healthy engine and near 1 for
one with the defect, even if the defect's changes are smaller than those of rounding (a matched
filter). The standard error is that of a cluster-robust regression with requests as clusters.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import sqrt

from harness.golden.distance import Compared
from harness.golden.records import MILLI, Golden, Pattern

_MOST = 3.0
"""Changes count at most this many nats, so that a few tokens do not decide alone."""
_SURE = 3.0
"""Standard errors by which the share must lie inside the limits of `Share.established`. A healthy
engine's share would have to be off by at least six."""
_LEAST_TOKENS = 8

Replies = Iterable[tuple[str, Compared]]
"""Compared tokens by the name of the request."""


@dataclass(frozen=True)
class Share:
    """The share of a defect's changes that a provider's changes contain, and its standard error.

    `explained` is the part of the provider's changes, squared and summed, that the pattern
    accounts for.
    """

    pattern: Pattern
    share: float
    error: float
    explained: float

    @property
    def established(self) -> bool:
        """Whether the share is surely nearer to 1 than to 0 or 2."""
        return 0.5 + _SURE * self.error < self.share < 1.5 - _SURE * self.error


def recognized(golden: Golden, replies: Replies) -> Share | None:
    """The established defect that explains most, if there is one."""
    listed = list(replies)
    shares = (share_of(pattern, listed) for pattern in golden.patterns)
    found = [share for share in shares if share is not None and share.established]
    return max(found, key=lambda share: share.explained, default=None)


def share_of(pattern: Pattern, replies: Replies) -> Share | None:
    """The share of a pattern in replies; None if too few tokens are affected."""
    clusters: dict[str, list[tuple[float, float, float]]] = defaultdict(list)
    for name, compared in replies:
        for token in compared.tokens:
            if expected := pattern.changes[name][token.at]:
                clusters[name].append(_sums(token.changes, expected))
    tokens = [token for cluster in clusters.values() for token in cluster if token[1]]
    if len(tokens) < _LEAST_TOKENS:
        return None
    products, squares, total = (sum(column) for column in zip(*tokens, strict=True))
    share = products / squares
    by_request = [
        (sum(product for product, _, _ in tokens), sum(square for _, square, _ in tokens))
        for tokens in clusters.values()
    ]
    error = max(
        _standard_error(by_request, share),
        _standard_error([(product, square) for product, square, _ in tokens], share),
    )
    return Share(pattern, share, error, share * products / total if total else 0.0)


def _sums(
    changes: Sequence[float | None], expected: Sequence[int | None]
) -> tuple[float, float, float]:
    """Σ x·s, Σ s² and Σ x² over the alternatives of one token."""
    pairs = [
        (_limited(came), _limited(due / MILLI))
        for came, due in zip(changes, expected, strict=True)
        if came is not None and due is not None
    ]
    return (
        sum(came * due for came, due in pairs),
        sum(due * due for _, due in pairs),
        sum(came * came for came, _ in pairs),
    )


def _limited(change: float) -> float:
    return max(-_MOST, min(_MOST, change))


def _standard_error(clusters: Sequence[tuple[float, float]], share: float) -> float:
    """The cluster-robust standard error of a regression through the origin.

    Of the clusters, only those with a part in the pattern count. Their number n corrects for small
    samples by n / (n - 1); with one cluster there is no estimate, and the tokens' one counts.
    """
    residuals = [product - share * square for product, square in clusters if square]
    count = len(residuals)
    if count < 2:
        return 0.0
    total = sum(square for _, square in clusters)
    return sqrt(count / (count - 1) * sum(each * each for each in residuals)) / total
