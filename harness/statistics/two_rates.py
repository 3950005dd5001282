"""Is the success rate of tool calls good enough? A sequential test of two rates.

The test compares a *reference* rate, which a good provider reaches, with a *lower* rate, which is
not acceptable. The evidence of a set of tries is the logarithm of its likelihood ratio (Wald 1945):

    evidence = passed * ln(reference / lower) + failed * ln((1 - reference) / (1 - lower)).

If one of the rates is true, evidence of ln(1 / error) for the other one occurs with a probability
of at most `error`, however many tries there are and whenever one looks (Ville 1939). So the error
rates do not depend on the number of tries, and more tries may be added. The cases are fixed, and
their success rates may differ: each try multiplies the likelihood ratio by a number whose
expectation is linear in the rate of its case. By the inequality of the means, the product over
complete rounds has an expectation of at most 1 if the mean rate is the lower one or less (or, for
the inverse ratio, the reference or more). A run fails only if its failures are also spread over
the cases, so that the choice of cases is not the reason. `benchmarks/gate_rates.py` simulates this;
docs/gate.md has the results.
"""

import math
from collections.abc import Sequence

from harness.statistics.question import Association
from harness.statistics.rates import at_least, exactly

PASS_ERROR = 0.05  # probability that a provider at or below the lower rate passes
FAIL_ERROR = 0.01
"""Probability that a provider at or above the reference fails: half of it because of its rate, half
because of single cases."""


def evidence(passed: int, tries: int, reference: float, lower: float) -> float:
    """Return the evidence: above 0 for the reference rate, below 0 for the lower rate.

    Raises ValueError if not 0 < lower < reference < 1.
    """
    if not 0 < lower < reference < 1:
        raise ValueError(f"the lower rate, {lower}, must be below the reference, {reference}")
    success, failure = math.log(reference / lower), math.log((1 - reference) / (1 - lower))
    return passed * success + (tries - passed) * failure


def pass_level() -> float:
    """Return the evidence that every condition needs; because all need it, errors do not add up."""
    return math.log(1 / PASS_ERROR)


def above(passed: int, tries: int, lower: float) -> bool:
    """Return whether so few failures are improbable at the lower rate (exact binomial test, 5%).

    Every mode whose tries alternate with those of another needs this: the evidence is that of both
    modes together, and the rate of one alone must not be the lower rate.
    """
    return at_least(passed, tries, lower) <= PASS_ERROR


def fewest_above(lower: float) -> int:
    """Return the tries without a failure from which `above` is true."""
    return math.ceil(math.log(PASS_ERROR) / math.log(lower))


def fail_level(tests: int) -> float:
    """Return the evidence at which any one of several tests fails a run; their errors add up."""
    return -math.log(2 * tests / FAIL_ERROR)


def spread_failures(means: Sequence[float], reference: float, tests: int) -> bool:
    """Return whether failures are spread over so many cases that others would fail as well.

    `means` has the share of passed tries of each case. If a few cases cause all failures, they may
    be too hard for the model; then single cases decide and not the rate.
    """
    from harness.statistics.intervals import lower_mean

    return lower_mean([1 - mean for mean in means], FAIL_ERROR / 2 / tests) > 1 - reference


def further_tries(passed: int, tries: int, reference: float, lower: float, tests: int) -> int:
    """Return how many more tries settle an open test at the same rate, at most a billion.

    Near the `turning_point` of the rate, the number is very large.
    """
    so_far = evidence(passed, tries, reference, lower)
    level = pass_level() if so_far > 0 else fail_level(tests)
    if so_far == 0:
        return 10**9
    return min(10**9, math.ceil((level - so_far) / (so_far / tries)))


def turning_point(reference: float, lower: float) -> float:
    """Return the rate at which further tries add no evidence; a higher one passes in the end."""
    failure = math.log((1 - lower) / (1 - reference))
    return failure / (failure + math.log(reference / lower))


def shown_rate(passed: int, tries: int) -> float:
    """Return the rate that these tries have shown: the exact lower bound (95%)."""
    from harness.statistics.intervals import exact_bounds

    return exact_bounds(passed, tries, PASS_ERROR)[0]


def case_level(tests: int) -> float:
    """Return the error probability of each of several tests of single cases."""
    return FAIL_ERROR / 2 / tests


def chance_of_worse(passed: int, tries: int, known_passed: int, known_tries: int) -> float:
    """Return the probability of at most this many passes if both rates are equal, given all passes.

    Fisher's exact test (1935), one-sided.
    """
    return Association({"": ((passed, tries), (known_passed, known_tries))}).p_fewer


def guide_false_alarm(
    cases: int, tries: int, conditions: int, rate: float, min_at: float, min_hat: float
) -> float:
    """Return the probability that the guide's rule fails if each try succeeds with this `rate`.

    The rule: under every condition, the share of cases with at least one success is above `min_at`
    and the share of cases without a failure above `min_hat`; a share of 1 is always enough. Exact:
    the numbers of cases without a failure, without a success, and with both are multinomial.
    """
    every, none = rate**tries, (1 - rate) ** tries
    needed = next(count for count in range(cases + 1) if exceeds(count / cases, min_hat))
    kept = math.fsum(
        exactly(lost, cases, none) * at_least(needed, cases - lost, every / (1 - none))
        for lost in range(cases + 1)
        if exceeds((cases - lost) / cases, min_at)
    )
    return max(0.0, 1 - kept**conditions)


def exceeds(rate: float, threshold: float) -> bool:
    """Return whether a rate is good enough for the guide's rule: above its threshold, or 1."""
    return rate > threshold or rate == 1.0
