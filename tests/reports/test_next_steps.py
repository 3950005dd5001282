"""The next steps that a report recommends."""

import pytest
from reporting import (
    CHAT,
    analysis,
    eval_result,
    failed_rule,
    finding,
    passing_scores,
    rubric,
    rule,
    score,
    tool_calling,
)

from harness.records.analysis import RetestedFinding
from harness.records.runs import RetestInfo, RunSettings, TaskInfo
from reports.build import build_report
from reports.diagnosis import next_steps

COMMAND = ("gpt-oss-verify", "-p", "mine", "--suite", "standard")


def failing_probes(*names, command=COMMAND, **changes):
    checks = [
        failed_rule(name, "failed", finding("r")).model_copy(
            update={"check": rule(name, kind="probe").check}
        )
        for name in names
    ]
    return analysis(checks=checks, decision="fail", run={"command": command}, **changes)


def lines(found):
    return [each.line for each in next_steps(build_report(found, "runs/a b"), "runs/a b")]


AFTER_A_FIX = "After a fix, test whether its findings are gone: gpt-oss-verify retest 'runs/a b'"


@pytest.mark.parametrize(("errors", "step"), [(0, "export"), (1, "grade")])
def test_missing_grades_are_asked_for_before_the_run_is_a_baseline(errors, step):
    graded = rubric().model_copy(update={"grader_errors": errors})
    found = eval_result(passing_scores(), None, rubric=graded)
    assert f"gpt-oss-verify {step} " in lines(analysis([found], decision=None))[0]


def test_a_failed_rule_is_reproduced_and_retested():
    assert lines(failing_probes("cot.used", "cot.kept")) == [
        "Reproduce a finding with the smallest request: "
        "gpt-oss-verify reproduce 'runs/a b' cot.kept",
        AFTER_A_FIX,
    ]
    check = failed_rule("usage.sum", "failed", finding("r"))
    found = analysis(checks=[check], decision="fail", run={"command": COMMAND})
    assert lines(found)[1] == AFTER_A_FIX


@pytest.mark.parametrize(
    ("decision", "status", "enough", "step"),
    [
        ("pass", "fixed", None, "Verify the provider again: gpt-oss-verify --provider mock"),
        ("fail", "still there", None, "After the next fix: gpt-oss-verify retest runs/before"),
        (
            "inconclusive",
            "not verifiable",
            352,
            "Settle it with: gpt-oss-verify retest runs/before -k 352",
        ),
        (
            "inconclusive",
            "not verifiable",
            None,
            "More tries of it do not settle it; verify all: gpt-oss-verify --provider mock",
        ),
    ],
)
def test_a_retest_ends_with_the_command_that_settles_it(decision, status, enough, step):
    retest = RetestInfo(run="runs/before", rules=())
    row = RetestedFinding(rule="cot.used", status=status, enough=enough)
    found = analysis(decision=decision, run={"retest": retest})
    (line,) = lines(found.model_copy(update={"retest": (row,)}))
    assert line.startswith(step)


def test_what_the_reason_advises_is_the_next_step_before_the_whole_suite():
    settings = RunSettings(apis=("chat",), modes=("non-streaming",), concurrency=8, first_cases=2)
    found = analysis(decision="inconclusive", run={"settings": settings})
    verdict = found.verdict.model_copy(update={"enough_tries": 30})
    steps = [line.split(":")[0] for line in lines(found.model_copy(update={"verdict": verdict}))]
    assert steps == ["Add tries to the run", "Verify all cases"]


def test_an_unfinished_run_with_findings_is_finished_first():
    first, last = lines(failing_probes("cot.used", complete=False))
    assert "reproduce" in first
    assert last == "Finish the run with: gpt-oss-verify --resume 'runs/a b'"


@pytest.mark.parametrize(
    ("settings", "step"),
    [
        ({"first_cases": 2}, "This run had a part of the suite. Verify all of it: gpt-oss-verify"),
        ({"skip": ("limits",)}, "This run had a part of the suite. Verify all of it: gpt-oss"),
        ({"suite": "tools"}, "Leave out --suite tools, so that probes test"),
        ({"suite": "standard"}, "In a new run, try --strict, or a higher --tries"),
    ],
)
def test_after_a_pass_of_a_part_the_rest_is_next(settings, step):
    found = analysis([tool_calling(passing_scores())], decision="pass")
    changed = found.run.settings.model_copy(update=settings)
    run = found.run.model_copy(update={"settings": changed, "command": COMMAND})
    (line,) = lines(found.model_copy(update={"run": run}))
    assert line.startswith(step)


@pytest.mark.parametrize(
    ("decision", "step"),
    [
        ("pass", "Test more with tool calls and probes: gpt-oss-verify --provider NAME"),
        (
            "inconclusive",
            "Record more traffic, or send tool calls and probes: gpt-oss-verify --provider NAME",
        ),
    ],
)
def test_imported_traffic_has_steps_of_its_own(decision, step):
    traffic = TaskInfo(
        name="traffic", kind="traffic", conditions=(CHAT,), samples=1, tries=1, planned=1
    )
    assert lines(analysis(decision=decision, run={"tasks": (traffic,)})) == [step]


def with_more_tries(number, allowance=0.0):
    """An eval that this many more tries of each question would settle."""
    result = eval_result([score("a", 1, "wrong", task="aime25")], decision="inconclusive")
    changes = {"further_tries": number, "allowance": allowance}
    comparison = result.baseline.comparison.model_copy(update=changes)
    verdict = result.baseline.model_copy(update={"comparison": comparison})
    return result.model_copy(update={"baseline": verdict})


@pytest.mark.parametrize(
    ("found", "steps"),
    [
        (analysis(results=(), run={"command": COMMAND}), ["This run had no tool-calling cases"]),
        # More tries cannot settle it, or the prompts are not those of the baseline.
        (
            analysis([with_more_tries(None)], decision="inconclusive"),
            ["Compare with a baseline of more tries"],
        ),
        (analysis([with_more_tries(None, allowance=0.025)], decision="inconclusive"), []),
    ],
)
def test_a_step_that_would_not_help_is_not_recommended(found, steps):
    assert [line[: len(step)] for line, step in zip(lines(found), steps, strict=True)] == steps


@pytest.mark.parametrize("until_decided", [False, True])
def test_until_decided_is_not_recommended_for_a_run_that_used_it(until_decided):
    settings = RunSettings(
        apis=("chat",), modes=("non-streaming",), concurrency=8, until_decided=until_decided
    )
    found = analysis([with_more_tries(3)], decision="inconclusive", run={"settings": settings})
    found = lines(found)
    assert len(found) == (not until_decided)
    assert all("--until-decided" in step for step in found)


@pytest.mark.parametrize(
    ("typed", "advised"),
    [
        ("-p mine -n 2 -k 1 --gate strict.yaml", "-p mine --gate strict.yaml"),
        ("-p mine -n 2 -k 10 --suite tools", "-p mine -k 10 --suite tools"),
        ("-p mine -n 2 --tries=1 -s", "-p mine -s"),
        ("--provider=mine --only=cases --debug --gate g", "--provider=mine --gate g"),
        ("-p mine -n 2 --json --out=/tmp/there", "-p mine"),
        ("-p mine --out /tmp/there --only cot -s", "-p mine -s"),
        ("--base-url http://h/v1 --model m --skip long", "--base-url http://h/v1 --model m"),
        ("--resume runs/x", "--provider mock"),
    ],
)
def test_a_whole_run_is_advised_with_what_was_typed(typed, advised):
    """A run of a few cases that could not be decided."""
    found = analysis(checks=[], decision="inconclusive")
    settings = found.run.settings.model_copy(update={"first_cases": 2})
    command = ("gpt-oss-verify", *typed.split())
    run = found.run.model_copy(update={"settings": settings, "command": command})
    found = found.model_copy(update={"run": run})
    steps = next_steps(build_report(found, "runs/x"), "runs/x")
    assert [step.command for step in steps] == [f"gpt-oss-verify {advised}"]
