"""Whether items are drawn with their stated probabilities. No I/O."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_FLOOR = -8.0  # lowest score of an item, in nats: one rare item must not outweigh all others


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
    means has mean 0 and this variance, and is nearly normal, because the mean of each draw is known
    before it (a martingale).
    """

    excess: float  # the sum of the scores minus their means, in nats
    variance: float  # the sum of their variances, in nats squared

    @property
    def deviation(self) -> float:
        """The excess in standard deviations."""
        return self.excess / math.sqrt(self.variance) if self.variance else 0.0

    @property
    def temperature(self) -> float:
        """The approximate temperature, relative to the stated probabilities, with this excess.

        The mean of the logprob grows with 1 / T at the rate of its variance (the derivative of an
        exponential family), so this is right near 1. Infinite if the draws are as if uniform.
        """
        inverse = 1 + self.excess / self.variance if self.variance else 1.0
        return 1 / inverse if inverse > 0 else math.inf


def sharpness(draws: Iterable[Draw]) -> Sharpness:
    """The sharpness of several draws; each has at least one logprob."""
    excess = variance = 0.0
    for draw in draws:
        odds = [math.exp(value) for value in draw.logprobs]
        rest = max(0.0, 1 - math.fsum(odds))
        scores = [max(value, _FLOOR) for value in draw.logprobs]
        other = min(min(scores), max(math.log(rest), _FLOOR) if rest else _FLOOR)
        total = math.fsum(odds) + rest
        mean = (math.fsum(p * s for p, s in zip(odds, scores, strict=True)) + rest * other) / total
        spread = math.fsum(p * (s - mean) ** 2 for p, s in zip(odds, scores, strict=True))
        variance += (spread + rest * (other - mean) ** 2) / total
        excess += (other if draw.drawn is None else scores[draw.drawn]) - mean
    return Sharpness(excess, variance)
