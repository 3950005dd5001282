"""Logs that harnesses other than ours misjudge, or that have no reply: read rightly, or named."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from evals.baselines.column import baseline_column
from gpt_oss_verify.app import run
from harness.compare.inspect_log import read_inspect_log
from harness.compare.read_logs import is_log

MODEL = "openai-api/local/openai/gpt-oss-20b"
CHOICES = ("one", "two", "three", "four")


def sample(number: int, value: object, **members: Any) -> dict[str, Any]:
    """A sample of inspect_ai 0.3.285; without a value, its request failed."""
    message = {"role": "assistant", "content": f"reply {number}", "source": "generate"}
    output = {"model": MODEL, "choices": [{"message": message, "stop_reason": "stop"}]}
    failed = {"message": "429", "traceback": "", "traceback_ansi": ""}
    made = {
        "id": f"q{number}",
        "epoch": 1,
        "input": f"What is {number} + 1?",
        "target": f"{number + 1}",
        "messages": [],
        "output": output if value is not None else {"model": MODEL, "choices": []},
        "scores": {"scorer": {"value": value}} if value is not None else None,
        "total_time": 1.0,
    }
    return {**made, **({} if value is not None else {"error": failed}), **members}


def written(path: Path, samples: Sequence[Mapping[str, Any]], **spec: Any) -> Path:
    plan = spec.pop("plan", {})
    described = {
        "created": f"2026-11-30T12:00:0{len(path.name) % 10}+00:00",
        "task": "task",
        "dataset": {"name": "data"},
        "model": MODEL,
        "config": {},
        "packages": {"inspect_ai": "0.3.285"},
        **spec,
    }
    log = {"version": 2, "status": "success", "eval": described, "plan": plan, "samples": samples}
    path.write_text(json.dumps(log), encoding="utf-8")
    return path


def healthy(folder: Path) -> Path:
    return written(folder / "healthy.json", [sample(number, "C") for number in range(4)])


def silent(folder: Path) -> Path:
    return written(folder / "failed.json", [sample(number, None) for number in range(4)])


def compared(one: Path, other: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    code = run(["compare", str(one), str(other), "--out", str(one.parent / "compared")])
    made = capsys.readouterr()
    return code, " ".join((made.out + made.err).split())


def test_a_log_without_a_reply_is_counted_and_is_no_baseline(tmp_path, capsys):
    code, said = compared(healthy(tmp_path), silent(tmp_path), capsys)
    assert (code, "4 of 4 requests of task got no reply" in said) == (1, True)
    assert run(["export", str(silent(tmp_path)), "--format", "baseline"]) == 2
    assert "no baseline: 4 of 4 requests" in " ".join(capsys.readouterr().err.split())
    assert run(["history", str(tmp_path)]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "4 of 4 requests of task got no reply" in shown
    assert "1 failed start" in shown


def asked(number: int, turn: int, value: str = "C") -> dict[str, Any]:
    """A question whose choices are in its text, in an order of its own."""
    order = CHOICES[turn:] + CHOICES[:turn]
    lines = "\n".join(
        f"{letter}) {text} {number}" for letter, text in zip("ABCD", order, strict=True)
    )
    target = "ABCD"[order.index("two")]
    return sample(number, value, input=f"Question {number}?\n\n{lines}", target=target)


def test_questions_with_choices_in_their_text_are_paired_in_any_order(tmp_path, capsys):
    one = written(tmp_path / "a.json", [asked(n, n % 4) for n in range(20)])
    other = written(tmp_path / "bb.json", [asked(n, (n + 1) % 4, "I") for n in range(20)])
    code, said = compared(one, other, capsys)
    assert (code, "20 samples paired" in said) == (1, True)


@pytest.mark.parametrize(("others", "code"), [(11, 4), (9, 0)])
def test_logs_of_which_most_questions_cannot_be_paired_are_not_compared(
    others, code, tmp_path, capsys
):
    one = written(tmp_path / "a.json", [sample(n, "C") for n in range(20)])
    new = [sample(n, "C", input=f"Else {n}?") for n in range(others)]
    other = written(tmp_path / "bb.json", [*new, *(sample(n, "C") for n in range(others, 20))])
    got, said = compared(one, other, capsys)
    assert got == code
    assert ("Nothing of" in said) == (code == 4)


def parts(folder: Path, name: str, every: Sequence[object], part: str = "error_rate") -> Path:
    made = [sample(n, {part: value, "other": 1.0}) for n, value in enumerate(every)]
    return written(folder / name, made)


@pytest.mark.parametrize(("part", "code"), [("error_rate", 0), ("error_free", 1), ("quality", 1)])
def test_a_score_of_which_less_is_better_is_never_judged_the_wrong_way_round(
    part, code, tmp_path, capsys
):
    many = parts(tmp_path, "a.json", [1.0] * 12, part)
    few = parts(tmp_path, "bb.json", [0.0] * 12, part)
    got, said = compared(many, few, capsys)
    assert got == code
    assert ("better in task 1 − error_rate" in said) == (code == 0)
    named = "Lower is better for error_rate" if code == 0 else f"better for {part}, other"
    assert named in said


def test_a_value_that_is_not_given_drops_one_try_and_is_named(tmp_path):
    log = read_inspect_log(parts(tmp_path, "a.json", ["na", 0.0, 1.0]))
    assert log.scores["task 1 − error_rate"] == {"q0": (), "q1": (1.0,), "q2": (0.0,)}
    assert "1 of 3 tries have no value of error_rate." in log.notes
    log = read_inspect_log(parts(tmp_path, "b.json", [17, 0.0, 1.0]))
    assert list(log.scores) == ["task other"]
    assert any(note.startswith("error_rate is not compared") for note in log.notes)


EVENT = {
    "event": "model",
    "timestamp": "2026-11-30T12:00:00+00:00",
    "model": MODEL,
    "input": [],
    "tools": [],
    "tool_choice": "auto",
    "config": {"max_tokens": 2048},
    "output": {"model": MODEL, "choices": []},
}


@pytest.mark.parametrize(
    ("spec", "name", "value"),
    [
        ({"task_args": {"shots": 5}}, "task args", '{"shots":5}'),
        ({"task_version": 2}, "task version", "2"),
        ({"model_roles": {"grader": {"model": "openai/gpt-4o"}}}, "model roles", "gpt-4o"),
        ({"plan": {"steps": [{"solver": "chain_of_thought", "params": {}}]}}, "solvers", "chain"),
        ({"model_generate_config": {"extra_body": {"top_k": 5}}}, "extra body", '{"top_k":5}'),
    ],
)
def test_settings_that_move_scores_are_named(spec, name, value, tmp_path, capsys):
    log = read_inspect_log(written(tmp_path / "a.json", [sample(0, "C")], **spec))
    assert value in (log.settings[name] or "")
    plain = written(tmp_path / "bb.json", [sample(0, "C")])
    _, said = compared(plain, tmp_path / "a.json", capsys)
    assert f"Settings differ: {name}" in said


def test_effort_in_the_body_and_limits_that_a_provider_adds_are_read(tmp_path):
    config = {"extra_body": {"reasoning_effort": "low"}}
    log = read_inspect_log(
        written(tmp_path / "a.json", [sample(0, "C", events=[EVENT])], model_generate_config=config)
    )
    assert (log.effort, log.sampling.max_tokens) == ("low", 2048)


@pytest.mark.parametrize(("number", "said"), [(12, True), (11, False)])
def test_targets_of_one_letter_are_named(number, said, tmp_path):
    path = written(tmp_path / "a.json", [sample(n, "C", target="B") for n in range(number)])
    notes = baseline_column(str(path)).entry.notes
    assert any("all 12 questions of task is B" in note for note in notes) == said


@pytest.mark.parametrize(
    ("packages", "notes"),
    [({"openbench": "0.5.3"}, ["openbench 0.5.3 reads “Answering …”"]), ({}, [])],
)
def test_what_the_scorer_of_openbench_misreads_is_said(packages, notes, tmp_path):
    scored = sample(0, "C", scores={"mcq_scorer": {"value": "C"}})
    log = read_inspect_log(written(tmp_path / "a.json", [scored], packages=packages))
    assert [note.partition(" as ")[0] for note in log.notes] == notes


FOLDERS = {
    "eval-protocol": {
        "2026-11-30.jsonl": {"messages": ["x" * 9000], "input_metadata": {}, "rollout_status": {}}
    },
    "opencompass": {
        "predictions/m/aime.json": {"0": {"origin_prompt": "q", "prediction": "70", "gold": "70"}}
    },
    "HELM or medhelm": {"scenario_state.json": {"adapter_spec": {}, "request_states": []}},
    "harbor": {"config.json": {}, "result.json": {"n_total_trials": 8, "stats": {}}},
    "verifiers": {"traces.jsonl": {"version": 1, "verifiers": {}, "task": {}}},
    "livecodebench": {"m_codegeneration_v6_1_1.0_eval_all.json": {"question_content": "q"}},
    "twinkle-eval": {"results_20261130_1230.json": {"dataset_results": {}, "duration_seconds": 3}},
    "NeMo-Skills": {
        "metrics.json": {},
        "output-rs0.jsonl": {"generation": "70", "predicted_answer": "70"},
    },
}


@pytest.mark.parametrize("harness", FOLDERS)
def test_folders_of_harnesses_are_refused_by_their_name(harness, tmp_path, capsys):
    for name, content in FOLDERS[harness].items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(json.dumps(content), encoding="utf-8")
    assert is_log(tmp_path)
    assert run(["compare", str(tmp_path), str(healthy(tmp_path / ".."))]) == 2
    assert f"is of {harness}" in " ".join(capsys.readouterr().err.split())
