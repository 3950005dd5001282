"""The benchmark of the engine, with few tokens, beside the other engines that are installed."""

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "engine_speed.py"


@pytest.mark.skipif(find_spec("transformers") is None, reason="transformers is not installed")
def test_the_benchmark_runs_beside_transformers() -> None:
    few = ["--tokens", "2", "--requests", "2", "--turns", "1", "--threads", "1"]
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *few, "--dtype", "float32"],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    (apart,) = re.findall(r"transformers: log probabilities apart by ([\d.e-]+) \(", done.stdout)
    assert float(apart) < 1e-3  # the same weights, those of token codes included
    assert re.search(r"^transformers, 2 in flight +[\d.]+", done.stdout, re.MULTILINE)
