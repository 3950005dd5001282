"""Which replies can be read, as what messages, and why others cannot."""

from typing import Any

import pytest
from healthy import exchange, json_response, rollout
from replies import Reply, chat_whole

from harness.api.parsed_rollout import parse_rollout
from harness.records.rollouts import Exchange, Rollout
from harness.rescoring.history import History
from harness.rescoring.questions import Question, questions_of

_ANSWER = Reply(text="It is sunny.")
_CALL = Reply(call=("get_weather", '{"location": "Lisbon"}'))


def _questions(recorded: Rollout, history: History | None = None) -> list[Question]:
    return list(questions_of(parse_rollout(recorded), history or History()))


def _chat(reply: Reply = _ANSWER, change: Any = None, **sent: object) -> Rollout:
    """A Chat rollout whose request has other members, and whose body `change` changes in place."""
    body = chat_whole(reply)
    if change:
        change(body["choices"][0])
    made = exchange("chat", False, json_response(body))
    request = made.request.model_copy(update={"body": {**(made.request.body or {}), **sent}})
    return rollout([made.model_copy(update={"request": request})])


@pytest.mark.parametrize("api", ["chat", "responses"])
@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize(
    ("reply", "last"),
    [
        (_ANSWER, ("answer", "It is sunny.", "")),
        (_CALL, ("call", '{"location": "Lisbon"}', "get_weather")),
    ],
)
def test_messages_are_those_of_the_reply_in_order(api, streaming, reply, last) -> None:
    (question,) = _questions(rollout([reply], api=api, streaming=streaming))
    messages = [(each.kind, each.text, each.name) for each in question.reply.messages]
    assert messages == [("reasoning", reply.reasoning, ""), last]
    assert (question.unread, question.reply.complete) == (None, True)


def test_a_text_whose_bytes_are_not_known_is_not_read() -> None:
    (question,) = _questions(rollout([Reply(text="Caf\ufffd")]))
    assert question.unread == "undecodable"


@pytest.mark.parametrize(
    ("changes", "unread"),
    [
        ({"logit_bias": {"5": 10}}, "penalties"),
        ({"frequency_penalty": 0.5}, "penalties"),
        ({"frequency_penalty": 0.0, "repetition_penalty": 1.0, "top_k": 0}, None),
        ({"repetition_penalty": 1.1}, "penalties"),
        ({"include_reasoning": False}, "hidden_cot"),
        ({"tools": [{"type": "web_search"}]}, "built_in_tools"),
        ({"tools": [{"type": "custom", "custom": {"name": "c"}}]}, "custom_tools"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]},
            "images",
        ),
    ],
)
def test_why_a_request_cannot_be_read(changes, unread) -> None:
    (question,) = _questions(_chat(**changes))
    assert question.unread == unread


@pytest.mark.parametrize(
    ("change", "unread"),
    [
        (lambda choice: choice.update(finish_reason="content_filter"), "filtered"),
        (lambda choice: choice["message"].update(content="", reasoning=""), "empty"),
        (lambda choice: choice["message"].update(tool_calls=_calls(2)), "several_calls"),
    ],
)
def test_why_a_reply_cannot_be_read(change, unread) -> None:
    (question,) = _questions(_chat(change=change))
    assert question.unread == unread


def _calls(count: int) -> list[dict[str, Any]]:
    function = {"name": "get_weather", "arguments": "{}"}
    return [{"id": f"c{at}", "type": "function", "function": function} for at in range(count)]


def test_a_lost_reply_is_counted_and_a_refusal_is_none() -> None:
    lost = exchange("chat", False, json_response("Bad gateway", 502))
    refused = exchange("chat", False, json_response({"error": {"message": "no"}}, 400))
    assert [question.unread for question in _questions(rollout([lost]))] == ["no_reply"]
    assert _questions(rollout([refused])) == []


@pytest.mark.parametrize(
    ("changes", "given", "bound"),
    [
        ({}, False, False),
        ({"tool_choice": "required"}, True, False),
        ({"tool_choice": {"type": "function", "function": {"name": "get_weather"}}}, True, False),
    ],
)
def test_what_the_server_chose_is_not_judged(changes, given, bound) -> None:
    (question,) = _questions(_chat(_CALL, **changes))
    call = question.reply.messages[-1]
    assert (call.given, call.bound) == (given, bound)


def test_an_answer_with_a_format_is_bound() -> None:
    (question,) = _questions(_chat(response_format={"type": "json_object"}))
    assert [message.bound for message in question.reply.messages] == [False, True]


def test_a_cut_reply_is_read_up_to_the_cut_and_a_stopped_one_to_its_last_word() -> None:
    (cut,) = _questions(_chat(change=lambda choice: choice.update(finish_reason="length")))
    (stopped,) = _questions(_chat(stop=["!"]))
    assert [cut.reply.complete, stopped.reply.complete] == [False, False]
    assert [each.reply.messages[-1].text for each in (cut, stopped)] == ["It is sunny.", "It is"]


def test_tokens_of_logprobs_and_of_the_whole_reply_are_used() -> None:
    entries = [
        {"token": text, "bytes": list(text.encode())} for text in ("It", " is", " sunny", ".")
    ]

    def spell(choice: dict[str, Any]) -> None:
        choice["logprobs"] = {"content": entries}

    (spelled,) = _questions(_chat(change=spell))
    assert len(spelled.reply.messages[-1].spelled or ()) == 4
    (exact,) = _questions(_chat(change=lambda choice: choice.update(token_ids=[200005, 1])))
    assert exact.reply.exact == (200005, 1)


def _continued(earlier: str, number: int) -> Exchange:
    made = exchange("responses", False, json_response(_response(number)))
    body = {"model": "m", "input": "And now?", "previous_response_id": earlier}
    return made.model_copy(update={"request": made.request.model_copy(update={"body": body})})


def _response(number: int) -> dict[str, Any]:
    from replies import whole

    return whole(Reply(text="It is sunny.", mark=str(number)), chat=False)


def test_a_stored_conversation_is_read_from_the_recorded_chain() -> None:
    history = History()
    first = exchange("responses", False, json_response(_response(1)))
    _questions(rollout([first], api="responses"), history)
    (question,) = _questions(rollout([_continued(_response(1)["id"], 2)], api="responses"), history)
    kinds = [item.get("type") or item["role"] for item in question.body["input"]]
    assert (kinds, question.unread) == (["message", "reasoning", "message", "user"], None)
    assert "previous_response_id" not in question.body


def test_a_conversation_that_was_not_recorded_is_not_read() -> None:
    (question,) = _questions(rollout([_continued("resp_unknown", 2)], api="responses"))
    assert question.unread == "unrecorded_history"
