"""`rescored.jsonl`: resumed, torn, of another reader."""

import pytest
from readings import greedy

from harness.errors import RunLogError
from harness.records.readings import RESCORED_FILE, PromptFault, ReaderInfo
from harness.rescoring.log import RescoredLog, read_readings

_READER = ReaderInfo(name="engine 1", model="gpt-oss-small")


def test_what_is_written_is_read_again(tmp_path) -> None:
    first, second = greedy(2.0), greedy()
    fault = PromptFault(fault="f", description="…", nats=30.0, replies=(("r", 0, 0),))
    with RescoredLog(tmp_path, _READER) as log:
        log.append([first, second])
        log.append_cause(fault)
    assert read_readings(tmp_path) == (_READER, [first, second], fault)


def test_a_torn_line_is_dropped_and_the_rest_is_done(tmp_path) -> None:
    first, second = greedy(), greedy()
    with RescoredLog(tmp_path, _READER) as log:
        log.append([first, second])
    path = tmp_path / RESCORED_FILE
    path.write_bytes(path.read_bytes()[:-5])
    with RescoredLog(tmp_path, _READER) as log:
        assert log.done == {first.key}
        log.append([second])
    assert read_readings(tmp_path)[1] == [first, second]


def test_another_reader_is_refused(tmp_path) -> None:
    with RescoredLog(tmp_path, _READER):
        pass
    with pytest.raises(RunLogError, match=r"has readings of engine 1 \(gpt-oss-small\); remove it"):
        RescoredLog(tmp_path, _READER.model_copy(update={"weights": "0"}))


def test_a_damaged_file_says_how_to_mend_it(tmp_path) -> None:
    (tmp_path / RESCORED_FILE).write_text("{}\n")
    with pytest.raises(RunLogError, match="remove it, and read the replies again"):
        read_readings(tmp_path)


def test_a_run_that_nobody_read_has_none(tmp_path) -> None:
    assert read_readings(tmp_path) is None
