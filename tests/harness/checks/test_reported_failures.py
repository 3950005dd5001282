"""Failures that a server or filter reports instead of a reply are named as such."""

import json

import pytest
from examined import details, findings
from healthy import json_response, rollout, stream_response
from replies import Reply, chat_blocks, chat_chunks, data, responses_blocks, responses_events
from written import chat, responses, responses_stream

ANSWER = Reply(text="It is sunny in Lisbon, and warm; take a hat with you.")
FAILED = {"code": 502, "message": "The upstream server failed"}
FLAT = {"object": "error", "message": "The parser failed", "type": "BadRequestError", "code": 400}
CHOICE = {"index": 0, "delta": {"content": ""}, "finish_reason": "error"}
COMPLETION = {"object": "chat.completion", "choices": [{"index": 0, "message": {"content": "Hi"}}]}


@pytest.mark.parametrize(
    "body",
    [
        {"error": FAILED},
        {"error": FAILED, "choices": []},
        FLAT,
        {"result": COMPLETION, "success": True},
        {"code": 50505, "message": "The service is overloaded", "data": None},
        {"detail": "Internal Server Error"},
        {},
    ],
)
@pytest.mark.parametrize("api", ["chat", "responses"])
def test_a_body_that_is_not_a_reply_is_one_finding(body, api):
    assert findings(rollout([json_response(body)], api=api)) == {"reply.unreadable"}


def test_a_completion_instead_of_a_response_is_one_finding():
    assert findings(rollout([json_response(COMPLETION)], api="responses")) == {"reply.unreadable"}


@pytest.mark.parametrize("reported", [{"error": FAILED}, {"native_finish_reason": "error"}])
def test_a_failed_choice_is_not_judged_as_a_reply_of_the_model(reported):
    failed = {"finish_reason": "error", "message": {"role": "assistant", "content": ""}} | reported
    assert findings(chat({"choices.0": failed}, ANSWER)) == {"reply.unreadable"}


def test_the_finding_names_the_choice_that_failed():
    failed = {"index": 1, "finish_reason": "error", "error": FAILED}
    found = details(chat(lambda body: body["choices"].append(failed), ANSWER))
    text = "the body is an error: choice 1 of 2 failed: The upstream server failed"
    assert [each.message for each in found] == [text]


@pytest.mark.parametrize(
    "blocks",
    [
        [data({"id": "gen-1", "choices": [CHOICE]}), "data: [DONE]"],
        [data({"id": "gen-1", "choices": [{**CHOICE, "error": FAILED}]}), "data: [DONE]"],
        [data(FLAT), "data: [DONE]"],
        ['event: error\ndata: {"message": "The model crashed", "code": 500}'],
        ["event: error\ndata: Internal Server Error"],
    ],
)
def test_a_failure_within_a_chat_stream_is_one_finding(blocks):
    begun = chat_blocks(chat_chunks(ANSWER))[:3]
    assert findings(rollout([stream_response(begun + blocks)], streaming=True)) == {
        "stream.error_event"
    }


@pytest.mark.parametrize("begun", [0, 6])
@pytest.mark.parametrize("typed", [True, False])
def test_a_failure_within_a_responses_stream_is_one_finding(begun, typed):
    error = {"message": "The parser failed", "code": "server_error"}
    event = {"type": "error", **error} if typed else {"error": error}
    blocks = [*responses_blocks(responses_events(ANSWER)[:begun]), data(event)]
    found = findings(rollout([stream_response(blocks)], api="responses", streaming=True))
    assert found - {"responses.stream.event_name"} == {"stream.error_event"}


def test_a_failed_response_is_still_validated():
    failed = {"status": "failed", "error": FAILED, "output": []}
    assert {"reply.unreadable", "responses.schema"} <= findings(responses(failed, ANSWER))


def test_an_answer_about_an_error_is_not_an_error():
    said = Reply(text=json.dumps({"error": "none", "object": "error", "finish_reason": "error"}))
    assert findings(chat({}, said)) == set()
    assert findings(responses_stream({}, said)) == set()


@pytest.mark.parametrize(
    "refused",
    [
        {"choices.0.finish_reason": "content_filter"},
        {"choices.0.message.refusal": "Blocked.", "choices.0.message.content": None},
    ],
)
def test_filtered_replies_need_no_cot_and_no_token_counts(refused):
    counts = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    blocked = refused | {"choices.0.message.reasoning": None, "usage": counts}
    assert findings(chat(blocked, ANSWER)) == {"reply.refused"}
