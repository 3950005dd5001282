"""`gpt-oss-verify --provider reference` in real processes, on shipped and shuffled weights."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch
from scripted import running, started

from gpt_oss_verify.app import run
from reference_engine.checkpoint import load_model
from reference_engine.generation.engine import Engine

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "reference_engine" / "small" / "checkpoint"
COMMAND = Path(sys.executable).with_name("gpt-oss-verify")
CHAT = ("--suite", "tools", "--api", "chat", "--streaming")

pytestmark = pytest.mark.slow


def verify(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND, *options, "--out", folder / "runs", "--json"],
        cwd=folder,
        env=os.environ | {"NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def shuffled(folder: Path) -> Path:
    """The shipped checkpoint with the numbers in each of its tensors in random order."""
    shutil.copytree(SHIPPED, folder)
    weights = folder / "model.safetensors"
    generator = torch.Generator().manual_seed(0)
    tensors = {
        name: tensor
        if name == "token_codes.ids"
        else tensor.flatten()[torch.randperm(tensor.numel(), generator=generator)].view_as(tensor)
        for name, tensor in safetensors.torch.load_file(weights).items()
    }
    safetensors.torch.save_file(tensors, weights)
    return folder


def test_the_reference_passes(tmp_path: Path) -> None:
    """It takes 10 s of CPU: the command starts a server, which imports PyTorch and generates."""
    done = verify(tmp_path, "-p", "reference", *CHAT, "-n", "2", "-k", "1", "--rule", "guide")
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["verdict"]["decision"] == "pass"
    (folder,) = (tmp_path / "runs").iterdir()
    assert (folder / "report.md").read_text(encoding="utf-8").startswith("# PASS")
    assert len((folder / "rollouts.jsonl").read_text(encoding="utf-8").splitlines()) == 2


def test_shuffled_weights_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    model = load_model(shuffled(tmp_path / "shuffled"), dtype=torch.float32)
    few = (*CHAT, "-n", "2", "-k", "2", "--max-tokens", "30", "--json")
    with started(Engine(model)) as engine, running(engine) as url:
        assert run(["--base-url", url, "--model", "gpt-oss-small", *few]) == 1
    assert json.loads(capsys.readouterr().out)["verdict"]["decision"] == "fail"


def test_the_output_that_the_docs_show_is_what_the_command_prints(tmp_path: Path) -> None:
    """It takes 20 s of CPU, because the server generates each reply of the run that is shown."""
    command = [sys.executable, "-m", "reference_engine", "serve", "--port", "{port}"]
    entry = {
        "base_url": "http://127.0.0.1:{port}/v1",
        "model": "gpt-oss-small",
        "launch": {
            "command": [*command, "--fault", "chat-reasoning-not-replayed"],
            "ready_url": "http://127.0.0.1:{port}/health",
        },
    }
    entries = {"providers": {"localhost-8000": entry}}
    (tmp_path / "providers.yaml").write_text(json.dumps(entries), encoding="utf-8")
    done = subprocess.run(
        [COMMAND, "-p", "localhost-8000", "-n", "4", "-k", "2", "--only", "cases,cot,prompt.cot"],
        cwd=tmp_path,
        env=os.environ | {"NO_COLOR": "1", "COLUMNS": "80"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    printed = " ".join(done.stdout.split())
    for page in ("README.md", "docs/tutorial.md"):
        shown = (ROOT / page).read_text(encoding="utf-8").split("```text\n")[1].split("```")[0]
        assert shown.startswith("4 cases")
        for part in shown.split("…"):
            assert " ".join(part.split()) in printed, page
