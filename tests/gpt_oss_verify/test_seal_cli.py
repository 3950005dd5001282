"""The command line seals runs that end, are stopped, resumed, graded or merged."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from background import in_background
from mock_provider import MockProvider
from quiz import MODEL as QUIZZED
from quiz import quiz
from replies import MODEL

from gpt_oss_verify.app import run

COMMAND = Path(sys.executable).with_name("gpt-oss-verify")


pytestmark = pytest.mark.usefixtures("empty_folder")


def newest() -> Path:
    return max(Path("runs").iterdir(), key=lambda path: path.stat().st_mtime_ns)


def audited(folder: Path, capsys: pytest.CaptureFixture[str], *more: str) -> dict[str, Any]:
    capsys.readouterr()
    run(["audit", str(folder), "--json", *more])
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def ended_by(number: int, *arguments: str) -> int:
    """Run the command in another process, and send it a signal once it has recorded more."""

    def recorded() -> int:
        return sum(log.stat().st_size for log in Path("runs").glob("*/rollouts.jsonl"))

    before = recorded()
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen([COMMAND, *arguments], env=environment, **quiet)  # type: ignore[call-overload]
    try:
        while process.poll() is None and recorded() == before:
            time.sleep(0.01)
        process.send_signal(number)
    finally:
        process.wait()
    return int(process.returncode)


@pytest.mark.slow
def test_stopped_killed_and_resumed_runs_are_sealed(
    mock: MockProvider, capsys: pytest.CaptureFixture[str]
) -> None:
    mock.delay = 0.05
    whom = ["--base-url", mock.base_url, "--model", MODEL, "--suite", "tools",
            "-n", "4", "--concurrency", "1",
            "--rule", "guide"]  # fmt: skip
    assert ended_by(signal.SIGINT, *whom) == 130
    folder = newest()
    stopped = audited(folder, capsys)
    assert (stopped["conclusion"], stopped["finished"]) == ("sound", None)
    resume = ["--resume", str(folder), "--concurrency", "1"]
    assert ended_by(signal.SIGKILL, *resume) == -signal.SIGKILL
    killed = audited(folder, capsys)
    assert (killed["conclusion"], len(killed["ended"])) == ("not sealed", 1)
    mock.delay = 0
    assert run(["--resume", str(folder)]) == 0
    complete = audited(folder, capsys, "--seal", stopped["seal"])
    assert (complete["conclusion"], len(complete["resumed"]), len(complete["ended"])) == (
        "sound",
        2,
        2,
    )
    assert "the expected seal is an earlier one" in complete["notes"][-1]


def test_removed_attempts_that_are_sampled_again_are_found(
    mock: MockProvider, capsys: pytest.CaptureFixture[str]
) -> None:
    run(
        [
            "--base-url",
            mock.base_url,
            "--model",
            MODEL,
            "--suite",
            "tools",
            "-n",
            "1",
            "-k",
            "2",
            "--rule",
            "guide",
        ]
    )
    log = newest() / "rollouts.jsonl"
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join(lines[:-2]))
    assert run(["--resume", str(log.parent)]) == 0
    found = audited(log.parent, capsys)
    assert found["conclusion"] == "broken"
    assert {problem["kind"] for problem in found["problems"]} == {"seal"}


def test_grading_again_adds_a_seal(capsys: pytest.CaptureFixture[str]) -> None:
    with in_background(MockProvider(always=quiz(0.8), models=[QUIZZED])) as mock:
        whom = ["eval", "--base-url", mock.base_url, "--model", QUIZZED, "--samples", "-k", "1"]
        run([*whom, "--api", "chat", "--eval", "gpqa,healthbench", "--examples", "2"])
        assert audited(newest(), capsys)["conclusion"] == "sound"
        entry = {"base_url": mock.base_url, "model": QUIZZED, "apis": ["chat"]}
        text = json.dumps({"providers": {"second": entry}})
        Path("providers.yaml").write_text(text, encoding="utf-8")
        assert run(["grade", str(newest()), "--grader", "second"]) == 0
    graded = audited(newest(), capsys)
    assert (graded["conclusion"], len(graded["ended"])) == ("sound", 2)
    assert len(graded["logs"]) == 3


def test_a_merged_run_names_the_seals_of_its_sources(capsys: pytest.CaptureFixture[str]) -> None:
    with in_background(MockProvider(always=quiz(0.8), models=[QUIZZED])) as mock:
        whom = ["eval", "--base-url", mock.base_url, "--model", QUIZZED, "--samples"]
        for name in ("one", "two"):
            run([*whom, "--eval", "aime25", "-k", "1", "--api", "chat", "--out", name])
    folders = [next(Path(name).iterdir()) for name in ("one", "two")]
    folders[1] = folders[1].rename(Path("two") / "other")
    seals = [audited(folder, capsys)["seal"] for folder in folders]
    run(["merge", *map(str, folders)])
    merged = audited(newest(), capsys)
    assert merged["conclusion"] == "sound"
    names = [f"merged from {folder.name}" for folder in folders]
    assert merged["notes"] == [
        f"{name}, seal {seal[:32]}" for name, seal in zip(names, seals, strict=True)
    ]
