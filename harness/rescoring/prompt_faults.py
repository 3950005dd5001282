"""Which fault of prompts made the replies of a run: a decision between hypotheses. No I/O.

A hypothesis is a known fault of prompts. Its ratio for a reply is the logprob of the reply after
the prompt that this fault makes, minus that after the right one, in nats. The ratio alone would
accuse a server whose model is only another one: noise on the weights prefers some fault by up to
150 nats. What separates them is the surprise that is left: after the true prompt, replies are as
probable as those of a healthy server.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.records.readings import PromptFault, Reading
from harness.rescoring.judgement import excess, judged

CLIP = 40.0
"""Nats that one reply counts at most, so that no reply decides alone against all others."""
LEAST = 20.0  # nats over the right prompts
AHEAD = 5.0  # nats before the next hypothesis
AGAINST = -5.0  # nats: of a fault of all requests, no reply is less probable
_MOST_ALIKE = 2  # other hypotheses that the replies cannot tell from the first one
_LEFT = 0.1  # share of the replies that the fault explains, and that are still improbable after it
_SURPRISE = 0.03
"""Nats a token that may be left: true faults leave at most 0.015, noise of 10% at least 0.055."""
_SHARES = (0.01, 0.03, 0.1, 0.25, 0.5, 0.9, 1.0)
"""Shares of the requests that a fault may hit. The mixture with the best of them is compared, not
the sum of the replies that like the fault: that one grows by chance."""

Key = tuple[str, int, int]


@dataclass(frozen=True)
class Hypothesis:
    """A known fault of prompts; the replies whose prompts it changes, read after its prompts."""

    name: str
    description: str
    allowed: bool  # whether healthy servers have it
    readings: Mapping[Key, Reading]


@dataclass(frozen=True)
class _Weighed:
    hypothesis: Hypothesis
    nats: float
    share: float
    ratios: Mapping[Key, float]


def decide(right: Mapping[Key, Reading], hypotheses: Sequence[Hypothesis]) -> PromptFault | None:
    """Return the fault that made the replies; None if none is clearly better than all others.

    Args:
        right: The replies that take part, read after the right prompts. Equal greedy ones once.
        hypotheses: The faults, each with the replies that it concerns.
    """
    weighed = sorted((_weighed(right, each) for each in hypotheses), key=lambda e: -e.nats)
    if not weighed or weighed[0].nats < LEAST:
        return None
    first = weighed[0]
    alike = [e for e in weighed[1:] if e.nats > first.nats - AHEAD]
    if len(alike) > _MOST_ALIKE:
        return None
    if first.share == 1 and min(first.ratios.values()) < AGAINST:
        return None
    if not _explains(right, first):
        return None
    explained = tuple(key for key, ratio in first.ratios.items() if ratio > AHEAD)
    return PromptFault(
        fault=first.hypothesis.name,
        description=first.hypothesis.description,
        allowed=any(each.hypothesis.allowed for each in (first, *alike)),
        nats=round(first.nats, 1),
        second=round(max((e.nats for e in weighed[1 + len(alike) :]), default=0.0), 1),
        share=first.share,
        indistinguishable=tuple(e.hypothesis.name for e in alike),
        replies=explained,
    )


def ratio(right: Reading, after: Reading) -> float:
    """Return how much more probable a reply is after another prompt, in nats, within `CLIP`."""
    return max(-CLIP, min(CLIP, math.fsum(after.logprobs) - math.fsum(right.logprobs)))


def _weighed(right: Mapping[Key, Reading], hypothesis: Hypothesis) -> _Weighed:
    ratios = {key: ratio(right[key], reading) for key, reading in hypothesis.readings.items()}
    sums = {
        share: math.fsum(math.log(1 - share + share * math.exp(ratio)) for ratio in ratios.values())
        for share in _SHARES
    }
    best = max(sums, key=lambda share: sums[share])
    return _Weighed(hypothesis, sums[best], best, ratios)


def _explains(right: Mapping[Key, Reading], first: _Weighed) -> bool:
    """Whether replies after this fault's prompts are as probable as those of healthy servers."""
    used = {key for key, ratio in first.ratios.items() if ratio > 0 or first.share == 1}
    after = [
        first.hypothesis.readings[key] if key in used else reading for key, reading in right.items()
    ]
    left = judged(after)
    few = len(left.improbable) <= _LEFT * max(len(after), 1)
    return few and not left.other_model and excess(after) <= _SURPRISE
