"""An audit finds every change to a sealed run, and nothing in an unchanged one."""

import json
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from healthy import SUITE
from hypothesis import given, settings
from hypothesis import strategies as st
from mutations import each_member_set
from recorded_runs import ended, problem_rollouts, write_run, write_sealed_run

from gpt_oss_verify.app import run
from harness.errors import ConfigurationError, RunLogError
from harness.integrity.audit import audit
from harness.integrity.seal import seal
from harness.records.runs import Thresholds
from harness.run.run_log import ROLLOUTS_FILE, RUN_FILE, RunLog, read_run_info, write_run_info

SMALL = SUITE.first(1)
RECORDS = 8


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("audit") / "run"
    write_sealed_run(
        folder, problem_rollouts(SMALL, tries=2), first_cases=1, thresholds=Thresholds(rule="guide")
    )
    assert run(["recheck", str(folder)]) in {0, 1}
    return folder


@pytest.fixture
def copy(sealed: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sealed, tmp_path / "run"))


def kinds(folder: Path) -> set[str]:
    return {problem.kind for problem in audit(folder).problems}


def lines(folder: Path) -> list[bytes]:
    return (folder / ROLLOUTS_FILE).read_bytes().splitlines(keepends=True)


def test_an_unchanged_run_is_valid(sealed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["audit", str(sealed), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["conclusion"], found["problems"], found["notes"]) == ("sound", [], [])
    assert found["logs"][0]["records"] == found["planned"] == RECORDS


def test_the_seal_is_in_every_report(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = read_run_info(copy).seals[-1].short
    run(["recheck", str(copy)])
    assert f"Seal    {own}" in capsys.readouterr().out
    run(["recheck", str(copy), "--json"])
    assert json.loads(capsys.readouterr().out)["seal"] == own
    for report in ("report.md", "report.html"):
        assert own in (copy / report).read_text(encoding="utf-8")


@st.composite
def tampered(draw: st.DrawFn, whole: list[bytes]) -> bytes:
    """The log after one change: a byte changed, or a line dropped, moved, doubled or inserted."""
    kind = draw(st.sampled_from(["byte", "drop", "swap", "double", "insert", "cut", "append"]))
    changed = list(whole)
    at = draw(st.integers(0, len(whole) - 1))
    other = draw(st.integers(0, len(whole) - 1).filter(lambda place: place != at))
    match kind:
        case "byte":
            line = bytearray(whole[at])
            line[draw(st.integers(0, len(line) - 1))] ^= draw(st.integers(1, 255))
            changed[at] = bytes(line)
        case "drop":
            del changed[at]
        case "swap":
            changed[at], changed[other] = changed[other], changed[at]
        case "double":
            changed.insert(other, whole[at])
        case "insert":
            changed.insert(at, draw(st.sampled_from([b"\n", b"{}\n", b'{"id":"x"}\n'])))
        case "cut":
            changed[-1] = whole[-1][: -draw(st.integers(1, len(whole[-1]) - 1))]
        case "append":
            changed.append(draw(st.binary(min_size=1, max_size=20)))
    return b"".join(changed)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_single_change_of_the_log_is_found(sealed: Path, data: st.DataObject) -> None:
    with TemporaryDirectory() as place:
        folder = Path(place)
        for name in (RUN_FILE, "cases.jsonl", "tools.json"):
            shutil.copy(sealed / name, folder / name)
        (folder / ROLLOUTS_FILE).write_bytes(data.draw(tampered(lines(sealed))))
        assert audit(folder).conclusion == "broken"


def test_any_change_of_run_json_is_found(copy: Path) -> None:
    path = copy / RUN_FILE
    whole = json.loads(path.read_text(encoding="utf-8"))
    for place, changed in each_member_set(whole, "changed"):
        path.write_text(json.dumps(changed), encoding="utf-8")
        try:
            assert audit(copy).conclusion == "broken", place
        except RunLogError as error:
            assert "damaged" in str(error) or place == ("schema_version",)  # noqa: PT017


@pytest.mark.parametrize("file", ["cases.jsonl", "tools.json"])
def test_changed_cases_are_found(copy: Path, file: str) -> None:
    (copy / file).write_bytes((copy / file).read_bytes() + b"\n")
    assert kinds(copy) == {"files"}
    (copy / file).unlink()
    assert kinds(copy) == {"files"}


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("analysis.json", '"decision": "fail"', '"decision": "pass"'),
        ("scores.jsonl", '"outcome":"success"', '"outcome":"timeout"'),
        ("report.md", "# FAIL", "# PASS"),
        ("report.html", "FAIL", "PASS"),
        ("junit.xml", 'name="verdict"', 'name="Verdict"'),
    ],
)
def test_a_result_that_does_not_follow_from_the_records_is_found(
    copy: Path, file: str, old: str, new: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (copy / file).read_text(encoding="utf-8")
    assert old in text
    (copy / file).write_text(text.replace(old, new, 1), encoding="utf-8")
    assert run(["audit", str(copy)]) == 1
    assert f"reproducibility · {file}" in capsys.readouterr().out


@pytest.mark.parametrize("file", ["analysis.json", "scores.jsonl"])
@pytest.mark.parametrize("content", [None, "{"])
def test_a_report_without_its_analysis_is_not_trusted(
    copy: Path, file: str, content: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (copy / "report.md").read_text(encoding="utf-8")
    (copy / "report.md").write_text(text.replace("# FAIL", "# PASS", 1), encoding="utf-8")
    if content is None:
        (copy / file).unlink()
    else:
        (copy / file).write_text(content, encoding="utf-8")
    assert run(["audit", str(copy)]) == 1
    assert "reproducibility · " in capsys.readouterr().out


def test_a_repeated_attempt_is_found_even_with_a_new_chain(copy: Path) -> None:
    rollouts = list(problem_rollouts(SMALL, tries=2))
    (copy / ROLLOUTS_FILE).unlink()
    with RunLog(copy) as log:
        for each in [*rollouts, rollouts[3]]:
            log.append(each)
    assert kinds(copy) == {"duplicate", "seal"}


def test_a_replaced_run_is_found_only_with_a_seal_stored_elsewhere(copy: Path) -> None:
    stored = audit(copy).seal
    assert stored is not None
    info = read_run_info(copy)
    (copy / ROLLOUTS_FILE).unlink()
    with RunLog(copy) as log:
        for each in problem_rollouts(SMALL, tries=2, seed=9):
            log.append(each)
    write_run_info(copy, info.model_copy(update={"seals": ()}))
    seal(copy)
    assert audit(copy).conclusion == "sound"
    assert audit(copy, stored[:32]).conclusion == "broken"
    with pytest.raises(ConfigurationError, match="is not a seal"):
        audit(copy, "12")


def test_a_removed_seal_is_found(copy: Path) -> None:
    write_run_info(copy, read_run_info(copy).model_copy(update={"seals": ()}))
    assert kinds(copy) == {"seal"}


def test_missing_attempts_of_a_complete_run_are_found(copy: Path) -> None:
    info = read_run_info(copy)
    (task,) = info.tasks
    more = task.model_copy(update={"planned": RECORDS + 1})
    write_run_info(copy, info.model_copy(update={"tasks": (more,), "seals": ()}))
    seal(copy)
    assert kinds(copy) == {"missing"}


@pytest.mark.parametrize("torn", [b"", b'{"id": "s3/ch'])
def test_a_killed_run_is_not_sealed_and_valid_after_it_is_resumed(
    tmp_path: Path, torn: bytes
) -> None:
    rollouts = list(problem_rollouts(SMALL, tries=2))
    info = write_run(tmp_path, (), first_cases=1)
    with RunLog(tmp_path) as log:
        for each in rollouts[:3]:
            log.append(each)
    path = tmp_path / ROLLOUTS_FILE
    path.write_bytes(path.read_bytes() + torn)
    assert audit(tmp_path).conclusion == "not sealed"
    resumed = ("2026-11-20T15:00:00+00:00",)
    with RunLog(tmp_path) as log:
        for each in rollouts[3:]:
            log.append(each)
    write_run_info(tmp_path, ended(info, resumed=resumed))
    seal(tmp_path)
    found = audit(tmp_path)
    assert (found.conclusion, found.resumed) == ("sound", resumed)


def test_a_seal_covers_every_session_that_ends_normally(tmp_path: Path) -> None:
    rollouts = list(problem_rollouts(SMALL, tries=2))
    info = write_run(tmp_path, rollouts[:0], first_cases=1)
    for each in rollouts[:2]:
        with RunLog(tmp_path) as log:
            log.append(each)
        seal(tmp_path)
    first = read_run_info(tmp_path).seals[0].hash
    assert audit(tmp_path).conclusion == "sound"
    for expected in (first, first.upper(), f" {first} "):
        found = audit(tmp_path, expected)
        assert found.problems == ()
        assert found.notes[-1].startswith("the expected seal is an earlier one")
    with RunLog(tmp_path) as log:
        log.append(rollouts[2])
    assert audit(tmp_path).conclusion == "not sealed"
    path = tmp_path / ROLLOUTS_FILE
    path.write_bytes(b"".join(lines(tmp_path)[1:]))
    assert kinds(tmp_path) == {"chain", "seal"}
    assert info.seals == ()


def test_an_older_run_is_unsealed_but_not_damaged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path / "run", problem_rollouts(SMALL, tries=2), first_cases=1)
    assert run(["audit", str(tmp_path / "run")]) == 4
    assert "NOT SEALED" in capsys.readouterr().out


def test_an_unreadable_folder_is_reported(tmp_path: Path, copy: Path) -> None:
    assert run(["audit", str(tmp_path / "none")]) == 2
    (copy / RUN_FILE).write_text('{"seals": [{}]}', encoding="utf-8")
    with pytest.raises(RunLogError, match="is damaged: "):
        audit(copy)
