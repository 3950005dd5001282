"""The JUnit file has a test for each check, sample and score, and fails as the run does."""

from xml.etree import ElementTree as ET

import pytest
from inline_snapshot import snapshot
from junitparser import JUnitXml
from reporting import (
    analysis,
    condition,
    eval_result,
    failed_rule,
    failing,
    failing_scores,
    finding,
    passing,
    passing_scores,
    score,
    tool_calling,
)

from harness.records.analysis import ClientResult
from harness.records.diagnosis import Cause, Diagnosis
from harness.verdict.gate import exit_code
from reports.build import build_report
from reports.ci import render_junit


def eval_scores():
    low = condition(effort="low")
    return [score(each, 1, "wrong", task="gpqa", condition=low) for each in ("q1", "q2")]


def junit_of(found, scores):
    return ET.fromstring(render_junit(build_report(found, "runs/mock"), scores))


def with_decision(decision):
    scores = [*failing_scores(), *eval_scores()]
    checks = [failed_rule("usage.sum", "failed", finding("c/chat/non-streaming/1"))]
    results = [tool_calling(failing_scores()), eval_result(eval_scores(), decision or "pass")]
    return analysis(results, checks, decision), scores


@pytest.mark.parametrize("decision", ["pass", "fail", "inconclusive", None])
def test_the_file_has_failures_exactly_if_the_run_failed(decision):
    found, scores = with_decision(decision)
    root = junit_of(found, scores)
    red = root.findall(".//failure") + root.findall(".//error")
    assert bool(red) == (exit_code(found.verdict) == 1)
    assert int(root.get("failures")) + int(root.get("errors")) == len(red)


def test_an_internal_error_is_an_error_also_without_a_verdict():
    found = analysis([tool_calling(passing_scores())], decision=None)
    verdict = found.verdict.model_copy(update={"internal_errors": {"usage.sum": "Traceback"}})
    root = junit_of(found.model_copy(update={"verdict": verdict}), passing_scores())
    assert (exit_code(verdict), root.get("errors")) == (70, "1")


def test_an_inconclusive_run_is_skipped_with_the_sentence_of_its_verdict():
    found = analysis(decision="inconclusive")
    root = junit_of(found, [])
    skipped = root.find(".//testcase[@name='verdict']/skipped")
    assert skipped.get("message") == f"INCONCLUSIVE: {found.verdict.reasons[0]}"
    assert (root.get("errors"), root.get("failures")) == ("0", "0")


def test_the_counts_are_those_of_the_tests():
    root = junit_of(failing(), failing_scores())
    assert root.get("tests") == str(len(root.findall(".//testcase")))
    for suite in root:
        assert suite.get("tests") == str(len(suite.findall("testcase")))
        assert suite.get("skipped") == str(len(suite.findall("testcase/skipped")))


def test_files_of_two_providers_keep_both_verdicts_and_all_failures_when_they_are_merged():
    failed, scores = with_decision("fail")
    passed, good = with_decision("pass")
    other = passed.run.provider.model_copy(update={"name": "10.0.0.7", "model": "a/b.c"})
    passed = passed.model_copy(update={"run": passed.run.model_copy(update={"provider": other})})
    files = [
        render_junit(build_report(found, "runs/x"), of)
        for found, of in ((failed, scores), (passed, good))
    ]
    first, second = map(JUnitXml.fromstring, files)
    both = first + second
    counts = [
        (report.tests, report.failures, len(list(report))) for report in (first, second, both)
    ]
    assert counts[2] == tuple(map(sum, zip(*counts[:2], strict=True)))
    tests = {(test.classname, test.name): test.is_passed for suite in both for test in suite}
    assert len(tests) == both.tests
    assert tests["gpt-oss-verify.10_0_0_7.a_b_c.verdict", "verdict"]
    assert [test for test in tests if "verdict" in test[1] and not tests[test]] == [
        ("gpt-oss-verify.mock.gpt-oss-mock.verdict", "verdict")
    ]
    assert {suite.timestamp for suite in both} == {failed.run.started_at}
    properties = {each.name: each.value for each in next(iter(second)).properties()}
    assert properties == snapshot(
        {
            "provider": "10.0.0.7",
            "model": "a/b.c",
            "run": "mock-20260102-030405",
            "address": "http://127.0.0.1:1/v1",
            "verdict": "PASS",
            "gpt-oss-verify": "0.1.0",
        }
    )


def test_texts_are_unescaped_and_messages_one_line():
    text = '<b> & "c"\n]]> d]]>'
    example = finding("c/x/1").model_copy(update={"message": text})
    found = analysis(checks=[failed_rule("usage.sum", "failed", example)], decision="fail")
    page = render_junit(build_report(found, "runs/x"), [])
    failure = ET.fromstring(page).find(".//testcase[@name='usage.sum']/failure")
    assert text in failure.text
    assert '<b> & "c"\n' in page
    assert failure.get("message") == '<b> & "c" ]]> d]]>'


def test_there_is_a_test_for_every_check_every_sample_and_every_score():
    found, scores = with_decision("fail")
    root = junit_of(found, scores)
    names = {
        suite.get("name"): [test.get("name") for test in suite.iter("testcase")] for suite in root
    }
    run = "mock · gpt-oss-mock · mock-20260102-030405"
    assert names[f"{run} · checks"] == ["usage.sum"]
    assert names[f"{run} · chat · non-streaming"] == ["a", "b", "c"]
    assert names[f"{run} · scores"] == ["gpqa"]
    assert "The score is worse" in root.find(".//testcase[@name='gpqa']/failure").get("message")


def test_a_failure_includes_its_evidence():
    root = junit_of(failing(), failing_scores())
    test = root.find(".//testcase[@name='b']")
    failure = test.find("failure")
    assert (
        test.get("classname") == "gpt-oss-verify.mock.gpt-oss-mock.tool_calling.chat.non-streaming"
    )
    assert failure.get("message") == "1 of 2 tries passed"
    assert failure.text == snapshot("""\
1 of 2 tries passed.
b/chat/non-streaming/2: no_tool_call: The model answered without calling a tool.
  expected service_status({})
  got I cannot do that.\
""")
    check = root.find(".//testcase[@name='usage.sum']/failure")
    assert "expected 70" in check.text
    assert "c/chat/non-streaming/1, request 1" in check.text


def test_what_a_passing_run_tolerates_is_in_the_output():
    found = passing().model_copy(update={"results": (tool_calling(failing_scores()),)})
    root = junit_of(found, failing_scores())
    assert "no_tool_call" in root.find(".//testcase[@name='b']/system-out").text


def test_samples_and_scores_have_the_time_of_their_attempts():
    """Two complete exchanges of 2 s each; the last one of a `cut` attempt broke off after 1.5 s."""
    low = condition(effort="low")
    whole = [score("a", number, seconds=2.0) for number in (1, 2)]
    cut = [score("b", 1, "timeout", seconds=1.5)]
    answers = [score("q1", 1, "wrong", task="gpqa", condition=low, seconds=2.0)]
    found = analysis([tool_calling([*whole, *cut]), eval_result(answers, "pass")])
    root = junit_of(found, [*whole, *cut, *answers])
    times = {test.get("name"): test.get("time") for test in root.iter("testcase")}
    assert (times["a"], times["b"], times["gpqa"]) == ("8.0", "5.5", "4.0")
    assert root[-1].get("time") == "4.0"
    assert float(root.get("time")) == 17.5


def test_cases_with_attempts_that_were_not_made_are_skipped():
    scores = [*passing_scores()[:5], score("c", 2, "not_run")]
    found = analysis([tool_calling(scores)], decision="inconclusive")
    skipped = junit_of(found, scores).find(".//testcase[@name='c']/skipped")
    assert skipped.get("message") == "1 of 1 try passed, 2 planned"


@pytest.mark.parametrize(
    ("status", "decision", "outcome"),
    [
        ("breaks", "fail", "failure"),
        ("breaks", "pass", "system-out"),
        ("sometimes", "fail", "system-out"),
        ("works", "fail", "system-out"),
        ("not_verifiable", "fail", "skipped"),
    ],
)
def test_a_client_that_breaks_fails_in_a_failed_run(status, decision, outcome):
    client = ClientResult(
        client="Codex", api="chat", status=status, breaking=("tools",), returns_cot="yes"
    )
    found = analysis([tool_calling(passing_scores())], decision=decision)
    root = junit_of(found.model_copy(update={"clients": (client,)}), passing_scores())
    (test,) = root.findall(".//testcase[@name='Codex']")
    assert [element.tag for element in test] == [outcome]


def test_a_failed_rule_names_its_likely_cause_and_its_fix():
    found = failing()
    cause = Cause(
        component="usage",
        description="The server miscounts.",
        effect="",
        examples=(),
        explains=("usage.sum",),
        remedy="Count all tokens.",
    )
    root = junit_of(
        found.model_copy(update={"diagnosis": Diagnosis(causes=(cause,), unexplained=())}),
        failing_scores(),
    )
    text = root.find(".//testcase[@name='usage.sum']/failure").text
    assert text.endswith("likely cause: The server miscounts.\nfix: Count all tokens.")
