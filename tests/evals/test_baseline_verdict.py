"""The verdict of an eval from scores and a baseline, and of a run from those of its evals."""

import random
from datetime import UTC, datetime

import pytest
from scipy.special import betaincinv

from evals.baselines.baseline_verdict import default_margin, judge_scores, with_unread
from evals.baselines.choice import choose_baseline
from evals.baselines.eval_scores import EvalScores
from evals.baselines.measured import create_baseline, write_baseline
from harness.records.analysis import TaskResult
from harness.records.conditions import Condition
from harness.records.figures import BaselineVerdict, UnreadAnswers
from harness.records.runs import DatasetInfo, ProviderInfo, RunInfo, RunSettings
from harness.records.settings import Sampling
from harness.verdict.gate import NO_BASELINE, UNFINISHED, _worst, decide_evals

SIZES = {"aime25": (30, 16), "gpqa": (198, 8)}
SAMPLING = Sampling(temperature=1.0, top_p=1.0, max_tokens=131_072)


def recorded(name, mean, effort="high", model="gpt-oss-20b", tries=None, sample=False, seed=1):
    """Scores with exactly this mean, over questions of realistic difficulty, tries shuffled."""
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
    return EvalScores(
        eval=name,
        model=model,
        effort=effort,
        api="responses",
        dataset=DatasetInfo(eval=name, source="x", rows=questions, sha256="abc", sample=sample),
        sampling=SAMPLING,
        planned=planned,
        scores=scores,
    )


def cut(scores, tries):
    short = {question: line[:tries] for question, line in scores.scores.items()}
    return scores.model_copy(update={"scores": short})


def judged(scores, baseline="range", **options):
    margin = options.pop("margin", default_margin(scores.eval))
    return judge_scores(scores, choose_baseline(baseline), margin, **options)


AIME, GPQA = recorded("aime25", 0.3), recorded("gpqa", 0.725)
WORST_HEALTHY = recorded("aime25", 0.842)


@pytest.mark.parametrize(
    ("scores", "options", "decision", "reason"),
    [
        (cut(AIME, 15), {}, "fail", "450 of 480"),
        (cut(AIME, 4), {}, "inconclusive", "120 of 480"),  # the missing ones may change it
        (
            recorded("aime25", 0.83, tries=4),
            {},
            "inconclusive",
            "planned attempts were made, with a score of 8",
        ),
        (cut(GPQA, 1).model_copy(update={"planned": 1}), {}, "inconclusive", "3 more tries"),
        (
            recorded("aime25", 0.86),
            {"baseline": "vllm-recipes", "margin": 0.01},
            "inconclusive",
            "--format baseline",
        ),
        (WORST_HEALTHY, {"baseline": "card"}, "inconclusive", "gpt-oss-20b, high effort"),
        (WORST_HEALTHY, {}, "pass", "as good as its baseline within"),
        (GPQA.model_copy(update={"reading": "openai"}), {}, "pass", "72.5%, as OpenAI's"),
        (recorded("gpqa", 0.9, sample=True), {}, None, "no published baseline"),
    ],
)
def test_the_reason_of_a_verdict_says_what_decided_it(scores, options, decision, reason):
    verdict = judged(scores, **options)
    assert verdict.decision == decision
    assert reason in verdict.reason


@pytest.mark.parametrize(
    ("worst", "best", "read", "decision"),
    [
        (0.30, 0.31, 0, "fail"),
        (0.70, 0.88, 0, "inconclusive"),
        (0.70, 0.88, 9, "fail"),
        (0.88, 0.90, 0, "pass"),
    ],
)
def test_unread_answers_that_could_decide_leave_a_run_undecided(worst, best, read, decision):
    unread = UnreadAnswers(unread=9, read=read, right=0, low=worst, high=best)
    low, high = (recorded("aime25", mean) for mean in (worst, best))
    verdict = with_unread(judged(low), judged(high), low, unread)
    assert verdict.decision == decision
    assert ("`gpt-oss-verify grade RUN --unread" in f"{verdict.warnings}{verdict.reason}") == (
        read == 0
    )


@pytest.mark.parametrize(("name", "healthy"), [("aime25", 0.8615), ("gpqa", 0.725)])
def test_an_equal_provider_passes_and_one_ten_points_worse_fails(name, healthy):
    equal, worse = judged(recorded(name, healthy)), judged(recorded(name, healthy - 0.1))
    assert (equal.decision, worse.decision) == ("pass", "fail")
    comparison = worse.comparison
    assert comparison.difference.value == pytest.approx(-0.1, abs=0.002)
    assert comparison.difference.high < -default_margin(name)
    assert "as good as its baseline within" in equal.reason
    assert worse.reason.startswith(f"{name}, gpt-oss-20b, high effort: worse than its baseline by")


def test_an_equal_provider_passes_and_a_worse_one_fails_against_a_measured_baseline(tmp_path):
    trusted = recorded("aime25", 0.8615, seed=7)
    path = tmp_path / "trusted.json"
    write_baseline(create_baseline([trusted], "trusted", "0.1", datetime.now(UTC)), path)
    assert judged(recorded("aime25", 0.8615), str(path)).decision == "pass"
    assert judged(recorded("aime25", 0.7615), str(path)).decision == "fail"


def test_a_growing_run_is_decided_before_its_end_but_not_too_early():
    whole = recorded("gpqa", 0.725)
    decisions = [
        judged(cut(whole, tries), margin=0.04, every_round=True).decision for tries in range(9)
    ]
    assert decisions[:2] == ["inconclusive", "inconclusive"]
    assert "pass" in decisions[2:8]
    assert "fail" not in decisions


def test_a_growing_run_has_wider_bounds_than_a_complete_one():
    whole = recorded("aime25", 0.86)
    once = judged(whole).comparison
    often = judged(whole, every_round=True).comparison
    assert often.difference.low < once.difference.low
    assert often.difference.high > once.difference.high


def test_only_complete_rounds_count_in_a_growing_run():
    whole = recorded("aime25", 0.86)
    ragged = cut(whole, 6).scores | {"q0": whole.scores["q0"][:4]}
    uneven = whole.model_copy(update={"scores": ragged})
    assert judged(uneven, every_round=True) == judged(cut(whole, 4), every_round=True)


# --- The verdict of a run

DATA = DatasetInfo(eval="gpqa", source="s", rows=2, sha256="0")


def result(decision, *, sample=False):
    """The result of one eval under one condition with this decision."""
    return TaskResult(
        task="gpqa",
        condition=Condition(model="m", effort="low", api="chat", mode="non-streaming"),
        samples=2,
        tries=1,
        planned=2,
        finished=2,
        outcomes={"correct": 2},
        dataset=DATA.model_copy(update={"sample": sample}),
        baseline=BaselineVerdict(decision=decision, reason=f"it is {decision}"),
    )


def run_info(**fields):
    provider = ProviderInfo(
        name="p",
        base_url="http://p/v1",
        model="m",
        extra_body={},
        header_names=(),
        launch_command=None,
    )
    return RunInfo(
        tool_version="0",
        command=(),
        provider=provider,
        settings=RunSettings(
            evals=("gpqa",), apis=("chat",), modes=("non-streaming",), concurrency=1
        ),
        tasks=(),
        versions={},
        started_at="2026-11-20T12:00:00+00:00",
        **fields,
    )


@pytest.mark.parametrize(
    ("results", "complete", "decision"),
    [
        ([result("pass"), result("pass")], True, "pass"),
        ([result("pass"), result("fail")], True, "fail"),
        ([result("fail")], False, "fail"),
        ([result("pass")], False, "inconclusive"),
        ([result("pass"), result("inconclusive")], True, "inconclusive"),
        ([result(None)], True, None),
        ([result(None, sample=True)], True, None),
        ([result(None, sample=True)], False, "inconclusive"),
        ([result(None, sample=True), result("pass")], True, "pass"),
        ([result(None), result("pass")], True, "inconclusive"),
    ],
)
def test_a_run_passes_if_all_its_evals_pass(results, complete, decision):
    found = decide_evals(results, run_info(), complete=complete)
    assert found.decision == decision
    assert (UNFINISHED in found.reasons) == (not complete)
    if decision is None:
        assert found.reasons == tuple(each.baseline.reason for each in results)


def test_a_run_without_evals_that_could_be_compared_says_so_once():
    alone = result(None).model_copy(update={"baseline": None})
    assert decide_evals([alone], run_info(), complete=True).reasons == (NO_BASELINE,)


def test_the_most_important_reason_comes_first():
    found = decide_evals([result("pass"), result("fail")], run_info(), complete=True)
    assert found.reasons == ("it is fail", "it is pass")


@pytest.mark.parametrize(
    ("parts", "decision"),
    [
        (["pass", "pass"], "pass"),
        (["pass", "inconclusive"], "inconclusive"),
        (["inconclusive", "fail"], "fail"),
        (["fail", "pass"], "fail"),
        (["inconclusive", "inconclusive"], "inconclusive"),
        (["pass", None], "pass"),
        ([None], None),
    ],
)
def test_the_worst_task_decides_the_verdict(parts, decision):
    assert _worst(parts) == decision
