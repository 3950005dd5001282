"""Non-inferiority to a baseline: decisions, detectable drops, pairs, and early stopping."""

import math
from statistics import fmean, stdev

import pytest

from harness.statistics.differences import difference, paired_means
from harness.statistics.mean_scores import Mean, run_mean
from harness.statistics.noninferiority import (
    FIRST_LOOK,
    always_valid_tail,
    compare,
    detectable_drop,
    power_to_detect,
    run_error,
    tries_needed,
)

EXACT = Mean(0.82, 0.0, 8)


@pytest.mark.parametrize(
    ("mean", "questions", "tries", "fixed", "equal"),
    [
        (0.925, 30, 8, 4.2, 6.0),
        (0.925, 30, 16, 3.0, 4.2),
        (0.801, 198, 8, 2.5, 3.5),
        (0.801, 198, 1, 7.1, 10.0),
    ],
)
def test_detectable_drops_are_the_published_ones(mean, questions, tries, fixed, equal):
    error = run_error(mean, questions, tries)
    assert round(100 * detectable_drop(error), 1) == fixed
    assert round(100 * detectable_drop(math.sqrt(2) * error), 1) == equal


def test_a_detectable_drop_is_detected_with_the_stated_power():
    assert power_to_detect(detectable_drop(0.012), 0.012) == pytest.approx(0.8)
    assert power_to_detect(0.0, 0.012) == pytest.approx(0.05)


@pytest.mark.parametrize(
    ("score", "decision", "further"),
    [(0.80, "pass", None), (0.70, "fail", None), (0.78, "inconclusive", 42)],
)
def test_decisions(score, decision, further):
    comparison = compare(Mean(score, 0.01, 8), EXACT, margin=0.05)
    assert (comparison.decision, comparison.further_tries) == (decision, further)
    assert comparison.difference.value == pytest.approx(score - 0.82)
    assert comparison.difference.low == pytest.approx(score - 0.82 - 1.644854 * 0.01, abs=1e-7)
    assert comparison.difference.high == pytest.approx(score - 0.82 + 1.644854 * 0.01, abs=1e-7)
    assert comparison.detectable == pytest.approx(2.486475 * 0.01, abs=3e-4)


def test_more_tries_cannot_settle_an_uncertain_baseline():
    assert compare(Mean(0.78, 0.01, 8), Mean(0.82, 0.01, 8), margin=0.05).further_tries is None
    assert tries_needed(gap=0.0, error=0.01, tries=8, fixed_error=0.0) is None


def test_tries_needed_reach_the_power():
    needed = tries_needed(gap=0.02, error=0.012, tries=16, fixed_error=0.004)
    assert needed == 48

    def error(tries):
        return math.hypot(0.012 * math.sqrt(16 / tries), 0.004)

    assert power_to_detect(0.02, error(needed)) >= 0.8 > power_to_detect(0.02, error(needed - 1))


def test_the_margin_must_be_above_0():
    with pytest.raises(ValueError, match="margin"):
        compare(EXACT, EXACT, margin=0.0)


def test_the_difference_keeps_asymmetric_bounds():
    perfect, fair = run_mean([[1.0] * 16] * 30), run_mean([[1.0] * 8 + [0.0] * 8] * 30)
    between = difference(perfect, fair)
    low, high = fair.bounds(0.05)
    assert (between.value, between.high) == (pytest.approx(0.5), pytest.approx(0.5 + (0.5 - low)))
    assert between.low == pytest.approx(0.5 - math.hypot(1 - 0.05 ** (1 / 480), high - 0.5))


def test_pairs_of_single_tries_get_the_variance_of_their_differences():
    run, baseline = paired_means([[1.0], [1.0], [0.0], [1.0]], [[1.0], [0.0], [0.0], [0.0]])
    between = difference(run, baseline)
    error = math.sqrt(1 / 3 / 4)
    assert between.value == pytest.approx(0.5)
    assert between.low == pytest.approx(0.5 - 2.353363 * error, abs=1e-6)
    assert between.high == pytest.approx(0.5 + 2.353363 * error, abs=1e-6)


def test_pairs_of_repeated_tries_get_their_own_variance():
    ours, theirs = [[1.0, 0.0], [1.0, 1.0]], [[0.0, 0.0], [1.0, 0.0]]
    assert paired_means(ours, theirs) == (run_mean(ours), run_mean(theirs))


def test_copies_that_nothing_shows_enlarge_the_noise():
    """Three equal tries from a cache have no variance, but their questions differ by chance."""
    cached = [[1.0] * 3, [0.0] * 3] * 50
    sampled = [[1.0, 0.0, 1.0], [1.0, 1.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]] * 25
    ours, theirs = paired_means(cached, sampled)
    differences = [fmean(a) - fmean(b) for a, b in zip(cached, sampled, strict=True)]
    expected = stdev(differences) / math.sqrt(len(cached))
    assert math.hypot(ours.error, theirs.error) == pytest.approx(expected)
    assert ours.error > run_mean(cached).error


def test_identical_pairs_have_an_interval_with_a_width():
    same = [[1.0]] * 9 + [[0.0]]
    between = difference(*paired_means(same, same))
    assert between.low < 0 < between.high


def test_pairs_must_match():
    with pytest.raises(ValueError, match="2 questions cannot be paired with 1"):
        paired_means([[1.0], [1.0]], [[1.0]])


def test_the_confidence_sequence_follows_its_formula():
    at_the_end = run_error(0.8, 30, 16)
    low, _ = Mean(0.8, at_the_end, 16).bounds(always_valid_tail(rounds=16, planned=16))
    assert (0.8 - low) / at_the_end == pytest.approx(2.764, abs=0.001)


def test_sequential_bounds_are_tightest_at_the_planned_rounds():
    tails = [always_valid_tail(rounds, planned=16) for rounds in range(FIRST_LOOK, 200)]
    assert max(tails) < 0.05 / 10
    assert tails.index(max(tails)) + FIRST_LOOK == pytest.approx(16, abs=4)


@pytest.mark.parametrize(("rounds", "planned"), [(1, 16), (2, 0)])
def test_a_look_needs_two_rounds_and_a_plan(rounds, planned):
    with pytest.raises(ValueError, match="first look"):
        always_valid_tail(rounds, planned)
