"""Token accounting: healthy replies add up; lost, added or hidden text is reported."""

import json
import weakref
from itertools import cycle

import examined
import pytest
import written
from healthy import SUITE, correct, json_response, rollout, stream_response
from judged_replies import told
from replies import Reply, chat_blocks, chat_chunks, chat_whole, choice, counts, responses_whole
from written import ABSENT, asked, responses

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
    made = tokens_of(*items) + len(message_tokens(Call("get_weather", ARGUMENTS), content_type))
    answer = chat(Reply(call=("get_weather", sent), reasoning=COT), tokens=made, content=preamble)
    assert unexplained(answer) <= 0
    assert findings(answer) == set()


def test_a_reply_without_cot_adds_up():
    assert unexplained(chat(Reply(text=TEXT, reasoning=""))) == 0


def test_tags_inserted_by_the_server_are_not_counted_as_tokens():
    reply = Reply(text=TEXT, reasoning=COT)
    tagged = f"<reasoning>{COT[:60]}</reasoning><reasoning>{COT[60:]}</reasoning>{TEXT}"
    assert unexplained(chat(reply, content=tagged, reasoning=None)) == 0


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


# --- Single replies


LONG = Reply(text=TEXT * 3, reasoning=COT * 3)


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


CALL = Reply(call=("get_weather", '{"location": "Lisbon"}'), reasoning="Let me call get_weather.")


def _said(reply, *, tokens=None, reasoning_tokens=None, **message):
    return rollout([chat(reply, tokens=tokens, reasoning_tokens=reasoning_tokens, **message)])


def _empty(api, tokens, *, truncated=False, thinking=0, request=None):
    """A reply that contains nothing and reports output tokens."""
    given, made, emptied, ended = {
        "chat": ("prompt", "completion", {"choices.0.message": NO_MESSAGE}, LIMIT),
        "responses": ("input", "output", {"output": []}, INCOMPLETE),
    }[api]
    usage = {f"{given}_tokens": 50, f"{made}_tokens": tokens, "total_tokens": 50 + tokens}
    usage[f"{made}_tokens_details"] = {"reasoning_tokens": thinking}
    members = emptied | {"usage": usage} | (ended if truncated else {})
    kind = written.chat if api == "chat" else written.responses
    return kind(members, Reply(text="Four."), request)


def _cut(request=None, *, tokens=40, content="", reasoning=""):
    members = LIMIT | {"usage.completion_tokens": tokens}
    return written.chat(members, Reply(text=content, reasoning=reasoning), request)


def _items(*output, tokens=None, **members):
    """A response with these items, and the tokens of a CoT and an answer, or so many."""
    made = counts(Reply(text=TEXT, reasoning=COT))[1] if tokens is None else tokens
    usage = {"usage.output_tokens": made, "usage.total_tokens": 50 + made}
    return responses({"output": [*output]} | usage | members, Reply(text=TEXT, reasoning=COT))


def _without_call(content=None, *, more=0, **message):
    """A reply whose call the server lost."""
    body = json.loads(chat(CALL, content=content, **message).body)
    body["choices"][0]["message"].pop("tool_calls")
    body["choices"][0]["finish_reason"] = "stop"
    body["usage"]["completion_tokens"] += more
    body["usage"]["total_tokens"] += more
    return rollout([json_response(body)])


def _thought(text, **members):
    part = {"type": "reasoning_text", "text": text}
    return {
        "type": "reasoning",
        "id": f"rs_{len(text)}",
        "summary": [],
        "content": [part],
    } | members


CALL = Reply(call=("get_weather", '{"location": "Lisbon"}'), reasoning="Let me call get_weather.")
NO_MESSAGE = {"role": "assistant", "content": None}
LIMIT = {"choices.0.finish_reason": "length"}
INCOMPLETE = {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}
BOTH = Reply(text=TEXT, reasoning=COT)
CALLED = Reply(call=("get_weather", ARGUMENTS), reasoning=COT)
_, MADE, THOUGHT = counts(LONG)
JOINED = counts(BOTH)[1] + 6 * COT_HEADER
PLANNED = f"{CALL.reasoning} {CALL.call[1]}"
MORE = ("Not given.", "Let me think about it again.", "Then the answer is unknown.")
ENCRYPTED = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "x"}
MESSAGE = {
    "type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
    "content": [{"type": "output_text", "text": TEXT, "annotations": []}],
}  # fmt: skip
AS_ANSWER = _thought(COT, content=[{"type": "output_text", "text": COT, "annotations": []}])
SUMMARY = [{"type": "summary_text", "text": "We think."}]
ROWS = (
    # Servers count tokens of the format or not, and join messages.
    *((lambda n=n: _said(BOTH, tokens=counts(BOTH)[1] - 10 + n), "") for n in (0, 9, 10, 16)),
    *((lambda n=n: _said(BOTH, reasoning_tokens=counts(BOTH)[2] + n), "") for n in (0, 1, 4, 6)),
    (lambda: _said(BOTH, tokens=JOINED), ""),
    (lambda: _said(BOTH, tokens=JOINED + 1), "usage.output.unexplained"),
    (lambda: _said(CALLED, tokens=counts(CALLED)[1] + 30), ""),
    # Lost and added text
    (lambda: _said(LONG, reasoning=COT), "usage.output.unexplained usage.reasoning"),
    (
        lambda: _said(LONG, reasoning="The user wants the weather."),
        "usage.output.unexplained usage.reasoning",
    ),
    (lambda: _said(LONG, content=TEXT[:60]), "text.runaway usage.output.unexplained"),
    (lambda: _said(LONG, content=f"{LONG.text} {LONG.text}"), "text.doubled text.runaway"),
    (
        lambda: _said(LONG, tokens=MADE - THOUGHT - 15),
        "text.runaway usage.output.unexplained usage.sum",
    ),
    (lambda: _said(LONG, content=None), "reply.lost text.runaway"),
    (lambda: _said(LONG, reasoning_tokens=MADE), "text.runaway usage.reasoning"),
    (lambda: _said(LONG, reasoning_tokens=THOUGHT // 2), "text.runaway usage.reasoning"),
    # The model drafted its answer in the CoT, or the server copied it.
    (lambda: _said(Reply(text=TEXT, reasoning=TEXT)), ""),
    (
        lambda: _said(Reply(text=TEXT, reasoning="Hm."), reasoning=TEXT),
        "reasoning.is_answer usage.output.unexplained usage.reasoning",
    ),
    (lambda: _said(Reply(text=TEXT, reasoning=f"{COT}{TEXT}")), ""),
    (
        lambda: _said(Reply(text=TEXT, reasoning="Hm."), reasoning=f"{COT}{TEXT}"),
        "reasoning.holds_answer usage.output.unexplained usage.reasoning",
    ),
    # Replies that end with the CoT
    *(
        (
            lambda said=said: _said(
                Reply(text="", reasoning=COT), tokens=tokens_of(Reasoning(COT), *said)
            ),
            found,
        )
        for said, found in (
            ((), "reply.empty"),
            ((Answer(TEXT),), "reply.lost"),
            ((Call("get_weather", ""),), "reply.empty"),
            ((Call("get_weather", '{"location": "Lisbon"}'),), "reply.lost"),
        )
    ),
    (
        lambda: _said(
            Reply(text="", reasoning="".join(MORE[:2])),
            tokens=tokens_of(*map(Reasoning, MORE[:2])),
        ),
        "reply.empty",
    ),
    (
        lambda: _items(*map(_thought, MORE), tokens=tokens_of(*map(Reasoning, MORE))),
        "reply.empty usage.reasoning usage.sum",
    ),
    # Nothing of the reply arrives.
    *(
        (
            lambda api=api, truncated=truncated, thinking=thinking: _empty(
                api, 900, truncated=truncated, thinking=thinking
            ),
            f"reply.lost:error {found}" + " responses.schema.minor" * (api == "responses"),
        )
        for api in ("chat", "responses")
        for truncated, thinking, found in (
            (False, 0, "reasoning.missing"),
            (False, 890, "reasoning.missing"),
            (True, 0, ""),
            (True, 890, "reasoning.missing.truncated"),
        )
    ),
    (lambda: _empty("chat", 35), "reasoning.missing reply.lost:open"),
    (lambda: _empty("chat", 40), "reasoning.missing reply.lost:proven"),
    *(
        (lambda api=api, asked=asked: _empty(api, 900, request=asked), f"{found} {more}".strip())
        for api, more in (("chat", ""), ("responses", "responses.schema.minor"))
        for asked, found in (
            ({"stop": ["hat"]}, "stop.early usage.output.unexplained"),
            ({"n": 2}, "chat.choices " * (api == "chat") + "reasoning.missing reply.empty"),
            ({"reasoning": {"exclude": True}}, "reply.empty"),
        )
    ),
    (lambda: _empty("chat", 12), "reasoning.missing reply.empty"),
    (lambda: _empty("responses", 12), "reasoning.missing reply.empty responses.schema.minor"),
    (lambda: _cut(), "reply.lost.truncated usage.sum"),
    (lambda: _cut(tokens=12), "usage.sum"),
    (lambda: _cut(reasoning="We"), "usage.sum"),
    (lambda: _cut(content="It"), "reasoning.missing.truncated usage.sum"),
    (lambda: _cut({"include_reasoning": True}), "reply.lost.truncated usage.sum"),
    (lambda: _cut({"include_reasoning": False}), "usage.sum"),
    (lambda: _cut({"reasoning_format": "parsed"}), "reply.lost.truncated usage.sum"),
    (lambda: _cut({"reasoning_format": "hidden"}), "usage.sum"),
    (lambda: _cut({"reasoning": {"exclude": True}}), "usage.sum"),
    (lambda: _cut({"n": 2}), "chat.choices usage.sum"),
    # A CoT that is encrypted, in a summary, or under another type; LiteLLM's bridge to Chat
    # Completions returns it as an answer, also at the limit.
    (lambda: _items(ENCRYPTED, tokens=900), "reply.empty"),
    (lambda: _items(ENCRYPTED | {"content": []}, MESSAGE), "usage.output.unexplained"),
    (
        lambda: _items(ENCRYPTED | {"content": [], "encrypted_content": None}, MESSAGE),
        "responses.reasoning.content usage.output.unexplained",
    ),
    (lambda: _items(AS_ANSWER, MESSAGE), "responses.reasoning.content responses.schema"),
    (
        lambda: _items(AS_ANSWER, MESSAGE | {"status": "incomplete"}, **INCOMPLETE),
        "responses.reasoning.content responses.schema",
    ),
    *(
        (
            lambda summary=summary: _items(
                _thought("", content=[], summary=summary, status="incomplete"),
                tokens=40,
                **INCOMPLETE,
            ),
            f"responses.reasoning.content usage.sum {lost}".strip(),
        )
        for summary, lost in (
            (SUMMARY, ""),
            ([], "reasoning.missing.truncated reply.lost.truncated"),
        )
    ),
    # Tokens behind a stop string
    *(
        (
            lambda tokens=tokens: asked(_said(BOTH, tokens=tokens), {"stop": ["whatever"]}),
            found,
        )
        for tokens, found in ((None, ""), (30, "usage.sum"), (900, "usage.output.unexplained"))
    ),
    # Lost calls
    (lambda: _without_call(reasoning=PLANNED), "calls.lost reply.empty usage.reasoning"),
    (
        lambda: responses({"output.1": ABSENT, "output.0": _thought(PLANNED)}, CALL),
        "calls.lost reply.empty usage.reasoning",
    ),
    (lambda: _without_call("I look it up.", more=12), "calls.lost usage.output.unexplained"),
    (
        lambda: _said(
            Reply(text="Which town?", reasoning=CALL.reasoning),
            tokens=counts(Reply(text="Which town?", reasoning=CALL.reasoning))[1] + 13,
        ),
        "",
    ),
    (
        lambda: _said(Reply(text=TEXT, reasoning=f"I could call get_weather with {CALL.call[1]}")),
        "",
    ),
    *(
        (
            lambda more=more, less=less: _without_call(
                reasoning=PLANNED,
                tokens=tokens_of(Reasoning(PLANNED)) + more,
                reasoning_tokens=tokens_of(Reasoning(PLANNED)) - less,
            ),
            "reply.empty",
        )
        for more, less in ((0, 0), (len(message_tokens(Answer(""))) - 2, 2))
    ),
)


@pytest.mark.parametrize("row", ROWS)
def test_nothing_else_is_found_in_a_reply(row):
    recording, expected = row
    assert told(recording(), expected) == {*expected.split()}


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
