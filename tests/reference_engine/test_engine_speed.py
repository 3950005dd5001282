"""The benchmark of the engine, with few tokens, beside the other engines that are installed."""

import re
import runpy
import sys
from pathlib import Path

import pytest
import torch
from tiny_model import hf_checkpoint

from reference_engine.checkpoint import load_model
from reference_engine.server.settings import SMALL_CHECKPOINT

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "engine_speed.py"
APART = 1e-3
"""Log probabilities of the same weights, those of token codes included."""


def test_the_benchmark_runs_beside_transformers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It takes 12 s of CPU: it imports transformers, and expands the vocabulary twice."""
    pytest.importorskip("transformers", reason="transformers is not installed")
    hf_checkpoint(tmp_path)
    few = ["--tokens", "2", "--requests", "2", "--turns", "1", "--dtype", "float32"]
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), *few, "--checkpoint", str(tmp_path)])
    monkeypatch.syspath_prepend(SCRIPT.parent)
    benchmark = runpy.run_path(str(SCRIPT))
    benchmark["main"]()
    said = capsys.readouterr().out
    (most,) = re.findall(r"transformers: log .* apart by .* \(median\), ([\d.e-]+) at most", said)
    assert float(most) < APART
    assert re.search(r"^transformers, 2 in flight +[\d.]+", said, re.MULTILINE)
    small = load_model(SMALL_CHECKPOINT, dtype=torch.float32)
    (peer, *_) = benchmark["installed_peers"](small)
    assert max(benchmark["apart"](small, peer, [*range(9)])) < APART
