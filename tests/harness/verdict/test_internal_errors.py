"""An error in a rule costs that rule; the run is judged by the others, but cannot pass."""

from dataclasses import replace
from pathlib import Path

import pytest
from mock_provider import MockProvider, text
from replies import MODEL

from gpt_oss_verify.app import run
from harness.records.conditions import Api, Mode
from harness.rules import catalogue as known_rules
from harness.rules.catalogue import PROBES
from harness.run import run_folder

pytestmark = pytest.mark.usefixtures("empty_folder")

BUG = "a bug of this rule"


def bug(*_: object) -> object:
    raise ValueError(BUG)


def verify(mock: MockProvider, *more: str) -> tuple[int, Path]:
    place = ("--base-url", mock.base_url, "--model", MODEL, "--rule", "guide")
    code = run([*place, "-n", "2", "-k", "4", *more])
    (folder,) = Path("runs").iterdir()
    return code, folder


def break_check(monkeypatch: pytest.MonkeyPatch, rule: str) -> None:
    scope: tuple[Api, Mode]
    for scope, known in known_rules._BY_SCOPE.items():
        changed = [replace(each, judge=bug) if each.id == rule else each for each in known]
        monkeypatch.setitem(known_rules._BY_SCOPE, scope, changed)  # type: ignore[arg-type]


def test_a_check_that_raises_is_not_verifiable_and_the_run_does_not_pass(
    mock: MockProvider, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patch:
        break_check(patch, "usage.sum")
        code, folder = verify(mock, "--suite", "tools")
    out = " ".join(capsys.readouterr().out.split())
    assert code == 70
    assert "INCONCLUSIVE" in out
    assert "An internal error prevented judging usage.sum; please report it" in out
    analysis = run_folder.read_analysis(folder)
    (result,) = [each for each in analysis.checks if each.check.id == "usage.sum"]
    assert (result.status, result.findings) == ("not_verifiable", 0)
    assert BUG in (result.reason or "")
    assert sum(each.status == "passed" for each in analysis.checks) > 50
    errors = (folder / run_folder.ERRORS_FILE).read_text()
    assert errors.startswith("usage.sum\nTraceback")
    assert f"ValueError: {BUG}" in errors
    assert BUG in (folder / run_folder.REPORT_FILE).read_text()
    assert run(["recheck", str(folder)]) == 0
    assert not (folder / run_folder.ERRORS_FILE).exists()


def test_a_run_fails_although_a_rule_raises(
    mock: MockProvider, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    break_check(monkeypatch, "usage.sum")
    mock.always = text('{"choices": "none"}')
    code, folder = verify(mock, "--suite", "tools")
    assert code == 1
    assert run_folder.read_analysis(folder).verdict.decision == "fail"
    assert (folder / run_folder.ERRORS_FILE).exists() == ("kept it" in capsys.readouterr().out)


def test_a_cross_check_that_raises(mock: MockProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    rule = "reply.model.differs"
    changed = tuple(
        replace(each, compare=bug) if each.id == rule else each for each in known_rules.CROSS_CHECKS
    )
    monkeypatch.setattr(known_rules, "CROSS_CHECKS", changed)
    code, folder = verify(mock, "--suite", "tools")
    assert code == 70
    assert set(run_folder.read_analysis(folder).verdict.internal_errors) == {rule}


def test_a_probe_that_raises(mock: MockProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    rule = "limits.default"
    monkeypatch.setitem(PROBES, rule, replace(PROBES[rule], judge=bug))  # type: ignore[arg-type]
    _, folder = verify(mock, "--only", "limits.default,limits.prefix")
    analysis = run_folder.read_analysis(folder)
    assert set(analysis.verdict.internal_errors) == {rule}
    assert analysis.verdict.decision in ("fail", "inconclusive")


def test_an_account_that_cannot_be_made(
    mock: MockProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.verdict.judge.account_of", bug)
    code, folder = verify(mock, "--suite", "tools")
    assert code == 70
    assert set(run_folder.read_analysis(folder).verdict.internal_errors) == {"account"}


def test_an_attempt_that_cannot_be_scored(
    mock: MockProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.tasks.tool_calling.measured_score", bug)
    code, folder = verify(mock, "--suite", "tools")
    assert code == 70
    assert len(run_folder.read_analysis(folder).verdict.internal_errors) == 16
