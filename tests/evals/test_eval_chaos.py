"""No attempt is lost if the provider misbehaves and the harness is killed repeatedly."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from random import Random

import pytest
from background import in_background
from mock_provider import MockProvider
from quiz import MODEL, malformed, quiz, unreliable

from gpt_oss_verify.app import run

pytestmark = pytest.mark.slow

COMMAND = Path(sys.executable).with_name("gpt-oss-verify")
KILLS = 2
PLANNED = 2 * (34 + 41)
OPTIONS = ("--samples", "--api", "chat", "-k", "2", "--seed", "5")
SLOWLY = ("--timeout", "1", "--concurrency", "4")
QUICKLY = ("--timeout", "1", "--concurrency", "32")


def command(mock, folder, *speed):
    place = ["--base-url", mock.base_url, "--out", str(folder)]
    return ["eval", *place, "--model", MODEL, *OPTIONS, *speed]


def written(folder):
    return sum(log.stat().st_size for log in folder.glob("*/rollouts.jsonl"))


def killed_at_random(arguments, folder, random):
    """Run the command in a new process and kill it once it has written something new."""
    before = written(folder)
    process = subprocess.Popen(
        [COMMAND, *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    try:
        while process.poll() is None and written(folder) == before:
            time.sleep(0.01)
        time.sleep(random.uniform(0, 0.2))
        process.send_signal(signal.SIGKILL)
    finally:
        process.wait()
    return process.returncode == -signal.SIGKILL


def outcomes(folder):
    lines = (folder / "scores.jsonl").read_text().splitlines()
    found = [json.loads(line) for line in lines]
    return {one["record"]: (one["outcome"], one["value"], one["answer"]) for one in found}


def test_every_try_ends_exactly_once_with_its_undisturbed_outcome(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    random = Random(1)
    recorded = malformed(quiz(0.8), 0.06)
    with in_background(MockProvider(always=recorded, models=[MODEL])) as mock:
        run(command(mock, tmp_path / "calm", *QUICKLY))
        mock.always, mock.delay = unreliable(recorded, 0.24), 0.04
        folder = tmp_path / "wild"
        assert killed_at_random(command(mock, folder, *SLOWLY), folder, random)
        (wild,) = folder.iterdir()
        again = ["eval", "--resume", str(wild)]
        for _ in range(KILLS - 1):
            assert killed_at_random([*again, *SLOWLY], folder, random)
        run([*again, *QUICKLY])
    (calm,) = (tmp_path / "calm").iterdir()
    log = (wild / "rollouts.jsonl").read_text().splitlines()
    ids = Counter(json.loads(line)["id"] for line in log)
    assert len(ids) == PLANNED
    assert set(ids.values()) == {1}
    assert outcomes(wild) == outcomes(calm)
