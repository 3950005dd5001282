"""Mean scores, and how much they change when the same questions are sampled again.

With fixed questions, the mean of n questions with m tries each has the variance

    (1/n^2) sum_i s_i^2 / m,

where s_i^2 is the variance between the tries of question i. For binary scores with mean p this is
p (1 - p) (1 - r) / (n m), where r is the share of the variance between questions. r = 0 (all
questions equally hard) is the noisiest case, which `noninferiority.run_error` assumes by default.
Real benchmarks have an r of about 0.5.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from harness.records.figures import MeanScore
from harness.records.scores import Estimate
from harness.statistics.estimators import Scores, is_binary, question_means, sample_variance
from harness.statistics.intervals import ALPHA, critical_value, exact_bounds, mean_interval

UNSEEN = 2.0
"""Deviating tries that are added to the observed ones when the variance is estimated.

Without it, a bound on 30 questions of which one or two vary is wrong in up to 10% of simulated
runs (`benchmarks/error_rates.py`) instead of 5%; with it, in at most 6%. It widens the interval
of 30 questions with 16 tries by 4 to 8%.
"""


@dataclass(frozen=True)
class Mean:
    """A mean score with its noise; the error falls with the root of the number of tries.

    For graded scores, bounds are symmetric: Student's t. For binary scores, which have `trials`,
    they are Clopper and Pearson's with an effective number of trials, value (1 - value) / error^2
    (Korn and Graubard 1998, with the variance between tries instead of that between questions).
    The effective number is at least `trials`: binomial bounds are valid for independent tries with
    different probabilities (Hoeffding 1956).
    """

    value: float
    error: float  # its standard error
    tries: float  # tries per question
    freedom: float = math.inf
    """Degrees of freedom of the error; infinity gives the normal distribution."""
    trials: float | None = None  # tries of all questions if scores are binary, else None

    def bounds(self, tail: float) -> tuple[float, float]:
        """Return the lower and upper bound, each wrong with probability at most `tail`."""
        distance = critical_value(tail, self.freedom)
        if self.trials is None:
            return self.value - distance * self.error, self.value + distance * self.error
        trials = self.trials
        if spread := self.value * (1 - self.value):
            shrink = (critical_value(tail) / distance) ** 2
            trials = max(trials, spread / self.error**2 * shrink)
        low, high = exact_bounds(self.value * trials, trials, tail)
        return min(low, self.value), max(high, self.value)


def run_mean(scores: Scores) -> Mean:
    """Return the mean over questions, with the standard error between runs of the same questions.

    A question with a single try gets the variance of all tries. This overestimates its noise,
    because it includes the differences between questions. Raises the errors of `question_means`.
    """
    value = min(1.0, fmean(question_means(scores)))
    binary = is_binary(scores)
    spread = value * (1 - value) if binary else _pooled_variance(scores)
    variances = [sample_variance(tries) for tries in scores]
    shares = [
        (spread if variance is None else variance) / len(tries)
        for variance, tries in zip(variances, scores, strict=True)
    ]
    squared = math.fsum(shares) / len(scores) ** 2
    freedom = _satterthwaite(shares, scores)
    trials = len(scores) ** 2 / math.fsum(1 / len(tries) for tries in scores)
    tries_each = trials / len(scores)
    if not binary:
        return Mean(value, math.sqrt(squared), tries_each, freedom)
    widened = squared + UNSEEN / trials**2
    if spread > 0.0:
        widened = min(widened, spread / trials)
    return Mean(value, math.sqrt(widened), tries_each, freedom, trials)


def mean_score(scores: Scores) -> MeanScore:
    """Return the mean over questions of the mean over tries, clipped to [0, 1].

    Binary scores get the interval of `mean_interval`. Graded scores get Student's interval of the
    question means. A question may have a negative mean in HealthBench, the score of an eval may
    not (`evals.grading.rubric`). Tests simulate the coverage. Raises the errors of
    `question_means`.
    """
    means = question_means(scores)
    binary = is_binary(scores)
    estimate = mean_interval([min(1.0, mean) for mean in means]) if binary else _student(means)
    return MeanScore(
        estimate=estimate,
        clustered_error=clustered_error(means),
        run_error=run_mean(scores).error,
        questions=len(scores),
        tries=sum(map(len, scores)),
    )


def clustered_error(means: Sequence[float]) -> float | None:
    """Return the standard error of the mean of question means; None for a single question."""
    variance = sample_variance(means)
    return None if variance is None else math.sqrt(variance / len(means))


def share_mean(share: float, trials: float) -> Mean:
    """Return a share of (effective) independent trials as a mean with noise."""
    noise = max(share * (1 - share) / trials, UNSEEN / trials**2)
    return Mean(share, math.sqrt(noise), 1.0, trials=trials)


def _student(means: Sequence[float]) -> Estimate:
    value, error = fmean(means), clustered_error(means)
    reach = 1.0 if error is None else critical_value(ALPHA / 2, len(means) - 1) * error
    low, mean, high = (min(1.0, max(0.0, at)) for at in (value - reach, value, value + reach))
    return Estimate(value=mean, low=low, high=high)


def _satterthwaite(shares: Sequence[float], scores: Scores) -> float:
    """Return the degrees of freedom of a sum of estimated variances (Satterthwaite 1946)."""
    if all(len(tries) == 1 for tries in scores):
        return max(1.0, len(scores) - 1)
    uncertain = math.fsum(
        share**2 / (len(tries) - 1)
        for share, tries in zip(shares, scores, strict=True)
        if len(tries) > 1
    )
    return math.fsum(shares) ** 2 / uncertain if uncertain > 0 else math.inf


def _pooled_variance(scores: Scores) -> float:
    variance = sample_variance([score for tries in scores for score in tries])
    return 0.25 if variance is None else variance
