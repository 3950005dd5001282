"""The limits of a gate on the speed of streams."""

import json
import random
from dataclasses import replace

import pytest
from background import in_background
from healthy import provider_of
from mock_provider import MockProvider
from replies import MODEL

from gpt_oss_verify.app import run
from harness.errors import ConfigurationError
from harness.providers.gate_entry import gate_entry
from harness.records.conditions import Condition
from harness.records.scores import Score, Timing
from harness.records.settings import Speed, Thresholds
from harness.verdict import speed


def scores(times, api="chat", tries=5):
    """Attempts with these times to the first token, a new case after each `tries`."""
    return [
        Score(
            record=f"{api}-{number}",
            task="tool_calling",
            sample=f"case-{number // tries}",
            condition=Condition(model=MODEL, api=api, mode="streaming"),
            attempt=number % tries + 1,
            outcome="success",
            timing=(Timing(total=time + 1, first_token=time, tokens_per_second=100 / time),),
        )
        for number, time in enumerate(times)
    ]


def gate(**limits):
    return Thresholds(speed=Speed.model_validate(limits), origins={"speed": "gate.yaml"})


def drawn(count, mean=1.0, seed=1):
    rng = random.Random(seed)
    return [mean * rng.uniform(0.5, 1.5) for _ in range(count)]


def judged(limits, times, concurrency=8):
    return speed.judge(scores(times), gate(**limits), concurrency)


@pytest.mark.parametrize(
    ("limits", "count", "decision", "said"),
    [
        ({"first_token": {"p50": 2}}, 100, "pass", "at most"),
        ({"first_token": {"p50": 0.6}}, 100, "fail", "at least"),
        ({"first_token": {"p50": 1.0}}, 100, "inconclusive", "more tries"),
        ({"first_token": {"p50": 2}}, 4, "inconclusive", "more tries"),
        ({"first_token": {"p50": 2}}, 5, "pass", "at most"),
        ({"first_token": {"p90": 2}}, 25, "inconclusive", "more tries"),
        ({"first_token": {"p90": 2}}, 60, "pass", "at most"),
        ({"first_token": {"p90": 1.1}}, 100, "fail", "at least"),
        ({"tokens_per_second": {"p50": 50}}, 100, "pass", "at least"),
        ({"tokens_per_second": {"p90": 60}}, 100, "pass", "at least"),
        ({"tokens_per_second": {"p90": 90}}, 100, "fail", "at most"),
        ({"tokens_per_second": {"p50": 150}}, 100, "fail", "at most"),
    ],
)
def test_a_limit_is_met_violated_or_undecided(limits, count, decision, said):
    (found,) = judged(limits, drawn(count))
    assert found.decision == decision, found.reason
    assert said in found.reason
    assert "(gate.yaml)" in found.reason
    assert f"{count} streams" in found.reason


def test_every_api_is_judged():
    both = [*scores(drawn(100)), *scores(drawn(100, mean=4.0), api="responses")]
    found = speed.judge(both, gate(first_token={"p50": 2}), 8)
    assert [(one.decision, one.reason.split(":")[0]) for one in found] == [
        ("fail", "responses"),
        ("pass", "chat"),
    ]


@pytest.mark.parametrize(("measure", "limit"), [("first_token", 9), ("tokens_per_second", 9)])
def test_the_slowest_api_stands_for_those_that_meet_a_limit(measure, limit):
    both = [*scores(drawn(100)), *scores(drawn(100, mean=4.0), api="responses")]
    (found,) = speed.judge(both, gate(**{measure: {"p50": limit}}), 8)
    assert (found.decision, found.reason.split(":")[0]) == ("pass", "responses")


def test_a_limit_at_a_load_needs_a_run_with_this_load():
    limits = {"first_token": {"p50": 2}, "concurrency": 16}
    (found,) = judged(limits, drawn(100))
    assert found.decision == "inconclusive"
    assert "--concurrency 16" in found.reason
    assert judged(limits, drawn(100), concurrency=16)[0].decision == "pass"


def test_what_was_not_measured_is_undecided():
    whole = [replace(one, timing=(Timing(total=1),)) for one in scores(drawn(50))]
    (found,) = speed.judge(whole, gate(first_token={"p50": 2}), 8)
    assert (found.decision, "no stream" in found.reason) == ("inconclusive", True)
    (found,) = speed.judge([], gate(first_token={"p50": 2}), 8)
    assert (found.decision, "has none" in found.reason) == ("inconclusive", True)
    assert not speed.judge(whole, Thresholds(), 8)


def test_a_server_at_the_limit_hardly_ever_fails_even_if_cases_differ():
    rng = random.Random(7)
    failed = passed = 0
    for _ in range(300):
        times = [
            base + rng.gauss(0, 0.02)
            for base in (rng.gauss(1, 0.3) for _ in range(36))
            for _ in range(5)
        ]
        (found,) = judged({"first_token": {"p50": 1.0}}, [max(0.01, time) for time in times])
        failed += found.decision == "fail"
        passed += found.decision == "pass"
    assert failed <= 300 * 0.02
    assert passed <= 300 * 0.08


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"speed": {"first_tokens": {"p50": 1}}}, "unknown key speed.first_tokens"),
        ({"speed": {"first_token": {"p95": 1}}}, "unknown key speed.first_token.p95"),
        ({"speed": {"first_token": {"p50": 0}}}, "speed.first_token.p50"),
        ({"speed": {"concurrency": 0}}, "speed.concurrency"),
    ],
)
def test_a_wrong_limit_is_refused_in_one_sentence(content, said):
    with pytest.raises(ConfigurationError, match=said):
        gate_entry(content, "gate.yaml")


@pytest.mark.usefixtures("empty_folder")
@pytest.mark.parametrize(
    ("limit", "tries", "code", "said"),
    [(30, 6, 0, "95% confidence"), (1e-6, 6, 1, "99% confidence"), (30, 1, 4, "more tries")],
)
def test_the_limit_decides_verdict_exit_code_and_reports(limit, tries, code, said, tmp_path):
    entry = {"speed": {"first_token": {"p90": limit}}, "lower_rate": 0.4}
    (tmp_path / "gate.yaml").write_text(json.dumps(entry), encoding="utf-8")
    plan = ("--suite", "tools", "-n", "12", "-k", str(tries), "-s", "--gate", "gate.yaml")
    with in_background(MockProvider(always=provider_of())) as server:
        assert run(["--base-url", server.base_url, "--model", MODEL, *plan]) == code
    (folder,) = (tmp_path / "runs").iterdir()
    for name in ("report.md", "junit.xml", "report.html"):
        assert said in (folder / name).read_text(encoding="utf-8")
    settings = json.loads((folder / "run.json").read_text(encoding="utf-8"))["settings"]
    assert settings["thresholds"]["speed"]["first_token"]["p90"] == limit
