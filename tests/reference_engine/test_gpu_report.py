"""`python -m benchmarks.gpu` in Triton's interpreter: stages, resuming, failures, light imports."""

import contextlib
import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BARE = """
import sys, sysconfig
from importlib.abc import MetaPathFinder
from importlib.machinery import PathFinder

ALLOWED = {allowed!r}
PACKAGES = sysconfig.get_path("purelib")

class Installed(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        found = PathFinder.find_spec(name) if "." not in name else None
        if found and str(found.origin).startswith(PACKAGES) and name not in ALLOWED:
            raise ImportError(name)

sys.meta_path.insert(0, Installed())
import benchmarks.gpu.__main__
"""
"""A program in which only ALLOWED packages are installed."""

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="Triton is not installed"
)


def test_it_needs_only_pytorch_triton_and_numpy() -> None:
    known = {_normal(need) for name in ("torch", "triton", "numpy") for need in _needed(name)}
    modules = {
        module
        for module, names in packages_distributions().items()
        if known & {_normal(name) for name in names}
    }
    subprocess.run([sys.executable, "-c", BARE.format(allowed=modules)], cwd=ROOT, check=True)


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _needed(name: str) -> list[str]:
    """A package and those that it requires."""
    needs = [re.match(r"[\w.-]+", need) for need in requires(name) or () if "extra ==" not in need]
    found = [name]
    for match in needs:
        with contextlib.suppress(PackageNotFoundError):
            found += _needed(match[0])
    return found


def test_a_failed_task_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    from benchmarks.gpu.__main__ import results
    from benchmarks.gpu.measuring import Result, Task

    def run() -> Iterator[Result]:
        yield Result("first", 1, "s")
        raise MemoryError("out of memory | tried 1 GiB\nmore")

    first, failed = results(Task("decode", run))
    assert first.passed is None
    assert (failed.name, failed.passed) == ("decode", False)
    assert failed.note == "MemoryError: out of memory / tried 1 GiB"
    assert "Traceback" in capsys.readouterr().err


def test_a_measured_card_has_requirements_and_an_unknown_one_has_none() -> None:
    from benchmarks.gpu.cards import CARDS, required
    from benchmarks.gpu.measuring import Limits

    decode = "decode, batch 1"
    for card in CARDS:
        least = card.shares["20b"][decode]
        near = Limits(1.03 * card.limits.bandwidth, 0.97 * card.limits.operations)
        assert required("20b", decode, least, near)[0] is True
        assert required("20b", decode, least - 0.01, near)[0] is False
        assert required("20b", "decode, batch 3", 0.1, near) == (None, "")
        passed, note = required("20b", decode, 0.1, Limits(near.bandwidth, 2 * near.operations))
        assert (passed, note[:14]) == (None, "no requirement")


@pytest.mark.slow
def test_a_stage_that_is_stopped_keeps_its_results_and_prints_its_stack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from benchmarks.gpu.__main__ import _run_apart

    monkeypatch.chdir(ROOT)
    *_, stage = _run_apart("speed-20b", 5, tmp_path)
    assert stage.failed
    assert stage.error is not None
    assert "within 5 s" in stage.error
    assert 'File "' in stage.error  # The beginning of a long stack is cut.
    assert "=== speed-20b" in (tmp_path / "log.txt").read_text()


@pytest.mark.slow
def test_stages_run_once_and_a_failed_one_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from benchmarks.gpu.__main__ import main

    monkeypatch.chdir(ROOT)
    command = ["device", "errors", "--out", str(tmp_path), "--minutes", "9"]
    assert main(command) == 0, (tmp_path / "results.json").read_text()
    stages = json.loads((tmp_path / "results.json").read_text())
    assert list(stages) == ["device", "errors"]
    assert all(result["passed"] for result in stages["errors"]["results"])
    page = (tmp_path / "report.md").read_text()
    assert "Every requirement is met." in page
    assert "Not run: launches, repeat, steps" in page

    assert main(["launches", *command[2:-1], "0"]) == 1
    assert "No time is left for launches." in capsys.readouterr().out

    stages["device"]["error"] = "CUDA error"
    stages["errors"]["results"][0]["passed"] = False
    (tmp_path / "results.json").write_text(json.dumps(stages))
    capsys.readouterr()
    assert main(command) == 1
    said = capsys.readouterr().out
    assert "device …" in said
    assert "errors …" not in said
    assert "Failed: errors." in (tmp_path / "report.md").read_text()
