"""Several processes score a long log with the same result as one process."""

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from analyses import planned
from healthy import SUITE, correct, rollout
from replies import Reply

from harness.errors import RunLogError
from harness.records.rollouts import Rollout
from harness.records.scores import Score
from harness.run.run_log import ROLLOUTS_FILE, RunLog, line_ranges, read_rollouts
from harness.tasks.plan import Plan
from harness.verdict import judge
from harness.verdict.exchange_counts import ExchangeCounter
from harness.verdict.planned_scores import Scorer

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="one process elsewhere")

TASKS = planned(apis=("chat",), modes=("non-streaming",), tries=4, suite=SUITE.first(6)).tasks
PLAN = Plan(tuple(TASKS))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A log of 24 attempts, which three processes read in parts of about three lines."""
    made = [
        rollout(
            correct(case) if number % 3 else [Reply(text="No.")], sample=case.id, attempt=number
        )
        for case in SUITE.cases[:6]
        for number in range(1, 5)
    ]
    with RunLog(tmp_path) as log:
        for each in made:
            log.append(each)
    size = (tmp_path / ROLLOUTS_FILE).stat().st_size
    monkeypatch.setattr(judge, "BYTES_AT_ONCE", size // 8)
    monkeypatch.setattr(judge, "_cores", lambda: 3)
    return tmp_path


def scores(folder: Path) -> list[Score]:
    return list(Scorer(PLAN).scores(judge.read_scored(folder, PLAN)))


def test_several_processes_give_the_same_scores_as_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    several = scores(folder)
    assert all(isinstance(each, Score) for each in judge.read_scored(folder, PLAN))
    monkeypatch.setattr(judge, "_cores", lambda: 1)
    assert all(isinstance(each, Rollout) for each in judge.read_scored(folder, PLAN))
    assert several == scores(folder)
    assert sum(each.finished for each in several) == 24


def test_two_logs_read_concurrently_are_not_mixed(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    lines = (folder / ROLLOUTS_FILE).read_bytes().splitlines(keepends=True)
    (other / ROLLOUTS_FILE).write_bytes(b"".join(lines[::-1]))
    expected = [each.record for each in scores(folder)]
    first = judge.read_scored(folder, PLAN)
    begun = next(first)
    backwards = scores(other)
    assert isinstance(begun, Score)
    rest = [each.record for each in first if isinstance(each, Score)]
    assert [begun.record, *rest] == expected
    assert [each.record for each in backwards] == expected[::-1]


def test_exchanges_are_counted_once_by_any_number_of_processes(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = folder / ROLLOUTS_FILE
    path.write_bytes(path.read_bytes() + path.read_bytes().splitlines(keepends=True)[0])
    counts = []
    for cores in (3, 1):
        counter = ExchangeCounter()
        monkeypatch.setattr(judge, "_cores", lambda cores=cores: cores)
        exchanges = sum(len(each.exchanges) for each in read_rollouts(folder))
        assert len(list(judge.read_scored(folder, PLAN, counter))) == 24
        counts.append(counter.counts())
    assert counts[0] == counts[1]
    assert (counts[0].rollouts, counts[0].total) == (24, exchanges)
    assert sum(counts[0].ended) == exchanges
    assert (counts[0].errors, counts[0].failed, counts[0].retried) == ({}, (), ())


def test_other_threads_do_not_fork(folder: Path) -> None:
    with ThreadPoolExecutor(1) as pool:
        entries = pool.submit(lambda: list(judge.read_scored(folder, PLAN))).result()
    assert all(isinstance(each, Rollout) for each in entries)


def test_a_repeated_line_counts_once(folder: Path) -> None:
    path = folder / ROLLOUTS_FILE
    expected = scores(folder)
    path.write_bytes(path.read_bytes() * 2)
    assert scores(folder) == expected


def test_a_damaged_line_has_its_number_in_the_whole_log(folder: Path) -> None:
    path = folder / ROLLOUTS_FILE
    lines = path.read_bytes().splitlines(keepends=True)
    lines[16] = b'{"id": 1}\n'
    path.write_bytes(b"".join(lines))
    with pytest.raises(RunLogError, match="line 17 is damaged"):
        scores(folder)


def test_a_process_that_is_killed_is_reported(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, parse = os.getpid(), judge.parse_rollout
    monkeypatch.setattr(
        judge,
        "parse_rollout",
        lambda each: parse(each) if os.getpid() == here else os._exit(1),
    )
    with pytest.raises(RunLogError, match="the system killed a process"):
        scores(folder)


@pytest.mark.parametrize("size", [1, 5, 6, 7, 100])
def test_ranges_end_at_the_ends_of_lines(size: int, tmp_path: Path) -> None:
    path = tmp_path / "log"
    content = b"first\nsecond\nthird line\n\ntorn"
    path.write_bytes(content)
    parts = [content[start:end] for start, end in line_ranges(path, size)]
    assert b"".join(parts) == content
    assert all(part.endswith(b"\n") for part in parts[:-1])
    assert all(len(part) >= size for part in parts[:-1])
