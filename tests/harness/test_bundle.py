"""A bundle has no keys and no paths of the machine, and can be audited, judged and reported."""

import gzip
import io
import json
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from healthy import SUITE
from recorded_runs import problem_rollouts, write_sealed_run

from gpt_oss_verify.app import run
from harness.errors import RunLogError
from harness.integrity import archive
from harness.integrity.seal import seal
from harness.integrity.secrets import Scrubber, shortened
from harness.records.rollouts import Rollout
from harness.records.runs import Thresholds
from harness.run.run_log import read_run_info, write_run_info

SMALL = SUITE.first(1)
GUIDE = Thresholds(rule="guide")
KEY = "sk-proj-abcdefghijklmnopqrstuvwxyz0123"
SECRET = "correct horse \"battery\" staple"  # fmt: skip
LAUNCHED = ("/home/someone/venv/bin/python", "-m", "server", "--log=/var/tmp/some.log")


def with_keys(rollouts: Iterator[Rollout]) -> Iterator[Rollout]:
    """The rollouts with keys in the headers of their last exchanges."""
    for rollout in rollouts:
        *before, last = rollout.exchanges
        headers = {"authorization": f"Bearer {KEY}", "x-note": SECRET}
        request = last.request.model_copy(update={"headers": headers})
        response = last.response and last.response.model_copy(
            update={"headers": {**last.response.headers, "x-echo": f"got\n{KEY}"}}
        )
        last = last.model_copy(update={"request": request, "response": response})
        yield rollout.model_copy(update={"exchanges": (*before, last)})


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SOME_API_KEY", SECRET)
    place = tmp_path / "mock-20260102-030405"
    info = write_sealed_run(
        place, with_keys(problem_rollouts(SMALL, tries=2)), first_cases=1, thresholds=GUIDE
    )
    provider = info.provider.model_copy(update={"launch_command": LAUNCHED})
    command = ("gpt-oss-verify", "--cases", "/home/someone/cases.jsonl")
    changes = {"provider": provider, "command": command, "finished_at": "2026-11-20T15:00:00+00:00"}
    write_run_info(place, info.model_copy(update={**changes, "seals": ()}))
    (place / "provider.log").write_text(f"started with {KEY}", encoding="utf-8")
    seal(place)
    run(["recheck", str(place)])
    return place


@pytest.fixture
def packed(folder: Path, tmp_path: Path) -> Path:
    assert run(["bundle", str(folder)]) == 0
    return tmp_path / f"{folder.name}.tar.gz"


def test_a_bundle_contains_no_secrets(packed: Path) -> None:
    content = gzip.decompress(packed.read_bytes()).decode()
    for secret in (KEY, SECRET, json.dumps(SECRET)[1:-1], "someone", "/var/tmp", "started with"):
        assert secret not in content
    assert "…/python" in content
    assert "--log=…/some.log" in content


@pytest.mark.parametrize("command", ["bundle", "site", "audit", "report"])
def test_without_room_for_a_temporary_folder_nothing_is_packed_or_unpacked(
    command: str,
    packed: Path,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    reads = command in ("audit", "report")
    arguments = [str(packed)] if reads else [str(folder), "--out", str(tmp_path / "new")]
    assert run([command, *arguments]) == 2
    assert "No temporary folder can be created; free space or set TMPDIR" in capsys.readouterr().err


def test_the_path_of_a_gate_file_is_shortened_everywhere(folder: Path, tmp_path: Path) -> None:
    gate = tmp_path / "somebodys-home" / "gate.yaml"
    gate.parent.mkdir()
    gate.write_text("min_pass_at_k: 0.5\n")
    assert run(["recheck", str(folder), "--gate", str(gate)]) in {0, 1}
    assert "somebodys-home" in (folder / "analysis.json").read_text(encoding="utf-8")
    assert run(["bundle", str(folder)]) == 0
    packed = tmp_path / f"{folder.name}.tar.gz"
    assert b"somebodys-home" not in gzip.decompress(packed.read_bytes())


def test_a_run_in_a_folder_of_another_name_is_packed(folder: Path, tmp_path: Path) -> None:
    renamed = folder.rename(tmp_path / "renamed")
    assert run(["bundle", str(renamed)]) == 0
    assert run(["audit", str(tmp_path / "renamed.tar.gz")]) == 0


def test_a_bundle_can_be_audited_judged_and_reported(
    folder: Path, packed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = read_run_info(folder).seals[-1].hash
    capsys.readouterr()
    assert run(["audit", str(packed), "--seal", own, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["bundle"], found["conclusion"], found["seal"]) == (True, "sound", own)
    assert found["logs"][0]["withheld"] == found["logs"][0]["records"] == 8
    assert run(["recheck", str(folder), "--json"]) == 1
    first = json.loads(capsys.readouterr().out)
    assert run(["recheck", str(packed), "--json"]) == 1
    again = json.loads(capsys.readouterr().out)
    assert again | {"run": ""} == first | {"run": ""}
    assert run(["report", str(packed), "--format", "md"]) == 0
    assert "# FAIL" in Path(capsys.readouterr().out.strip()).read_text(encoding="utf-8")


def test_the_same_run_gives_the_same_bytes(folder: Path, packed: Path, tmp_path: Path) -> None:
    assert run(["bundle", str(folder), "--out", "again.tar.gz"]) == 0
    assert (tmp_path / "again.tar.gz").read_bytes() == packed.read_bytes()


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("rollouts.jsonl", '"attempt":1', '"attempt":2'),
        ("run.json", '"tries": 2', '"tries": 3'),
        ("cases.jsonl", "a", "b"),
        ("manifest.json", '"withheld_records"', '"withheld_record"'),
        ("analysis.json", '"decision": "fail"', '"decision": "pass"'),
    ],
)
def test_a_changed_bundle_is_found(
    packed: Path, tmp_path: Path, file: str, old: str, new: str
) -> None:
    assert run(["bundle", str(packed), "--open", "opened"]) == 0
    path = tmp_path / "opened" / packed.name.removesuffix(".tar.gz") / file
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    assert run(["audit", str(path.parent)]) == (2 if file == "manifest.json" else 1)


def test_unsuitable_folders_are_not_packed(
    folder: Path, packed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "cases.jsonl").write_text(f'{{"input": "{KEY}"}}', encoding="utf-8")
    assert run(["bundle", str(folder)]) == 2
    (folder / "analysis.json").unlink()
    assert run(["bundle", str(folder)]) == 2
    assert run(["bundle", str(packed), "--open", "one"]) == 0
    assert run(["bundle", str(tmp_path / "one" / folder.name)]) == 2
    assert run(["bundle", str(packed), "--open", "one"]) == 2
    errors = capsys.readouterr().err
    for sentence in (
        "like a key",
        "has no analysis.json",
        "unpacked from a bundle",
        "already exists",
    ):
        assert sentence in errors


def member(name: str, kind: bytes = tarfile.REGTYPE, size: int = 1) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, size if kind == tarfile.REGTYPE else 0
    info.linkname = "/etc/passwd"
    return info


HOSTILE_MEMBERS: dict[str, list[tarfile.TarInfo]] = {
    "above": [member("../run.json")],
    "absolute": [member("/tmp/run.json")],
    "deeper": [member("run/a/b")],
    "hidden": [member("run/.bashrc")],
    "dots": [member("run/..")],
    "link": [member("run/run.json", tarfile.SYMTYPE)],
    "hard link": [member("run/run.json", tarfile.LNKTYPE)],
    "device": [member("run/run.json", tarfile.CHRTYPE)],
    "folder": [member("run", tarfile.DIRTYPE)],
    "twice": [member("run/run.json"), member("run/run.json")],
    "two folders": [member("run/run.json"), member("other/run.json")],
    "too many": [member(f"run/{number}") for number in range(200)],
    "too large": [member("run/run.json", size=2000)],
    "no manifest": [member("run/run.json")],
}


@pytest.mark.parametrize("name", HOSTILE_MEMBERS)
def test_malicious_archives_write_nothing_outside_the_folder(tmp_path: Path, name: str) -> None:
    file = tmp_path / "bundle.tar.gz"
    with tarfile.open(file, "w:gz") as made:
        for info in HOSTILE_MEMBERS[name]:
            made.addfile(info, io.BytesIO(b"x" * info.size))
    place = tmp_path / "in"
    with pytest.raises(RunLogError):
        archive.unpack(file, place / "here", most=1000)
    assert {path.name for path in tmp_path.iterdir()} <= {"bundle.tar.gz", "in"}
    assert {path.parent for path in place.rglob("*") if path.is_file()} <= {place / "here" / "run"}


@pytest.mark.parametrize(
    "spoil",
    [
        lambda content: content[: len(content) // 2],
        lambda content: b"not a bundle at all",
        lambda content: b"",
        lambda content: content[:200] + b"\x00" * 50 + content[250:],
        lambda content: gzip.compress(b"\x00" * 10_000),
        lambda content: gzip.compress(b"x" * 10_000),
    ],
)
def test_damaged_files_are_not_bundles(
    packed: Path, tmp_path: Path, spoil: Callable[[bytes], bytes]
) -> None:
    bad = tmp_path / "bad.tar.gz"
    bad.write_bytes(spoil(packed.read_bytes()))
    assert run(["audit", str(bad)]) == 2


def test_a_header_that_claims_to_be_huge_is_not_read(tmp_path: Path) -> None:
    huge = tarfile.TarInfo("x")
    huge.type, huge.size = tarfile.XHDTYPE, 2**33
    file = tmp_path / "bundle.tar.gz"
    file.write_bytes(gzip.compress(huge.tobuf(tarfile.GNU_FORMAT)))
    with pytest.raises(RunLogError, match="too large"):
        archive.unpack(file, tmp_path)


def negative() -> bytes:
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, -512
    return info.tobuf(tarfile.GNU_FORMAT) + bytes(512)


def sparse() -> bytes:
    info = member("run/run.json", size=512)
    info.pax_headers = {
        "GNU.sparse.major": "1",
        "GNU.sparse.minor": "0",
        "GNU.sparse.name": "run/run.json",
        "GNU.sparse.realsize": "many",
    }
    return info.tobuf(tarfile.PAX_FORMAT) + b"many\n".ljust(512, b"\0")


@pytest.mark.parametrize(("content", "message"), [(negative, "negative"), (sparse, "damaged")])
def test_invalid_sizes_are_rejected(
    tmp_path: Path, content: Callable[[], bytes], message: str
) -> None:
    file = tmp_path / "bundle.tar.gz"
    file.write_bytes(gzip.compress(content()))
    with pytest.raises(RunLogError, match=message):
        archive.unpack(file, tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        KEY,
        f"\\n{KEY}",
        "gsk_" + "a1" * 20,
        "hf_" + "a1" * 15,
        "AKIAIOSFODNN7EXAMPLE",
        "Bearer abcdefghijklmnop1234",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3.SflKxwRJSMeKKF2QT4",
        '"set-cookie":"session=1"',
    ],
)
def test_texts_that_look_like_keys_are_removed(text: str) -> None:
    scrubber = Scrubber(iter(()))
    assert scrubber.text(f'{{"a":"b {text}"}}').count("[redacted]") == 1
    assert scrubber.count == 1


@pytest.mark.parametrize(
    "text", ["task-list-of-many-many-words", "the risk-taking", '"authorization":"[redacted]"']
)
def test_other_texts_are_kept(text: str) -> None:
    assert Scrubber(iter(())).text(text) == text


@pytest.mark.parametrize(
    ("text", "short"),
    [
        ("/home/me/x.jsonl", "…/x.jsonl"),
        ("--out=/srv/runs/a", "--out=…/a"),
        ("~/models/a", "…/a"),
        ("http://host:8000/v1/models/x", "http://host:8000/v1/models/x"),
        ("openai/gpt-oss-20b", "openai/gpt-oss-20b"),
        ("python3 at gpu17.example", "python3 at host.example"),
    ],
)
def test_paths_and_names_of_the_machine_are_shortened(text: str, short: str) -> None:
    assert shortened({"a": [text]}, "gpu17") == {"a": [short]}
