"""The self-test over real servers, with the few faults that show soonest."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.cli.app import run
from harness.selftest.matrix import Matrix

SOON = (
    "done-missing",
    "usage-sum-wrong",
    "stale-reasoning-kept",
    "content-parts-lost",
    "preamble-not-replayed",
    "second-system-dropped",
    "errors-as-html",
    "unknown-model-accepted",
)
"""Faults that few requests show, in several layers."""


@pytest.mark.slow
def test_faults_are_found_and_the_healthy_engine_is_not_accused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    how = ["--workers", "1", "--repeat", "2", "--out", str(tmp_path)]
    code = run(["selftest", "--faults", ",".join([*SOON, "date-stale"]), *how])
    folder = next(tmp_path.glob("selftest-*"))
    matrix = Matrix.model_validate_json((folder / "matrix.json").read_text())
    found = {row.fault.name: row.status for row in matrix.rows}
    assert found == {
        "healthy": "clean",
        "date-stale": "not visible",
        **dict.fromkeys(SOON, "detected"),
    }
    assert code == 0
    assert (matrix.innocent.runs, matrix.innocent.accused) == (2, 0)
    assert f"{len(SOON)} of {len(SOON)} faults detected" in capsys.readouterr().out
    assert {"matrix.md", "matrix.html"} <= {path.name for path in folder.iterdir()}


def test_an_unknown_fault_is_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["selftest", "--faults", "done-mising"]) == 2
    assert "There is no fault or layer 'done-mising'; did you mean" in capsys.readouterr().err
