import random
from datetime import UTC, datetime

import pytest
from evals.judgement import CellScores, Sampling
from evals.records import Cell
from scipy.special import betaincinv

from evals.baselines.choice import choose_baseline
from evals.baselines.measured import create_baseline, write_baseline
from evals.verdict import default_margin, judge_scores, look
from harness.records.runs import DatasetInfo

SIZES = {"aime25": (30, 16), "gpqa": (198, 8)}
SAMPLING = Sampling(api="responses", temperature=1.0, top_p=1.0, max_tokens=131_072)


def recorded(name, mean, effort="high", model="gpt-oss-20b", tries=None, sample=False, seed=1):
    """Scores with just this mean, over questions as unequal as real ones, in any order of tries."""
    questions, planned = SIZES[name]
    tries = tries or planned
    shares = [(number + 0.5) / questions for number in range(questions)]
    counts = [round(tries * betaincinv(mean, 1 - mean, share)) for share in shares]
    order = random.Random(seed)
    missing = round(mean * questions * tries) - sum(counts)
    while missing:
        question = order.randrange(questions)
        step = 1 if missing > 0 else -1
        if 0 <= counts[question] + step <= tries:
            counts[question] += step
            missing -= step
    scores = {}
    for number, count in enumerate(counts):
        line = [1.0] * count + [0.0] * (tries - count)
        order.shuffle(line)
        scores[f"q{number}"] = tuple(line)
    return CellScores(
        cell=Cell(eval=name, model=model, effort=effort),
        dataset=DatasetInfo(eval=name, source="x", rows=questions, sha256="abc", sample=sample),
        sampling=SAMPLING,
        planned=planned,
        scores=scores,
    )


def cut(scores, tries):
    short = {question: line[:tries] for question, line in scores.scores.items()}
    return scores.model_copy(update={"scores": short})


@pytest.mark.parametrize(("tries", "decision"), [(15, "fail"), (4, "inconclusive")])
def test_a_cell_fails_early_only_if_nothing_that_is_missing_could_help(tries, decision):
    verdict = judge_scores([cut(recorded("aime25", 0.3), tries)], choose_baseline(None)).cells[0]
    assert verdict.decision == decision
    assert f"{30 * (16 - tries)} of 480 planned tries are missing." in verdict.reason


@pytest.mark.parametrize(("name", "healthy"), [("aime25", 0.8615), ("gpqa", 0.725)])
def test_an_equal_provider_passes_and_one_ten_points_worse_fails(name, healthy):
    healthy_range = choose_baseline(None)
    equal = judge_scores([recorded(name, healthy)], healthy_range)
    worse = judge_scores([recorded(name, healthy - 0.1)], healthy_range)
    assert (equal.decision, worse.decision) == ("pass", "fail")
    comparison = worse.cells[0].comparison
    assert comparison.difference.value == pytest.approx(-0.1, abs=0.002)
    assert comparison.difference.high < -default_margin(name)
    assert "as good as its baseline within" in equal.reasons[0]
    assert "worse than its baseline by more than" in worse.reasons[0]


def test_the_same_against_a_measured_baseline(tmp_path):
    trusted = recorded("aime25", 0.8615, seed=7)
    path = tmp_path / "trusted.json"
    write_baseline(create_baseline([trusted], "trusted", "0.1", datetime.now(UTC)), path)
    baseline = choose_baseline(str(path))
    assert judge_scores([recorded("aime25", 0.8615)], baseline).decision == "pass"
    assert judge_scores([recorded("aime25", 0.7615)], baseline).decision == "fail"


def test_the_card_alone_would_not_pass_a_healthy_stack():
    worst_healthy = [recorded("aime25", 0.842)]
    assert judge_scores(worst_healthy, choose_baseline("card")).decision == "inconclusive"
    assert judge_scores(worst_healthy, choose_baseline(None)).decision == "pass"


def test_a_run_with_missing_tries_is_undecided():
    verdict = judge_scores([recorded("aime25", 0.83, tries=4)], choose_baseline(None))
    assert verdict.decision == "inconclusive"
    assert "planned tries are missing" in verdict.reasons[0]


def test_what_is_not_settled_says_what_would_settle_it():
    once = recorded("gpqa", 0.725, tries=1).model_copy(update={"planned": 1})
    verdict = judge_scores([once], choose_baseline(None))
    assert verdict.decision == "inconclusive"
    assert verdict.cells[0].comparison.further_tries == 3
    assert "about 3 more tries of every question would settle it" in verdict.reasons[0]


def test_a_hopeless_baseline_asks_for_a_better_one():
    verdict = judge_scores(
        [recorded("aime25", 0.86)], choose_baseline("vllm-recipes"), margins={"aime25": 0.01}
    )
    assert verdict.decision == "inconclusive"
    assert "baseline create RUN" in verdict.reasons[0]


def test_one_bad_cell_fails_the_run_and_is_named_first():
    cells = [recorded("aime25", 0.8615), recorded("gpqa", 0.60)]
    verdict = judge_scores(cells, choose_baseline(None))
    assert [cell.decision for cell in verdict.cells] == ["pass", "fail"]
    assert verdict.decision == "fail"
    assert verdict.reasons[0].startswith("gpqa, gpt-oss-20b, high effort: worse")


def test_a_cell_without_a_baseline_decides_nothing_but_is_told_of():
    sample = recorded("gpqa", 0.9, sample=True)
    both = judge_scores([recorded("aime25", 0.8615), sample], choose_baseline(None))
    assert both.decision == "pass"
    assert both.cells[1].decision is None
    alone = judge_scores([sample], choose_baseline(None))
    assert alone.decision == "inconclusive"
    assert "sample questions" in alone.reasons[0]


def test_nothing_to_judge_is_inconclusive():
    assert judge_scores([], choose_baseline(None)).decision == "inconclusive"


def test_a_growing_run_is_settled_before_its_end_and_stays_undecided_before():
    baseline = choose_baseline(None)
    whole = recorded("gpqa", 0.725)
    decisions = [look(cut(whole, tries), baseline, 0.04).decision for tries in range(9)]
    assert decisions[:2] == ["inconclusive", "inconclusive"]
    assert "pass" in decisions[2:8]
    assert "fail" not in decisions


def test_a_growing_run_has_wider_bounds_than_a_whole_one():
    baseline, whole = choose_baseline(None), recorded("aime25", 0.86)
    once = judge_scores([whole], baseline).cells[0].comparison
    often = judge_scores([whole], baseline, every_round=True).cells[0].comparison
    assert often.difference.low < once.difference.low
    assert often.difference.high > once.difference.high


def test_only_complete_rounds_count_in_a_growing_run():
    whole = recorded("aime25", 0.86)
    ragged = cut(whole, 6).scores | {"q0": whole.scores["q0"][:4]}
    uneven = whole.model_copy(update={"scores": ragged})
    baseline = choose_baseline(None)
    assert look(uneven, baseline, 0.05) == look(cut(whole, 4), baseline, 0.05)


@pytest.mark.parametrize(
    ("name", "points"),
    [("aime25", 5), ("gpqa", 4), ("healthbench", 3), ("healthbench_hard", 4), ("basic", 5)],
)
def test_default_margins(name, points):
    assert default_margin(name) == pytest.approx(points / 100)
