"""Which golden prompts a server rendered: the order of recipient and channel. No I/O.

A prompt with earlier calls has as many tokens whether their recipients precede the channel or
follow it, so its length does not tell. Servers that return the tokens of the prompt show it;
otherwise the order is the one whose golden answers fit best.
"""

from collections.abc import Iterator, Sequence
from math import inf
from statistics import fmean

from harness.api.items import Reply
from harness.api.parsed_rollout import ParsedExchange
from harness.golden.content import Golden
from harness.golden.distance import differences, distance
from harness.golden.divergence import ComparedReply, compared_replies

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
