"""Recognize a known defect by its pattern of changes in the logprobs. No I/O.

A defect of the computation changes every logprob by an amount that follows from the weights, and
the reference engine computes these amounts by reproducing the defect. Rounding also changes
logprobs, but independently of the defect's pattern. The regression of a provider's changes x on the
pattern s through the origin, Σ x·s / Σ s², is therefore near 0 for a healthy engine and near 1 for
one with the defect, even if the defect's changes are smaller than those of rounding (a matched
filter). The standard error is that of a cluster-robust regression with requests as clusters.

Large changes of any origin resemble each other. A defect is therefore only named if the rest,
x - s, is no larger than the differences of healthy engines.

Before, `in_rendered_order` tells which golden prompts a server rendered. A prompt with earlier
calls has as many tokens whether their recipients precede the channel or follow it, so its length
does not tell. Servers that return the tokens of the prompt show it; otherwise the order is the one
whose golden answers fit best.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import inf, sqrt
from statistics import fmean, median

from harness.api.items import Reply
from harness.api.parsed_rollout import ParsedExchange
from harness.golden.content import MILLI, Continuation, Golden, Pattern, unspaced
from harness.golden.distance import ComparedToken, differences, distance
from harness.golden.divergence import ComparedReply, Divergence, compared_replies

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


Replies = Sequence[tuple[str, ParsedExchange, Reply]]


def in_rendered_order(golden: Golden, replies: Replies) -> Golden:
    """The golden file with the answers to the prompts that a server rendered.

    Another order than the golden file's own is only chosen if its answers fit as those of a healthy
    engine: replies of a defective one may fit any order better by chance.
    """
    return min(_candidates(golden, replies), key=lambda found: found[0])[1]


def _candidates(golden: Golden, replies: Replies) -> Iterator[tuple[tuple[float, float], Golden]]:
    names = {name for other in golden.orders.values() for name in other.continuations}
    told = [reply for reply in replies if reply[0] in names]
    yield _misfit(golden, list(compared_replies(golden, told))), golden
    for order in golden.orders:
        other = golden.in_order(order)
        compared = list(compared_replies(other, told))
        if compared and _fits(other, compared):
            yield _misfit(other, compared), other


def _misfit(golden: Golden, compared: Sequence[ComparedReply]) -> tuple[float, float]:
    """How many replies clearly diverge, and the mean |Δ logprob|; infinite without replies."""
    if not compared:
        return inf, inf
    values = [value for reply in compared for value in differences(reply.compared)]
    return float(sum(_diverges(golden, reply) for reply in compared)), fmean(values or [inf])


def _fits(golden: Golden, compared: Sequence[ComparedReply]) -> bool:
    together = [token for reply in compared for token in reply.compared]
    near = not differences(together) or golden.tolerance.allows(distance(together))
    return near and not any(_diverges(golden, reply) for reply in compared)


def _diverges(golden: Golden, reply: ComparedReply) -> bool:
    return reply.divergence is not None and reply.divergence.gap > golden.tolerance.gap
