"""The self-test over real servers, with a few faults that are found quickly."""

import contextlib
import re
from pathlib import Path

import pytest

from gpt_oss_verify.app import run
from gpt_oss_verify.selftest import _announced, _finished
from harness.selftest.faults import FaultRow, Matrix, catalogue
from harness.selftest.selftest_run import SelfTestPlan, selftest

SOON = "preamble-not-replayed"
"""A fault that few requests show."""


@pytest.mark.slow
def test_faults_are_found_and_the_healthy_engine_has_no_errors(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    how = ["--workers", "1", "--out", str(tmp_path)]
    code = run(["selftest", "--faults", f"{SOON},history-ends-with-return", *how])
    folder = next(tmp_path.glob("selftest-*"))
    matrix = Matrix.model_validate_json((folder / "matrix.json").read_text())
    found = {row.fault.name: row.status for row in matrix.rows}
    assert found == {
        "healthy": "clean",
        "history-ends-with-return": "not visible",
        SOON: "detected",
    }
    assert code == 0
    assert (matrix.innocent.runs, matrix.innocent.accused) == (1, 0)
    assert "1 of 1" in capsys.readouterr().out
    assert {"matrix.md", "matrix.html"} <= {path.name for path in folder.iterdir()}


def test_a_self_test_says_what_it_runs_before_the_faults(tmp_path: Path) -> None:
    every = {fault.name: fault for fault in catalogue()}
    few = SelfTestPlan([catalogue()[0], every[SOON]], False, "full", 1, tmp_path)
    assert re.fullmatch(
        r"First the healthy engine with the \d+ rules that detect these faults, then 1 fault, "
        r"1 at once\.",
        _announced(few),
    )
    assert "and the whole suite" in _announced(SelfTestPlan(catalogue(), True, "full", 4, tmp_path))


def test_a_resumed_self_test_tests_only_what_is_missing(tmp_path: Path) -> None:
    healthy, lost, late = catalogue()[:3]
    rows = [
        FaultRow(fault=healthy, status="clean", runs=1),
        FaultRow(fault=lost, status="detected"),
    ]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(row.model_dump_json() + "\n" for row in rows) + '{"fault"')
    finished = _finished(path, repeat=2)
    assert finished == {lost.name: rows[1]}
    plan = SelfTestPlan((healthy, lost, late), False, "tools", 1, tmp_path, 2, finished=finished)
    assert [(fault.name, number) for fault, number in plan.queue()] == [
        (late.name, 0),
        ("healthy", 1),
    ]


async def test_a_resumed_self_test_keeps_the_results_of_the_healthy_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_server = contextlib.nullcontext(None)
    # Runs against it would fail.
    monkeypatch.setattr("harness.selftest.selftest_run.engine", lambda *_: no_server)
    healthy = catalogue()[0]
    done = FaultRow(fault=healthy, status="clean", runs=1, baseline={"calls.name.unknown": "error"})
    plan = SelfTestPlan((healthy,), False, "tools", 0, tmp_path, finished={healthy.name: done})
    matrix = await selftest(plan, lambda row: None)
    assert matrix.rows == (done,)


def test_a_folder_without_rows_cannot_be_resumed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["selftest", "--resume", "nowhere"]) == 2
    assert "--resume" in capsys.readouterr().err


def test_an_unknown_fault_is_reported_in_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["selftest", "--faults", "done-mising"]) == 2
    assert "'done-mising'" in capsys.readouterr().err
