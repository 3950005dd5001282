"""A process that samples an eval does not hold what only checks and reports need."""

from __future__ import annotations

import subprocess
import sys

HEAVY = ("numpy", "openai", "scipy", "torch")


def test_sampling_an_eval_loads_nothing_heavy() -> None:
    code = f"import sys, harness.cli.eval_running; print({set(HEAVY)} & set(sys.modules))"
    told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert told.stdout.strip() == "set()"
