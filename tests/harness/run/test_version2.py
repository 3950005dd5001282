"""Run folders of schema version 2, read as runs of the current version."""

import json
from pathlib import Path
from typing import Any

import pytest

from gpt_oss_verify.app import run
from harness.errors import RunLogError
from harness.records.rollouts import Rollout
from harness.run.run_log import read_rollouts, read_run_info

PROVIDER = {
    "name": "mock",
    "base_url": "http://127.0.0.1:1/v1",
    "model": "org/model",
    "extra_body": {},
    "header_names": [],
    "launch_command": None,
}
COMMON = {
    "schema_version": 2,
    "tool_version": "0.1.0",
    "command": ["gpt-oss-verify", "--provider", "mock"],
    "provider": PROVIDER,
    "versions": {"python": "3.11.7"},
    "started_at": "2026-01-02T03:04:05+00:00",
    "finished_at": "2026-01-02T03:05:05+00:00",
    "stopped": None,
}
TWO_CASES = '{"id": "a"}\n\n{"id": "b"}\n'


def smoke_test(**settings: Any) -> dict[str, Any]:
    """A smoke test of two cases under two conditions, two tries each, and three probe requests."""
    old = {
        "apis": ["responses", "chat"],
        "streaming": [False],
        "tries": 2,
        "max_turns": 10,
        "strict": True,
        "concurrency": 8,
        "seed": 7,
        "reasoning_effort": "low",
        "temperature": 0.5,
        "max_tokens": 99,
        "thresholds": {"max_invalid": 1},
        "suite": "quick",
        "only": [],
        "skip": [],
    }
    hashes = {"cases_sha256": "c" * 64, "tools_sha256": "d" * 64, "golden_sha256": "e" * 64}
    return {**COMMON, **hashes, "planned": 11, "settings": {**old, **settings}}


def eval_run(**changes: Any) -> dict[str, Any]:
    """An eval run with two models, three questions of AIME and two of GPQA."""
    old = {
        "evals": ["aime25", "gpqa"],
        "models": ["org/model", "other"],
        "efforts": ["high"],
        "api": "chat",
        "streaming": True,
        "tries": {"aime25": 2, "gpqa": 1},
        "examples": None,
        "seed": 3,
        "send_seed": False,
        "temperature": 1.0,
        "top_p": 1.0,
        "max_tokens": 1000,
        "concurrency": 8,
        "grader": None,
        "must_ask": ["gpqa"],
    }
    data = [
        {"eval": name, "source": f"{name}.jsonl", "rows": rows, "sha256": "f" * 64}
        for name, rows in (("aime25", 3), ("gpqa", 2))
    ]
    more = {"settings": old, "datasets": data, "planned": 16, "ended": "all tries"}
    return {**COMMON, "kind": "eval", **more, **changes}


def rollout(identity: str, **changes: Any) -> dict[str, Any]:
    sample = identity.rpartition("/")[0]
    old = {"sample": sample, "api": "chat", "streaming": False, "attempt": 1, "end": "answered"}
    return {"id": identity, **old, "exchanges": [], **changes}


def written(
    folder: Path, info: dict[str, Any], *records: dict[str, Any], log: str = "rollouts.jsonl"
) -> Path:
    (folder / "run.json").write_text(json.dumps(info), encoding="utf-8")
    (folder / "cases.jsonl").write_text(TWO_CASES, encoding="utf-8")
    lines = "".join(json.dumps(record) + "\n" for record in records)
    (folder / log).write_text(lines, encoding="utf-8")
    return folder


def only_rollout(folder: Path, log: str = "rollouts.jsonl") -> Rollout:
    (found,) = read_rollouts(folder, log)
    return found


# --- run.json


def test_a_smoke_test_has_tool_calling_and_probes(tmp_path: Path) -> None:
    info = read_run_info(written(tmp_path, smoke_test()))
    calling, probes = info.tasks
    assert (calling.name, calling.kind, calling.samples, calling.tries) == (
        "tool_calling",
        "tool_calling",
        2,
        2,
    )
    assert [(each.model, each.effort, each.api, each.mode) for each in calling.conditions] == [
        ("org/model", "low", "responses", "non-streaming"),
        ("org/model", "low", "chat", "non-streaming"),
    ]
    assert (calling.planned, probes.planned, info.planned) == (8, 3, 11)
    assert calling.files == {"cases.jsonl": "c" * 64, "tools.json": "d" * 64}
    assert (probes.kind, probes.files) == ("probes", {"golden.json": "e" * 64})
    sampling = calling.sampling
    assert (sampling.temperature, sampling.max_tokens, sampling.seed) == (0.5, 99, 7)
    assert (info.settings.suite, info.settings.strict, info.ended) == ("quick", True, "complete")
    assert info.settings.thresholds.max_invalid == 1
    assert info.schema_version == 2


@pytest.mark.parametrize(
    ("settings", "planned"),
    [
        ({"first_cases": 1}, [("tool_calling", 4), ("probes", 7)]),
        ({"skip": ["smoke"]}, [("probes", 11)]),
        ({"only": ["load"]}, [("probes", 11)]),
        ({"only": ["smoke"], "tries": 9}, [("tool_calling", 11)]),
    ],
)
def test_the_selection_of_a_smoke_test_is_converted(
    settings: dict[str, Any], planned: list[tuple[str, int]], tmp_path: Path
) -> None:
    info = read_run_info(written(tmp_path, smoke_test(**settings)))
    assert [(task.name, task.planned) for task in info.tasks] == planned


def test_an_eval_run_has_one_task_for_each_eval(tmp_path: Path) -> None:
    info = read_run_info(written(tmp_path, eval_run()))
    found = [(task.name, task.samples, task.tries, task.planned) for task in info.tasks]
    assert found == [("aime25", 3, 2, 12), ("gpqa", 2, 1, 4)]
    assert [(each.model, each.mode) for each in info.tasks[0].conditions] == [
        ("org/model", "streaming"),
        ("other", "streaming"),
    ]
    assert info.tasks[0].sampling.seed is None
    assert info.tasks[1].dataset is not None
    assert info.tasks[1].dataset.rows == 2
    assert (info.settings.seed, info.settings.required_evals) == (3, ("gpqa",))
    assert info.ended == "complete"


def test_the_shards_of_an_eval_run_plan_all_of_it(tmp_path: Path) -> None:
    shards = [
        read_run_info(written(tmp_path, eval_run(shard=[part, 3], planned=0))) for part in (1, 2, 3)
    ]
    assert [shard.shard for shard in shards] == [(1, 3), (2, 3), (3, 3)]
    assert [shard.planned for shard in shards] == [6, 5, 5]
    assert sum(shard.tasks[0].planned for shard in shards) == 12


# --- Rollouts


@pytest.mark.parametrize(
    ("identity", "task", "sample"),
    [
        ("a/chat/whole/1", "tool_calling", "a"),
        ("probe:prompt/base/chat/whole/1", "prompt", "base"),
    ],
)
def test_rollouts_of_a_smoke_test_are_converted(
    identity: str, task: str, sample: str, tmp_path: Path
) -> None:
    old = rollout(identity, sample=identity.removesuffix("/chat/whole/1"))
    found = only_rollout(written(tmp_path, smoke_test(), old))
    assert (found.id, found.task, found.sample) == (identity, task, sample)
    assert found.condition in read_run_info(tmp_path).tasks[0].conditions


def test_a_renumbered_rollout_of_a_merged_run_keeps_its_presentation(tmp_path: Path) -> None:
    old = rollout("gpqa/org:model/high/rec/7/3", attempt=1, streaming=True)
    merged = eval_run(merged=["one", "two"], merged_seals=["f" * 64, None])
    found = only_rollout(written(tmp_path, merged, old))
    assert (found.task, found.sample, found.attempt) == ("gpqa", "rec/7", 3)
    assert (found.presented_as, found.presentation) == (1, 1)
    assert found.condition in read_run_info(tmp_path).tasks[0].conditions
    assert read_run_info(tmp_path).merged == ("one", "two")


def test_a_rollout_that_kept_its_number_has_no_other_presentation(tmp_path: Path) -> None:
    found = only_rollout(written(tmp_path, eval_run(), rollout("aime25/other/high/q1/1")))
    assert (found.condition.model, found.attempt, found.presented_as) == ("other", 1, None)


def test_a_log_of_grades_names_the_grader(tmp_path: Path) -> None:
    info = eval_run()
    info["settings"]["grader"] = {**PROVIDER, "model": "judge"}
    log = "grades-mock-judge.jsonl"
    folder = written(
        tmp_path, info, rollout("healthbench/other/high/q1/1/0-ab/2", attempt=2), log=log
    )
    found = only_rollout(folder, log)
    assert (found.task, found.condition.model, found.attempt) == ("grading", "judge", 2)
    assert found.sample == "healthbench/other/high/q1/1/0-ab"


# --- Damage


@pytest.mark.parametrize(
    "damaged",
    [
        *({k: v for k, v in smoke_test().items() if k != lost} for lost in ("settings", "planned")),
        {k: v for k, v in smoke_test().items() if k != "cases_sha256"},
        {k: v for k, v in eval_run().items() if k != "datasets"},
        *(smoke_test() | {name: 5} for name in ("settings", "provider", "versions")),
        *(eval_run() | {name: 5} for name in ("settings", "provider", "datasets", "shard")),
        smoke_test() | {"planned": "many"},
    ],
)
def test_a_damaged_run_is_reported_in_one_sentence(damaged: dict[str, Any], tmp_path: Path) -> None:
    written(tmp_path, damaged)
    with pytest.raises(RunLogError, match=r"run\.json is damaged: [^\n]+$"):
        read_run_info(tmp_path)


@pytest.mark.parametrize(
    ("info", "record"),
    [
        (smoke_test(), {"id": "a/chat/whole/1"}),
        (smoke_test(), rollout("a/chat/whole/1", streaming="yes")),
        (smoke_test(), rollout("a/chat/whole/1", sample=None)),
        (eval_run(), rollout("aime25/other/high")),
        (eval_run(), rollout("aime25/other/high/q1/first")),
    ],
)
def test_a_damaged_rollout_is_reported_with_its_line(
    info: dict[str, Any], record: dict[str, Any], tmp_path: Path
) -> None:
    written(tmp_path, info, record)
    with pytest.raises(RunLogError, match=r"rollouts\.jsonl, line 1 is damaged: [^\n]+$"):
        list(read_rollouts(tmp_path))


def test_rollouts_without_settings_are_reported_in_one_sentence(tmp_path: Path) -> None:
    written(tmp_path, {"schema_version": 2}, rollout("a/chat/whole/1"))
    with pytest.raises(RunLogError, match=r"run\.json is damaged"):
        list(read_rollouts(tmp_path))


# --- Resuming


@pytest.mark.parametrize("command", [["--resume"], ["eval", "--resume"]], ids=["main job", "eval"])
def test_resuming_is_rejected_in_one_sentence(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    info = smoke_test() if len(command) == 1 else eval_run()
    written(tmp_path, info, rollout("a/chat/whole/1") if len(command) == 1 else {})
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert run([*command, str(tmp_path)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert "was recorded by version 0.1.0" in err
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
