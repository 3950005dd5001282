"""Is a provider as good as its baseline, within a margin? Pass, fail or inconclusive.

The non-inferiority test passes if the lower bound of the difference is above -margin, fails if the
upper bound is below -margin, and is inconclusive otherwise. Each bound is wrong with a probability
of 5%: at a true drop of exactly the margin, one run in twenty passes and one in twenty fails. A
provider without a drop fails far less often.

A normal run detects a drop beyond the margin with 80% power if that drop is at least

    (1.645 + 0.842) standard errors of the difference.

With an exact baseline, the standard error is that of the run (`run_error`); with a baseline of the
same size it is sqrt(2) times as large. Drops in percentage points, exact baseline / baseline of the
same size, for questions of equal difficulty (r = 0, the noisiest case):

    AIME 2025, high (p = 0.925, n = 30):      m = 8: 4.2 / 6.0    m = 16: 3.0 / 4.2
    GPQA Diamond, high (p = 0.801, n = 198):  m = 1: 7.1 / 10.0   m = 8: 2.5 / 3.5

These are for planning. A verdict states the drop that its own bounds detect: a lower score is
noisier, and exact bounds are wider than normal ones (`differences.detectable_worsening`).
"""

import math

from harness.records.figures import BaselineComparison, Decision
from harness.statistics.differences import POWER, TAIL, Pair, detectable_worsening, difference
from harness.statistics.distributions import normal_cdf
from harness.statistics.intervals import critical_value
from harness.statistics.mean_scores import Mean

FIRST_LOOK = 2
"""Rounds before the first look; a single round does not show the noise between rounds."""


def compare(
    run: Mean, baseline: Mean, margin: float, run_tail: float = TAIL, allowance: float = 0.0
) -> BaselineComparison:
    """Compare a run with a baseline on the same questions. Raises ValueError if the margin is 0.

    `run_tail` is the probability that a bound of the run is wrong; with several looks, it comes
    from `always_valid_tail`. `allowance` is how far another cause than the provider may move the
    score: both bounds are that much further out.
    """
    if margin <= 0:
        raise ValueError("a non-inferiority margin must be above 0; otherwise no run can pass")
    measured = difference(run, baseline, run_tail)
    between = measured.model_copy(
        update={"low": measured.low - allowance, "high": measured.high + allowance}
    )
    decision: Decision = "inconclusive"
    if between.low > -margin:
        decision = "pass"
    elif between.high < -margin:
        decision = "fail"
    needed = None
    if decision == "inconclusive":
        gap = max(0.0, abs(run.value - baseline.value + margin) - allowance)
        needed = tries_needed(gap, run.error, run.tries, baseline.error)
    pair, tolerated = Pair(run, baseline, cases=None), margin + allowance
    detectable = detectable_worsening(pair, run_tail, reference_tail=TAIL, margin=tolerated)
    return BaselineComparison(
        decision=decision,
        score=run.value,
        baseline=baseline.value,
        difference=between,
        margin=margin,
        detectable=None if detectable is None else detectable - tolerated,
        allowance=allowance,
        further_tries=None if needed is None else max(1, needed - math.floor(run.tries)),
    )


def run_error(mean: float, questions: int, tries: int) -> float:
    """Return the standard error of a mean of binary scores over equally hard, fixed questions."""
    return math.sqrt(mean * (1 - mean) / (questions * tries))


def detectable_drop(error: float) -> float:
    """Return the smallest drop detected with 80% power, given the error of the difference."""
    return (critical_value(TAIL) + critical_value(1 - POWER)) * error


def power_to_detect(drop: float, error: float, tail: float = TAIL) -> float:
    """Return the power: the probability that a drop of this size is detected."""
    return normal_cdf(drop / error - critical_value(tail))


def tries_needed(gap: float, error: float, tries: float, fixed_error: float) -> int | None:
    """Return the tries per question that settle the comparison with 80% power.

    `gap` is the distance of the present difference from the margin, of either sign; `error` is the
    run's own standard error after `tries` per question, and `fixed_error` the baseline's, which
    more tries do not reduce. None if no number is enough because the baseline is too uncertain.
    """
    allowed = (gap / detectable_drop(1.0)) ** 2 - fixed_error**2
    if allowed <= 0:
        return None
    return max(1, math.ceil(error**2 * tries / allowed))


def always_valid_tail(rounds: int, planned: int) -> float:
    """Return the error probability of each bound at this look, for 5% over all looks together.

    The bounds form a confidence sequence: Robbins' normal mixture (1970) with an estimated variance
    (Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, arXiv 2103.06476). After t rounds, their
    distance from the mean in standard errors is

        sqrt((1 + q / t) (log(1 + t / q) + 2 log(1 / (2 tail)))),

    with q = planned / 6.33, which makes them tightest near the planned number of rounds (Howard et
    al., arXiv 1810.08240). There the distance is 2.76 instead of 1.645. A round is one try of every
    question: rounds are independent and have the same mean, as the sequence requires. Betting on
    single tries (Waudby-Smith and Ramdas, arXiv 2010.09686) needs no normality, but took 1.3 to 1.9
    times as many rounds in simulations, with an error rate below 1%.

    `planned` is chosen before the first look. Raises ValueError before `FIRST_LOOK`.
    """
    if rounds < FIRST_LOOK or planned < 1:
        raise ValueError(f"the first look is after {FIRST_LOOK} rounds, not after {rounds}")
    level = 2 * math.log(1 / (2 * TAIL))
    tuning = planned / (level + math.log(1 + level))
    return normal_cdf(-math.sqrt((1 + tuning / rounds) * (math.log1p(rounds / tuning) + level)))
