"""The mean score of an eval with the error of the run and the error over questions."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.statistics.intervals import at_k
from harness.statistics.mean_scores import Mean, clustered_error, mean_score, run_mean

TWO_HARD = [[1.0] * 4 + [0.0] * 4] * 2 + [[1.0] * 8] * 8
right_or_wrong = st.lists(
    st.lists(st.sampled_from([0.0, 1.0]), min_size=1, max_size=6), min_size=1, max_size=12
)


def test_the_error_of_a_run_is_the_variance_between_tries():
    mean = run_mean(TWO_HARD)
    assert mean.value == pytest.approx(0.9)
    between_tries = 2 * (2 / 7) / 8 / 10**2
    two_unseen = 2 / 80**2
    assert mean.error == pytest.approx(math.sqrt(between_tries + two_unseen))
    assert mean.freedom == pytest.approx(14)
    assert (mean.tries, mean.trials) == (8, 80)


def test_unequal_questions_widen_only_the_clustered_interval():
    score = mean_score(TWO_HARD)
    assert score.clustered_error == pytest.approx(math.sqrt((2 * 0.4**2 + 8 * 0.1**2) / 9 / 10))
    assert score.run_error < score.clustered_error
    assert score.estimate.low < 0.8 < 0.9 < score.estimate.high
    assert (score.questions, score.tries) == (10, 80)


def test_single_tries_get_the_variance_of_all_tries():
    assert run_mean([[1.0]] * 15 + [[0.0]] * 5).error == pytest.approx(math.sqrt(0.75 * 0.25 / 20))


@pytest.mark.parametrize("tail", [0.05, 0.003])
def test_a_perfect_run_has_the_exact_bound(tail):
    low, high = run_mean([[1.0] * 16] * 30).bounds(tail)
    assert (low, high) == (pytest.approx(tail ** (1 / 480)), 1.0)


@given(right_or_wrong, st.sampled_from([0.05, 0.005]))
def test_bounds_contain_the_mean_and_widen_with_confidence(scores, tail):
    mean = run_mean(scores)
    low, high = mean.bounds(tail)
    wider_low, wider_high = mean.bounds(tail / 10)
    assert 0 <= wider_low <= low <= mean.value <= high <= wider_high <= 1
    assert low < high
    assert mean.error > 0


@given(right_or_wrong)
def test_bounds_of_inverted_scores_are_mirrored(scores):
    low, high = run_mean(scores).bounds(0.05)
    mirrored_low, mirrored_high = run_mean([[1 - x for x in tries] for tries in scores]).bounds(
        0.05
    )
    assert (mirrored_low, mirrored_high) == (pytest.approx(1 - high), pytest.approx(1 - low))


def test_graded_scores_have_a_symmetric_error():
    mean = run_mean([[0.5, 0.7], [0.2, 0.4]])
    assert mean.value == pytest.approx(0.45)
    assert mean.error == pytest.approx(math.sqrt((0.02 / 2 + 0.02 / 2) / 4))
    assert mean.freedom == pytest.approx(2)
    low, high = mean.bounds(0.05)
    assert high - mean.value == pytest.approx(mean.value - low)


def test_graded_scores_with_single_tries():
    values = [0.1, 0.5, 0.6, 0.8]
    error = math.sqrt(sum((x - 0.5) ** 2 for x in values) / 3 / 4)
    assert run_mean([[x] for x in values]) == Mean(0.5, pytest.approx(error), 1.0, 3)
    estimate = mean_score([[x] for x in values]).estimate
    assert (estimate.low, estimate.high) == (
        pytest.approx(max(0, 0.5 - 3.182446 * error), abs=1e-6),
        pytest.approx(min(1, 0.5 + 3.182446 * error), abs=1e-6),
    )


def test_a_score_and_its_bounds_are_clipped_like_published_ones():
    for scores in ([[-0.5], [0.4], [0.4]], [[-0.5], [0.1], [0.2]], [[0.9], [0.9], [1.0]]):
        found = mean_score(scores).estimate
        assert 0 <= found.low <= found.value <= found.high <= 1
    assert mean_score([[-0.5], [0.1], [0.2]]).estimate.value == 0


def test_a_single_question_has_no_clustered_error():
    assert clustered_error([0.5]) is None
    assert (mean_score([[0.5]]).estimate.low, mean_score([[0.5]]).estimate.high) == (0.0, 1.0)


def test_pass_at_and_pass_hat_over_questions():
    counts = [(2, 1), (2, 2)]
    assert [at_k(counts, k).pass_at.value for k in (1, 2)] == [0.75, 1.0]
    assert [at_k(counts, k).pass_hat.value for k in (1, 2)] == [0.75, 0.5]
    with pytest.raises(ValueError, match="k must be between"):
        at_k([(2, 1), (1, 1)], 2)


@pytest.mark.parametrize("scores", [[], [[1.0], []]])
def test_a_mean_needs_questions_with_tries(scores):
    with pytest.raises(ValueError, match="at least one question"):
        run_mean(scores)
