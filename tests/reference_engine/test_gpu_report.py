"""`python -m benchmarks.gpu` in Triton's interpreter: stages, resuming, failures, light imports."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ABSENT = ("openai_harmony", "prometheus_client", "pydantic", "pytest", "starlette", "tiktoken")
"""Packages that a machine with a GPU may lack."""

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="Triton is not installed"
)


def run(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_it_runs_from_a_bare_checkout() -> None:
    absent = "; ".join(f"sys.modules[{name!r}] = None" for name in ABSENT)
    done = run(f"import sys; {absent}; import benchmarks.gpu.__main__")
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_stages_run_once_and_a_failed_one_again(tmp_path: Path) -> None:
    program = "import sys; from benchmarks.gpu.__main__ import main; sys.exit(main(sys.argv[1:]))"
    first = run(program, "device", "graphs", "--out", str(tmp_path))
    assert first.returncode == 0, first.stdout + first.stderr
    stages = json.loads((tmp_path / "results.json").read_text())
    assert list(stages) == ["device", "graphs"]
    assert all(result["passed"] for result in stages["graphs"]["results"])
    assert "Every requirement is met." in (tmp_path / "report.md").read_text()

    stages["device"]["error"] = "CUDA error"
    stages["graphs"]["results"][0]["passed"] = False
    (tmp_path / "results.json").write_text(json.dumps(stages))
    again = run(program, "device", "graphs", "--out", str(tmp_path))
    assert again.returncode == 1
    assert "device …" in again.stdout
    assert "graphs …" not in again.stdout
    assert "Failed: graphs." in (tmp_path / "report.md").read_text()
