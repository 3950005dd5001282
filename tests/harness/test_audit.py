"""An audit finds whatever was done to a sealed run, and nothing in one that was left alone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from harness.auditing.findings import Audit
from harness.auditing.folder import read_folder
from harness.auditing.run import audit
from healthy import SUITE
from hypothesis import given, settings
from hypothesis import strategies as st
from recorded_runs import troubled, write_run, write_sealed_run

from harness.cli.app import run
from harness.errors import ConfigurationError, RunLogError
from harness.integrity.seal import seal
from harness.storage.run_log import ROLLOUTS_FILE, RUN_FILE, RunLog, read_run_info, write_run_info

SMALL = SUITE.first(1)
RECORDS = 8


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("audit") / "run"
    write_sealed_run(folder, troubled(SMALL, tries=2), first_cases=1)
    assert run(["recheck", str(folder)]) in {0, 1}
    return folder


@pytest.fixture
def copy(sealed: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sealed, tmp_path / "run"))


def audited(folder: Path, expected: str | None = None) -> Audit:
    return audit(read_folder(folder), (), (), expected)


def kinds(folder: Path) -> set[str]:
    return {breach.kind for breach in audited(folder).breaches}


def lines(folder: Path) -> list[bytes]:
    return (folder / ROLLOUTS_FILE).read_bytes().splitlines(keepends=True)


def test_a_run_left_alone_is_sound(sealed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["audit", str(sealed), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["conclusion"], said["breaches"], said["notes"]) == ("sound", [], [])
    assert said["logs"][0]["records"] == said["planned"] == RECORDS


def test_the_seal_stands_where_people_look(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = read_run_info(copy).seals[-1].short
    run(["recheck", str(copy)])
    assert f"Seal    {own}" in capsys.readouterr().out
    run(["recheck", str(copy), "--json"])
    assert json.loads(capsys.readouterr().out)["seal"] == own
    for report in ("report.md", "report.html"):
        assert own in (copy / report).read_text(encoding="utf-8")


@st.composite
def tampered(draw: st.DrawFn, whole: list[bytes]) -> bytes:
    """The log after one change: a byte, or a line dropped, moved, doubled, or put in."""
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
        assert audited(folder).conclusion == "broken"


def members(value: object) -> Iterator[tuple[str, ...]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield (name,)
            yield from ((name, *rest) for rest in members(inner))


def test_any_change_of_run_json_is_found(copy: Path) -> None:
    path = copy / RUN_FILE
    whole = json.loads(path.read_text(encoding="utf-8"))
    for place in members(whole):
        changed = json.loads(json.dumps(whole))
        *above, name = place
        inner = changed
        for each in above:
            inner = inner[each]
        inner[name] = "changed"
        if changed == whole:
            continue
        path.write_text(json.dumps(changed), encoding="utf-8")
        try:
            assert audited(copy).conclusion == "broken", place
        except RunLogError as error:
            assert "damaged" in str(error)  # noqa: PT017


@pytest.mark.parametrize("file", ["cases.jsonl", "tools.json"])
def test_other_cases_than_those_asked_are_found(copy: Path, file: str) -> None:
    (copy / file).write_bytes((copy / file).read_bytes() + b"\n")
    assert kinds(copy) == {"files"}
    (copy / file).unlink()
    assert kinds(copy) == {"files"}


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("analysis.json", '"decision": "fail"', '"decision": "pass"'),
        ("judgements.jsonl", '"kind":"success"', '"kind":"timeout"'),
        ("report.md", "# FAIL", "# PASS"),
        ("report.html", "FAIL", "PASS"),
        ("junit.xml", 'name="verdict"', 'name="Verdict"'),
    ],
)
def test_a_judgement_that_does_not_follow_is_found(
    copy: Path, file: str, old: str, new: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (copy / file).read_text(encoding="utf-8")
    assert old in text
    (copy / file).write_text(text.replace(old, new, 1), encoding="utf-8")
    assert run(["audit", str(copy)]) == 1
    assert f"judgement · {file}" in capsys.readouterr().out


@pytest.mark.parametrize("file", ["analysis.json", "judgements.jsonl"])
@pytest.mark.parametrize("content", [None, "{"])
def test_a_report_without_the_judgement_behind_it_is_not_believed(
    copy: Path, file: str, content: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (copy / "report.md").read_text(encoding="utf-8")
    (copy / "report.md").write_text(text.replace("# FAIL", "# PASS", 1), encoding="utf-8")
    if content is None:
        (copy / file).unlink()
    else:
        (copy / file).write_text(content, encoding="utf-8")
    assert run(["audit", str(copy)]) == 1
    assert "judgement · " in capsys.readouterr().out


def test_an_attempt_made_again_is_found_even_if_the_chain_is_made_anew(copy: Path) -> None:
    rollouts = list(troubled(SMALL, tries=2))
    (copy / ROLLOUTS_FILE).unlink()
    with RunLog(copy) as log:
        for each in [*rollouts, rollouts[3]]:
            log.append(each)
    assert kinds(copy) == {"repeated", "seal"}


def test_a_run_made_anew_is_found_only_with_its_seal_from_elsewhere(copy: Path) -> None:
    noted = audited(copy).seal
    assert noted is not None
    info = read_run_info(copy)
    (copy / ROLLOUTS_FILE).unlink()
    with RunLog(copy) as log:
        for each in troubled(SMALL, tries=2, seed=9):
            log.append(each)
    write_run_info(copy, info.model_copy(update={"seals": ()}))
    seal(copy)
    assert audited(copy).conclusion == "sound"
    assert audited(copy, noted[:32]).conclusion == "broken"
    with pytest.raises(ConfigurationError, match="is no seal"):
        audited(copy, "12")


def test_a_seal_that_was_taken_away_is_missed(copy: Path) -> None:
    write_run_info(copy, read_run_info(copy).model_copy(update={"seals": ()}))
    assert kinds(copy) == {"seal"}


def test_attempts_that_a_finished_run_lacks_are_found(copy: Path) -> None:
    info = read_run_info(copy)
    write_run_info(copy, info.model_copy(update={"planned": RECORDS + 1, "seals": ()}))
    seal(copy)
    assert kinds(copy) == {"absent"}


@pytest.mark.parametrize("torn", [b"", b'{"id": "s3/ch'])
def test_a_killed_run_is_open_and_after_its_resumption_sound(tmp_path: Path, torn: bytes) -> None:
    rollouts = list(troubled(SMALL, tries=2))
    info = write_run(tmp_path, (), first_cases=1)
    write_run_info(tmp_path, info.model_copy(update={"planned": RECORDS}))
    with RunLog(tmp_path) as log:
        for each in rollouts[:3]:
            log.append(each)
    path = tmp_path / ROLLOUTS_FILE
    path.write_bytes(path.read_bytes() + torn)
    assert audited(tmp_path).conclusion == "not sealed"
    again = {"planned": RECORDS, "resumed": ("2026-11-20T15:00:00+00:00",)}
    with RunLog(tmp_path) as log:
        for each in rollouts[3:]:
            log.append(each)
    write_run_info(tmp_path, info.model_copy(update={**again, "finished_at": "2026-11-20"}))
    seal(tmp_path)
    found = audited(tmp_path)
    assert (found.conclusion, found.resumed) == ("sound", again["resumed"])


def test_every_sitting_that_ends_in_order_is_vouched_for(tmp_path: Path) -> None:
    rollouts = list(troubled(SMALL, tries=2))
    info = write_run(tmp_path, rollouts[:0], first_cases=1)
    for each in rollouts[:2]:
        with RunLog(tmp_path) as log:
            log.append(each)
        seal(tmp_path)
    first = read_run_info(tmp_path).seals[0].hash
    assert audited(tmp_path).conclusion == "sound"
    for noted in (first, first.upper(), f" {first} "):
        found = audited(tmp_path, noted)
        assert found.breaches == ()
        assert found.notes[-1].startswith("the seal given is an earlier one")
    with RunLog(tmp_path) as log:
        log.append(rollouts[2])
    assert audited(tmp_path).conclusion == "not sealed"
    path = tmp_path / ROLLOUTS_FILE
    path.write_bytes(b"".join(lines(tmp_path)[1:]))
    assert kinds(tmp_path) == {"chain", "seal"}
    assert info.seals == ()


def test_an_older_run_is_not_sealed_and_not_broken(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path / "run", troubled(SMALL, tries=2), first_cases=1)
    assert run(["audit", str(tmp_path / "run")]) == 4
    assert "NOT SEALED" in capsys.readouterr().out


def test_a_folder_that_cannot_be_read(tmp_path: Path, copy: Path) -> None:
    assert run(["audit", str(tmp_path / "none")]) == 2
    (copy / RUN_FILE).write_text('{"seals": [{}]}', encoding="utf-8")
    with pytest.raises(RunLogError, match="is damaged: "):
        read_folder(copy)
