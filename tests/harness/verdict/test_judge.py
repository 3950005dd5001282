"""A run is judged from its log, and each attempt once."""

from pathlib import Path

import pytest
from healthy import SUITE, correct, rollout
from recorded_runs import write_finished_run

from harness.run.run_log import ROLLOUTS_FILE, read_run_info
from harness.tasks.suite import restored_tasks
from harness.verdict.judge import Judged, judge

SMALL = SUITE.first(6)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run of 24 attempts at cases."""
    made = [
        rollout(correct(case), sample=case.id, attempt=number)
        for case in SMALL.cases
        for number in range(1, 5)
    ]
    settings = {"apis": ("chat",), "modes": ("non-streaming",), "tries": 4}
    write_finished_run(tmp_path / "run", made, SMALL, **settings)
    return tmp_path / "run"


def judged(folder: Path) -> Judged:
    info = read_run_info(folder)
    return judge(folder, info, list(restored_tasks(folder, info)))


def test_a_repeated_line_counts_once(folder: Path) -> None:
    expected = judged(folder)
    counts = expected.analysis.exchanges
    assert counts.rollouts == sum(each.finished for each in expected.scores) == 24
    assert sum(counts.ended) == counts.total
    assert (counts.errors, counts.failed, counts.retried) == ({}, (), ())
    path = folder / ROLLOUTS_FILE
    path.write_bytes(path.read_bytes() * 2)
    assert judged(folder) == expected
