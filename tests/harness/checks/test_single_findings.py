"""One cause yields one finding."""

import copy

import pytest
from defects import _answer_as_call, _simulate
from examined import details, findings
from healthy import json_response, rollout
from mutations import (
    asked,
    both,
    change_event,
    chat,
    chat_stream,
    drop,
    nothing,
    put,
    responses,
    responses_stream,
)
from replies import Reply, chat_blocks, chat_whole, counts, data, responses_blocks

from harness.api import DIALECTS
from harness.api.parsed_rollout import parse_rollout
from harness.records.conditions import Api

ANSWER = Reply(text="It is sunny in Lisbon, and warm; take a hat with you, and some water.")
CALL = Reply(call=("get_weather", '{"location": "Lisbon"}'))
COT = "The user wants a comparison of two numbers, so I compare them."


def test_a_simulated_stream_is_one_finding():
    assert findings(responses_stream(_simulate, ANSWER)) == {"responses.stream.simulated"}


def test_a_stream_without_text_is_not_simulated():
    def empty(events):
        for event in events:
            del event["sequence_number"]
        events[:] = [events[0], events[-1]]
        events[-1]["response"]["output"] = []

    assert "responses.stream.sequence" in findings(responses_stream(empty, ANSWER))
    assert "responses.stream.simulated" not in findings(responses_stream(empty, ANSWER))


def test_a_name_in_several_pieces_is_one_finding():
    def split(chunks):
        number, first = next(
            (at, chunk) for at, chunk in enumerate(chunks)
            if chunk["choices"] and "tool_calls" in chunk["choices"][0]["delta"]
        )  # fmt: skip
        first["choices"][0]["delta"]["tool_calls"][0]["function"]["name"] = "get_"
        rest = copy.deepcopy(first)
        more = {"index": 0, "function": {"name": "weather", "arguments": ""}}
        rest["choices"][0]["delta"]["tool_calls"] = [more]
        chunks.insert(number + 1, rest)

    recorded = chat_stream(split, CALL)
    assert findings(recorded) == {"chat.stream.tool_calls"}
    ((_, reply),) = parse_rollout(recorded).replies
    assert [call.name for call in reply.calls] == ["get_weather"]


def test_a_short_numbered_stream_is_not_simulated():
    def one_delta(events):
        for kind in ("response.reasoning_text.delta", "response.output_text.delta"):
            deltas = [event for event in events if event["type"] == kind]
            deltas[0]["delta"] = "".join(event["delta"] for event in deltas)
            for event in deltas[1:]:
                events.remove(event)

    assert findings(responses_stream(one_delta, ANSWER)) == set()


def test_a_misplaced_json_answer_is_one_finding():
    asked_for = {"format": {"type": "json_object"}}
    recorded = asked(
        responses(both(_answer_as_call, put("text", asked_for)), ANSWER), {"text": asked_for}
    )
    assert findings(recorded) - {"responses.schema"} == {"responses.answer.item"}


@pytest.mark.parametrize("other", ['{"type": "ping"}', "{}", '{"code": 7, "message": "busy"}'])
def test_an_object_in_a_chat_stream_that_is_not_a_chunk_is_one_finding(other):
    recorded = chat_stream(lambda c: [f"data: {other}", *chat_blocks(c)], ANSWER)
    found = [each for each in details(recorded) if "schema" in each.id]
    assert [each.message for each in found] == ["$: should be a chat.completion.chunk."]


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ("žluté kvítí", "žluté kvítí".encode().decode("latin-1")),
        ("2 < 3 & 4 > 1 & 5 < 6 & 7 < 8", "2 &lt; 3 &amp; 4 &gt; 1 &amp; 5 &lt; 6 &amp; 7 &lt; 8"),
        ("Grüße, 東京", "Gr\\u00fc\\u00dfe, \\u6771\\u4eac"),
    ],
)
def test_escapes_that_the_server_added_do_not_fit_the_count(written, sent):
    """By so many tokens that no header explains them."""
    written, sent = (" ".join([text] * 12) for text in (written, sent))
    changed = put("choices.0.message.content", sent)
    assert "text.changed" in findings(chat(changed, Reply(text=written, reasoning=COT)))
    assert "text.changed" not in findings(chat(changed, Reply(text=sent, reasoning=COT)))


def test_a_count_that_is_one_token_off_is_no_evidence_of_an_edit():
    """The model spelled an escape with a token fewer."""
    escaped, written = 'Write "<p>\\n</p>" there.', 'Write "<p>\n</p>" there.'
    wrote = chat_whole(Reply(text=ANSWER.text, reasoning=written))["usage"]
    changed = both(put("choices.0.message.reasoning", escaped), put("usage", wrote))
    assert "text.changed" not in findings(chat(changed, ANSWER))


@pytest.mark.parametrize(
    ("said", "masked"),
    [
        ("The password is ***, so keep it.", True),
        ("The password is ******", True),
        ("Write to [REDACTED] and ask.", True),
        ("Write to <EMAIL_ADDRESS> and ask.", True),
        ("Nice to meet you, <PERSON>!", True),
        ("The meeting in <LOCATION> is on <DATE_TIME>.", True),
        ("A name is written as <PERSON>Ada</PERSON>.", False),
        ("Pass <person> and <location> to it.", False),
        ("He owes ████ to her.", True),
        ("The user wants the weather in […] so I call it.", True),
        ("The log says [truncated] there.", True),
        ("The list is [1, 2, ...] or [...], and so on […", False),
        ("***Very*** important, **this** one.", False),
        ("First part.\n\n***\n\nSecond part.", False),
        ("Use `***` or *** for a rule: ***", False),
        ("Dear [NAME], the list is [A, B] and [TODO].", False),
        ("Should I use *** End of Patch *** as the last line? Then *** Update File: a.py.", False),
    ],
)
def test_masked_words_are_reported(said, masked):
    asked_for = "What is ***?" if "rule" in said else "What is it?"
    body = {"messages": [{"role": "user", "content": asked_for}]}
    found = findings(asked(chat(put("choices.0.message.content", said), Reply(text=said)), body))
    assert ("text.masked" in found) == masked


@pytest.mark.parametrize(
    ("written", "doubled"),
    [
        ('{"location": "Lisbon"}{"location": "Lisbon"}', True),
        ('{"location": "Lisbon"}\n{"location": "Lisbon"}', True),
        ('{"location": "Lisbon"}', False),
        ("{}", False),
        ("xyxy", False),
    ],
)
def test_repeated_arguments_in_a_stream_are_reported(written, doubled):
    found = findings(chat(nothing, Reply(call=("get_weather", written))))
    assert ("calls.repeated" in found) == doubled


@pytest.mark.parametrize(
    ("text", "repeated"),
    [
        ('{"location":"Lisbon"}', True),
        ('{"location": "Porto"}', False),
        ("I look it up.", False),
        ("", False),
    ],
)
def test_arguments_that_are_also_a_text(text, repeated):
    said = Reply(text=text, call=("get_weather", '{"location": "Lisbon"}'))
    assert ("calls.repeated" in findings(chat(nothing, said))) == repeated
    assert ("calls.repeated" in findings(responses(nothing, said))) == repeated


@pytest.mark.parametrize(
    ("said", "is_call"),
    [
        ('[{ "name": "get_weather", "parameters": { "location": "Lisbon" } }]', True),
        ('[{"location": "Lisbon"}, {"location": "Porto"}]', True),
        ('[{"name": "another_tool", "parameters": {}}]', False),
        ("[Lisbon]", False),
    ],
)
def test_a_list_of_calls_in_the_answer_is_reported(said, is_call):
    assert ("calls.in_text" in findings(chat(nothing, Reply(text=said)))) == is_call


def test_a_call_without_its_type_is_one_finding():
    found = details(chat(drop("choices.0.message.tool_calls.0.type"), CALL))
    assert [each.evidence.path for each in found] == ["$.choices[0].message.tool_calls[0].type"]


def test_two_objects_without_their_types_are_two_findings():
    output = [{"id": "rs_1", "summary": []}, {"id": "rs_2"}]
    found = details(responses(put("output", output), ANSWER))
    paths = {each.evidence.path for each in found if each.id == "responses.schema"}
    assert {"$.output[0].type", "$.output[1].type"} <= paths


@pytest.mark.parametrize("late", ['{"choices": [], "cost": "0"}', '{"type": "ping"}'])
def test_harmless_events_after_done_are_not_reported_as_lost(late):
    assert findings(chat_stream(lambda c: [*chat_blocks(c), f"data: {late}"], ANSWER)) == set()


def test_usage_and_output_after_done_are_reported_as_lost():
    for at in (-1, 2):
        late = chat_stream(lambda c, at=at: [*chat_blocks(c), data(c[at])], ANSWER)
        assert "chat.stream.done" in findings(late)


def test_usage_is_accepted_with_an_empty_delta_and_before_the_finish_reason():
    def with_delta(chunks):
        chunks[-1]["choices"] = [{"index": 0, "delta": {"content": ""}, "finish_reason": None}]

    def early(chunks):
        chunks[1]["usage"] = chunks[-1]["usage"]

    assert findings(chat_stream(with_delta, ANSWER)) == set()
    assert findings(chat_stream(early, ANSWER)) == set()


def test_missing_indices_are_not_reported_as_different_texts():
    def unnumbered(events):
        for event in events:
            event.pop("content_index", None)
            if event["type"] == "response.output_item.done":
                event.pop("output_index")

    found = findings(responses_stream(unnumbered, ANSWER))
    assert "responses.schema" in found
    assert not found & {"responses.stream.item_text", "responses.stream.final"}


@pytest.mark.parametrize("step", ["added", "done"])
def test_a_cot_part_with_the_type_of_an_answer_is_reported(step):
    change = change_event(
        f"response.content_part.{step}",
        part={"type": "output_text", "text": ANSWER.reasoning, "annotations": [], "logprobs": []},
    )
    assert "responses.stream.reasoning_parts" in findings(responses_stream(change, ANSWER))


def test_the_finding_for_a_text_without_deltas_says_so():
    kind = "response.reasoning_text.delta"

    def whole(events):
        for event in [each for each in events if each["type"] == kind]:
            events.remove(event)

    messages = {each.id: each.message for each in details(responses_stream(whole, ANSWER))}
    assert messages["responses.stream.done_text"].startswith("No delta precedes")


JSON_FORMAT = {"response_format": {"type": "json_object"}, "tools": None}


@pytest.mark.parametrize(
    ("padding", "finish", "reported"),
    [(" \n" * 60, "length", True), ("\n", "length", False), (" \n" * 60, "stop", False)],
)
def test_white_space_after_json_up_to_the_limit_is_one_finding(padding, finish, reported):
    change = both(
        put("choices.0.message.content", '{"town": "Lisbon"}' + padding),
        put("choices.0.finish_reason", finish),
        drop("usage"),
    )
    found = findings(chat(change, ANSWER, JSON_FORMAT)) - {"usage.missing"}
    assert found == ({"answer.json"} if reported else set())


def test_a_json_answer_that_is_a_call_is_one_finding():
    answer = Reply(call=("json", '{"town": "Lisbon"}'))
    assert findings(chat(nothing, answer, JSON_FORMAT)) == {"chat.answer.item"}
    assert "chat.answer.item" not in findings(chat(nothing, CALL, {"tools": None}))
    python = Reply(call=("python", '{"town": "Lisbon"}'))
    assert "chat.answer.item" not in findings(chat(nothing, python, JSON_FORMAT))
    with_tools = {"response_format": {"type": "json_object"}}
    assert findings(chat(nothing, answer, with_tools)) == {"chat.answer.item"}
    assert findings(chat(nothing, CALL, {"response_format": {"type": "json_object"}})) == set()


@pytest.mark.parametrize(
    ("name", "arguments", "found"),
    [
        ("json", '{"town": ', {"chat.answer.item"}),
        ("json", '{"town": "Lisb', {"chat.answer.item"}),
        ("get_weather", '{"town": ', set()),
    ],
)
def test_a_json_answer_that_is_a_call_and_that_the_limit_cut_is_one_finding(name, arguments, found):
    cut = put("choices.0.finish_reason", "length")
    with_tools = {"response_format": {"type": "json_object"}}
    assert findings(chat(cut, Reply(call=(name, arguments)), with_tools)) == found


def test_a_json_answer_of_which_only_the_tokens_are_left_is_lost():
    answer = Reply(text='{"town": "Lisbon", "district": "Alfama"}')
    lost = put("choices.0.message.content", None)
    assert findings(chat(lost, answer, JSON_FORMAT)) == {"chat.answer.item", "reply.lost"}
    unwritten = both(lost, put("usage.completion_tokens", counts(Reply())[1] + 6))
    assert "chat.answer.item" not in findings(chat(unwritten, answer, JSON_FORMAT))


@pytest.mark.parametrize("named", [True, False])
def test_events_without_a_type_in_their_data_are_an_error(named):
    def untyped(events):
        return [
            f"event: {event.pop('type')}\n{data(event)}" if named else data(event | {"type": None})
            for event in events
        ]

    recorded = responses_stream(untyped, ANSWER)
    (found,) = (each for each in details(recorded) if each.id == "responses.stream.event_type")
    assert found.severity == "error"
    assert found.message == "No event of the stream has the member `type` in its data."
    pinged = responses_stream(
        lambda events: [data({"cost": 0.1}), *responses_blocks(events)], ANSWER
    )
    (other,) = (each for each in details(pinged) if each.id == "responses.stream.event_type")
    assert other.severity == "warning"


def test_a_usage_of_zeros_is_one_finding():
    counts = dict.fromkeys(("prompt_tokens", "completion_tokens", "total_tokens"), 0)
    zeros = {**counts, "completion_tokens_details": {"reasoning_tokens": 0}}
    assert findings(chat(put("usage", zeros), ANSWER)) == {"usage.sum"}


@pytest.mark.parametrize(
    ("factor", "unit"), [(10**3, "milliseconds"), (10**6, "microseconds"), (2, None)]
)
def test_a_creation_time_in_another_unit_is_named(factor, unit):
    def change(body):
        body["created"] *= factor

    (found,) = details(chat(change, ANSWER))
    expected = f"in {unit} instead" if unit else "more than a day away"
    assert (found.id, expected in found.message) == ("reply.created", True)


def test_cot_in_tags_in_the_answer_is_one_finding():
    def change(body):
        message = body["choices"][0]["message"]
        message["content"] = f"<think>{message.pop('reasoning')}</think>{message['content']}"

    assert findings(chat(change, ANSWER)) == {"reasoning.in_answer"}


SENTENCES = ["Ok.", "We need to think of something else.", "Maybe add a card.", "Already present.",
             "Maybe show the last time.", "We could also change the title of it."]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "reported"),
    [
        ("\n\n".join(SENTENCES[at * at % 7 % 6] for at in range(900)), True),
        ("It is warm." + " \n" * 400, True),
        ("\n".join(f"{n // 100} hundred and {n % 100} boats lie there" for n in range(400)), False),
        ("\n".join("| yes | no | yes |" for _ in range(150)) + "\n| all of them | none |", False),
    ],
)
def test_a_few_sentences_in_any_order_are_endless_repetition(text, reported):
    found = findings(chat(put("choices.0.message.content", text), ANSWER))
    assert ("text.runaway" in found) == reported


@pytest.mark.parametrize("streaming", [False, True])
def test_a_call_that_the_limit_cut_within_its_arguments_reports_the_truncation(streaming):
    """vLLM ends such a Chat call with finish_reason tool_calls, and clients run it."""
    cut = Reply(call=("get_weather", '{"location": "Lis'))
    kind = chat_stream if streaming else chat
    recorded = kind(nothing, cut, {"max_tokens": counts(cut)[1]})
    assert "finish.limit" in findings(recorded)
    assert "calls.arguments.cut" not in findings(recorded)
    assert "finish.limit" not in findings(kind(nothing, CALL, {"max_tokens": 4096}))


# --- Text beside calls


def _with_text(text: str, *, before: bool = False):
    """A chat stream of a call, with text before the call or after it."""

    def change(chunks):
        at = next(
            number for number, chunk in enumerate(chunks)
            if chunk["choices"] and chunk["choices"][0]["delta"].get("tool_calls")
        )  # fmt: skip
        said = copy.deepcopy(chunks[at])
        said["choices"][0]["delta"] = {"content": text}
        chunks.insert(at if before else len(chunks) - 2, said)

    return change


@pytest.mark.parametrize("said", ["Lisbon", "location: Lisbon", '{"location": "Lisbon"}'])
def test_arguments_that_come_as_content_too_are_proven_after_the_call(said: str) -> None:
    (found,) = details(chat_stream(_with_text(said), CALL))
    assert (found.id, found.proven) == ("calls.repeated", True)


def test_arguments_before_the_call_may_be_of_the_model() -> None:
    found = details(chat_stream(_with_text("Lisbon", before=True), CALL))
    assert [(each.id, each.proven) for each in found] == [("calls.repeated", False)]


@pytest.mark.parametrize(
    "said", ["I look up the weather in Lisbon.", "Lisbon it is.", "One moment…", "…"]
)
def test_a_sentence_before_a_call_is_a_preamble(said: str) -> None:
    assert "calls.repeated" not in findings(chat_stream(_with_text(said, before=True), CALL))


# --- Calls after their own results


def _conversation(api: Api, output: str, *replies: Reply):
    """A conversation in which each call of a reply gets this result."""
    recorded = rollout(replies, api=api, streaming=False)
    made = [reply.calls for _, reply in parse_rollout(recorded).replies]
    turns, exchanges = list(DIALECTS[api].turns(recorded.exchanges[0].request.body)), []
    for each, calls in zip(recorded.exchanges, made, strict=True):
        key = "messages" if api == "chat" else "input"
        body = {**each.request.body, key: list(turns)}
        exchanges.append(
            each.model_copy(update={"request": each.request.model_copy(update={"body": body})})
        )
        for call in calls:
            ids = {"call_id": call.id}
            if api == "responses":
                turns += [
                    {"type": "function_call", "name": call.name, "arguments": call.arguments} | ids,
                    {"type": "function_call_output", "output": output} | ids,
                ]
            else:
                turns.append({"role": "tool", "tool_call_id": call.id, "content": output})
    return recorded.model_copy(update={"exchanges": tuple(exchanges)})


SUNNY = '{"sky": "sunny"}'
OTHER = Reply(call=("get_weather", '{"location": "Oslo"}'), call_id="call_2", mark="2")
AGAIN = Reply(call=("get_weather", '{"location": "Lisbon"}'), call_id="call_2", mark="2")


@pytest.mark.parametrize("api", ["chat", "responses"])
@pytest.mark.parametrize(
    ("output", "later", "found"),
    [
        (SUNNY, AGAIN, True),
        (SUNNY, OTHER, False),
        (SUNNY, ANSWER, False),
        ("", AGAIN, False),
        ('{"error": "The weather service is unavailable."}', AGAIN, False),
    ],
)
def test_the_same_call_after_its_own_result(api, output: str, later: Reply, found: bool) -> None:
    assert ("calls.again" in findings(_conversation(api, output, CALL, later))) == found


def test_a_request_that_is_recorded_twice_is_no_call_after_its_result() -> None:
    recorded = _conversation("chat", SUNNY, CALL, AGAIN)
    first = recorded.exchanges[0]
    assert "calls.again" not in findings(recorded.model_copy(update={"exchanges": (first, first)}))


@pytest.mark.parametrize(
    ("separator", "more", "proven"), [("\n\n", 34, False), (" ", 34, False), (" ", 38, True)]
)
def test_headers_of_joined_messages_of_cot_prove_no_lost_text(separator, more, proven):
    """A worse model wrote seven messages of CoT, and no answer: 34 tokens more than their texts."""
    cot = separator.join(["I compute this and write it."] * 7)
    body = chat_whole(Reply(text="", reasoning=cot))
    body["usage"]["completion_tokens"] = counts(Reply(text="", reasoning=cot))[1] + more
    found = [each for each in details(rollout([json_response(body)])) if each.id == "reply.lost"]
    assert [each.proven for each in found] == [proven]


def test_the_id_of_a_stream_is_that_of_its_first_chunk():
    """The usage has the id of another reply: an event is wrong, and no reply is mixed up."""

    def foreign(chunks):
        chunks[-1]["id"] = "chatcmpl-usage"

    recorded = chat_stream(foreign, ANSWER)
    assert findings(recorded) == {"chat.stream.id"}
    (exchange,) = parse_rollout(recorded).exchanges
    assert exchange.reply is not None
    assert exchange.reply.raw["id"] != "chatcmpl-usage"


@pytest.mark.parametrize(("more", "proven"), [(17, False), (35, False), (40, True)])
def test_the_tokens_of_a_malformed_header_prove_no_lost_call(more, proven):
    """A worse model announced a call, wrote 17 tokens that are no message, and then an answer."""
    reply = Reply(text="It is sunny.", reasoning="The user wants get_weather. I call get_weather.")
    body = chat_whole(reply)
    body["usage"]["completion_tokens"] = counts(reply)[1] + more
    found = [each for each in details(rollout([json_response(body)])) if each.id == "calls.lost"]
    assert [each.proven for each in found] == [proven]


@pytest.mark.parametrize(
    ("sent", "repeated", "found"),
    [
        ({"reasoning": {"effort": "high"}}, {"reasoning": {"effort": "low"}}, True),
        ({"reasoning": {"effort": "minimal"}}, {"reasoning": {"effort": "low"}}, False),
        ({"previous_response_id": "resp_1"}, {"previous_response_id": None}, True),
        ({"previous_response_id": "resp_1"}, {}, False),
        (
            {"text": {"format": {"type": "json_object"}}},
            {"text": {"format": {"type": "text"}}},
            True,
        ),
        ({}, {"text": {"format": {"type": "text"}}}, False),
        ({"max_output_tokens": 400}, {"max_output_tokens": 300}, True),
        ({"max_output_tokens": 400}, {"max_output_tokens": None}, False),
        # vLLM reports the rest of the context, here of 1,024 tokens, for a limit above it.
        ({"max_output_tokens": 4000}, {"max_output_tokens": 1024 - ANSWER.prompt}, False),
        ({"max_output_tokens": 400}, {"max_output_tokens": 1024 - ANSWER.prompt}, True),
        ({"temperature": 0.7}, {"temperature": 1.0}, True),
        ({"top_p": 0.7}, {"top_p": 0.699999988079071}, False),
    ],
)
def test_settings_that_a_response_repeats_are_those_of_its_request(sent, repeated, found):
    def change(body):
        names = ("reasoning", "previous_response_id", "text")
        for name in (*names, "max_output_tokens", "temperature", "top_p"):
            body.pop(name, None)
        body.update(repeated)

    assert ("responses.settings" in findings(asked(responses(change, ANSWER), sent))) == found


@pytest.mark.parametrize(("text", "found"), [(" It is sunny.", True), ("\nIt is sunny.", False)])
def test_a_space_before_an_answer_is_reported(text, found):
    reported = findings(rollout([json_response(chat_whole(Reply(text=text)))]))
    assert ("text.space_first" in reported) == found
