"""The rows of exchanges, and what a request and its reply have that others lack."""

import pytest
from healthy import exchange, response, rollout
from replies import Reply
from written import sent

from harness.api.parsed_rollout import parse_rollout
from harness.records.replies import Feature
from harness.records.rollouts import Recording
from harness.rules.evidence.rows import features as features_of
from harness.rules.evidence.rows import rows

USER = {"role": "user", "content": "Hi"}


def features(api, **body):
    """The features of a request with these members, besides those of every request."""
    turns = {"messages" if api == "chat" else "input": [USER]}
    made = rollout([response(api, False, Reply(text="Hello."))], api=api)
    (parsed,) = parse_rollout(sent(made, {"model": "m", **turns, **body})).exchanges
    return frozenset(features_of(parsed))


@pytest.mark.parametrize(
    ("chat", "responses", "named"),
    [
        (
            {"reasoning_effort": "low"},
            {"reasoning": {"effort": "low"}},
            Feature("reasoning.effort"),
        ),
        ({"max_tokens": 16}, {"max_output_tokens": 16}, Feature("a token limit")),
        ({"logprobs": True}, {"top_logprobs": 2}, Feature("logprobs")),
        ({"temperature": 0}, {"temperature": 0.0}, Feature("temperature", "0")),
        (
            {"tool_choice": "required"},
            {"tool_choice": "required"},
            Feature("tool_choice", "required"),
        ),
    ],
)
def test_an_option_has_one_name_over_both_apis(chat, responses, named):
    assert named in features("chat", **chat) & features("responses", **responses)


def test_a_message_over_websocket_is_named_as_one():
    sent = features("responses", type="response.create", store=False)
    assert sent == {Feature("socket"), Feature("store"), Feature("store", "false")}


def test_forms_of_messages_are_features():
    system = {"role": "system", "content": "Be brief."}
    thought = {"role": "assistant", "content": "Hi", "reasoning": "A greeting."}
    parts = {"role": "user", "content": [{"type": "text", "text": "Hi"}]}
    assert features("chat", messages=[system, system, USER, thought, parts]) == {
        Feature("system messages"),
        Feature("several system messages"),
        Feature("assistant messages"),
        Feature("earlier CoT"),
        Feature("content in parts"),
    }


def test_what_is_not_sent_is_no_feature():
    assert not features("chat", stop=None, tools=[], stream=True)


@pytest.mark.parametrize("api", ["chat", "responses"])
def test_a_row_has_the_place_the_request_and_the_reply_of_an_exchange(api):
    live = rollout([exchange(api, False, response(api, False, Reply(text="Hello.")))], api=api)
    (row,) = rows(parse_rollout(live), valid=True, counted=True)
    assert (row.key, row.sample, row.mode) == ((live.id, 0), (live.task, live.sample), (api, False))
    assert row.answered
    assert row.text == "Hello."
    assert row.reply_id
    assert row.sent
    assert not row.refusal
    assert row.features
    assert row.ended >= row.began > 0
    assert row.ledger is not None


def test_a_reply_to_an_invalid_request_is_not_compared():
    live = rollout([exchange("chat", False, response("chat", False, Reply(text="Hello.")))])
    (row,) = rows(parse_rollout(live), valid=False, counted=True)
    assert row.reply_id
    assert row.features
    assert row.began
    assert not (row.answered)
    assert not (row.text)
    assert not (row.sent)


def test_recorded_traffic_has_features_but_no_times_and_no_refusals():
    made = [exchange("chat", True, response("chat", True, Reply(text="Hello.")))]
    recorded = rollout(made).model_copy(update={"recording": Recording(source="a.har")})
    (row,) = rows(parse_rollout(recorded), valid=True, counted=True)
    assert row.answered
    assert row.features
    assert not (row.began)
    assert not (row.ended)
    assert not (row.sent)
    assert not (row.arrivals)
