"""Point estimates: pass@k, pass^k, maj@k, percentiles, bootstrap errors."""

import math
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from math import comb
from statistics import fmean

from harness.records.scores import Percentiles

Scores = Sequence[Sequence[float]]  # for each question, the scores of its tries


def question_means(scores: Scores) -> list[float]:
    """Return the mean over tries of each question.

    Raises ValueError if there are no questions or tries.
    """
    if not scores or not all(scores):
        raise ValueError("a score needs at least one question, and every question a try")
    return [fmean(tries) for tries in scores]


def sample_variance(values: Sequence[float]) -> float | None:
    """Return the unbiased sample variance; None for fewer than two values.

    `statistics.variance` computes with fractions and takes 50 times as long.
    """
    if len(values) < 2:
        return None
    mean = fmean(values)
    return math.fsum((x - mean) ** 2 for x in values) / (len(values) - 1)


def is_binary(scores: Scores) -> bool:
    """Return whether every score is 0 or 1."""
    return all(score in {0.0, 1.0} for tries in scores for score in tries)


def reported_ks(tries: int) -> list[int]:
    """Return the k of pass@k and pass^k to report: all up to 5, then powers of two, and `tries`."""
    powers = (2**power for power in range(3, tries.bit_length()))
    return sorted({*range(1, min(tries, 5) + 1), *powers, tries})


def pass_at_k(tries: int, successes: int, k: int) -> float:
    """Return the probability that at least one of `k` tries succeeds: 1 - C(n-c, k) / C(n, k).

    Unbiased (Chen et al. 2021, arXiv 2107.03374). Raises ValueError if the numbers are impossible.
    """
    _require(tries, successes, k)
    return 1.0 - comb(tries - successes, k) / comb(tries, k)


def pass_hat_k(tries: int, successes: int, k: int) -> float:
    """Return the probability that all of `k` tries succeed: C(c, k) / C(n, k).

    Unbiased (Yao et al. 2024, arXiv 2406.12045). Raises ValueError if the numbers are impossible.
    """
    _require(tries, successes, k)
    return comb(successes, k) / comb(tries, k)


def maj_at_k(answers: Sequence[str | None], target: str, k: int) -> float:
    """Return the probability that the most frequent answer among `k` of these tries is `target`.

    Unbiased and deterministic: the mean over all C(n, k) subsets, which are counted, not drawn.
    Tied answers share the win equally. None is a try without an answer, which does not vote. A
    subset without votes is a loss. Raises ValueError if there are fewer than `k` answers.
    """
    _require(len(answers), 0, k)
    counts = Counter(answer for answer in answers if answer is not None)
    right = counts.pop(target, 0)
    silent = sum(answer is None for answer in answers)
    rivals = tuple(counts.values())
    won = sum(
        (
            comb(right, votes) * _winning_ways(rivals, silent, k - votes, votes)
            for votes in range(1, min(right, k) + 1)
        ),
        Fraction(0),
    )
    return float(won / comb(len(answers), k))


def percentiles(values: Sequence[float]) -> Percentiles | None:
    """Return nearest-rank percentiles, so that each is a measured value; None without values."""
    if not values:
        return None
    ordered = sorted(values)

    def rank(share: float) -> float:
        return ordered[max(0, math.ceil(share * len(ordered)) - 1)]

    return Percentiles(count=len(ordered), p50=rank(0.5), p90=rank(0.9), p99=rank(0.99))


def bootstrap_std(values: Sequence[float]) -> float:
    """Return the standard deviation of the mean, clipped to [0, 1], over 1,000 resamples.

    This is the error that OpenAI's HealthBench script reports (`_compute_clipped_stats` in
    `gpt_oss/evals/healthbench_eval.py`), but with a fixed seed. `scipy.stats.bootstrap` rejects a
    single value and divides by 999 instead of 1,000.
    """
    import numpy as np

    known = np.asarray(values, dtype=np.float64)
    random = np.random.default_rng(0)
    batches = [random.choice(known, (50, len(known))).mean(axis=1) for _ in range(20)]
    return float(np.std(np.clip(np.concatenate(batches), 0, 1)))


def _winning_ways(rivals: Sequence[int], silent: int, others: int, votes: int) -> Fraction:
    """Return the weighted number of ways to draw `others` tries so that `votes` for the target win.

    `ways` counts, rival by rival, the ways to draw a number of tries of which a number of rivals
    tie with the target. Each way weighs as much as the target's share of the win.
    """
    ways = {(0, 0): 1}
    for rival in rivals:
        grown: Counter[tuple[int, int]] = Counter()
        for (drawn, tied), count in ways.items():
            for taken in range(min(rival, votes, others - drawn) + 1):
                grown[drawn + taken, tied + (taken == votes)] += count * comb(rival, taken)
        ways = dict(grown)
    return sum(
        (
            Fraction(count * comb(silent, others - drawn), tied + 1)
            for (drawn, tied), count in ways.items()
        ),
        Fraction(0),
    )


def _require(tries: int, successes: int, k: int) -> None:
    if not 0 <= successes <= tries:
        raise ValueError(f"{successes} successes in {tries} tries")
    if not 1 <= k <= tries:
        raise ValueError(f"k must be between 1 and {tries}, not {k}")
