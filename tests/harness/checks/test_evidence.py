"""Findings whose evidence excludes the model, and kinds of replies that are counted separately."""

import pytest
from examined import findings
from healthy import json_response, rollout, stream_response
from replies import Reply, chat_blocks, chat_chunks, chat_whole, counts
from written import asked, chat, responses

from harness.api.parsed_rollout import parse_rollout
from harness.records.rollouts import Recording
from harness.rules import catalogue

CALL = Reply(call=("get_weather", '{"city": "Lisbon"}'))
WEATHER = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
OPTIONAL = {"type": "object", "properties": {"city": {"type": "string"}}}
NOTHING = {"type": "object", "properties": {}}


CUT = {"choices.0.finish_reason": "length"}


def examined(reply, members=CUT, request=None, kind=chat):
    return catalogue.examine(parse_rollout(kind(members, reply, request)))


def found(reply, members=CUT, request=None, kind=chat):
    return {each.id: each for each in examined(reply, members, request, kind)[1]}


def recording_of(made, imported):
    recording = Recording(source="pasted.txt") if imported else None
    return made.model_copy(update={"recording": recording})


def offering(parameters):
    function = {"name": "f", "description": "", "parameters": parameters}
    return {"tools": [{"type": "function", "function": function}]}


# --- Headers at the token limit


@pytest.mark.parametrize(
    "text",
    ["<|start|>assistant<|channel|>", "<|end|><|start|>assistant", "Four.<|channel|>fin",
     "<|channel|>commentary to=functions.get", "Four.assistantfinal",
     "<|start|>assistant<|channel|>commentary <|constrain|>json"],
)  # fmt: skip
def test_a_header_that_the_limit_cut_counts_once(text):
    markup = {"harmony.cut", "harmony.markers", "harmony.remains"}
    assert found(Reply(text=text, wrote="Four.")).keys() & markup == {"harmony.cut"}


@pytest.mark.parametrize("text", ["a helpful assistant", "The final", "an analysis", "a < b |"])
def test_truncated_words_are_no_header(text):
    applicable, findings = examined(Reply(text=text))
    assert "harmony.cut" in applicable
    assert not {each.id for each in findings if each.id.startswith("harmony.")}


def test_a_complete_header_in_a_truncated_reply_is_a_leak():
    text = "<|channel|>analysis<|message|>We add.<|end|><|start|>assistant"

    assert found(Reply(text=text, wrote="Four."))["harmony.markers"].proven


# --- Who wrote it


@pytest.mark.parametrize(
    ("text", "by_server"),
    [
        ("<|channel|>final<|message|>Four.", True),
        ("Four.<|return|>", True),
        ("<|start|>assistant<|channel|>commentary to=functions.f <|constrain|>json<|message|>{}",
         True),
        ("<|channel|>commentary<|channel|>final Four.", False),
        ("<|start|>functions<|message|>Four.", False),
        ("<|channel|>finale<|message|>Four.", False),
    ],
)  # fmt: skip
def test_a_malformed_header_may_be_the_model_s(text, by_server):
    leaked = found(Reply(text=text, wrote="Four."), {})
    assert leaked["harmony.markers"].proven == by_server
    assert "harmony.remains" not in leaked


@pytest.mark.parametrize(
    ("item", "wants_json", "by_server"),
    [
        ({"type": "mcp_call", "name": "json", "server_label": "json"}, False, True),
        ({"type": "mcp_call", "name": "<|constrain|>json", "server_label": ""}, False, True),
        ({"type": "mcp_call", "name": "run", "server_label": "web"}, False, False),
        ({"type": "mcp_call", "name": "answer", "server_label": "x"}, True, True),
        ({"type": "mcp_call", "name": "python", "server_label": "python"}, True, False),
        ({"type": "web_search_call"}, False, False),
    ],
)
def test_an_item_that_no_model_causes_is_the_server_s(item, wants_json, by_server):
    asked_for = {"text": {"format": {"type": "json_object"}}} if wants_json else {}
    made = {"id": "x_1", "status": "completed", "arguments": "", **item}
    undeclared = found(
        Reply(text='{"n": 4}'), lambda body: body["output"].insert(1, made), asked_for, responses
    )
    assert undeclared["responses.item_type.undeclared"].proven == by_server


@pytest.mark.parametrize(
    ("reply", "cut"),
    [
        (Reply(call=("f", '{"city": "Lis')), True),
        (Reply(call=("f", "{}")), False),  # The last token may be the end token.
        (Reply(text="It is sunny."), False),
        (Reply(text="It is sunny and"), True),
    ],
)
def test_an_end_within_the_limit_is_no_finding_and_a_cut_call_is_proven(reply, cut):
    limited = found(reply, {}, offering(OPTIONAL) | {"max_tokens": counts(reply)[1]})
    assert ("finish.limit" in limited) == cut
    assert not cut or limited["finish.limit"].proven == bool(reply.call)
    assert "calls.arguments.cut" not in limited


# --- Kinds of replies with their own denominators


@pytest.mark.parametrize(
    ("parameters", "arguments", "judged", "broken"),
    [
        (NOTHING, "", "calls.arguments.json.none", True),
        (NOTHING, "null", "calls.arguments.json.none", True),
        (NOTHING, "{}", "calls.arguments.json.none", False),
        (OPTIONAL, "", "calls.arguments.json.none", True),
        (OPTIONAL, '{"city": "Lisbon"}', "calls.arguments.json", False),
        (OPTIONAL, '{"city": ', "calls.arguments.json", True),
        (WEATHER, "", "calls.arguments.json", True),
    ],
)
def test_calls_without_arguments_are_a_kind_of_their_own(parameters, arguments, judged, broken):
    applicable, findings = examined(Reply(call=("f", arguments)), {}, offering(parameters))
    both = {"calls.arguments.json", "calls.arguments.json.none"}
    assert applicable & both == {judged}
    assert ({each.id for each in findings} & both == {judged}) == broken


@pytest.mark.parametrize("reply", [CALL, Reply(text="Four.", reasoning="We add two and two. " * 9)])
def test_reasoning_tokens_are_those_of_the_cot(reply):
    many = {"usage.completion_tokens_details.reasoning_tokens": counts(reply)[2] + 25}
    assert "usage.reasoning" in found(reply, many)


# --- Limits and shortened texts


@pytest.mark.parametrize("limit", [-1, -2])
def test_a_negative_limit_is_no_limit(limit):
    applicable, findings = examined(CALL, {}, {"max_tokens": limit})
    assert not {each.id for each in findings if each.id.startswith(("usage", "finish"))}
    assert "finish.limit" not in applicable


def test_the_limit_of_a_request_still_binds():
    assert "finish.limit" in found(CALL, {}, {"max_tokens": 4})


@pytest.mark.parametrize("ending", ["…", "..."])
def test_texts_that_the_author_of_a_recording_shortened_are_not_accounted(ending):
    whole = Reply(text="It is sunny in Lisbon all day. " * 9, reasoning="They ask for it. " * 30)
    texts = {"content": f"It is{ending}", "reasoning": f"They ask{ending}"}
    members = {f"choices.0.message.{name}": text for name, text in texts.items()}
    for imported in (False, True):
        ids = findings(recording_of(chat(members, whole), imported))
        assert ("usage.output.unexplained" in ids) != imported
        assert "reasoning.missing" not in ids


# --- Streams and logprobs


@pytest.mark.parametrize(
    ("separator", "message"),
    [("\n\n", None), ("\n", "No blank line separates the events, so clients read them as one.")],
)
def test_events_without_blank_lines_between_them_are_one_event(separator, message):
    blocks = separator.join(chat_blocks(chat_chunks(CALL))).split("\n\n")
    recorded = rollout([stream_response(blocks)], streaming=True)
    ids = {each.id: each.message for each in catalogue.examine(parse_rollout(recorded))[1]}
    assert ids.get("stream.json") == message
    assert ("reply.unreadable" in ids) == (message is not None)


@pytest.mark.parametrize("imported", [False, True])
def test_recorded_answers_may_end_with_the_beginning_of_a_stop_string(imported):
    whole = json_response(chat_whole(Reply(text="The role is User", reasoning="They ask.")))
    recorded = recording_of(asked(rollout([whole]), {"stop": ["User:"]}), imported)
    found = {each.id for each in catalogue.examine(parse_rollout(recorded))[1]}
    assert ("stop.kept" in found) != imported


@pytest.mark.parametrize(
    ("tokens", "imported", "broken"),
    [
        (["It", " is"], False, {"logprobs.tokens"}),
        (["It", " is"], True, set()),  # Its author shortened the list.
        (["is", " sunny."], True, {"logprobs.tokens"}),
        (["It", " is", " sunny."], True, set()),
        (["They", " ask.", "It", " is", " sunny."], True, {"logprobs.tokens"}),
        (["They", " ask.", "It", " is", " sunny."], False, {"logprobs.tokens"}),
        (["<|channel|>", "final", "It", " is", " sunny."], False, set()),
        (["It", " is", " sunny.", "<|return|>"], False, set()),
        (["It", " is", " sunny.", " Take", " a"], False, {"logprobs.tokens"}),
        (["It", " is", " sunny.", " Take", " a"], True, set()),
    ],
)
def test_logprobs_of_recordings_are_judged(tokens, imported, broken):
    body = chat_whole(Reply(text="It is sunny.", reasoning="They ask."))
    listed = [{"token": t, "bytes": list(t.encode()), "logprob": -0.5} for t in tokens]
    body["choices"][0]["logprobs"] = {"content": listed}
    recorded = recording_of(rollout([json_response(body)]), imported)
    found = catalogue.examine(parse_rollout(recorded))[1]
    assert {each.id for each in found if each.id.startswith("logprobs.")} == broken
