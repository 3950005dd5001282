"""The suites of kernels, and the record of their results.

    PYTHONPATH=tests/support python tests/reference_engine/kernels/kernel_suites.py

runs the outdated ones and records their results.
"""

import json
from pathlib import Path
from typing import Any

from recorded_results import Suite, outdated

HERE = Path(__file__).parent
RECORD = HERE / "results.json"
INTERPRETED = {"TRITON_INTERPRET": "1"}


def of(*names: str) -> tuple[Path, ...]:
    """Return the test files."""
    return tuple(HERE / f"kernel_{name}.py" for name in names)


SUITES = {
    "attention": Suite(of("attention"), INTERPRETED),
    "block": Suite(of("block"), INTERPRETED),
    "experts": Suite(of("experts"), INTERPRETED),
    "chunk sums and model": Suite(of("chunk_sums", "model"), INTERPRETED),
    "two processes": Suite((HERE.parent / "generation/two_with_kernels.py",), INTERPRETED),
    "compiled for an H200": Suite(of("compile")),
    "compiled for other GPUs": Suite(of("cards")),
}


def recorded() -> dict[str, Any]:
    """Return the recorded results of each suite."""
    return dict(json.loads(RECORD.read_text("utf-8"))) if RECORD.exists() else {}


if __name__ == "__main__":
    results = recorded()
    for name, suite in SUITES.items():
        if why := outdated(results.get(name)):
            print(f"{name}: {why}", flush=True)
            results[name] = suite.run()
            text = json.dumps({name: results[name] for name in SUITES if name in results}, indent=1)
            RECORD.write_text(text + "\n", encoding="utf-8")
