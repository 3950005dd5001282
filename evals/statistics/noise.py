"""How far a mean score moves when the same questions are asked again.

With the questions fixed, the mean of n questions with m tries each has the variance

    (1/n^2) sum_i s_i^2 / m,

s_i^2 being the variance between the tries of question i. Written for right and wrong, with mean p
and questions of unequal difficulty, that is p (1 - p) (1 - r) / (n m), where r is the share of the
variance that lies between questions. r = 0, all questions equally hard, is the noisiest case: the
figures in `evals.statistics.power` assume it. Real benchmarks have r around a half, so a run sees
more than the plan promised.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from evals.statistics.levels import distance
from evals.statistics.tries import QuestionTries, Scores, is_binary, summarise
from harness.statistics.metrics import exact_bounds

UNSEEN = 2.0
"""Surprises added to those that were seen, so that agreement by luck is not taken for certainty.

Chosen by simulation (`benchmarks/error_rates.py`): without it a bound on 30 questions of which one
or two vary is wrong in up to 10 % of runs instead of 5 %, with it in at most 6 %; an interval of 30
questions with 16 tries becomes 4 to 8 % wider.
"""


class Mean(Protocol):
    """A mean score whose noise is known.

    `error` is its standard error; `tries` is how often each question was asked.
    """

    @property
    def value(self) -> float:
        """The mean."""
        ...

    @property
    def error(self) -> float:
        """Its standard error."""
        ...

    @property
    def tries(self) -> float:
        """Tries per question: the error falls with the root of their number."""
        ...

    def bounds(self, tail: float) -> tuple[float, float]:
        """Lower and upper bound, each wrong with chance `tail`."""
        ...


@dataclass(frozen=True)
class NormalMean:
    """A mean with a symmetric error: Student's t with `freedom`, the normal without a limit."""

    value: float
    error: float
    tries: float
    freedom: float = math.inf

    def bounds(self, tail: float) -> tuple[float, float]:
        """Lower and upper bound, each wrong with chance `tail`."""
        reach = distance(tail, self.freedom) * self.error
        return self.value - reach, self.value + reach


@dataclass(frozen=True)
class BinomialMean:
    """A share of right answers.

    The bounds are Clopper and Pearson's with an effective number of trials, value (1 - value) /
    error^2, after Korn and Graubard (1998), but with the noise between tries in place of the
    variance between questions. It is never below `trials`, the tries that were made: binomial
    bounds hold for independent tries of any chances (Hoeffding 1956). `freedom` (Satterthwaite)
    pays for the variance being an estimate.
    """

    value: float
    error: float
    tries: float
    trials: float
    freedom: float

    def bounds(self, tail: float) -> tuple[float, float]:
        """Lower and upper bound, each wrong with chance `tail`."""
        trials = self._effective(tail)
        low, high = exact_bounds(self.value * trials, trials, tail)
        return min(low, self.value), max(high, self.value)

    def _effective(self, tail: float) -> float:
        spread = self.value * (1 - self.value)
        if spread == 0.0:
            return self.trials
        shrink = (distance(tail) / distance(tail, self.freedom)) ** 2
        return max(self.trials, spread / self.error**2 * shrink)


def run_mean(scores: Scores) -> Mean:
    """The mean over questions, with the noise of asking them again.

    A question with a single try tells nothing of its own noise; the variance of all tries stands
    in for it, which can only be too large: it has the differences between questions in it.

    Raises:
        ValueError: If there is no question, or one without a try.
    """
    questions = summarise(scores)
    value = min(1.0, math.fsum(question.mean for question in questions) / len(questions))
    binary = is_binary(scores)
    spread = value * (1 - value) if binary else _variance([x for tries in scores for x in tries])
    shares = [
        (spread if question.variance is None else question.variance) / question.count
        for question in questions
    ]
    squared = math.fsum(shares) / len(questions) ** 2
    freedom = _freedom(shares, questions)
    trials = len(questions) ** 2 / math.fsum(1 / question.count for question in questions)
    tries = trials / len(questions)
    if not binary:
        return NormalMean(value, math.sqrt(squared), tries, freedom)
    surprised = squared + UNSEEN / trials**2
    if spread > 0.0:
        surprised = min(surprised, spread / trials)
    return BinomialMean(value, math.sqrt(surprised), tries, trials, freedom)


def _freedom(shares: Sequence[float], questions: Sequence[QuestionTries]) -> float:
    """Satterthwaite's degrees of freedom of a sum of estimated variances."""
    if all(question.count == 1 for question in questions):
        return max(1.0, len(questions) - 1)
    uncertain = math.fsum(
        share**2 / (question.count - 1)
        for share, question in zip(shares, questions, strict=True)
        if question.count > 1
    )
    return math.fsum(shares) ** 2 / uncertain if uncertain > 0 else math.inf


def _variance(values: Sequence[float]) -> float:
    if len(values) == 1:
        return 0.25
    mean = math.fsum(values) / len(values)
    return math.fsum((x - mean) ** 2 for x in values) / (len(values) - 1)
