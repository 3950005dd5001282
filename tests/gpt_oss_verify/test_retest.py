"""`retest` and `--only-failed` over a real socket: what is fixed, and what is sent again."""

import contextlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from background import in_background
from healthy import SUITE, correct, polluted_name, provider_of, without_call
from mock_provider import MockProvider
from replies import MODEL
from reporting import analysis, failed_rule

from gpt_oss_verify.app import run
from harness.records.runs import RetestedRule, RetestInfo
from harness.run import run_folder
from harness.transport.retry import RetryPolicy
from harness.verdict.retested import CALLS, findings

POLLUTED = "calls.name.polluted"


@pytest.fixture(scope="module")
def server() -> Iterator[MockProvider]:
    with in_background(MockProvider(models=[MODEL])) as running:
        yield running


@pytest.fixture
def mock(server: MockProvider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MockProvider:
    """A server that pollutes the names of tools."""
    monkeypatch.chdir(tmp_path)
    server.always, server.delay = provider_of(polluted_name), 0
    return server


def failed_run(mock: MockProvider, *options: str) -> Path:
    """Verify the broken server; `options` of the run."""
    address = ["--base-url", mock.base_url, "--model", MODEL]
    assert run([*address, "--suite", "tools", "-n", "4", "-k", "2", *options]) == 1
    (folder,) = Path("runs").iterdir()
    return folder


@pytest.fixture(scope="module")
def failed(server: MockProvider, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the run of the broken server."""
    server.always = provider_of(polluted_name)
    with contextlib.chdir(tmp_path_factory.mktemp("failed")):
        return failed_run(server).parent.absolute()


@pytest.fixture
def before(mock: MockProvider, failed: Path) -> Path:
    """A copy of that run."""
    (folder,) = Path(shutil.copytree(failed, "runs")).iterdir()
    return folder


def retested(before: Path) -> Path:
    (folder,) = (path for path in Path("runs").iterdir() if path.name != before.name)
    return folder


def rows(folder: Path) -> dict[str, dict[str, object]]:
    return {
        row["rule"]: row for row in json.loads((folder / "analysis.json").read_text())["retest"]
    }


def test_a_fixed_server_passes_also_with_a_gate_that_needs_a_complete_run(
    mock: MockProvider, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("gate.yaml").write_text("suite: standard\nmust_pass: [calls, prompt]\n", "utf-8")
    before = failed_run(mock, "--gate", "gate.yaml")
    mock.always = provider_of()
    capsys.readouterr()
    assert run(["retest", before.name]) == 0
    assert "A retest does not replace a complete run." in capsys.readouterr().out
    assert {row["status"] for row in rows(retested(before)).values()} == {"fixed"}
    assert "fixed" in (retested(before) / "report.md").read_text()
    posts = len(mock.posts)
    assert run(["recheck", str(retested(before))]) == 0
    assert run(["recheck", str(retested(before)), "--gate", "gate.yaml"]) == 0
    assert len(mock.posts) == posts
    assert json.loads((retested(before) / "run.json").read_text())["retest"]["run"] == str(before)


def test_a_finding_that_remains_fails(
    mock: MockProvider, capsys: pytest.CaptureFixture[str]
) -> None:
    before = failed_run(mock)
    assert f"gpt-oss-verify retest {before}" in capsys.readouterr().out
    assert run(["retest", str(before)]) == 1
    assert rows(retested(before))[POLLUTED]["status"] == "still there"


def test_a_finding_that_remains_is_counted_under_its_conditions() -> None:
    result = failed_rule("usage.sum", "failed").model_copy(
        update={"counts": {"chat · streaming": (3, 4), "chat · non-streaming": (0, 4)}}
    )
    before = RetestedRule(
        rule="usage.sum", severity="error", failures=4, tries=4,
        conditions=("chat · streaming",), half=0.4, enough=6,
    )  # fmt: skip
    (found,) = findings(RetestInfo(run="a", rules=(before,)), [result], (), analysis().verdict)
    assert (found.status, found.before, found.now) == ("still there", "4 of 4", "3 of 4")


@pytest.mark.parametrize(
    ("other", "counts", "others", "now"),
    [
        ("usage.output.lost", {"chat · streaming": (12, 12)}, (), "12 of 12 as usage.output.lost"),
        ("usage.output.miscounted", {"chat · streaming": (12, 12)}, (), "12 of 12 as "),
        ("usage.output.lost", {"chat · streaming": (12, 12)}, ("usage.output.lost",), "0 of 12"),
        ("usage.output.lost", {"chat · streaming": (1, 12)}, (), "0 of 12"),
        ("usage.output.lost", {"responses · streaming": (12, 12)}, (), "0 of 12"),
        ("stop.kept", {"chat · streaming": (12, 12)}, (), "0 of 12"),
    ],
)
def test_a_finding_with_another_name_in_the_same_replies_is_not_fixed(
    other: str, counts: dict[str, tuple[int, int]], others: tuple[str, ...], now: str
) -> None:
    own = failed_rule("usage.output.unexplained", "passed").model_copy(
        update={"counts": {"chat · streaming": (0, 12)}, "applicable": 12, "failures": 0}
    )
    named = failed_rule(other, "failed").model_copy(update={"counts": counts})
    before = RetestedRule(
        rule="usage.output.unexplained", severity="error", failures=8, tries=8,
        conditions=("chat · streaming",), half=0.47, enough=11,
    )  # fmt: skip
    retest = RetestInfo(run="a", rules=(before,), others=others)
    found, *new = findings(retest, [own, named], (), analysis().verdict)
    assert now in found.now
    same = "as" in found.now.split()
    assert found.status == ("still there" if same else "fixed")
    assert [each.rule for each in new] == ([] if same or others else [other])


@pytest.mark.parametrize(
    ("judged", "planned", "enough"),
    [(56, 120, 257), (13, 12, 120), (120, 120, None), (0, 120, None), (2, 120, None)],
)
def test_the_tries_that_settle_a_finding_are_those_of_which_enough_can_be_judged(
    judged: int, planned: int, enough: int | None
) -> None:
    """A fixed server may show fewer replies that a rule can judge than a broken one."""
    result = failed_rule("reply.stored", "passed").model_copy(
        update={"counts": {"chat": (0, judged)}, "applicable": judged, "failures": 0}
    )
    before = RetestedRule(
        rule="reply.stored", severity="error", failures=1, tries=13, share="3 of 9",
        conditions=("chat",), half=0.026, enough=114, planned=planned,
    )  # fmt: skip
    (found,) = findings(RetestInfo(run="a", rules=(before,)), [result], (), analysis().verdict)
    assert (found.before, found.enough) == ("3 of 9", enough)
    assert found.status == ("fixed" if judged >= 114 else "not verifiable")


@pytest.mark.parametrize("shown", [(0, 4), (0, 0)])
def test_a_rarer_finding_of_one_cause_follows_the_most_frequent_one(shown: tuple[int, int]) -> None:
    """It may not even be judged any more; it remains if one try shows it."""
    rules = [
        RetestedRule(
            rule=rule, severity="error", failures=failures, tries=tries, conditions=("chat",),
            stand_in=stand_in, half=half, enough=enough,
        )
        for rule, failures, tries, half, enough, stand_in in (
            ("sampling.cached", 9, 9, 0.46, 5, None),
            ("reply.stored", 1, 13, 0.026, 114, "sampling.cached"),
        )
    ]  # fmt: skip
    frequent, rare = (
        failed_rule(rule.rule, "passed").model_copy(
            update={"counts": {"chat": counts}, "applicable": counts[1], "failures": 0}
        )
        for rule, counts in zip(rules, ((0, 9), shown), strict=True)
    )
    retest = RetestInfo(run="a", rules=tuple(rules))
    found = findings(retest, [frequent, rare], (), analysis().verdict)
    assert [each.status for each in found] == ["fixed", "fixed"]


@pytest.mark.parametrize("stopped", [(), ("--max-requests", "60")])
def test_a_retest_makes_no_more_attempts_than_the_run(
    mock: MockProvider, stopped: tuple[str, ...]
) -> None:
    """Also if the run was stopped: what it planned counts. Other attempts dilute no finding."""
    address = ["--base-url", mock.base_url, "--model", MODEL]
    run([*address, "--only", "cases,echo", "-n", "4", "-k", "2", *stopped])
    (before,) = Path("runs").iterdir()
    mock.always = provider_of()
    run(["retest", str(before)])
    first, again = (
        {task["name"]: task for task in json.loads((folder / "run.json").read_text())["tasks"]}
        for folder in (before, retested(before))
    )
    assert again["tool_calling"]["planned"] <= first["tool_calling"]["planned"]
    assert rows(retested(before))[POLLUTED]["status"] == "fixed"
    assert "echo" not in again or again["echo"]["planned"] <= first["echo"]["planned"]


def test_half_of_a_fix_fails(mock: MockProvider, before: Path) -> None:
    made = iter(range(10_000))
    mock.always = provider_of(lambda case: (polluted_name if next(made) % 2 else correct)(case))
    assert run(["retest", str(before)]) == 1


def test_calls_that_fail_beside_a_finding_are_tried_again(mock: MockProvider) -> None:
    """Every third reply has no call; without the names of the others, that remains."""
    made = iter(range(10_000))
    broken = (polluted_name, without_call, correct)
    mock.always = provider_of(lambda case: broken[next(made) % 3](case))
    before = failed_run(mock)
    mock.always = provider_of(lambda case: (correct if next(made) % 3 else without_call)(case))
    assert run(["retest", str(before)]) == 1
    found = rows(retested(before))
    assert (found[POLLUTED]["status"], found[CALLS]["status"]) == ("fixed", "still there")


def test_the_concurrency_is_that_of_the_run_and_is_reached(mock: MockProvider) -> None:
    before = failed_run(mock, "--concurrency", "16")
    mock.always, mock.delay, mock.most_in_flight = provider_of(), 0.2, 0
    assert run(["retest", str(before)]) == 0
    assert mock.most_in_flight == 16


def test_another_concurrency_shows_what_needs_load(
    mock: MockProvider, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = failed_run(mock, "--concurrency", "4")
    mock.always, mock.most_in_flight = provider_of(), 0
    before = len(mock.posts)
    run(["retest", str(folder), "--concurrency", "1"])
    assert mock.most_in_flight == 1
    alone, before = len(mock.posts) - before, len(mock.posts)
    run(["retest", str(folder)])
    assert alone < len(mock.posts) - before, "without load, only the findings are sent"
    under_load = (
        f"Compare it with a retest under the load of the run: gpt-oss-verify retest {folder}"
    )
    assert under_load in " ".join(capsys.readouterr().out.split())


def test_a_retest_that_was_stopped_is_not_verifiable_and_is_resumed(
    mock: MockProvider, before: Path
) -> None:
    mock.always = provider_of()
    assert run(["retest", str(before), "--max-requests", "7"]) == 4
    assert run(["--resume", str(retested(before))]) == 0


def test_the_budget_of_a_providers_file_limits_a_retest_unless_an_option_does(
    mock: MockProvider,
    before: Path,
) -> None:
    mock.always = provider_of()
    Path("providers.yaml").write_text("providers: {}\ngate: {budget: {max_requests: 7}}\n", "utf-8")
    posts = len(mock.posts)
    assert run(["retest", str(before)]) == 4
    assert len(mock.posts) - posts <= 7
    assert run(["retest", str(before), "--max-requests", "9999"]) == 0


def test_a_gate_of_a_version_with_other_rules_can_be_retested(
    mock: MockProvider, before: Path
) -> None:
    info = json.loads((before / "run.json").read_text())
    info["settings"]["thresholds"]["may_warn"] = ["a.rule.that.is.gone"]
    (before / "run.json").write_text(json.dumps(info))
    mock.always = provider_of()
    assert run(["retest", str(before)]) == 0


def test_a_server_that_does_not_answer_leaves_no_folder(
    mock: MockProvider, before: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RetryPolicy, "wait", lambda *_: 0.0)
    info = json.loads((before / "run.json").read_text())
    info["provider"]["base_url"] = "http://127.0.0.1:1/v1"
    (before / "run.json").write_text(json.dumps(info))
    assert run(["retest", str(before)]) == 3
    assert sorted(path.name for path in Path("runs").iterdir()) == [before.name, "unanswered.jsonl"]
    assert run_folder.unanswered(Path("runs"), info["provider"]["name"])


def test_a_run_without_findings_and_a_retest_cannot_be_retested(
    mock: MockProvider, before: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mock.always = provider_of()
    assert run(["retest", str(before)]) == 0
    assert run(["retest", str(retested(before))]) == 2
    assert f"of {before.name}" in capsys.readouterr().err
    assert run(["--resume", str(retested(before)), "-k", "9"]) == 2
    assert f"gpt-oss-verify retest {before} -k 9" in capsys.readouterr().err


def test_too_few_tries_are_not_verifiable_and_the_command_that_settles_it_is_named(
    mock: MockProvider, capsys: pytest.CaptureFixture[str]
) -> None:
    """With `-k`, a finding gets at most so many tries."""
    made = iter(range(10_000))
    mock.always = provider_of(lambda case: (correct if next(made) % 8 else polluted_name)(case))
    before = failed_run(mock)
    mock.always = provider_of()
    capsys.readouterr()
    assert run(["retest", str(before), "-k", "1"]) == 4
    found = rows(retested(before))
    assert found[POLLUTED]["status"] == "not verifiable"
    tries = max(row["enough"] or 0 for row in found.values())
    settles = f"gpt-oss-verify retest {before} -k {tries}"
    assert settles in capsys.readouterr().out
    assert run(settles.split()[1:]) == 0


def test_a_retest_is_neither_a_row_of_a_site_nor_a_reference(
    mock: MockProvider, before: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mock.always = provider_of()
    assert run(["retest", str(before)]) == 0
    again = retested(before)
    assert run(["site", "runs", "--out", "site"]) == 0
    assert f"left out: {again} is a retest of {before.name}" in capsys.readouterr().err
    shown = json.loads(Path("site", "index.json").read_text("utf-8"))
    assert [one["run"] for one in shown["runs"]] == shown["latest"] == [before.name]
    assert run(["site", str(again), "--out", "other"]) == 2
    assert run(["--base-url", mock.base_url, "--model", MODEL, "--reference", str(again)]) == 2
    assert f"is a retest of {before.name}" in capsys.readouterr().err


def second(mock: MockProvider, *options: str) -> int:
    """Verify the server again, with the options that select what failed."""
    return run([*options, "--base-url", mock.base_url, "--model", MODEL])


def prompts(mock: MockProvider, since: int) -> set[str]:
    """The first user messages that the server got since so many requests."""
    bodies = (request.body or {} for request in mock.posts[since:])
    turns = (body.get("messages") or body["input"] for body in bodies)
    return {next(str(t["content"]) for t in one if t.get("role") == "user") for one in turns}


def test_only_failed_samples_the_cases_that_failed_and_is_resumed_with_them(
    mock: MockProvider,
) -> None:
    case = SUITE.spread(4).cases[2]
    mock.always = provider_of(lambda each: (polluted_name if each is case else correct)(each))
    before, since = failed_run(mock), len(mock.posts)
    mock.always = provider_of()
    assert second(mock, *["--only-failed", before.name, "-k", "3"], "--max-requests", "7") == 4
    again = retested(before)
    assert run(["--resume", str(again)]) == 4
    assert prompts(mock, since) - {"Hi"} == {case.prompt}
    made = json.loads((again / "run.json").read_text())
    assert (made["retest"], made["settings"]["case_ids"]) == (None, [case.id])
    assert second(mock, "--only-failed", str(again)) == 2, "everything passed"


def test_only_failed_samples_the_probes_that_did_not_pass(mock: MockProvider) -> None:
    mock.always = provider_of()  # which answers every probe with the same text
    second(mock, "--only", "sampling,cases", "-n", "2", "-k", "2")
    (before,) = Path("runs").iterdir()
    checks = json.loads((before / "analysis.json").read_text())["checks"]
    unclear = {
        one["check"]["id"]
        for one in checks
        if one["check"]["kind"] == "probe"
        and one["check"]["family"] == "sampling"
        and one["status"] in ("failed", "warned", "not_verifiable")
    }
    second(mock, "--only-failed", before.name)
    only = json.loads((retested(before) / "run.json").read_text())["settings"]["only"]
    assert unclear
    assert unclear <= set(only) <= {one["check"]["id"] for one in checks}
    assert not any(one["status"] == "passed" and one["check"]["id"] in only for one in checks)


def test_only_failed_refuses_what_it_cannot_select(
    mock: MockProvider, capsys: pytest.CaptureFixture[str]
) -> None:
    before = failed_run(mock, "--evals", "basic")
    assert second(mock, "eval", "--eval", "basic", "--samples", "--out", "evals") == 0
    (evals,) = Path("evals").iterdir()
    for wrong, sentence in (
        (["--only-failed", before.name, "--only", "cot"], "itself; leave out --only.\n"),
        (["--only-failed", before.name, "-n", "3"], "itself; leave out -n.\n"),
        (["--only-failed", "missing"], "There is no folder missing."),
        (["--only-failed", str(evals)], "has neither tool-call cases nor probes"),
        (["--only-failed", before.name, "--resume", before.name], "leave out --only-failed."),
    ):
        capsys.readouterr()
        assert second(mock, *wrong) == 2
        assert sentence in (said := capsys.readouterr().err)
        assert said.count("\n") == 1
    assert second(mock, "--only-failed", before.name, "--dry-run") == 0
    assert f"the evals of {before}" in capsys.readouterr().err
