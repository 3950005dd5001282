"""Token accounting: healthy replies add up; lost, added or hidden text is reported."""

import json
import weakref
from itertools import cycle

import examined
import pytest
from healthy import SUITE, correct, json_response, rollout, stream_response
from replies import Reply, chat_blocks, chat_chunks, chat_whole, choice, counts, responses_whole
from written import asked, with_members

from harmony.conversation import Answer, Call, Preamble, Reasoning
from harmony.render import CONTENT_TYPES, message_tokens
from harmony.vocabulary import encode, harmony_encoding
from harness.api.ledger import (
    ANSWER_HEADER,
    COT_HEADER,
    IN_PROMPT,
    PREAMBLE_HEADER,
    are_joined,
    ledger,
)
from harness.api.parsed_rollout import parse_rollout
from harness.rules import catalogue
from harness.rules.measured import measured_score
from harness.verdict.tolerances import apply_tolerances

COT = "The user asks about the weather in Lisbon, so I recall what I know about it. " * 4
TEXT = "It is sunny in Lisbon, with a light breeze from the sea, and it stays warm until the night."
ARGUMENTS = '{\n  "location": "Lisbon",\n  "unit": "celsius"\n}'
COUNTS = ("usage.output", "usage.reasoning", "usage.sum", "reply.lost", "calls.lost")

ANSWERED = {"outcome": "answered"}


def chat(reply, *, tokens=None, reasoning_tokens=None, **message):
    """A Chat reply whose message is changed after its tokens were counted."""
    body = chat_whole(reply)
    body["choices"][0]["message"] |= message
    usage = body["usage"]
    if tokens is not None:
        usage |= {"completion_tokens": tokens, "total_tokens": usage["prompt_tokens"] + tokens}
    if reasoning_tokens is not None:
        usage["completion_tokens_details"]["reasoning_tokens"] = reasoning_tokens
    return json_response(body)


def parsed(answer, **more):
    return parse_rollout(rollout([answer], **more))


def findings(answer, **more):
    return {each.id for each in found(answer, **more) if each.id.startswith(COUNTS)}


def found(answer, **more):
    """The findings in one reply, those of cross-checks included."""
    return examined.details(rollout([answer], **more))


def unexplained(answer, **more):
    return ledger(parsed(answer, **more).exchanges[0]).difference


def tokens_of(*messages, content_type=""):
    return sum(map(len, [message_tokens(each, content_type) for each in messages])) - 2


# --- Healthy


def test_a_reply_with_cot_and_answer_has_ten_tokens_of_format():
    _, made, thought = counts(Reply(text="Four.", reasoning="2 + 2 = 4."))
    assert made - thought - 2 == 10


@pytest.mark.parametrize(
    ("empty", "header"),
    [(Reasoning(""), COT_HEADER), (Answer(""), ANSWER_HEADER), (Preamble(""), PREAMBLE_HEADER)],
)
def test_the_sizes_of_headers_are_those_of_the_renderer(empty, header):
    assert len(message_tokens(empty)) == header
    assert message_tokens(empty)[:IN_PROMPT] == encode("<|start|>assistant")
    types = [len(message_tokens(empty, each)) for each in CONTENT_TYPES]
    assert max(types) - min(types) == 3


@pytest.mark.parametrize("case", SUITE.cases, ids=lambda case: case.id)
def test_the_replies_of_every_case_add_up(case):
    call, answer = correct(case)
    assert unexplained(answer) == 0
    assert ledger(parsed(call).exchanges[0]).difference <= 0
    assert findings(call) == findings(answer) == set()


@pytest.mark.parametrize("content_type", CONTENT_TYPES)
@pytest.mark.parametrize("preamble", [None, "I will look it up."])
@pytest.mark.parametrize("sent", [ARGUMENTS, json.dumps(json.loads(ARGUMENTS))])
def test_calls_add_up_with_any_header_and_spacing(content_type, preamble, sent):
    items = [Reasoning(COT), *([Preamble(preamble)] if preamble else ())]
    call = Call("get_weather", ARGUMENTS)
    made = tokens_of(*items) + len(message_tokens(call, content_type))
    answer = chat(Reply(call=("get_weather", sent), reasoning=COT), tokens=made, content=preamble)
    assert unexplained(answer) <= 0
    assert findings(answer) == set()


@pytest.mark.parametrize("kept", [0, 9, 10, 16])
def test_servers_may_or_may_not_count_format_tokens(kept):
    reply = Reply(text=TEXT, reasoning=COT)
    assert findings(chat(reply, tokens=counts(reply)[1] - 10 + kept)) == set()


def test_a_reply_without_cot_adds_up():
    assert unexplained(chat(Reply(text=TEXT, reasoning=""))) == 0


def test_messages_joined_by_the_server_are_not_lost_text():
    reply = Reply(text=TEXT, reasoning=COT)
    joined = counts(reply)[1] + 6 * len(message_tokens(Reasoning("")))
    assert findings(chat(reply, tokens=joined)) == set()
    assert findings(chat(reply, tokens=joined + 1)) == {"usage.output.unexplained"}
    called = Reply(call=("get_weather", ARGUMENTS), reasoning=COT)
    assert findings(chat(called, tokens=counts(called)[1] + 30)) == set()


def test_tags_inserted_by_the_server_are_not_counted_as_tokens():
    reply = Reply(text=TEXT, reasoning=COT)
    tagged = f"<reasoning>{COT[:60]}</reasoning><reasoning>{COT[60:]}</reasoning>{TEXT}"
    assert unexplained(chat(reply, content=tagged, reasoning=None)) == 0


@pytest.mark.parametrize("reasoning_tokens", [0, 1, 4, 6])
def test_reasoning_tokens_may_include_the_header(reasoning_tokens):
    reply = Reply(text=TEXT, reasoning=COT)
    assert findings(chat(reply, reasoning_tokens=counts(reply)[2] + reasoning_tokens)) == set()


@pytest.mark.parametrize(
    "request_body",
    [{"n": 2}, {"stop": ["x"]}, {"include_reasoning": False}, {"tools": [{"type": "web_search"}]}],
)
def test_replies_that_cannot_be_counted_have_no_ledger(request_body):
    recorded = rollout([chat(Reply(text=TEXT, reasoning=COT), tokens=900)])
    recorded.exchanges[0].request.body.update(request_body)
    assert ledger(parse_rollout(recorded).exchanges[0]) is None


def test_truncated_replies_have_no_ledger():
    body = chat_whole(Reply(text=TEXT))
    body["choices"][0]["finish_reason"] = "length"
    assert ledger(parsed(json_response(body)).exchanges[0]) is None


def test_a_reply_of_exactly_as_many_tokens_as_allowed_has_no_account():
    recorded = rollout([chat(Reply(text=TEXT, reasoning=COT), content=None)])
    request = recorded.exchanges[0].request.body
    parsed_reply = parse_rollout(recorded)
    request["max_completion_tokens"] = parsed_reply.exchanges[0].reply.output_tokens
    assert ledger(parsed_reply.exchanges[0]) is None
    found = {each.id for each in catalogue.examine(parsed_reply)[1]}
    assert "finish.limit" in found
    assert not found & {"reply.lost", "reply.empty"}


@pytest.mark.parametrize(("tokens", "late"), [(None, False), (30, False), (900, True)])
def test_tokens_after_a_stop_string_are_reported(tokens, late):
    recorded = rollout([chat(Reply(text=TEXT, reasoning=COT), tokens=tokens)])
    recorded.exchanges[0].request.body["stop"] = ["whatever"]
    assert ("usage.output.unexplained" in examined.findings(recorded)) == late


@pytest.mark.parametrize(
    ("change", "reported"),
    [
        ({}, True),
        ({"tokens": 12}, False),
        ({"reasoning": "We"}, False),
        ({"content": "It"}, False),
        ({"option": {"include_reasoning": True}}, True),
        ({"option": {"include_reasoning": False}}, False),
        ({"option": {"reasoning_format": "parsed"}}, True),
        ({"option": {"reasoning_format": "hidden"}}, False),
        ({"option": {"reasoning": {"exclude": True}}}, False),
        ({"option": {"n": 2}}, False),
    ],
)
def test_a_truncated_reply_has_text(change, reported):
    text = {"content": "", "reasoning": ""} | change
    body = chat_whole(Reply(text=text["content"], reasoning=text["reasoning"]))
    body["choices"][0]["finish_reason"] = "length"
    body["usage"]["completion_tokens"] = text.get("tokens", 40)
    recorded = rollout([json_response(body)])
    recorded.exchanges[0].request.body.update(text.get("option", {}))
    assert ("reply.lost.truncated" in examined.findings(recorded)) == reported


EMPTIED = {
    "chat": {"choices.0.message": {"role": "assistant", "content": None}},
    "responses": {"output": []},
}


def nothing_returned(api, tokens, *, truncated=False, thinking=0):
    """A reply that contains nothing and reports output tokens."""
    whole = chat_whole if api == "chat" else responses_whole
    body = whole(Reply(text="Four."))
    with_members(body, EMPTIED[api])
    usage = body["usage"]
    given, made = (
        ("prompt_tokens", "completion_tokens")
        if api == "chat"
        else ("input_tokens", "output_tokens")
    )
    usage |= {made: tokens, "total_tokens": usage[given] + tokens}
    usage[f"{made}_details"]["reasoning_tokens"] = thinking
    if truncated and api == "chat":
        body["choices"][0]["finish_reason"] = "length"
    elif truncated:
        body |= {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}
    return rollout([json_response(body)], api=api)


@pytest.mark.parametrize("api", ["chat", "responses"])
@pytest.mark.parametrize("truncated", [False, True])
@pytest.mark.parametrize("thinking", [0, 890])
def test_one_reply_that_returns_none_of_its_tokens_is_an_error(api, truncated, thinking):
    lost = nothing_returned(api, 900, truncated=truncated, thinking=thinking)
    (finding,) = [each for each in examined.details(lost) if each.id == "reply.lost"]
    assert finding.severity == "error"
    assert "900" in finding.evidence.expected + finding.evidence.got
    assert "reply.lost.truncated" not in examined.findings(lost)


@pytest.mark.parametrize(("tokens", "proven"), [(35, False), (40, True)])
def test_a_reply_with_the_tokens_of_one_malformed_header_proves_no_lost_text(tokens, proven):
    (finding,) = [
        each
        for each in examined.details(nothing_returned("chat", tokens))
        if each.id == "reply.lost"
    ]
    assert finding.proven == proven


@pytest.mark.parametrize("api", ["chat", "responses"])
@pytest.mark.parametrize(
    "request_body", [{"stop": ["hat"]}, {"n": 2}, {"reasoning": {"exclude": True}}]
)
def test_an_empty_reply_may_have_the_tokens_of_headers_or_of_a_hidden_cot(api, request_body):
    assert "reply.lost" not in examined.findings(nothing_returned(api, 12))
    assert "reply.lost" not in examined.findings(asked(nothing_returned(api, 900), request_body))


def test_an_encrypted_cot_is_not_lost():
    encrypted = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "x"}
    body = responses_whole(Reply(text="", reasoning="We think."))
    body["output"] = [encrypted]
    body["usage"]["output_tokens"] = 900
    assert "reply.lost" not in examined.findings(rollout([json_response(body)], api="responses"))
    body = responses_whole(Reply(text=TEXT, reasoning=COT))
    for item, reported in ((encrypted, False), (encrypted | {"encrypted_content": None}, True)):
        body["output"][0] = item | {"content": []}
        found = examined.findings(rollout([json_response(body)], api="responses"))
        assert ("responses.reasoning.content" in found) == reported


@pytest.mark.parametrize("status", ["completed", "incomplete"])
def test_a_cot_under_the_type_of_an_answer_is_not_lost(status):
    """LiteLLM's bridge from Responses to Chat Completions returns it so, also at the limit."""
    body = responses_whole(Reply(text=TEXT, reasoning=COT))
    body["output"][0]["content"][0]["type"] = "output_text"
    if status == "incomplete":
        body |= {"status": status, "incomplete_details": {"reason": "max_output_tokens"}}
        body["output"][1]["status"] = status
    found = examined.findings(rollout([json_response(body)], api="responses"))
    assert "responses.reasoning.content" in found
    lost = {"reasoning.missing", "reasoning.missing.truncated", "reply.lost", "usage.output.lost"}
    assert not lost & set(found)


def test_a_truncated_reply_may_return_its_cot_as_a_summary():
    body = responses_whole(Reply(text="", reasoning="We think."))
    body |= {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}
    body["output"] = body["output"][:1]
    body["usage"]["output_tokens"] = 40
    for summary in ([{"type": "summary_text", "text": "We think."}], []):
        body["output"][0] |= {"content": [], "summary": summary, "status": "incomplete"}
        parsed = parse_rollout(rollout([json_response(body)], api="responses"))
        found = {each.id for each in catalogue.examine(parsed)[1]}
        assert ("reply.lost.truncated" in found) == (not summary)


@pytest.mark.parametrize(
    ("copied", "check"),
    [
        (TEXT, "reasoning.is_answer"),
        (f"{COT}{TEXT}", "reasoning.holds_answer"),
    ],
)
def test_an_answer_that_the_model_drafted_in_its_cot_is_not_a_copy(copied, check):
    def ids(answer):
        return {each.id for each in catalogue.examine(parsed(answer))[1]}

    assert check not in ids(chat(Reply(text=TEXT, reasoning=copied)))
    assert check in ids(chat(Reply(text=TEXT, reasoning="Hm."), reasoning=copied))


# --- Single replies


LONG = Reply(text=TEXT * 3, reasoning=COT * 3)


@pytest.mark.parametrize(
    ("answer", "rule"),
    [
        (chat(LONG, reasoning=COT), "usage.reasoning"),
        (chat(LONG, reasoning="The user wants the weather."), "usage.output.unexplained"),
        (chat(LONG, content=TEXT[:60]), "usage.output.unexplained"),
        (chat(LONG, content=f"{LONG.text} {LONG.text}"), "text.doubled"),
        (chat(LONG, tokens=counts(LONG)[1] - counts(LONG)[2] - 15), "usage.output.unexplained"),
        (chat(LONG, content=None), "reply.lost"),
        (chat(LONG, reasoning_tokens=counts(LONG)[1]), "usage.reasoning"),
        (chat(LONG, reasoning_tokens=counts(LONG)[2] // 2), "usage.reasoning"),
    ],
)
def test_lost_and_added_text_is_reported(answer, rule):
    assert rule in {each.id for each in found(answer)}


@pytest.mark.parametrize(
    ("ending", "said"), [("...", "the server cut it"), ("…", "the server cut it"), (".", "match")]
)
def test_a_cot_that_was_cut_for_display_is_named(ending, said):
    answer = chat(LONG, reasoning=f"{COT}{ending}", reasoning_tokens=counts(LONG)[2])
    [message] = [each.message for each in found(answer) if each.id == "usage.reasoning"]
    assert said in message


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        (2 * counts(LONG)[1], "is double, as if a hidden retry were counted"),
        (counts(LONG)[1] + counts(LONG)[0], "includes the input tokens"),
        (counts(LONG)[1] + counts(LONG)[2], "includes the CoT twice"),
        (counts(LONG)[1] - counts(LONG)[2], "omits the CoT"),
    ],
)
def test_a_wrong_count_of_the_whole_text_is_not_lost_text(tokens, message):
    reported = found(chat(LONG, tokens=tokens))
    wrong = [each for each in reported if each.id.startswith("usage.output")]
    assert [(each.id, each.message) for each in wrong] == [
        ("usage.output.miscounted", f"The output count {message}.")
    ]


def test_a_reply_the_model_left_empty_is_not_lost_text():
    reply = Reply(text="", reasoning=COT)
    assert findings(chat(reply, tokens=tokens_of(Reasoning(COT)))) == set()
    assert findings(chat(reply, tokens=tokens_of(Reasoning(COT), Answer(TEXT)))) == {"reply.lost"}


def test_a_call_without_arguments_is_not_a_lost_call():
    reply = Reply(text="", reasoning=COT)
    for arguments, found in (("", set()), ('{"location": "Lisbon"}', {"reply.lost"})):
        tokens = tokens_of(Reasoning(COT), Call("get_weather", arguments))
        assert findings(chat(reply, tokens=tokens)) == found


def test_further_messages_of_cot_are_not_a_lost_answer():
    more = ("Not given.", "Let me think about it again.", "Then the answer is unknown.")
    tokens = tokens_of(*map(Reasoning, more))
    assert (
        findings(
            chat(
                Reply(text="", reasoning="".join(more[:2])),
                tokens=tokens_of(*map(Reasoning, more[:2])),
            )
        )
        == set()
    )
    body = responses_whole(Reply(text="", reasoning=more[0]))
    body["output"] = [
        {
            "type": "reasoning",
            "id": f"rs_{at}",
            "summary": [],
            "content": [{"type": "reasoning_text", "text": text}],
        }
        for at, text in enumerate(more)
    ]
    usage = body["usage"]
    usage |= {"output_tokens": tokens, "total_tokens": usage["input_tokens"] + tokens}
    assert not {"reply.lost", "usage.output.lost"} & findings(json_response(body), api="responses")


# --- Lost calls

CALL = Reply(call=("get_weather", '{"location": "Lisbon"}'), reasoning="Let me call get_weather.")


def without_call(content=None, **message):
    body = json.loads(chat(CALL, content=content, **message).body)
    body["choices"][0]["message"].pop("tool_calls")
    body["choices"][0]["finish_reason"] = "stop"
    return json_response(body)


@pytest.mark.parametrize("api", ["chat", "responses"])
def test_a_call_in_the_cot_is_a_lost_call(api):
    reasoning = f"{CALL.reasoning} {CALL.call[1]}"
    if api == "chat":
        answer = without_call(reasoning=reasoning)
    else:
        body = responses_whole(CALL)
        body["output"].pop()
        body["output"][0]["content"][0]["text"] = reasoning
        answer = json_response(body)
    assert "calls.lost" in findings(answer, api=api)


def test_an_announced_call_whose_tokens_are_missing_is_a_lost_call():
    body = json.loads(without_call(content="I look it up.").body)
    body["usage"]["completion_tokens"] += 12
    body["usage"]["total_tokens"] += 12
    assert findings(json_response(body)) >= {"calls.lost"}


def test_tokens_of_a_preamble_or_second_cot_are_not_a_lost_call():
    reply = Reply(text="Which town?", reasoning=CALL.reasoning)
    assert findings(chat(reply, tokens=counts(reply)[1] + 13)) == set()


def test_an_empty_answer_after_json_in_the_cot_is_not_a_lost_call():
    reasoning = f"{CALL.reasoning} {CALL.call[1]}"
    tokens = tokens_of(Reasoning(reasoning)) + len(message_tokens(Answer("")))
    answer = without_call(reasoning=reasoning, tokens=tokens - 2, reasoning_tokens=tokens - 8)
    assert findings(answer) == set()


def test_json_in_the_cot_before_an_answer_is_not_a_lost_call():
    reply = Reply(text=TEXT, reasoning=f"I could call get_weather with {CALL.call[1]}")
    assert findings(reply) == set()


def test_a_call_written_as_reasoning_is_not_attributed_to_the_server():
    reasoning = f"{CALL.reasoning} {CALL.call[1]}"
    tokens = tokens_of(Reasoning(reasoning))
    answer = without_call(reasoning=reasoning, tokens=tokens, reasoning_tokens=tokens)
    assert findings(answer) == set()


# --- Many replies


def streamed(reply, *, tokens=None, change=lambda pieces: pieces):
    """A Chat stream with one token per piece; `change` is applied to the pieces of the answer."""
    start, *_, finish, usage = chat_chunks(reply)
    deltas = [{"reasoning": piece} for piece in spelled(reply.reasoning)]
    deltas += [{"content": piece} for piece in change(spelled(reply.text))]
    chunks = [start | {"choices": [choice(delta)]} for delta in deltas]
    if tokens is not None:
        usage["usage"] |= {"completion_tokens": tokens, "total_tokens": 50 + tokens}
    return stream_response(chat_blocks([start, *chunks, finish, usage]))


def spelled(text):
    encoding = harmony_encoding()
    return [encoding.decode([token]) for token in encoding.encode(text)]


def pooled(answers, *modes, **how):
    found = {each.id for each in pooled_findings(answers, *modes, **how)}
    return {each for each in found if each.startswith(COUNTS)}


def pooled_findings(answers, streaming=True, prompts=40, api="chat"):
    modes = streaming if isinstance(streaming, list) else cycle([streaming])
    rollouts = [
        rollout([answer], sample=str(number), streaming=mode, api=api)
        for (number, answer), mode in zip(enumerate(answers), modes, strict=False)
    ]
    for number, each in enumerate(rollouts):
        turns = "messages" if api == "chat" else "input"
        each.exchanges[0].request.body[turns][0]["content"] += f" {number % prompts}"
    scores = [measured_score(parse_rollout(each), ANSWERED) for each in rollouts]
    return [each for score in apply_tolerances(scores) for each in score.findings]


def without(word):
    return lambda pieces: [piece for piece in pieces if piece != word]


HEALTHY = [Reply(text=f"{TEXT} That is {number}.", reasoning=COT) for number in range(40)]
LOST = [streamed(reply, change=without(" light")) for reply in HEALTHY[:8]]


def test_many_healthy_replies_have_no_findings():
    assert pooled(map(streamed, HEALTHY)) == set()
    assert pooled(HEALTHY, streaming=False) == set()


def test_missing_tokens_at_few_prompts_are_attributed_to_the_tokenization():
    assert pooled(LOST, prompts=2) == set()


def test_a_rare_difference_is_healthy():
    assert pooled([*map(streamed, HEALTHY), *LOST[:2]]) == set()


def merged(pieces):
    return ["".join(pieces[at : at + 4]) for at in range(0, len(pieces), 4)]


def test_a_different_tokenization_is_healthy():
    def letters(pieces):
        return [letter for piece in pieces for letter in (piece if "sunny" in piece else [piece])]

    more = len(" sunny") - 1
    says = [streamed(reply, tokens=counts(reply)[1] + more, change=letters) for reply in HEALTHY]
    assert pooled(says) == set()
    assert (
        pooled([chat(reply, tokens=counts(reply)[1] + more) for reply in HEALTHY], False) == set()
    )


@pytest.mark.parametrize("headers", [6, 7, 13])  # of CoT, of a preamble, of both
def test_further_messages_of_the_model_are_healthy(headers):
    more = [streamed(reply, tokens=counts(reply)[1] + headers) for reply in HEALTHY[:10]]
    assert pooled([*map(streamed, HEALTHY), *more]) == set()


def test_each_message_item_counts_a_header():
    body = responses_whole(HEALTHY[0])
    body["output"].append(body["output"][-1])
    body["usage"]["output_tokens"] += len(message_tokens(Preamble(HEALTHY[0].text)))
    joined = unexplained(json_response(body), api="responses")
    assert abs(joined) <= 1  # A token may span the end of the first text.


def test_servers_behind_one_address_may_count_differently():
    mixed = [
        chat(reply, tokens=counts(reply)[1] - less) for reply in HEALTHY[:9] for less in (0, 1, 10)
    ]
    assert pooled(mixed, streaming=False) == set()


def cut(topic, tokens=30):
    """An answer whose text is cut after this many tokens, without its end token."""
    reply = Reply(text="".join(spelled(f"About {topic}: {TEXT} {TEXT}")[:tokens]), reasoning=COT)
    return chat(reply, tokens=counts(reply)[1] - 1)


def test_replies_without_a_cot_to_lose_do_not_hide_those_that_lost_one():
    lost = [chat(Reply(text=f"{TEXT} {n}.", reasoning=COT), reasoning=None) for n in range(8)]
    kept = [Reply(text=f"{TEXT} {n}.", reasoning=COT) for n in range(20)]
    plain = [Reply(text=f"{TEXT} {n}.", reasoning="") for n in range(40)]
    for replies in ([*lost, *kept], [*lost, *kept, *plain]):
        found = pooled_findings(replies, streaming=False)
        assert [each.severity for each in found if each.id == "reasoning.missing"] == ["error"] * 8


def test_a_cached_token_account_does_not_keep_its_exchange_alive():
    exchange = parsed(chat(Reply(text=TEXT))).exchanges[0]
    assert ledger(exchange) is ledger(exchange)
    kept = weakref.ref(exchange)
    del exchange
    assert kept() is None


@pytest.mark.parametrize(("tokens", "joined"), [(5, True), (32, True), (66, True), (67, False)])
def test_blank_lines_between_joined_messages_explain_their_headers(tokens, joined):
    """Seven messages of CoT (vLLM 22403) have six further headers."""
    assert are_joined(tokens, "\n\n".join("abcdefg")) == joined
    assert not are_joined(tokens, "One message.")
