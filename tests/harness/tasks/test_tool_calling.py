"""Tool calling: the outcome of each attempt at a case, and when a finding makes it invalid."""

import json
from collections import Counter
from itertools import product

import pytest
from healthy import SUITE, correct, exchange, json_response, rollout
from replies import MODEL, Reply, chat_whole, counts

from harness.api.parsed_rollout import parse_rollout
from harness.records.conditions import BOTH_APIS, MODES, Condition
from harness.records.rollouts import TransportFailure
from harness.records.settings import Sampling
from harness.rules import catalogue
from harness.tasks.task import not_run
from harness.tasks.tool_calling import ToolCalling, same_arguments
from harness.verdict.tolerances import apply_tolerances

LISBON = next(case for case in SUITE.cases if case.id == "weather-lisbon")
WEATHER = SUITE.tool("get_weather").parameters
DONE = Reply(text="Done.")


def call(arguments, name="get_weather", call_id="call_1"):
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    return Reply(call=(name, text), call_id=call_id)


def task(*, strict=False, tries=10):
    conditions = [Condition(model=MODEL, api=api, mode=mode) for api in BOTH_APIS for mode in MODES]
    return ToolCalling(SUITE, conditions, tries=tries, sampling=Sampling(), strict=strict)


def outcome(answers, *, strict=False, end="answered", **more):
    score = task(strict=strict).score(parse_rollout(rollout(answers, end=end, **more)))
    return apply_tolerances([score])[0]


def failed(kind, answer=None):
    failure = TransportFailure(kind=kind, message="so it went")
    return [exchange("chat", False, answer, failure=failure)]


@pytest.mark.parametrize(
    ("answers", "kind"),
    [
        (correct(LISBON), "success"),
        ([call({"location": "Lisbon", "unit": "celsius"}), DONE], "success"),
        ([call({"location": "Porto"}), DONE], "success"),
        ([Reply(text="I do not know.")], "no_tool_call"),
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
def test_each_behavior_of_the_model_has_its_outcome(answers, kind):
    assert outcome(answers).outcome == kind


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
def test_each_failed_request_has_its_outcome(answers, end, kind):
    assert outcome(answers, end=end).outcome == kind


def test_an_error_status_is_quoted():
    found = outcome([json_response({"error": "out of memory"}, 500)], end="failed")
    assert found.detail == 'Status 500: {"error": "out of memory"}'


def test_truncation_takes_precedence_over_a_missing_call():
    body = chat_whole(Reply(text="It is"))
    body["choices"][0]["finish_reason"] = "length"
    assert outcome([json_response(body)]).outcome == "truncated"


def test_an_error_found_by_a_check_makes_the_response_invalid():
    body = chat_whole(DONE)
    body["usage"]["total_tokens"] = 1
    found = outcome([correct(LISBON)[0], json_response(body)])
    assert (found.outcome, found.detail[:9]) == ("invalid_response", "usage.sum")
    assert (found.expected, found.got) == (str(50 + counts(DONE)[1]), "1")


def test_wrong_arguments_fail_only_when_strict():
    answers = [call({"location": "Porto"}), DONE]
    lenient, strict = outcome(answers), outcome(answers, strict=True)
    assert (lenient.outcome, lenient.exact) == ("success", False)
    assert (strict.outcome, strict.exact) == ("wrong_arguments", False)
    assert strict.expected == 'get_weather({"location": "Lisbon"})'
    assert strict.got == 'get_weather({"location": "Porto"})'
    assert outcome(correct(LISBON), strict=True).exact is True


@pytest.mark.parametrize("api", ["chat", "responses"])
@pytest.mark.parametrize("streaming", [True, False])
def test_every_case_succeeds_when_the_model_is_right(api, streaming):
    calling = task(strict=True)
    recorded = (
        rollout(correct(case), sample=case.id, api=api, streaming=streaming) for case in SUITE.cases
    )
    scores = apply_tolerances([calling.score(parse_rollout(each)) for each in recorded])
    assert {score.outcome for score in scores} == {"success"}


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


def test_a_score_has_the_outcome_and_the_token_counts():
    score = task().score(parse_rollout(rollout(correct(LISBON))))
    assert (score.outcome, score.value, score.exact) == ("success", 1.0, True)
    assert (score.usage.input, score.usage.output, score.usage.reasoning) == (
        100,
        sum(counts(each)[1] for each in correct(LISBON)),
        18,
    )


def test_a_rollout_that_is_not_planned_has_no_score():
    calling = task(tries=2)
    assert calling.score(parse_rollout(rollout(correct(LISBON), attempt=3))) is None
    assert calling.score(parse_rollout(rollout(correct(LISBON), sample="unknown"))) is None


def test_findings_are_lowered_where_they_are_rare_enough():
    calling = task()
    silent = [Reply(call=reply.call, text=reply.text, reasoning="") for reply in correct(LISBON)]

    def score(answers, number):
        return calling.score(parse_rollout(rollout(answers, attempt=number)))

    healthy = [score(correct(LISBON), number) for number in range(1, 10)]
    one = apply_tolerances([*healthy, score(silent, 10)])
    found = {finding.id: finding.severity for each in one for finding in each.findings}
    assert found == {"reasoning.rare": "info"}
    assert {each.outcome for each in one} == {"success"}
    many = apply_tolerances([score(silent, number) for number in range(1, 11)])
    assert {finding.severity for each in many for finding in each.findings} == {"warning"}
    assert catalogue.CHECKS["reasoning.rare"].error_above == 0.5


def test_every_sample_gets_its_first_try_before_any_gets_a_second():
    attempts = list(task(tries=2).all_attempts())
    assert len({attempt.id for attempt in attempts}) == len(attempts) == 2 * 4 * len(SUITE.cases)
    half = len(attempts) // 2
    assert [attempt.number for attempt in attempts] == [1] * half + [2] * half
    assert attempts[0].id == f"tool_calling/{SUITE.cases[0].id}/responses/streaming/1"


def test_tries_alternate_between_the_modes_and_count_under_their_api():
    conditions = [Condition(model=MODEL, api=api, mode=None) for api in BOTH_APIS]
    calling = ToolCalling(SUITE, conditions, tries=5, sampling=Sampling())
    every = list(calling.all_attempts())
    assert len(every) == calling.info.planned == 36 * 2 * 5
    assert len({attempt.id for attempt in every}) == len(every)
    made = Counter((each.condition.api, each.condition.mode) for each in every)
    assert made == dict.fromkeys(product(BOTH_APIS, MODES), 90)
    assert Counter(each.condition.mode for each in calling.attempts(1)) == dict.fromkeys(MODES, 36)
    (result, _) = calling.results([not_run(each) for each in every])
    assert (result.condition, result.planned) == (conditions[0], 180)
    assert [sum(each.planned for each in result.modes[mode].values()) for mode in MODES] == [90, 90]
