"""Eval runs with a gate file and a budget, against a provider over a real socket."""

import json

import pytest
from background import in_background
from mock_provider import MockProvider
from quiz import MODEL, quiz

from evals.registry import load_data
from gpt_oss_verify import resolve
from gpt_oss_verify.app import run

pytestmark = pytest.mark.usefixtures("empty_folder")
HEALTHBENCH = ("--eval", "healthbench", "--examples", "2")


@pytest.fixture
def mock():
    with in_background(MockProvider(always=quiz(0.8), models=[MODEL])) as running:
        yield running


def at(mock, *more, command="eval"):
    return [command, "--base-url", mock.base_url, "--model", MODEL, "--api", "chat", *more]


def scored(mock, *more):
    return run(at(mock, "--samples", "--max-tokens", "500", *more))


def info(tmp_path):
    (folder,) = (tmp_path / "runs").iterdir()
    return folder, json.loads((folder / "run.json").read_text())


def test_an_eval_that_exceeds_its_budget_is_inconclusive_and_can_be_resumed(mock, tmp_path, capsys):
    assert scored(mock, "--eval", "aime25", "-k", "2", "--max-requests", "9") == 4
    assert "max_requests 9 (--max-requests)" in capsys.readouterr().out
    folder, written = info(tmp_path)
    assert len(mock.received) == 9
    assert (written["ended"], written["finished_at"]) == (None, None)
    assert run(["recheck", str(folder)]) == 4
    assert run(["eval", "--resume", str(folder)]) == 0
    assert info(tmp_path)[1]["stopped"] is None


def test_grading_counts_towards_the_budget(mock, tmp_path):
    assert scored(mock, *HEALTHBENCH, "--max-requests", "9") == 4
    folder, written = info(tmp_path)
    (log,) = folder.glob(f"grades-127.0.0.1-*-{MODEL}.jsonl")
    grades = log.read_text().splitlines()
    assert len(mock.received) == 9
    assert 0 < len(grades) <= 5
    assert "max_requests 9" in written["stopped"]
    assert run(["eval", "--resume", str(folder)]) == 0


def test_rounds_stop_when_the_budget_is_used_up(mock, tmp_path):
    options = ("--eval", "aime25", "-k", "8", "--until-decided", "--max-requests", "20")
    assert scored(mock, *options) == 4
    assert len(mock.received) <= 20
    assert info(tmp_path)[1]["ended"] is None


def test_the_gate_selects_the_default_evals_and_rejects_a_smaller_selection(mock, tmp_path, capsys):
    (tmp_path / "gate.yaml").write_text("evals: [aime25, gpqa]\nmargins: {aime25: 30}")
    assert scored(mock, "--gate", "gate.yaml", "-k", "1") == 0
    folder, written = info(tmp_path)
    assert written["settings"]["evals"] == ["aime25", "gpqa"]
    assert written["settings"]["origins"]["margins.aime25"] == "gate.yaml"
    (tmp_path / "more.yaml").write_text("evals: [aime25, healthbench]")
    capsys.readouterr()
    assert run(["recheck", str(folder), "--gate", "more.yaml"]) == 4
    assert "the eval healthbench" in capsys.readouterr().out


def test_a_resumed_run_has_the_margins_of_its_new_gate(mock, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(resolve, "load_data", lambda name, _="": load_data(name, "samples"))
    smoke = ["-n", "1", "-k", "1", "--no-streaming", "--evals", "quick", "--max-requests", "3"]
    assert run([*at(mock)[1:], *smoke]) == 4
    folder, before = info(tmp_path)
    assert before["settings"]["margins"] == {"aime25": 10.0, "gpqa": 10.0}
    (tmp_path / "gate.yaml").write_text("margins: {aime25: 30}\nbudget: {max_requests: 5}")
    assert run(["--resume", str(folder), "--gate", "gate.yaml"]) == 4
    settings = info(tmp_path)[1]["settings"]
    assert settings["margins"] == {"aime25": 30.0}
    assert settings["origins"]["margins.aime25"] == "gate.yaml"


def test_a_grader_also_needs_prices(mock, tmp_path, capsys):
    entry = f"{{base_url: {mock.base_url}, model: {MODEL}, apis: [chat]"
    text = f"providers:\n  a: {entry}, prices: {{input: 1, output: 1}}}}\n  b: {entry}}}\n"
    (tmp_path / "providers.yaml").write_text(text)
    options = ["--samples", *HEALTHBENCH, "--grader", "b", "--max-cost", "5"]
    assert run(["eval", "-p", "a", *options]) == 2
    assert "provider b" in capsys.readouterr().err


def test_evals_do_not_start_once_the_budget_is_used_up(mock, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(resolve, "load_data", lambda name, _="": load_data(name, "samples"))
    smoke = ["-n", "1", "-k", "1", "--no-streaming", "--evals", "quick", "--max-requests", "3"]
    assert run([*at(mock)[1:], *smoke]) == 4
    assert "max_requests 3 (--max-requests)" in capsys.readouterr().out
    folder, _ = info(tmp_path)
    sampled = [json.loads(line) for line in (folder / "rollouts.jsonl").read_text().splitlines()]
    assert {each["task"] for each in sampled} <= {"tool_calling"}
