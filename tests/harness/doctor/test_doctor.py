"""What `doctor` finds and recommends."""

import json
import resource
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from background import in_background
from mock_provider import MockProvider, status
from packaging.requirements import Requirement
from replies import MODEL

from gpt_oss_verify.app import run
from harness.doctor import setup as installed
from harness.doctor.lines import Line, exit_code, problem
from harness.doctor.reach import launch_line, skew
from harness.doctor.setup import clock, keys, open_files, vocabulary_line
from harness.providers.entries import Launch, own_providers

KEY = "sk-very-secret"
NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


pytestmark = pytest.mark.usefixtures("empty_folder")


@pytest.fixture
def mock() -> Iterator[MockProvider]:
    with in_background(MockProvider()) as running:
        yield running


def doctor_lines(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> list[Line]:
    """The lines of the command's JSON output."""
    assert run(["doctor", *arguments, "--json"]) == code
    said = json.loads(capsys.readouterr().out)
    assert said["exit_code"] == code
    return [Line(**line) for line in said["lines"]]


def about(lines: list[Line], topic: str) -> list[Line]:
    return [line for line in lines if line.topic == topic]


def test_the_exit_code_is_that_of_the_worst_line() -> None:
    assert (
        exit_code([Line("a", "ok", ""), Line("b", "note", ""), Line("c", "warning", "", "")]) == 0
    )
    assert exit_code([Line("a", "ok", ""), problem("b", "")]) == 2
    assert exit_code([problem("a", "", code=3), problem("b", "")]) == 3


def test_this_installation_is_healthy(capsys: pytest.CaptureFixture[str]) -> None:
    lines = doctor_lines(capsys)
    assert {line.state for line in lines if line.topic != "disk"} <= {"ok", "note"}
    assert {"Python", "packages", "vocabulary", "disk", "open files"} <= {
        line.topic for line in lines
    }
    assert "providers.yaml here" in about(lines, "providers")[0].text


def test_every_extra_for_users_is_examined() -> None:
    offered = set(metadata.metadata("gpt-oss-verify").get_all("Provides-Extra") or ())
    assert offered - {"test"} == set(installed.EXTRAS)


class Versions:
    """The installed versions, as a test sets them."""

    def __init__(self, patch: pytest.MonkeyPatch, **found: str) -> None:
        self.found = found
        patch.setattr(installed, "version", self)

    def __call__(self, name: str) -> str:
        try:
            return self.found[name]
        except KeyError:
            raise metadata.PackageNotFoundError(name) from None


def test_missing_and_incompatible_packages_are_problems(monkeypatch: pytest.MonkeyPatch) -> None:
    Versions(monkeypatch, aiohttp="3.9.1", httpx="0.28.1")
    asked = list(map(Requirement, ("aiohttp<4,>=3.14", "httpx<0.29,>=0.28", "orjson")))
    old, missing = installed._base(asked)
    assert old.text == "aiohttp 3.9.1 is installed; <4,>=3.14 is required"
    assert old.remedy == "pip install 'aiohttp<4,>=3.14'"
    assert missing.text == "orjson is not installed; any version is required"
    assert exit_code([old, missing]) == 2


@pytest.mark.parametrize(
    ("found", "state"),
    [({}, "note"), ({"a": "1.5", "b": "2"}, "ok"), ({"a": "2.1"}, "warning"), ({"b": "1"}, "note")],
)
def test_a_missing_extra_is_not_a_problem(
    found: dict[str, str], state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Versions(monkeypatch, **found)
    line = installed._extra("x", "things", [Requirement("a<2"), Requirement("b")])
    assert line.state == state
    if state != "ok":
        assert line.remedy == "pip install 'gpt-oss-verify[x]'"


def test_missing_packages_end_the_examination(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Versions(monkeypatch)
    lines = doctor_lines(capsys, code=2)
    assert about(lines, "packages")
    assert not about(lines, "providers")


@pytest.mark.parametrize(
    ("limit", "state"), [(1000, "ok"), (150, "warning"), (resource.RLIM_INFINITY, "ok")]
)
def test_a_low_limit_of_open_files_is_a_warning(limit: int, state: str) -> None:
    assert open_files(limit, concurrency=64).state == state


def test_a_clock_set_before_the_installation_is_a_warning() -> None:
    assert clock(NOON, NOON.replace(hour=11)).state == "ok"
    assert clock(NOON.replace(year=1970), NOON).state == "warning"


@pytest.mark.parametrize(
    ("date", "lines"),
    [
        ("Fri, 02 Jan 2026 12:00:30 GMT", 0),
        ("Fri, 02 Jan 2026 12:05:00 GMT", 1),
        ("yesterday", 0),
        (None, 0),
    ],
)
def test_a_clock_that_differs_from_the_providers_is_reported(date: str | None, lines: int) -> None:
    headers = {} if date is None else {"Date": date}
    assert len(list(skew("x", headers, NOON))) == lines


def test_a_wrong_vocabulary_file_in_the_configured_folder_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "o200k_base.tiktoken").write_text("wrong", encoding="utf-8")
    line = vocabulary_line({"TIKTOKEN_ENCODINGS_BASE": str(tmp_path)})
    assert line.state == "warning"
    assert "right hash" in line.text


def test_key_variables_are_named_and_values_never_shown(tmp_path: Path) -> None:
    file = tmp_path / "some.yaml"
    entry = "{base_url: 'http://h/v1', model: m, apis: [chat], "
    file.write_text(
        f"providers:\n  a: {entry}api_key_env: A_KEY}}\n  b: {entry}api_key_env: B_KEY}}\n"
        f"  c: {entry}headers: {{X: '${{C_KEY}}'}}}}\n  d: {entry}api_key_env: D_KEY}}\n",
        encoding="utf-8",
    )
    values = {"A_KEY": KEY, "C_KEY": f"{KEY}\n{KEY}"}
    fit, unfit, unset = keys(own_providers(file), values)
    assert (fit.state, unfit.state, unset.state) == ("ok", "warning", "note")
    assert unset.text == "not set: B_KEY (b), D_KEY (d)"
    assert KEY not in f"{fit}{unfit}{unset}"


@pytest.mark.parametrize(
    ("command", "state"),
    [
        ("{python} -m json", "ok"),
        ("{python} -m no_such_module", "problem"),
        ("{python} -m no_such.module", "problem"),
        ("no-such-program --port 1", "problem"),
        (f"{sys.executable} serve.py", "ok"),
    ],
)
def test_the_program_of_a_launch_entry_is_looked_up(command: str, state: str) -> None:
    line = launch_line("mine", Launch.model_validate({"command": command}))
    assert line.state == state
    assert line.exit_code == (3 if state == "problem" else 0)


# --- A provider over a socket


def at(mock: MockProvider, *more: str) -> list[str]:
    return ["--base-url", mock.base_url, "--model", MODEL, *more]


def test_a_provider_that_answers_is_ok(
    mock: MockProvider, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = about(doctor_lines(capsys, *at(mock)), f"127.0.0.1-{urlsplit(mock.base_url).port}")
    assert [line.state for line in lines] == ["ok", "ok", "ok"]
    assert f"lists 1 model, including {MODEL}" in lines[0].text
    assert "answers /responses with 200 in " in lines[1].text
    assert "answers /chat/completions with 200 in " in lines[2].text


def test_a_rejected_key_is_not_shown(
    mock: MockProvider, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    mock.api_key = "another"
    monkeypatch.setenv("MY_KEY", KEY)
    assert run(["doctor", *at(mock, "--api-key-env", "MY_KEY")]) == 3
    out, err = capsys.readouterr()
    assert "check the key in MY_KEY" in out
    assert KEY not in out + err


@pytest.mark.parametrize(
    ("changes", "more", "code", "sentence"),
    [
        ({"always": status(500, "boom")}, (MODEL,), 0, "answers /responses with 500"),
        ({"always": status(404, "no")}, (MODEL,), 3, "does not support"),
        ({}, ("gpt-9",), 0, "but not gpt-9"),
        ({}, (MODEL, "--api-key-env", "NOT_SET_AT_ALL"), 2, "NOT_SET_AT_ALL is not set"),
    ],
)
def test_problems_of_a_provider_are_reported(
    mock: MockProvider,
    capsys: pytest.CaptureFixture[str],
    changes: dict[str, Any],
    more: tuple[str, ...],
    code: int,
    sentence: str,
) -> None:
    for name, value in changes.items():
        setattr(mock, name, value)
    lines = doctor_lines(capsys, "--base-url", mock.base_url, "--model", *more, code=code)
    assert any(sentence in line.text for line in lines)


def test_only_selected_providers_with_keys_are_contacted(
    mock: MockProvider, capsys: pytest.CaptureFixture[str]
) -> None:
    entries = (
        f"  up: {{base_url: '{mock.base_url}', model: {MODEL}, apis: [chat]}}\n"
        "  down: {base_url: 'http://127.0.0.1:1/v1', model: m, apis: [chat]}\n"
        "  closed: {base_url: 'http://127.0.0.1:1/v1', model: m, apis: [chat], "
        "api_key_env: NOT_SET_AT_ALL}\n"
    )
    Path("providers.yaml").write_text(f"providers:\n{entries}", encoding="utf-8")
    assert not mock.received
    assert about(doctor_lines(capsys), "up") == []
    lines = doctor_lines(capsys, "--all", code=3)
    assert [line.state for line in about(lines, "up")] == ["ok", "ok"]
    assert "does not answer" in about(lines, "down")[0].text
    assert about(lines, "closed") == []
    assert {line.exit_code for line in doctor_lines(capsys, "-p", "up")} == {0}


def test_an_invalid_providers_file_is_reported(capsys: pytest.CaptureFixture[str]) -> None:
    Path("providers.yaml").write_text("providers: 3\n", encoding="utf-8")
    (line,) = about(doctor_lines(capsys, code=2), "providers")
    assert "needs the key `providers`" in line.text


def test_the_text_output_has_columns(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("ok       Python ")
    assert len(out.splitlines()) < 40
