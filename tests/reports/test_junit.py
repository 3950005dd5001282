from xml.etree import ElementTree as ET

import pytest
from analyses import analysis_of, run_info
from harness.pipeline.exit_codes import exit_code
from healthy import SUITE, Say, chat_whole, json_response, right, rollout
from inline_snapshot import snapshot

from harness.records.runs import Thresholds
from reports.junit import render_junit

CASES = SUITE.cases[:3]
CHAT = run_info(apis=("chat",), streaming=(False,), tries=2)
LENIENT = Thresholds(max_invalid=9, min_pass_at_k=0.0, min_pass_hat_k=0.0)


def healthy():
    return [
        rollout(right(case), sample=case.id, attempt=number) for case in CASES for number in (1, 2)
    ]


def silent():
    return [*healthy()[:5], rollout([Say(text="No.")], sample=CASES[2].id, attempt=2)]


def invalid():
    body = chat_whole(Say(text="x"))
    body["usage"]["total_tokens"] = 1
    return [*healthy()[:5], rollout([json_response(body)], sample=CASES[2].id, attempt=2)]


def junit_of(rollouts, thresholds=None):
    judged = []
    analysis = analysis_of(rollouts, CHAT, thresholds=thresholds, keep=judged.extend)
    return ET.fromstring(render_junit(analysis, judged)), exit_code(analysis.verdict)


@pytest.mark.parametrize("thresholds", [None, LENIENT])
@pytest.mark.parametrize("rollouts", [healthy(), silent(), invalid(), healthy()[:4], []])
def test_the_file_is_red_exactly_if_the_run_did_not_pass(rollouts, thresholds):
    root, code = junit_of(rollouts, thresholds)
    red = root.findall(".//failure") + root.findall(".//error")
    assert bool(red) == (code != 0)
    assert int(root.get("failures")) + int(root.get("errors")) == len(red)


def test_the_counts_are_those_of_the_tests():
    root, _ = junit_of(invalid())
    for element in (root, *root):
        tests = element.findall(".//testcase")
        assert element.get("tests") == str(len(tests))
        assert element.get("skipped") == str(
            sum(test.find("skipped") is not None for test in tests)
        )


def test_there_is_a_test_for_every_check_and_every_case():
    root, _ = junit_of(invalid())
    analysis = analysis_of(invalid(), CHAT)
    names = {suite.get("name"): [test.get("name") for test in suite] for suite in root}
    assert names["checks"] == [result.check.id for result in analysis.checks]
    assert names["chat · non-streaming"] == [case.id for case in CASES]


def test_a_failure_carries_its_evidence():
    root, _ = junit_of(silent())
    test = root.find(f".//testcase[@name='{CASES[2].id}']")
    failure = test.find("failure")
    assert test.get("classname") == "gpt-oss-verify.cases.chat.whole"
    assert failure.get("message") == "1 of 2 tries passed"
    assert failure.text == snapshot("""\
1 of 2 tries passed.
status-down/chat/non-streaming/2: no_tool_call: The model answered without calling a tool.
  expected service_status({})
  got No.\
""")
    check = junit_of(invalid())[0].find(".//testcase[@name='usage.sum']/failure")
    assert "expected 70" in check.text
    assert f"{CASES[2].id}/chat/non-streaming/2, request 1" in check.text
