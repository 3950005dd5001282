"""Sessions of pytest with the plugin, in a project that turns every warning into an error."""

import json
from collections.abc import Iterator
from typing import Literal
from xml.etree import ElementTree as ET

import numpy as np  # noqa: F401 (a session in this process forgets what it imports itself)
import pytest
from background import in_background
from healthy import polluted_name, provider_of
from mock_provider import MockProvider
from replies import MODEL
from reporting import analysis, failed_rule, finding, passing_scores, tool_calling

from harness.records.analysis import Analysis, ClientResult
from reports.build import build_report
from reports.ci import render_junit

pytest_plugins = ["pytester"]

PLUGIN = ("-p", "gpt_oss_verify.pytest_plugin", "-p", "no:asyncio", "--assert=plain")
POLLUTED = "gpt-oss::check::calls.name.polluted"
CLIENT = "Codex 0.171"


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makeini("[pytest]\nfilterwarnings = error\naddopts = --strict-markers\n")
    pytester.makepyfile(test_of_the_project="def test_own():\n    pass")
    return pytester


@pytest.fixture
def recorded(project: pytest.Pytester) -> pytest.Pytester:
    """The folder `runs/mine` has a failed run."""
    client = ClientResult(
        client=CLIENT, api="responses", status="breaks", breaking=("tools",), returns_cot="yes"
    )
    rules = [
        failed_rule("usage.sum", "failed", finding("c/chat/non-streaming/1")),
        failed_rule("cot.used", "not_verifiable"),
    ]
    found = analysis([tool_calling(passing_scores())], rules, "fail")
    (project.path / "runs" / "mine").mkdir(parents=True)
    return write_tests(project, found.model_copy(update={"clients": (client,)}))


def write_tests(project: pytest.Pytester, found: Analysis) -> pytest.Pytester:
    tests = render_junit(build_report(found, "mine"), passing_scores())
    (project.path / "runs" / "mine" / "junit.xml").write_text(tests, "utf-8")
    return project


def test_without_an_option_there_is_nothing_to_test(project: pytest.Pytester) -> None:
    result = project.runpytest_inprocess(*PLUGIN, "-v")
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*gpt-oss::*")


def test_every_result_of_a_finished_run_is_a_test(recorded: pytest.Pytester) -> None:
    junit = recorded.path / "junit.xml"
    result = recorded.runpytest_inprocess(
        *PLUGIN, "--gpt-oss-run", "mine", "-rs", f"--junitxml={junit}"
    )
    outcomes = result.parseoutcomes()
    assert (outcomes["failed"], outcomes["skipped"]) == (3, 1)
    result.stdout.fnmatch_lines_random(
        [
            "Prompt and completion tokens add up *",
            "  expected *",
            "  got *",
            "reproduce: gpt-oss-verify reproduce mine usage.sum",
            f"{CLIENT} breaks over responses: tools",
            "FAIL: *",
            "SKIPPED*",
        ]
    )
    failed = [case for case in ET.parse(junit).iter("testcase") if case.find("failure") is not None]
    assert [(case.get("classname"), case.get("name")) for case in failed] == [
        ("gpt-oss", "verdict"),
        ("gpt-oss.check", "usage.sum"),
        ("gpt-oss.client", CLIENT),
    ]


@pytest.mark.parametrize("status", ["sometimes", "works"])
def test_a_client_that_breaks_now_and_then_does_not_fail(
    project: pytest.Pytester, status: Literal["sometimes", "works"]
) -> None:
    client = ClientResult(client=CLIENT, api="chat", status=status, returns_cot="yes")
    found = analysis([tool_calling(passing_scores())], decision="fail")
    (project.path / "runs" / "mine").mkdir(parents=True)
    write_tests(project, found.model_copy(update={"clients": (client,)}))
    result = project.runpytest_inprocess(*PLUGIN, "--gpt-oss-run=mine", "-k", "client")
    result.assert_outcomes(passed=1, deselected=5)


def test_pytest_selects_them_as_any_others(recorded: pytest.Pytester) -> None:
    options = (*PLUGIN, "--gpt-oss-run", "runs/mine")
    recorded.runpytest_inprocess(*options, "-k", "check or probe or own").assert_outcomes(
        failed=1, passed=1, skipped=1, deselected=5
    )
    recorded.runpytest_inprocess(*options, "--lf").assert_outcomes(failed=1)
    recorded.runpytest_inprocess(*options, "-x").assert_outcomes(failed=1, passed=1)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--gpt-oss-run=gone"], "*There is no folder *gone.*"),
        (["--gpt-oss-provider=mime"], "*mime*"),
        (["--gpt-oss-run=gone", "--gpt-oss-model=m"], "*needs no other option*"),
        (["--gpt-oss-suite=all"], "*invalid choice*"),
    ],
)
def test_wrong_options_end_the_session_with_a_sentence(
    project: pytest.Pytester, options: list[str], said: str
) -> None:
    result = project.runpytest_inprocess(*PLUGIN, *options)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([said])
    assert "Traceback" not in str(result.stderr)


@pytest.fixture
def broken() -> Iterator[MockProvider]:
    """A server that pollutes the names of tools."""
    with in_background(MockProvider(always=provider_of(polluted_name), models=[MODEL])) as running:
        yield running


def of(mock: MockProvider) -> tuple[str, ...]:
    return (f"--gpt-oss-base-url={mock.base_url}", f"--gpt-oss-model={MODEL}")


def test_the_workers_of_a_session_share_one_run_of_a_broken_server(
    project: pytest.Pytester, broken: MockProvider
) -> None:
    options = ("--gpt-oss-suite=tools", "-n", "2", "-k", "verdict or case or calls.name")
    result = project.runpytest_subprocess(*PLUGIN, *of(broken), *options)
    (folder,) = (project.path / "runs").iterdir()
    verdict = json.loads((folder / "analysis.json").read_text("utf-8"))["verdict"]
    assert verdict["decision"] == "fail"
    result.stdout.fnmatch_lines_random(
        [
            f"FAILED {POLLUTED} *",
            "likely cause: *",
            "fix: *",
            f"reproduce: gpt-oss-verify reproduce runs/{folder.name} calls.name.polluted",
        ]
    )


def test_a_healthy_server_passes_and_what_was_not_judged_is_skipped(
    project: pytest.Pytester, mock: MockProvider
) -> None:
    result = project.runpytest_subprocess(*PLUGIN, *of(mock), "--gpt-oss-suite=tools")
    outcomes = result.parseoutcomes()
    assert result.ret == 0
    assert outcomes["passed"] > 50
    assert outcomes["skipped"] > 50


def test_without_a_run_one_test_is_an_error(project: pytest.Pytester) -> None:
    away = ("--gpt-oss-base-url=http://127.0.0.1:9/v1", "--gpt-oss-model=m")
    result = project.runpytest_subprocess(*PLUGIN, *away, "-k", "calls.name")
    outcomes = result.parseoutcomes()
    assert (outcomes["errors"], outcomes.keys()) == (1, {"errors", "skipped", "deselected"})
    result.stdout.fnmatch_lines(["There are no results: *127.0.0.1:9*"])


def test_a_run_elsewhere_needs_the_form_that_keeps_the_settings_of_the_project(
    recorded: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = recorded.mkdir("tests_here")
    (inside / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n")
    (inside / "test_one.py").write_text("def test_one(): pass\n")
    place = recorded.path / "runs" / "mine"
    monkeypatch.chdir(inside)
    refused = recorded.runpytest_inprocess(*PLUGIN, "--gpt-oss-run", str(place))
    kept = recorded.runpytest_inprocess(*PLUGIN, f"--gpt-oss-run={place}", "-v")
    refused.stderr.fnmatch_lines([f"*Write --gpt-oss-run={place}: after a space*"])
    kept.stdout.fnmatch_lines(["configfile: pytest.ini*", "*gpt-oss::verdict*"])
    assert "../" not in kept.stdout.str().partition("gpt-oss::verdict")[0].rpartition("\n")[2]


def test_a_small_run_sends_and_reports_what_the_options_select(project: pytest.Pytester) -> None:
    with in_background(MockProvider(always=provider_of())) as mock:
        result = project.runpytest_inprocess(
            *PLUGIN,
            f"--gpt-oss-base-url={mock.base_url}",
            f"--gpt-oss-model={MODEL}",
            "--gpt-oss-only=cases",
            "--gpt-oss-n=2",
            "--gpt-oss-k=1",
            "-k",
            "case or verdict",
            "-v",
        )
    assert result.stdout.str().count("gpt-oss::case::") == 2
    assert len(mock.posts) < 40
