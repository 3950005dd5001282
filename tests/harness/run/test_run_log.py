"""The run folder: no finished attempt is lost, whatever happens to the process or the disk."""

import os
import re
import resource
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.errors import RunLogError
from harness.records.conditions import Condition
from harness.records.rollouts import Rollout
from harness.records.runs import ProviderInfo, RunInfo, RunSettings, TaskInfo
from harness.run import run_log
from harness.run.run_folder import create
from harness.run.run_log import (
    ROLLOUTS_FILE,
    RUN_FILE,
    RunLog,
    read_chosen,
    read_rollouts,
    read_run_info,
    write_run_info,
)

CONDITION = Condition(model="m", api="chat", mode="non-streaming")


def rollout(number: int) -> Rollout:
    return Rollout(
        id=f"s{number}/chat/non-streaming/1",
        task="tool_calling",
        sample=f"s{number}",
        condition=CONDITION,
        attempt=1,
        end="answered",
        exchanges=(),
    )


def info() -> RunInfo:
    return RunInfo(
        tool_version="0.1.0",
        command=("gpt-oss-verify", "--provider", "x"),
        provider=ProviderInfo(
            name="x",
            base_url="http://h/v1",
            model="m",
            extra_body={},
            header_names=(),
            launch_command=None,
        ),
        settings=RunSettings(apis=("chat",), modes=("non-streaming",), concurrency=8),
        tasks=(
            TaskInfo(
                name="tool_calling",
                kind="tool_calling",
                conditions=(CONDITION,),
                samples=6,
                tries=5,
                planned=30,
            ),
        ),
        versions={"python": "3"},
        started_at="2026-01-01T00:00:00Z",
    )


def written(folder: Path, *numbers: int) -> Path:
    with RunLog(folder) as log:
        for number in numbers:
            log.append(rollout(number))
    return folder / ROLLOUTS_FILE


def ids(folder: Path) -> list[str]:
    return [found.sample for found in read_rollouts(folder)]


def test_appended_rollouts_are_read_back(tmp_path: Path) -> None:
    written(tmp_path / "new" / "run", 1, 2)
    assert list(read_rollouts(tmp_path / "new" / "run")) == [rollout(1), rollout(2)]


def test_a_line_is_on_disk_as_soon_as_it_is_appended(tmp_path: Path) -> None:
    with RunLog(tmp_path) as log:
        log.append(rollout(1))
        assert ids(tmp_path) == ["s1"]


def test_reopening_a_log_ignores_finished_attempts(tmp_path: Path) -> None:
    path = written(tmp_path, 1, 2)
    size = path.stat().st_size
    with RunLog(tmp_path) as log:
        assert log.finished == {"s1/chat/non-streaming/1", "s2/chat/non-streaming/1"}
        log.append(rollout(2))
        assert path.stat().st_size == size
        log.append(rollout(3))
        assert len(log.finished) == 2
    assert ids(tmp_path) == ["s1", "s2", "s3"]


@pytest.mark.parametrize(
    "torn",
    [b'{"id": "s3/ch', b"\x00\x00\x00", b'{"id": "s3/chat/non-streaming/1"}', b'{"half": \n'],
)
def test_an_incomplete_last_line_is_removed(tmp_path: Path, torn: bytes) -> None:
    path = written(tmp_path, 1, 2)
    sound = path.read_bytes()
    path.write_bytes(sound + torn)
    if not torn.endswith(b"\n"):
        assert ids(tmp_path) == ["s1", "s2"]
    with RunLog(tmp_path) as log:
        assert len(log.finished) == 2
        assert path.read_bytes() == sound
        log.append(rollout(3))
    assert ids(tmp_path) == ["s1", "s2", "s3"]


def test_damage_in_other_lines_is_reported(tmp_path: Path) -> None:
    path = written(tmp_path, 1, 2, 3)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + b"garbage\n" + lines[2])
    with pytest.raises(RunLogError, match="line 2 is damaged"):
        RunLog(tmp_path)
    with pytest.raises(RunLogError, match="line 2 is damaged"):
        ids(tmp_path)


def test_a_duplicate_id_counts_once(tmp_path: Path) -> None:
    path = written(tmp_path, 1, 2)
    path.write_bytes(path.read_bytes() * 2)
    assert ids(tmp_path) == ["s1", "s2"]


def test_chosen_rollouts_are_read_once_and_other_lines_not_at_all(tmp_path: Path) -> None:
    path = written(tmp_path, 1, 2, 3)
    lines = path.read_bytes().splitlines(keepends=True)
    escaped = rollout(4).model_copy(update={"id": 'a "b" \\ é'})
    with RunLog(tmp_path) as log:
        log.append(escaped)
    path.write_bytes(lines[0][:80] + b"\n" + path.read_bytes()[len(lines[0]) :] * 2 + lines[0][:80])
    chosen = [rollout(3).id, escaped.id, "unknown"]
    assert list(read_chosen(tmp_path, chosen)) == [rollout(3), escaped]
    with pytest.raises(RunLogError, match="line 1 is damaged"):
        list(read_chosen(tmp_path, [rollout(1).id]))


def test_a_folder_has_several_named_logs(tmp_path: Path) -> None:
    written(tmp_path, 1)
    with RunLog(tmp_path, "grades.jsonl") as grades:
        assert grades.finished == frozenset()
        grades.append(rollout(2))
    assert list(read_rollouts(tmp_path, "grades.jsonl")) == [rollout(2)]
    assert ids(tmp_path) == ["s1"]


def test_only_one_process_can_write(tmp_path: Path) -> None:
    with RunLog(tmp_path), pytest.raises(RunLogError, match="another process"):
        RunLog(tmp_path)


SMALL_DISK = 1000


@contextmanager
def small_disk() -> Iterator[None]:
    """Limit the size of files to SMALL_DISK: a write fails halfway, as on a full disk.

    This is not a fixture because the output of the test runner may go to a longer file.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (SMALL_DISK, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_loses_nothing_and_leaves_no_incomplete_line(tmp_path: Path) -> None:
    failing = pytest.raises(RunLogError, match=r"cannot be written: .*--resume")
    with small_disk(), RunLog(tmp_path) as log, failing as caught:
        deque(map(log.append, map(rollout, range(100))))
    kept = len(ids(tmp_path))
    assert f"the {kept} finished attempts" in str(caught.value)
    assert 0 < kept < SMALL_DISK
    assert (tmp_path / ROLLOUTS_FILE).read_bytes().endswith(b"\n")


def test_a_failing_disk_is_detected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(file: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(run_log, "SECONDS_BETWEEN_SYNCS", 0)
    monkeypatch.setattr(os, "fsync", failing)
    noticed = pytest.raises(RunLogError, match=r"Input/output error; the [0-9]+ finished")

    def slowly() -> Iterator[Rollout]:
        for number in range(1000):
            time.sleep(0.001)
            yield rollout(number)

    with noticed, RunLog(tmp_path) as log:
        deque(map(log.append, slowly()))


def test_run_info_on_a_full_disk_keeps_the_old_one(tmp_path: Path) -> None:
    write_run_info(tmp_path, info())
    larger = info().model_copy(update={"stopped": "x" * 2000})
    with small_disk(), pytest.raises(RunLogError, match=r"run\.json cannot be written"):
        write_run_info(tmp_path, larger)
    assert read_run_info(tmp_path) == info()
    assert [path.name for path in tmp_path.iterdir()] == [RUN_FILE]


def test_run_info_round_trip(tmp_path: Path) -> None:
    write_run_info(tmp_path / "run", info())
    write_run_info(tmp_path / "run", info().model_copy(update={"ended": "budget"}))
    assert read_run_info(tmp_path / "run").ended == "budget"


def test_invalid_run_folders_are_rejected(tmp_path: Path) -> None:
    with pytest.raises(RunLogError, match="is not a run folder"):
        read_run_info(tmp_path)
    (tmp_path / RUN_FILE).write_text("{}", encoding="utf-8")
    with pytest.raises(RunLogError, match="is not a run folder"):
        read_run_info(tmp_path / RUN_FILE)
    with pytest.raises(RunLogError, match="the field tool_version is missing"):
        read_run_info(tmp_path)
    (tmp_path / RUN_FILE).write_text("{", encoding="utf-8")
    with pytest.raises(RunLogError, match=r"run\.json is damaged: Invalid JSON"):
        read_run_info(tmp_path)
    (tmp_path / RUN_FILE).write_text('{"schema_version": 99}', encoding="utf-8")
    with pytest.raises(RunLogError, match="schema version 99"):
        read_run_info(tmp_path)
    with pytest.raises(RunLogError, match="cannot be read: No such file"):
        ids(tmp_path)


def test_a_folder_that_cannot_be_created_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunLogError, match="cannot be opened"):
        RunLog(tmp_path / "file" / "run")


APPEND_FOR_EVER = """
import itertools, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_run_log import RunLog, rollout
with RunLog(Path(sys.argv[2])) as log:
    for number in itertools.count():
        log.append(rollout(number))
        print(number, flush=True)
"""


def test_kill_9_loses_no_reported_attempt(tmp_path: Path) -> None:
    script = [sys.executable, "-c", APPEND_FOR_EVER, str(Path(__file__).parent), str(tmp_path)]
    with subprocess.Popen(script, stdout=subprocess.PIPE, text=True) as process:
        for _ in range(20):
            process.stdout.readline()
        os.kill(process.pid, 9)
        reported = [int(line) for line in process.stdout]
    with RunLog(tmp_path) as log:
        assert len(log.finished) >= max(reported, default=19) + 1


@pytest.mark.parametrize(("provider", "name"), [("a/b", "a-b"), ("../x", "..-x"), ("::1", "-1")])
def test_a_providers_name_becomes_one_folder(tmp_path: Path, provider: str, name: str) -> None:
    folder = create(tmp_path, provider)
    assert folder.is_dir()
    assert folder.parent == tmp_path
    assert re.fullmatch(rf"{re.escape(name)}-\d{{8}}-\d{{6}}", folder.name)
