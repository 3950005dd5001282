"""A published copy of a run has no keys and no paths of the machine, and is judged like the run."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from healthy import SUITE
from recorded_runs import problem_rollouts, write_finished_run

from gpt_oss_verify.app import run
from harness.records.rollouts import Rollout
from harness.records.settings import Thresholds
from harness.run.run_log import write_run_info

SMALL = SUITE.first(1)
GUIDE = Thresholds(rule="guide")
KEY = "sk-proj-abcdefghijklmnopqrstuvwxyz0123"
SECRET = "correct horse \"battery\" staple"  # fmt: skip
LAUNCHED = ("/home/someone/venv/bin/python", "-m", "server", "--log=/var/tmp/some.log")


def with_keys(rollouts: Iterator[Rollout]) -> Iterator[Rollout]:
    """The rollouts with keys in the headers of their last exchanges."""
    for rollout in rollouts:
        *before, last = rollout.exchanges
        headers = {"authorization": f"Bearer {KEY}", "x-note": SECRET}
        request = last.request.model_copy(update={"headers": headers})
        response = last.response and last.response.model_copy(
            update={"headers": {**last.response.headers, "x-echo": f"got\n{KEY}"}}
        )
        last = last.model_copy(update={"request": request, "response": response})
        yield rollout.model_copy(update={"exchanges": (*before, last)})


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SOME_API_KEY", SECRET)
    place = tmp_path / "mock-20260102-030405"
    info = write_finished_run(
        place, with_keys(problem_rollouts(SMALL, tries=2)), first_cases=1, thresholds=GUIDE
    )
    provider = info.provider.model_copy(update={"launch_command": LAUNCHED})
    command = ("gpt-oss-verify", "--cases", "/home/someone/cases.jsonl")
    changes = {"provider": provider, "command": command, "finished_at": "2026-11-20T15:00:00+00:00"}
    write_run_info(place, info.model_copy(update=changes))
    (place / "provider.log").write_text(f"started with {KEY}", encoding="utf-8")
    run(["recheck", str(place)])
    return place


def contents(site: Path) -> str:
    return "".join(
        (gzip.decompress if path.suffix == ".gz" else bytes)(path.read_bytes()).decode()
        for path in sorted(site.rglob("*.*"))
    )


def test_a_published_run_contains_no_secrets(folder: Path, tmp_path: Path) -> None:
    assert run(["site", str(folder), "--out", "site"]) == 0
    content = contents(tmp_path / "site" / folder.name)
    for secret in (KEY, SECRET, json.dumps(SECRET)[1:-1], "someone", "/var/tmp", "started with"):
        assert secret not in content
    assert "…/python" in content
    assert "--log=…/some.log" in content


def test_the_path_of_a_gate_file_is_shortened_everywhere(folder: Path, tmp_path: Path) -> None:
    gate = tmp_path / "somebodys-home" / "gate.yaml"
    gate.parent.mkdir()
    gate.write_text("min_pass_at_k: 0.5\n")
    assert run(["recheck", str(folder), "--gate", str(gate)]) == 1
    assert "somebodys-home" in (folder / "analysis.json").read_text(encoding="utf-8")
    assert run(["site", str(folder), "--out", "site"]) == 0
    assert "somebodys-home" not in contents(tmp_path / "site")


def test_a_published_run_is_judged_like_the_run(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["site", str(folder), "--out", "site"]) == 0
    capsys.readouterr()
    found = []
    for place in (folder, tmp_path / "site" / folder.name):
        assert run(["recheck", str(place), "--json"]) == 1
        said = capsys.readouterr().out.replace("/home/someone/cases.jsonl", "'…/cases.jsonl'")
        found.append(json.loads(said) | {"run": ""})
    assert found[0] == found[1]


def test_unsuitable_folders_are_not_published(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "cases.jsonl").write_text(f'{{"input": "{KEY}"}}', encoding="utf-8")
    assert run(["site", str(folder), "--out", "site"]) == 2
    (folder / "analysis.json").unlink()
    assert run(["site", str(folder), "--out", "site"]) == 2
    errors = capsys.readouterr().err
    assert "like a key" in errors
    assert "has no results; judge it with: gpt-oss-verify recheck" in " ".join(errors.split())
