from collections import Counter
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evals.statistics.votes import maj_at_k

ballots = st.lists(st.sampled_from(["70", "7", "0", None]), min_size=1, max_size=7)


def vote(drawn):
    counts = Counter(answer for answer in drawn if answer is not None)
    most = max(counts.values(), default=0)
    winners = [answer for answer, count in counts.items() if count == most]
    return 1 / len(winners) if "70" in winners else 0.0


@settings(deadline=None)
@given(ballots, st.data())
def test_the_estimate_is_the_mean_over_all_subsets(answers, data):
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
def test_votes_by_hand(answers, k, expected):
    assert maj_at_k(answers, "70", k) == pytest.approx(expected)


@pytest.mark.parametrize("k", [0, 3])
def test_a_vote_needs_voters(k):
    with pytest.raises(ValueError, match="k must be between 1 and 2"):
        maj_at_k(["70", "7"], "70", k)


def test_thousands_of_tries_can_be_counted():
    assert maj_at_k(["a"] * 3000, "a", 1500) == 1
    assert maj_at_k(["a", "b"] * 2000, "a", 1) == 0.5
