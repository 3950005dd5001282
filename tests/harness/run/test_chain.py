"""The hash chain of a log reveals every line that is changed, moved, dropped or added."""

import hashlib
import json
from collections import deque
from pathlib import Path

import pytest
from test_run_log import rollout, small_disk, written

from harness.errors import RunLogError
from harness.run.run_log import ROLLOUTS_FILE, RunLog, read_rollouts
from harness.storage import chain


def chains(path: Path) -> list[str]:
    return [json.loads(line)["chain"] for line in path.read_bytes().splitlines()]


def recomputed(path: Path) -> list[str]:
    """The chain as docs/trust.md defines it, computed independently of the code."""
    head, found = hashlib.sha256(path.name.encode()).digest(), []
    for line in path.read_text(encoding="utf-8").splitlines():
        record, _, _ = line.rpartition(',"chain":')
        head = hashlib.sha256(head + hashlib.sha256(f"{record}}}".encode()).digest()).digest()
        found.append(head.hex())
    return found


def test_every_line_has_the_hash_of_all_before_it(tmp_path: Path) -> None:
    path = written(tmp_path, 1, 2, 3)
    assert chains(path) == recomputed(path)
    assert list(read_rollouts(tmp_path)) == [rollout(1), rollout(2), rollout(3)]


@pytest.mark.parametrize("torn", [b"", b'{"id": "s3/ch', b'{"half": \n'])
def test_a_reopened_log_continues_its_chain(tmp_path: Path, torn: bytes) -> None:
    path = written(tmp_path, 1, 2)
    path.write_bytes(path.read_bytes() + torn)
    written(tmp_path, 3, 4)
    assert len(chains(path)) == 4
    assert chains(path) == recomputed(path)


def test_a_log_without_a_chain_starts_one_when_it_is_opened(tmp_path: Path) -> None:
    path = tmp_path / ROLLOUTS_FILE
    older = [one.model_dump_json().encode() for one in (rollout(1), rollout(2))]
    path.write_bytes(b"".join(line + b"\n" for line in older))
    written(tmp_path, 3)
    first, second, third = map(chain.read_link, path.read_bytes().splitlines(keepends=True))
    assert (first.chain, second.chain) == (None, None)
    head = chain.beginning(ROLLOUTS_FILE)
    for link in (first, second):
        head = chain.following(head, link.digest)
    assert third.follows(head)


def test_the_chain_survives_withheld_contents(tmp_path: Path) -> None:
    line = written(tmp_path, 1).read_bytes()
    link = chain.read_link(line)
    replaced = chain.relinked(b'{"id":"s1"}', link)
    again = chain.read_link(replaced)
    assert (again.digest, again.chain, again.withheld) == (link.digest, link.chain, True)
    assert chain.record_of(replaced) == b'{"id":"s1"}'
    assert chain.read_link(chain.relinked(chain.record_of(replaced), again)) == again


def test_a_full_disk_does_not_break_the_chain(tmp_path: Path) -> None:
    with RunLog(tmp_path) as log:
        with small_disk(), pytest.raises(RunLogError):
            deque(map(log.append, map(rollout, range(100))))
        log.append(rollout(200))
    path = tmp_path / ROLLOUTS_FILE
    assert chains(path) == recomputed(path)
    assert path.read_bytes().count(b"s200/chat") == 1
