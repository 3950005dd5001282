"""pass@k, pass^k, maj@k, percentiles, and the bootstrap."""

import math
import random
from collections import Counter
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.statistics.estimators import (
    bootstrap_std,
    maj_at_k,
    pass_at_k,
    pass_hat_k,
    percentiles,
    reported_ks,
)

ballots = st.lists(st.sampled_from(["70", "7", "0", None]), min_size=1, max_size=7)


@st.composite
def counts(draw):
    tries = draw(st.integers(1, 8))
    return tries, draw(st.integers(0, tries)), draw(st.integers(1, tries))


@given(counts())
def test_pass_estimators_are_the_share_of_all_subsets(drawn):
    tries, successes, k = drawn
    subsets = list(combinations([True] * successes + [False] * (tries - successes), k))
    assert math.isclose(pass_at_k(tries, successes, k), sum(map(any, subsets)) / len(subsets))
    assert math.isclose(pass_hat_k(tries, successes, k), sum(map(all, subsets)) / len(subsets))


@given(counts())
def test_pass_hat_k_never_exceeds_pass_at_k(drawn):
    assert pass_hat_k(*drawn) <= pass_at_k(*drawn) + 1e-12


@pytest.mark.parametrize(("tries", "successes", "k"), [(5, 6, 1), (5, -1, 1), (5, 1, 0), (5, 1, 6)])
def test_impossible_counts_are_errors(tries, successes, k):
    with pytest.raises(ValueError):
        pass_at_k(tries, successes, k)
    with pytest.raises(ValueError):
        pass_hat_k(tries, successes, k)


def vote(drawn):
    counts = Counter(answer for answer in drawn if answer is not None)
    most = max(counts.values(), default=0)
    winners = [answer for answer, count in counts.items() if count == most]
    return 1 / len(winners) if "70" in winners else 0.0


@given(ballots, st.data())
def test_maj_at_k_is_the_mean_over_all_subsets(answers, data):
    k = data.draw(st.integers(1, len(answers)))
    subsets = list(combinations(answers, k))
    expected = sum(map(vote, subsets)) / len(subsets)
    assert maj_at_k(answers, "70", k) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("answers", "k", "expected"),
    [
        (["70", "70", "7"], 3, 1.0),
        (["70", "7"], 2, 0.5),
        (["70", "7", "0"], 3, 1 / 3),
        (["70", None, None], 3, 1.0),
        ([None, None], 2, 0.0),
        (["70", "70", "7", "7"], 2, 0.5),
        (["70"] * 9 + ["7"] * 7, 16, 1.0),
    ],
)
def test_maj_at_k_of_examples_by_hand(answers, k, expected):
    assert maj_at_k(answers, "70", k) == pytest.approx(expected)


@pytest.mark.parametrize("k", [0, 3])
def test_k_must_be_in_range(k):
    with pytest.raises(ValueError, match="k must be between 1 and 2"):
        maj_at_k(["70", "7"], "70", k)


def test_maj_at_k_of_thousands_of_tries():
    assert maj_at_k(["a"] * 3000, "a", 1500) == 1
    assert maj_at_k(["a", "b"] * 2000, "a", 1) == 0.5


def test_percentiles_are_measured_values():
    found = percentiles([3.0, 1.0, 2.0, 10.0])
    assert (found.count, found.p50, found.p90, found.p99) == (4, 2.0, 10.0, 10.0)
    assert percentiles([]) is None


def test_the_bootstrap_gives_the_standard_error():
    rng = random.Random(3)
    values = [rng.betavariate(2, 2) for _ in range(400)]
    mean = sum(values) / 400
    error = math.sqrt(sum((x - mean) ** 2 for x in values) / 400 / 400)
    assert bootstrap_std(values) == pytest.approx(error, rel=0.1)
    assert bootstrap_std(values) == bootstrap_std(values)
    assert bootstrap_std([0.3] * 9) == pytest.approx(0)


def test_the_bootstrap_clips_each_resample():
    assert bootstrap_std([-3.0, -1.0, -2.0, -0.5]) == 0
    half_cut = [-0.5, 0.5] * 20
    assert 0 < bootstrap_std(half_cut) < bootstrap_std([x + 0.5 for x in half_cut])


@pytest.mark.parametrize(
    ("tries", "expected"),
    [(1, [1]), (5, [1, 2, 3, 4, 5]), (33, [1, 2, 3, 4, 5, 8, 16, 32, 33])],
)
def test_all_small_k_are_reported_and_some_large_ones(tries: int, expected: list[int]) -> None:
    assert reported_ks(tries) == expected
