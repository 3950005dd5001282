"""Run folders of released versions stay readable: what this version does not know is ignored."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from gpt_oss_verify.app import run

OLD_RUNS = Path(__file__).with_name("old_runs")


def with_unknown_members(value: Any) -> Any:
    """The JSON value with a member in each object that no version has."""
    if isinstance(value, list):
        return [with_unknown_members(inner) for inner in value]
    if not isinstance(value, dict):
        return value
    named = ("condition", "settings", "provider", "sampling", "request", "response", "tasks")
    inner = {k: with_unknown_members(v) if k in named else v for k, v in value.items()}
    return {**inner, "of_another_version": 1}


@pytest.mark.parametrize("version", sorted(folder.name for folder in OLD_RUNS.iterdir()))
@pytest.mark.parametrize("change", [lambda value: value, with_unknown_members])
def test_a_run_of_a_released_version_is_judged_again(version, change, tmp_path, capsys):
    folder = tmp_path / "run"
    shutil.copytree(OLD_RUNS / version, folder)
    info, log = folder / "run.json", folder / "rollouts.jsonl"
    info.write_text(json.dumps(change(json.loads(info.read_text(encoding="utf-8")))))
    lines = log.read_text(encoding="utf-8").splitlines()
    log.write_text("".join(f"{json.dumps(change(json.loads(line)))}\n" for line in lines))
    assert run(["recheck", str(folder), "--json"]) == 4  # two attempts are too few for a verdict
    assert [task["finished"] for task in json.loads(capsys.readouterr().out)["results"]] == [1, 1]
