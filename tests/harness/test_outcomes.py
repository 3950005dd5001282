import json

import pytest
from harness.scoring.judge import Judge, settle
from harness.scoring.outcomes import same_arguments
from healthy import SUITE, Say, chat_whole, exchange, json_response, right, rollout

from harness import checks
from harness.records.rollouts import TransportFailure

LISBON = next(case for case in SUITE.cases if case.id == "weather-lisbon")
WEATHER = SUITE.tool("get_weather").parameters
DONE = Say(text="Done.")


def call(arguments, name="get_weather", call_id="call_1"):
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    return Say(call=(name, text), call_id=call_id)


def outcome(answers, *, strict=False, end="answered", **more):
    judged = Judge(SUITE, strict=strict).judge(rollout(answers, end=end, **more))
    return next(iter(settle([judged]))).outcome


def failed(kind, answer=None):
    failure = TransportFailure(kind=kind, message="so it went")
    return [exchange("chat", False, answer, failure=failure)]


@pytest.mark.parametrize(
    ("answers", "kind"),
    [
        (right(LISBON), "success"),
        ([call({"location": "Lisbon", "unit": "celsius"}), DONE], "success"),
        ([call({"location": "Porto"}), DONE], "success"),
        ([Say(text="I do not know.")], "no_tool_call"),
        ([call({}, "service_status"), DONE], "wrong_tool"),
        ([call({}, "service_status"), call({"location": "Lisbon"}, call_id="c2"), DONE], "success"),
        ([call("{"), DONE], "invalid_arguments"),
        ([call("[]"), DONE], "invalid_arguments"),
        ([call('{"location": NaN}'), DONE], "invalid_arguments"),
        ([call({"location": 5}), DONE], "invalid_arguments"),
        ([call({"location": "Lisbon", "when": "now"}), DONE], "invalid_arguments"),
        ([call({"location": "Lisbon", "unit": "kelvin"}), DONE], "invalid_arguments"),
    ],
)
def test_what_the_model_did(answers, kind):
    assert outcome(answers).kind == kind


@pytest.mark.parametrize(
    ("answers", "end", "kind"),
    [
        (failed("timeout"), "failed", "timeout"),
        (failed("connect"), "failed", "provider_error"),
        (failed("cut", json_response(chat_whole(DONE))), "failed", "provider_error"),
        (failed("too_large"), "failed", "invalid_response"),
        (failed("protocol"), "failed", "invalid_response"),
        ([json_response({"error": {"message": "no"}}, 500)], "failed", "provider_error"),
        ([json_response("no JSON")], "unreadable", "invalid_response"),
        ([call({"location": "Lisbon"})], "max_turns", "max_turns"),
    ],
)
def test_what_went_wrong_before_the_model_could_be_judged(answers, end, kind):
    assert outcome(answers, end=end).kind == kind


def test_an_error_status_is_quoted():
    found = outcome([json_response({"error": "out of memory"}, 500)], end="failed")
    assert found.detail == 'Status 500: {"error": "out of memory"}'


def test_truncation_comes_before_what_was_left_unsaid():
    body = chat_whole(Say(text="It is"))
    body["choices"][0]["finish_reason"] = "length"
    assert outcome([json_response(body)]).kind == "truncated"


def test_an_error_found_by_a_check_makes_the_response_invalid():
    body = chat_whole(DONE)
    body["usage"]["total_tokens"] = 1
    found = outcome([right(LISBON)[0], json_response(body)])
    assert (found.kind, found.detail[:9]) == ("invalid_response", "usage.sum")
    assert (found.expected, found.got) == ("70", "1")


def test_wrong_arguments_fail_only_when_strict():
    answers = [call({"location": "Porto"}), DONE]
    lenient, strict = outcome(answers), outcome(answers, strict=True)
    assert (lenient.kind, lenient.exact) == ("success", False)
    assert (strict.kind, strict.exact) == ("wrong_arguments", False)
    assert strict.expected == 'get_weather({"location": "Lisbon"})'
    assert strict.got == 'get_weather({"location": "Porto"})'
    assert outcome(right(LISBON), strict=True).exact is True


@pytest.mark.parametrize("api", ["chat", "responses"])
@pytest.mark.parametrize("streaming", [True, False])
def test_every_case_succeeds_when_the_model_is_right(api, streaming):
    judge = Judge(SUITE, strict=True)
    judged = settle(
        judge.judge(rollout(right(case), sample=case.id, api=api, streaming=streaming))
        for case in SUITE.cases
    )
    assert {judgement.outcome.kind for judgement in judged} == {"success"}


@pytest.mark.parametrize(
    ("expected", "got", "same"),
    [
        ({"location": "Oslo"}, {"location": " Oslo\n"}, True),
        ({"location": "Oslo"}, {"location": "oslo"}, False),
        ({"location": "Oslo"}, {"unit": "celsius", "location": "Oslo"}, True),
        ({"location": "Oslo"}, {"unit": "fahrenheit", "location": "Oslo"}, False),
        ({"location": "é"}, {"location": "e\u0301"}, True),
        ({"n": 2}, {"n": 2.0}, True),
        ({"n": 1}, {"n": True}, False),
        ({"n": 0}, {"n": False}, False),
        ({"n": "1"}, {"n": 1}, False),
        ({"n": [1, 2]}, {"n": [2, 1]}, False),
        ({"n": [[1, 2.0]]}, {"n": [[1.0, 2]]}, True),
        ({"n": None}, {}, False),
    ],
)
def test_arguments_that_mean_the_same(expected, got, same):
    assert same_arguments(expected, got, WEATHER) is same


def test_defaults_inside_arrays_and_objects_are_filled_in():
    point = {"type": "object", "properties": {"y": {"default": 0}}}
    schema = {"type": "object", "properties": {"points": {"type": "array", "items": point}}}
    assert same_arguments({"points": [{"x": 1}]}, {"points": [{"x": 1, "y": 0}]}, schema)


def test_the_glance_agrees_where_no_check_speaks():
    judge = Judge(SUITE, strict=False)
    recorded = rollout(right(LISBON))
    outcome, tokens = judge.glance(recorded)
    assert outcome == judge.judge(recorded).outcome
    assert (tokens.input, tokens.output, tokens.reasoning) == (100, 40, 18)


def test_findings_are_lowered_where_they_are_rare_enough():
    judge = Judge(SUITE, strict=False)
    silent = [Say(call=say.call, text=say.text, reasoning="") for say in right(LISBON)]
    healthy = [judge.judge(rollout(right(LISBON), attempt=n)) for n in range(1, 10)]
    one = settle([*healthy, judge.judge(rollout(silent, attempt=10))])
    (found,) = (finding for judgement in one for finding in judgement.findings)
    assert (found.id, found.severity) == ("chat.reasoning.missing", "info")
    assert {judgement.outcome.kind for judgement in one} == {"success"}
    many = settle(judge.judge(rollout(silent, attempt=n)) for n in range(1, 4))
    assert {judgement.outcome.kind for judgement in many} == {"invalid_response"}
    assert checks.CHECKS["chat.reasoning.missing"].tolerated == 0.2
