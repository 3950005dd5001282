"""The example notebook runs from top to bottom on two runs and draws three plots."""

import json
import os
from pathlib import Path

import matplotlib as mpl
import pytest
from compared_runs import judged_run, never_in
from replies import MODEL, Reply, chat_whole

from gpt_oss_verify.app import run

WHOLE = {"request": {"model": MODEL, "messages": []}, "response": chat_whole(Reply("Hi."))}
NOTEBOOK = Path(__file__).parents[2] / "examples" / "analysis.ipynb"


@pytest.fixture
def plt(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    mpl.use("Agg")
    import matplotlib.pyplot as plt

    yield plt
    plt.close("all")


def code_cells():
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


@pytest.mark.parametrize("broken", [True, False])
def test_the_notebook_runs(plt, tmp_path, broken, capsys):
    """The code cells are executed in order, without Jupyter."""
    always = never_in("")
    for number, passes in enumerate((always, never_in("chat · streaming") if broken else always)):
        folder = tmp_path / "runs" / f"run-{number}"
        judged_run(folder, passes, miscounted=broken, evals=always, rollouts=broken)
        os.utime(folder / "run.json", (number, number))
    names = {}
    for cell in code_cells():
        exec(compile(cell, str(NOTEBOOK), "exec"), names)
    assert list(names["rates"].columns) == ["run-0", "run-1"]
    assert len(plt.get_fignums()) == (3 if broken else 2)
    assert len(names["outcomes"]) == (2 if broken else 0)
    assert ("The counts do not add up." in capsys.readouterr().out) == broken


def test_recorded_traffic_has_no_failed_attempts(plt, tmp_path):
    for number in range(2):
        (tmp_path / f"{number}.json").write_text(json.dumps(WHOLE), encoding="utf-8")
        assert run(["import", f"{number}.json", "-p", "x"]) == 0
    names = {}
    for cell in code_cells()[:3]:
        exec(compile(cell, str(NOTEBOOK), "exec"), names)
    assert list(names["runs"].attempts["kind"]) == ["traffic", "traffic"]
    assert len(names["outcomes"]) == 0


def test_the_notebook_is_stored_without_outputs():
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells)
