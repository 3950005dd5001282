"""maj@k: what a majority vote over `k` tries would score."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from math import comb


def maj_at_k(answers: Sequence[str | None], target: str, k: int) -> float:
    """Chance that the most frequent answer of `k` tries, drawn from these, is `target`.

    Exact: the mean over all C(n, k) subsets, counted rather than drawn, so that it is unbiased and
    needs no seed. A tie is broken evenly between the answers in it. None is no answer: it uses up
    its try and has no vote. If nobody votes, the vote is lost.

    Args:
        answers: One answer per try, equal where they mean the same.
        target: The right answer.
        k: Size of the vote.

    Raises:
        ValueError: If not 1 <= k <= number of answers.
    """
    if not 1 <= k <= len(answers):
        raise ValueError(f"k must be between 1 and {len(answers)}, not {k}")
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


def _winning_ways(rivals: Sequence[int], silent: int, others: int, votes: int) -> Fraction:
    """Ways to draw `others` tries beside `votes` for the target, weighted by its share of the win.

    Builds up, rival by rival, the ways to have drawn a number of tries with a number of rivals
    tied with the target; a rival with more votes than the target is no way.
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
