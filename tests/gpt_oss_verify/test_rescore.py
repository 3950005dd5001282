"""`rescore`: the bundled model reads replies of its recorded run; what it cannot read is said."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from corpus import healthy

from gpt_oss_verify.app import run
from harness.records.readings import RESCORED_FILE
from harness.records.rollouts import Rollout
from harness.run.run_folder import read_analysis

_SAMPLES = 8


def _greedy(rollout: Rollout) -> bool:
    """Whether it is one greedy answer over Chat that no option limits."""
    request, response = rollout.exchanges[0].request, rollout.exchanges[0].response
    body = request.body or {}
    free = not body.keys() & {"response_format", "stop", "tool_choice", "n", "stream", "logprobs"}
    whole = response is not None and response.body is not None and '"content":"' in response.body
    return len(rollout.exchanges) == 1 and free and whole and body.get("temperature") == 0


def _folder(path: Path, change: Callable[[str], str]) -> Path:
    """A run folder with some attempts of the recorded run, the last one changed."""
    recorded = healthy()
    chosen = [one for one in recorded.rollouts if one.api == "chat" and _greedy(one)][:_SAMPLES]
    assert len(chosen) == _SAMPLES
    path.mkdir()
    for name in ("run.json", "cases.jsonl", "tools.json", "golden.json"):
        shutil.copy(recorded.folder / name, path)
    lines = [one.model_dump_json() for one in chosen]
    last = json.loads(lines[-1])
    response = last["exchanges"][0]["response"]
    response["body"] = change(response["body"])
    lines[-1] = json.dumps(last)
    (path / "rollouts.jsonl").write_text("".join(f"{line}\n" for line in lines))
    return path


def _changed(body: str) -> str:
    """Change a letter of the answer."""
    reply = json.loads(body)
    message = reply["choices"][0]["message"]
    at = next(at for at, letter in enumerate(message["content"]) if letter.isalpha())
    other = "q" if message["content"][at] != "q" else "x"
    message["content"] = message["content"][:at] + other + message["content"][at + 1 :]
    return json.dumps(reply)


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Run folders after `rescore`: as recorded, and with a changed letter."""
    folder = tmp_path_factory.mktemp("runs")
    made = {
        "healthy": _folder(folder / "healthy", lambda body: body),
        "changed": _folder(folder / "changed", _changed),
    }
    for path in made.values():
        run(["rescore", str(path), "--causes", "none", "--threads", "1"])
    return made


def _results(path: Path) -> dict[str, tuple[str, int]]:
    analysis = read_analysis(path)
    return {
        result.check.id: (result.status, result.failures)
        for result in analysis.checks
        if result.check.family == "reference"
    }


def test_healthy_replies_pass_and_a_changed_letter_fails(read) -> None:
    assert set(_results(read["healthy"]).values()) == {("passed", 0)}
    assert _results(read["changed"])["reference.text"] == ("failed", 1)
    figures = read_analysis(read["changed"]).rescored
    assert (figures.read, figures.improbable, figures.reader.model) == (8, 1, "gpt-oss-small")


@pytest.mark.parametrize("name", ["report.md", "report.html", "junit.xml"])
def test_the_reports_say_what_was_read(read, name) -> None:
    text = (read["changed"] / name).read_text("utf-8")
    assert "reference.text" in text
    assert name == "junit.xml" or "8 of 8 replies read by gpt-oss-small" in text


def test_another_call_reads_nothing_again(read, monkeypatch) -> None:
    before = (read["healthy"] / RESCORED_FILE).read_bytes()
    monkeypatch.setattr("gpt_oss_verify.reading.most_probable", None)
    run(["rescore", str(read["healthy"]), "--causes", "none"])
    assert (read["healthy"] / RESCORED_FILE).read_bytes() == before


def test_a_run_that_nobody_read_has_no_results_of_readings(tmp_path) -> None:
    path = _folder(tmp_path / "unread", lambda body: body)
    run(["recheck", str(path)])
    assert _results(path) == {}
    assert read_analysis(path).rescored is None


@pytest.mark.parametrize(
    ("options", "change", "said"),
    [
        ([], ("gpt-oss-small", "gpt-oss-20b"), "Nothing here can read replies of"),
        (["--checkpoint", "missing"], ("", ""), "missing"),
        (["--causes", "some"], ("", ""), "--causes"),
    ],
)
def test_bad_input_is_one_sentence(tmp_path, capsys, options, change, said) -> None:
    path = _folder(tmp_path / "run", lambda body: body)
    info = path / "run.json"
    info.write_text(info.read_text().replace(*change) if change[0] else info.read_text())
    assert run(["rescore", str(path), *options]) == 2
    assert said in capsys.readouterr().err
    assert not (path / RESCORED_FILE).exists()


def test_a_run_without_replies_is_refused(tmp_path, capsys) -> None:
    path = _folder(tmp_path / "run", lambda body: body)
    (path / "rollouts.jsonl").write_text("")
    assert run(["rescore", str(path)]) == 2
    assert "has no reply that could be read" in capsys.readouterr().err
