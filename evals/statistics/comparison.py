"""Is a provider as good as its baseline, short of a margin? Pass, fail or not yet known.

A test of non-inferiority: the provider passes if the lower bound of its difference to the baseline
is above -margin, fails if the upper bound is below it, and is undecided otherwise. Each bound is
wrong with a chance of 5 %, so that at worst, at a true drop of exactly the margin, one run in
twenty passes and one in twenty fails. A provider without a drop fails far more rarely.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from evals.statistics.intervals import clustered_error
from evals.statistics.levels import TAIL
from evals.statistics.noise import Mean, NormalMean, run_mean
from evals.statistics.power import detectable_drop, tries_needed
from evals.statistics.tries import Scores, summarise
from harness.records.analysis import Decision, Estimate
from harness.records.base import Record


class Comparison(Record):
    """A score beside its baseline; everything on the scale of the score, where 0.01 is a point.

    `difference` is score minus baseline with one-sided 95 % bounds (together a 90 % interval).
    `detectable` is the smallest drop that a run like this sees with 80 % power, so that a provider
    worse by `margin + detectable` fails as often. `further_tries` is how many more tries of every
    question would settle an undecided comparison if the difference stays what it is; None where
    it is settled, or where no number would do.
    """

    decision: Decision
    score: float
    baseline: float
    difference: Estimate
    margin: float
    detectable: float
    further_tries: int | None = None


def compare(run: Mean, baseline: Mean, margin: float, run_tail: float = TAIL) -> Comparison:
    """Hold a run to a baseline on the same questions.

    Args:
        run: The provider's score.
        baseline: What it is held to.
        margin: Drop that is tolerated, above 0.
        run_tail: Chance that a bound of the run is wrong; smaller while a run is looked at
            repeatedly, see `evals.statistics.sequential`.

    Raises:
        ValueError: If the margin is not above 0.
    """
    if margin <= 0:
        raise ValueError("without a margin above 0 no provider could ever pass")
    between = difference(run, baseline, run_tail)
    decision = _decide(between, margin)
    return Comparison(
        decision=decision,
        score=run.value,
        baseline=baseline.value,
        difference=between,
        margin=margin,
        detectable=detectable_drop(math.hypot(run.error, baseline.error)),
        further_tries=_further(run, baseline, margin) if decision == "inconclusive" else None,
    )


def difference(
    run: Mean, baseline: Mean, run_tail: float = TAIL, baseline_tail: float = TAIL
) -> Estimate:
    """Difference of two independent means, from the bounds of each.

    The method of Newcombe (1998, his number 10; Zou and Donner 2008 as MOVER): it keeps the
    lopsidedness of bounds near 0 and 1, where a symmetric error of the difference would not hold.
    """
    low, high = run.bounds(run_tail)
    baseline_low, baseline_high = baseline.bounds(baseline_tail)
    value = run.value - baseline.value
    return Estimate(
        value=value,
        low=value - math.hypot(run.value - low, baseline_high - baseline.value),
        high=value + math.hypot(high - run.value, baseline.value - baseline_low),
    )


def paired_means(run: Scores, baseline: Scores) -> tuple[Mean, Mean]:
    """Both scores of the same questions, in the same order, with the noise between repeats.

    Where both asked every question repeatedly, each shows its own noise. Where one asked only
    once, the differences question by question show the noise of both together: how hard a question
    is cancels out, and what is left can only be too large. Half of it is put down to each side.

    Raises:
        ValueError: If the questions are not equally many, or one has no try.
    """
    if len(run) != len(baseline):
        raise ValueError(f"{len(run)} questions cannot be paired with {len(baseline)}")
    if _repeated(run) and _repeated(baseline):
        return run_mean(run), run_mean(baseline)
    ours, theirs = ([question.mean for question in summarise(s)] for s in (run, baseline))
    return _from_pairs(ours, theirs, run, baseline)


def _from_pairs(
    ours: Sequence[float], theirs: Sequence[float], run: Scores, baseline: Scores
) -> tuple[Mean, Mean]:
    count = len(ours)
    error = clustered_error([a - b for a, b in zip(ours, theirs, strict=True)])
    if not error:
        return run_mean(run), run_mean(baseline)
    half = error / math.sqrt(2)
    first, second = (
        NormalMean(math.fsum(means) / count, half, min(map(len, scores)), count - 1)
        for means, scores in ((ours, run), (theirs, baseline))
    )
    return first, second


def _repeated(scores: Scores) -> bool:
    return min(map(len, scores), default=0) > 1


def _decide(between: Estimate, margin: float) -> Decision:
    if between.low > -margin:
        return "pass"
    return "fail" if between.high < -margin else "inconclusive"


def _further(run: Mean, baseline: Mean, margin: float) -> int | None:
    gap = run.value - baseline.value + margin
    needed = tries_needed(gap, run.error, run.tries, baseline.error)
    return None if needed is None else max(1, needed - math.floor(run.tries))
