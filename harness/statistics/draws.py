"""Whether items are drawn with their stated probabilities. No I/O."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_FLOOR = -8.0  # lowest score of an item, in nats: one rare item must not outweigh all others
_TEMPERATURES = (0.5, 0.7, 1.4, 2.0)  # compared with 1; one near the true one has most evidence


@dataclass(frozen=True)
class Draw:
    """One draw: the logprobs of the listed items, and the drawn one; None if it is not listed."""

    logprobs: Sequence[float]
    drawn: int | None


@dataclass(frozen=True)
class Sharpness:
    """How much more probable the drawn items are than the stated probabilities imply.

    The score of an item is its logprob; unlisted items have that of all unlisted ones together, or
    the lowest listed one. If the draws follow the probabilities, the sum of the scores minus their
    means has mean 0 and this variance, because the mean of each draw is known before it (a
    martingale). It is not normal: a rare item alone may be many standard deviations below the mean.
    """

    excess: float  # the sum of the scores minus their means, in nats
    variance: float  # the sum of their variances, in nats squared
    evidence: float = 0.0
    """The logarithm of the largest likelihood ratio of one of `_TEMPERATURES` to temperature 1."""

    @property
    def chance(self) -> float:
        """An upper bound of the probability of this evidence at temperature 1, for any items.

        The likelihood ratio has mean 1, so it exceeds x with probability 1 / x at most (Ville).
        """
        return min(1.0, len(_TEMPERATURES) * math.exp(-self.evidence))

    @property
    def temperature(self) -> float:
        """The approximate temperature, relative to the stated probabilities, with this excess.

        The mean of the logprob grows with 1 / T at the rate of its variance (the derivative of an
        exponential family), so this is right near 1. Infinite if the draws are as if uniform.
        """
        inverse = 1 + self.excess / self.variance if self.variance else 1.0
        return 1 / inverse if inverse > 0 else math.inf


def sharpness(draws: Iterable[Draw]) -> Sharpness:
    """Return the sharpness of several draws; each has at least one logprob."""
    excess = variance = 0.0
    ratios = dict.fromkeys((1 / temperature - 1 for temperature in _TEMPERATURES), 0.0)
    for draw in draws:
        odds = [math.exp(value) for value in draw.logprobs]
        rest = max(0.0, 1 - math.fsum(odds))
        scores = [max(value, _FLOOR) for value in draw.logprobs]
        other = min(min(scores), max(math.log(rest), _FLOOR) if rest else _FLOOR)
        total = math.fsum(odds) + rest
        mean = (math.fsum(p * s for p, s in zip(odds, scores, strict=True)) + rest * other) / total
        spread = math.fsum(p * (s - mean) ** 2 for p, s in zip(odds, scores, strict=True))
        variance += (spread + rest * (other - mean) ** 2) / total
        score = other if draw.drawn is None else scores[draw.drawn]
        excess += score - mean
        for power in ratios:
            tilted = [p * math.exp(power * s) for p, s in zip(odds, scores, strict=True)]
            norm = (math.fsum(tilted) + rest * math.exp(power * other)) / total
            ratios[power] += power * score - math.log(norm)
    return Sharpness(excess, variance, max(ratios.values()))
