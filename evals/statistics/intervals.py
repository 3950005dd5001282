"""A mean score as an estimate of ability: questions are clusters."""

from __future__ import annotations

import math
from collections.abc import Sequence

from evals.statistics.levels import distance
from evals.statistics.noise import run_mean
from evals.statistics.tries import QuestionTries, Scores, is_binary, summarise
from harness.records.analysis import Estimate
from harness.records.base import Record
from harness.statistics.metrics import CONFIDENCE, clustered_estimate, pass_at_k, pass_hat_k


class MeanScore(Record):
    """A mean score, with both of its uncertainties.

    `estimate` is the mean over questions with a 95 % interval for other questions of the kind, and
    `clustered_error` its standard error (Miller 2024, section 2.2: the deviation between question
    means over the root of their number; None for a single question). `run_error` is the standard
    error of asking the same questions again, see `evals.statistics.noise`.
    """

    estimate: Estimate
    clustered_error: float | None
    run_error: float
    questions: int
    tries: int


def mean_score(scores: Scores) -> MeanScore:
    """Mean over questions of their mean over tries.

    The interval is Korn and Graubard's for right-or-wrong scores (`clustered_estimate`), which
    holds at small numbers and at 0 and 1. Graded scores get Student's interval of the question
    means, cut at the ends of the scale; scores below 0 (HealthBench has them) leave it uncut there.
    Simulated (`benchmarks/error_rates.py`), the intervals hold in 93 to 97 % of samples, but in
    92 % of 30 questions that are nearly all easy: without a hard one in it a sample knows of none.

    Raises:
        ValueError: If there is no question, or one without a try.
    """
    questions = summarise(scores)
    means = [question.mean for question in questions]
    if is_binary(scores):
        estimate = clustered_estimate(means, min(question.count for question in questions))
    else:
        estimate = _student(means)
    return MeanScore(
        estimate=estimate,
        clustered_error=clustered_error(means),
        run_error=run_mean(scores).error,
        questions=len(scores),
        tries=sum(question.count for question in questions),
    )


def clustered_error(means: Sequence[float]) -> float | None:
    """Standard error of the mean of question means; None for a single question."""
    count = len(means)
    if count == 1:
        return None
    mean = math.fsum(means) / count
    return math.sqrt(math.fsum((x - mean) ** 2 for x in means) / (count - 1) / count)


def pass_at(scores: Scores, k: int) -> Estimate:
    """pass@k over all questions: the chance that at least one of `k` tries is right.

    Raises:
        ValueError: If a question has fewer than `k` tries.
    """
    questions = summarise(scores)
    return clustered_estimate(
        [pass_at_k(question.count, _right(question), k) for question in questions],
        min(question.count for question in questions) // k,
    )


def pass_hat(scores: Scores, k: int) -> Estimate:
    """pass^k over all questions: the chance that `k` tries are all right.

    Raises:
        ValueError: If a question has fewer than `k` tries.
    """
    questions = summarise(scores)
    return clustered_estimate(
        [pass_hat_k(question.count, _right(question), k) for question in questions],
        min(question.count for question in questions) // k,
    )


def _right(question: QuestionTries) -> int:
    return round(question.mean * question.count)


def _student(means: Sequence[float]) -> Estimate:
    value = math.fsum(means) / len(means)
    floor = min(0.0, *means)
    error = clustered_error(means)
    if error is None:
        return Estimate(value=value, low=floor, high=1.0)
    reach = distance((1 - CONFIDENCE) / 2, len(means) - 1) * error
    return Estimate(value=value, low=max(floor, value - reach), high=min(1.0, value + reach))
