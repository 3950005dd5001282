"""Recognize a known defect by its pattern of changes in the logprobs. No I/O.

A defect of the computation changes every logprob by an amount that follows from the weights, and
the reference engine computes these amounts by reproducing the defect. Rounding also changes
logprobs, but independently of the defect's pattern. The regression of a provider's changes x on the
pattern s through the origin, Σ x·s / Σ s², is therefore near 0 for a healthy engine and near 1 for
one with the defect, even if the defect's changes are smaller than those of rounding (a matched
filter). The standard error is that of a cluster-robust regression with requests as clusters.

Large changes of any origin resemble each other. A defect is therefore only named if the rest,
x - s, is no larger than the differences of healthy engines.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import sqrt
from statistics import median

from harness.golden.content import MILLI, Continuation, Golden, Pattern, unspaced
from harness.golden.distance import ComparedToken
from harness.golden.divergence import ComparedReply, Divergence

_MOST = 3.0  # changes count at most this many nats, so that a few tokens do not decide alone
_SURE = 3.0
"""Standard errors by which the share must lie inside the limits of `PatternShare.sure`. A healthy
engine's share would have to be off by at least six."""
_LEAST_TOKENS, _LEAST_TEXTS = 8, 3

Sums = tuple[float, float]  # Σ x·s and Σ s²


@dataclass(frozen=True)
class PatternShare:
    """The share of a defect's changes in a provider's changes, its error, and the rest in nats."""

    pattern: Pattern
    share: float
    error: float
    rest: float

    @property
    def sure(self) -> bool:
        """Whether the share is certainly nearer to 1 than to 0 or 2."""
        return 0.5 + _SURE * self.error < self.share < 1.5 - _SURE * self.error


def recognized(golden: Golden, replies: Sequence[ComparedReply]) -> PatternShare | None:
    """Return the defect that the replies certainly show, if any."""
    shares = (share_of(pattern, replies) for pattern in golden.patterns)
    sure = [share for share in shares if share is not None and share.sure]
    best = min(sure, key=lambda share: share.rest, default=None)
    return best if best is not None and best.rest <= golden.tolerance.median else None


def retold(golden: Golden, replies: Sequence[ComparedReply]) -> tuple[Pattern, int] | None:
    """Return the defect whose own answers the replies repeat, if any, and the number of texts.

    An engine with a large defect soon writes other tokens, so that few logprobs can be compared.
    Texts that healthy engines may write at near-ties do not count.
    """
    found = [(pattern, len(_repeated(golden, pattern, replies))) for pattern in golden.patterns]
    best = max(found, key=lambda each: each[1], default=None)
    return best if best is not None and best[1] >= _LEAST_TEXTS else None


def _repeated(golden: Golden, pattern: Pattern, replies: Sequence[ComparedReply]) -> set[str]:
    texts = {
        pattern.said.get(each.name): each.exchange.reply
        for each in replies
        if each.divergence is not None and each.divergence.gap > golden.tolerance.gap
    }
    return {
        said
        for said, reply in texts.items()
        if said and reply and said == unspaced(reply.reasoning, reply.text)
    }


def share_of(pattern: Pattern, replies: Sequence[ComparedReply]) -> PatternShare | None:
    """Return the share of a pattern in replies; None if too few tokens are affected."""
    clusters: dict[str, list[Sums]] = defaultdict(list)
    rest: list[float] = []
    for reply in replies:
        for token in reply.compared:
            expected = pattern.changes[reply.name][token.at]
            if not expected:
                continue  # unknown, such as of prompts in another order
            pairs = [
                (came, due / MILLI)
                for came, due in zip(token.changes, expected, strict=True)
                if came is not None and due is not None
            ]
            limited = [(_limited(came), _limited(due)) for came, due in pairs]
            squares = sum(due * due for _, due in limited)
            if squares:
                clusters[reply.name].append((sum(came * due for came, due in limited), squares))
                rest += [abs(came - due) for came, due in pairs]
    tokens = [sums for cluster in clusters.values() for sums in cluster]
    if len(tokens) < _LEAST_TOKENS:
        return None
    products, squares = _total(tokens)
    share = products / squares
    error = max(
        _standard_error([_total(cluster) for cluster in clusters.values()], share),
        _standard_error(tokens, share),
    )
    return PatternShare(pattern, share, error, median(rest))


def _limited(change: float) -> float:
    return max(-_MOST, min(_MOST, change))


def _total(sums: Sequence[Sums]) -> Sums:
    return sum(product for product, _ in sums), sum(square for _, square in sums)


def _standard_error(clusters: Sequence[Sums], share: float) -> float:
    """Return the cluster-robust standard error of a regression through the origin.

    The number n of clusters corrects for small samples by n / (n - 1). With one cluster there is no
    estimate, and that from single tokens is used.
    """
    residuals = [product - share * square for product, square in clusters]
    count = len(residuals)
    if count < 2:
        return 0.0
    _, total = _total(clusters)
    return sqrt(count / (count - 1) * sum(residual * residual for residual in residuals)) / total


def with_defect(reply: ComparedReply, golden: Golden, pattern: Pattern) -> ComparedReply:
    """Return the reply as it would be compared if its engine also had the defect.

    The patterns do not show whether the CoT diverges.
    """
    expected = pattern.changes[reply.name]
    tokens = (_changed(token, expected[token.at]) for token in reply.compared)
    known = [token for token in tokens if token.differences]
    diverged = _divergence(golden.continuations[reply.name], expected) or reply.divergence
    return replace(reply, compared=known, divergence=diverged)


def _changed(token: ComparedToken, expected: Sequence[int | None]) -> ComparedToken:
    pairs = zip(token.changes, expected, strict=True)
    sums = (None if came is None or due is None else came + due / MILLI for came, due in pairs)
    return replace(token, changes=tuple(sums))


def _divergence(
    golden: Continuation, expected: Sequence[Sequence[int | None]]
) -> Divergence | None:
    """Return where an engine with a defect first prefers another token, if anywhere."""
    for at, (token, changes) in enumerate(zip(golden.tokens(), expected, strict=True)):
        moved = [
            (value + due / MILLI, value)
            for (_, value), due in zip(token.top, changes, strict=False)
            if due is not None
        ]
        gap = token.top[0][1] - max(moved)[1] if moved else 0.0
        if gap > 0:
            return Divergence(at, gap, "the golden token", "another token")
    return None
