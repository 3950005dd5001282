"""What a request and its reply have that others lack."""

import pytest
from healthy import exchange, response, rollout
from replies import Reply

from harness.api.parsed_rollout import parse_rollout
from harness.records.replies import Feature
from harness.rules.evidence.features import features as features_of

USER = {"role": "user", "content": "Hi"}


def features(api, **body):
    """The features of a request with these members, besides those of every request."""
    made = exchange(api, False, response(api, False, Reply(text="Hello.")))
    turns = {"messages" if api == "chat" else "input": [USER]}
    request = made.request.model_copy(update={"body": {"model": "m", **turns, **body}})
    made = made.model_copy(update={"request": request})
    (parsed,) = parse_rollout(rollout([made], api=api)).exchanges
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
