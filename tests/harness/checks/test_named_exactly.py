"""Findings that name what happened, and not what follows from it."""

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest
from examined import details
from healthy import json_response, rollout, stream_response
from judged_replies import CALL
from judged_replies import LONG as ANSWER
from replies import Reply, chat_blocks, choice, counts, responses_whole
from written import ABSENT, asked, chat, chat_stream, responses, responses_stream

from harmony.render import text_tokens
from harness.api.parsed_rollout import parse_rollout
from harness.records.rollouts import Recording, Response, Rollout
from harness.records.scores import Score
from harness.rules.account import account_of
from harness.rules.account.entry import Entry
from harness.rules.measured import measured_score


def _of(kind: Callable[..., Rollout]) -> Callable[..., Callable[[], Rollout]]:
    return lambda members, reply=ANSWER, **request: partial(kind, members, reply, request)


whole, streamed, response, events = map(_of, (chat, chat_stream, responses, responses_stream))
_TOOL = "get_weather"
_ARGUMENTS = '{"location": "Lisbon"}'
_CUSTOM = [{"type": "custom", "name": "apply_patch", "description": "Edits files."}]
_REFUSAL = {"error": {"message": "Unknown or unsupported parameter: 'no_stop_trim'."}}
_OWN_CALL = {"error": {"message": "Tool call validation failed", "code": "tool_use_failed"}}
_HEADER = f"commentary to=functions.{_TOOL} json{_ARGUMENTS}"
_NAMED = [{"type": "function", "function": {"name": f"get_value_{n}", "parameters": {
    "type": "object", "properties": {"key": {"type": "string"}}, "required": ["key"],
}}} for n in range(20)]  # fmt: skip


def _indices(kind: str, change: Callable[[int], int]) -> Callable[[list[dict]], None]:
    def changed(found: list[dict]) -> None:
        for event in found:
            if kind in event:
                event[kind] = change(event[kind])

    return changed


def _moved(found: list[dict]) -> None:
    for event in found:
        if event["type"] == "response.output_text.delta":
            event["output_index"] += 1


def _counted(chunks: list[dict]) -> None:
    for chunk in chunks[:-1]:
        chunk["usage"] = {"prompt_tokens": 70, "completion_tokens": 1, "total_tokens": 71}


def _reversed_output(found: list[dict]) -> None:
    found[-1]["response"]["output"].reverse()


def _cot_in_summary(body: dict) -> None:
    for item in body["output"]:
        if item["type"] == "reasoning":
            parts = item.pop("content")
            item |= {"content": [], "summary": [{**p, "type": "summary_text"} for p in parts]}


def _text_so_far(chunks: list[dict]) -> list[str]:
    """The third piece of the CoT is the whole CoT so far."""
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks if chunk["choices"]]
    pieces = [delta for delta in deltas if delta.get("reasoning")]
    pieces[2]["reasoning"] = "".join(delta["reasoning"] for delta in pieces[:3])
    return chat_blocks(chunks)


def _text(text: str, cot: str | None = ANSWER.reasoning, tokens: int | None = None) -> Rollout:
    """A reply with this text beside tools, and a count of its own."""
    count = {"usage": ABSENT} if tokens is None else {"usage.completion_tokens": tokens}
    texts = {"choices.0.message.content": text, "choices.0.message.reasoning": cot}
    return chat(texts | count, ANSWER)


def _refused(answer: Response, **fields: object) -> Rollout:
    return rollout([answer], streaming=True, end="failed", **fields)


def _stream(*blocks: object, code: int = 200) -> Response:
    made = stream_response([f"data: {json.dumps(block)}" for block in blocks])
    return made.model_copy(update={"status": code})


_CHUNK = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-oss"}
_BEGUN = {**_CHUNK, "choices": [choice({"role": "assistant", "reasoning": "I call it."})]}
_LONG_COT = "The user wants two names of a column, one in English and one in German. " * 3
_JSON = Reply(text='{"en": "Revenue", "de": "Umsatz"}', reasoning=_LONG_COT)

NAMED = {
    "every item at one index": (
        events(_indices("output_index", lambda _: 0)),
        {"responses.stream.items.repeated": "Two items have the same output_index."},
    ),
    "the deltas of an item at another index": (
        events(_moved),
        {
            "responses.stream.items.index": "response.output_text.delta has a different "
            "output_index than output_item.added."
        },
    ),
    "parts from 1": (
        events(_indices("content_index", lambda at: at + 1)),
        {"responses.stream.parts": "content_index does not increase by one from 0."},
    ),
    "another order in the end": (
        events(_reversed_output),
        {
            "responses.stream.final": "The final response has the items of the stream in a "
            "different order.",
            "responses.item.order": "The response ends with a reasoning item.",
        },
    ),
    "CoT in the summary": (
        response(_cot_in_summary),
        {
            "responses.reasoning.content": "The CoT is in the summary of a reasoning item, and its "
            "content is empty."
        },
    ),
    "the text so far": (
        streamed(_text_so_far, replace(ANSWER, reasoning="The user wants something. Let me see.")),
        {"text.doubled": "One piece of the CoT repeats the whole text before it."},
    ),
    "the count of the answer": (
        whole(
            {
                "usage.completion_tokens": len(text_tokens(_JSON.text or "")) + 1,
                "usage.total_tokens": 50 + len(text_tokens(_JSON.text or "")) + 1,
                "usage.completion_tokens_details.reasoning_tokens": 0,
            },
            _JSON,
        ),
        {"usage.output.miscounted": "The output count is that of the answer alone."},
    ),
    "the header of a call": (
        lambda: _text(_HEADER),
        {
            "calls.in_text": f"The answer contains what looks like the arguments of {_TOOL}.",
            "harmony.remains": "The answer contains parts of a harmony header.",
        },
    ),
    "the tokens of a call": (
        lambda: _text(f"{ANSWER.reasoning}{_ARGUMENTS}", None, counts(CALL)[1] + 3),
        {"calls.in_text": f"The answer contains what looks like the arguments of {_TOOL}."},
    ),
    "the tool that was called": (
        whole(
            {},
            Reply(text='<function=get_value_4>{"key": "b"}</function>'),
            tools=_NAMED,
        ),
        {"calls.in_text": "The answer contains what looks like the arguments of get_value_4."},
    ),
    "a custom tool": (
        response({"output.1.name": "apply_patch"}, CALL, tools=_CUSTOM),
        {
            "calls.custom": "apply_patch was offered as a custom tool, and its call is a function "
            "call."
        },
    ),
    "its own call, in a stream": (
        lambda: _refused(_stream(_BEGUN, _OWN_CALL)),
        {"calls.refused": "The server refuses a call that its own model made."},
    ),
    "its own call": (
        lambda: rollout([json_response(_OWN_CALL, 400)], end="failed"),
        {"calls.refused": "The server refuses a call that its own model made."},
    ),
    "a refused stream": (
        lambda: _refused(_stream(_REFUSAL, code=400)),
        {
            "request.refused": "The provider rejected a valid request: "
            f"{'data: ' + json.dumps(_REFUSAL)[:-1] + '…'!r}",
            "request.refused.foreign": "The request is refused for the parameter 'no_stop_trim', "
            "which it does not have.",
        },
    ),
}  # fmt: skip
_ALSO = {
    "the tokens of a call": {
        "reasoning.missing",
        "reasoning.in_answer.untagged",
        "usage.output.unexplained",
        "usage.sum",
    },
    "the header of a call": {"usage.missing"},
    "its own call, in a stream": {"stream.error_event"},
    "its own call": {"request.refused"},
    "the text so far": {"usage.reasoning"},
    "the count of the answer": {"usage.reasoning"},
}
"""What the same reply also shows."""


@pytest.mark.parametrize("name", NAMED)
def test_a_finding_names_what_happened(name):
    recording, named = NAMED[name]
    found = details(recording())
    assert {each.id: each.message for each in found if each.id in named} == named
    others = {each.id for each in found} - named.keys() - _ALSO.get(name, set())
    assert not others, [each for each in found if each.id in others]


@pytest.mark.parametrize(
    "name", ["the header of a call", "the tokens of a call", "the tool that was called"]
)
def test_the_form_of_a_call_in_a_text_proves_that_the_server_lost_it(name):
    (found,) = (each for each in details(NAMED[name][0]()) if each.id == "calls.in_text")
    assert found.proven


def test_a_call_that_the_model_wrote_as_its_answer_proves_nothing():
    exact = counts(replace(ANSWER, text=_HEADER))[1]
    for recorded in (
        _text(_ARGUMENTS),
        _text(_HEADER, tokens=exact),
        _text(_ARGUMENTS, tokens=counts(replace(ANSWER, text=_ARGUMENTS))[1]),
    ):
        assert not any(each.proven for each in details(recorded) if each.id == "calls.in_text")


def test_a_summary_with_other_tokens_than_the_cot_is_no_miscount():
    def summarized(body: dict) -> None:
        _cot_in_summary(body)
        body["output"][0]["summary"] = [{"type": "summary_text", "text": "**Thinking**"}]

    reply = replace(ANSWER, reasoning=_LONG_COT)
    found = {each.id for each in details(responses(summarized, reply))}
    assert not {one for one in found if one.startswith("usage")}, found


def test_lines_that_a_model_repeats_are_no_text_so_far():
    line = "We repeat this line.\n"
    reply = replace(ANSWER, reasoning=line * 3)

    def by_line(chunks: list[dict]) -> list[str]:
        first, *_, last, usage = chunks
        pieces = [{**first, "choices": [choice({"reasoning": line})]} for _ in range(3)]
        text = {**first, "choices": [choice({"content": ANSWER.text})]}
        return chat_blocks([first, *pieces, text, last, usage])

    assert not {each.id for each in details(streamed(by_line, reply)())} & {
        "text.added",
        "text.doubled",
    }


_PLACE = {"type": "object", "properties": {"berth": {"anyOf": [
    {"type": "integer", "minimum": 1, "maximum": 40}, {"type": "null"},
]}}, "required": ["berth"]}  # fmt: skip
_FORMAT = {"type": "json_schema", "json_schema": {"name": "reply", "schema": _PLACE}}
_ASKED = [{"role": "user", "content": f"How high is the tide at harbour {n}?"} for n in range(40)]
_ALONE = [{"role": "user", "content": "Hi!"}, {"type": "reasoning", "summary": [], "content": []},
          {"role": "user", "content": "And now?"}]  # fmt: skip


def _refusing(name: str, api: str = "chat", streaming: bool = False, **request: object) -> Rollout:
    """A server that refuses a request, and names the member that it does not accept."""
    error = {"error": {"message": f"Invalid value: {name}", "param": name}}
    recorded = rollout([json_response(error, 400)], api=api, streaming=streaming, end="failed")
    first = recorded.exchanges[0]
    kept = {key: value for key, value in first.request.body.items() if key != name}
    asked = first.request.model_copy(update={"body": {**kept, **request}})
    return recorded.model_copy(update={"exchanges": (first.model_copy(update={"request": asked}),)})


def _second_choice(body: dict) -> None:
    first = body["choices"][0]
    body["choices"].append({**first, "index": 1, "message": {**first["message"], "content": "No."}})


_BERTH = Reply(text='{"berth": 17}')
RECORDED = {
    "usage that nobody asked for": (streamed({}, stream_options=None), "usage.unasked"),
    "usage in every chunk": (streamed(_counted), "usage.unasked"),
    "a stop string as a text": (lambda: _refusing("stop", stop="\n"), "clients.refused_form"),
    "tool_choice none without tools": (
        lambda: _refusing("tool_choice", tool_choice="none", tools=[]), "clients.refused_form",
    ),
    "tool_choice null without tools": (
        lambda: _refusing("tool_choice", tool_choice=None, tools=[]), "clients.refused_form",
    ),
    "a stream without its options": (
        lambda: _refusing("stream_options", streaming=True), "clients.refused_form",
    ),
    "a reasoning item alone": (
        lambda: _refusing("reasoning", "responses", input=_ALONE), "clients.refused_form",
    ),
    "background": (response({}, background=True), "state.background.ignored"),
    "JSON mode in a stream": (
        streamed({}, response_format={"type": "json_object"}), "answer.json",
    ),
    "JSON mode beside tools": (
        whole({}, response_format={"type": "json_object"}, tools=_NAMED), "answer.json",
    ),
    "bounds and anyOf": (
        whole({}, Reply(text='{"berth": 77}'), response_format=_FORMAT), "answer.json",
    ),
    "n with a format": (whole(_second_choice, _BERTH, response_format=_FORMAT, n=2), "answer.json"),
    "40 messages and 25 tools": (whole({}, messages=_ASKED, tools=_NAMED), "prompt.cut"),
    "a custom tool": (NAMED["a custom tool"][0], "calls.custom"),
    "a long CoT without an answer": (
        whole({}, Reply(reasoning=_LONG_COT * 8)), "reply.empty",
    ),
}  # fmt: skip
"""Defects of forms of requests in recordings, and what is found."""


@pytest.mark.parametrize("form", RECORDED)
def test_recorded_traffic_with_a_form_says_something(form):
    recording, rule = RECORDED[form]
    imported = {"recording": Recording(source="a.jsonl, line 1")}
    assert rule in {each.id for each in details(recording().model_copy(update=imported))}


HEALTHY = {
    "usage that was asked for": streamed({}),
    "no usage": streamed(lambda chunks: chat_blocks(chunks[:-1]), stream_options=None),
    "usage beside a choice": streamed(
        lambda chunks: chat_blocks([*chunks[:-2], {**chunks[-2], "usage": chunks[-1]["usage"]}]),
        stream_options=None,
    ),
    "background": response({"background": True}, background=True),
    "a refusal of something else": lambda: _refusing("model", stop="\n", tools=[]),
    "bounds and anyOf": whole({}, _BERTH, response_format=_FORMAT),
    "a prompt of a few messages": whole({}, messages=_ASKED[:3]),
}


@pytest.mark.parametrize("form", HEALTHY)
def test_a_healthy_recording_with_a_form_is_not_accused(form):
    recorded = HEALTHY[form]().model_copy(update={"recording": Recording(source="a.jsonl, line 1")})
    assert not {each.id for each in details(recorded)} & {rule for _, rule in RECORDED.values()}


def test_items_that_end_in_another_order_than_they_began_are_healthy():
    def closed_late(found: list[dict]) -> None:
        done = [each for each in found if each["type"] == "response.output_item.done"]
        assert len(done) == 2
        found.remove(done[0])
        found.insert(found.index(done[1]) + 1, done[0])
        for number, event in enumerate(found):
            event["sequence_number"] = number

    assert not details(events(closed_late)())


def test_a_whole_response_with_its_cot_in_the_content_is_healthy():
    assert not details(rollout([json_response(responses_whole(ANSWER))], api="responses"))


_STORY = "The harbour has two piers, and the tide is high at nine in the morning."
_NUMBERS = iter(range(1000))


def _greedy(text: str, question: str = "Where?", *, streaming: bool = False) -> Score:
    reply = replace(ANSWER, text=text)
    made = rollout([reply], streaming=streaming, sample=question, attempt=next(_NUMBERS))
    recorded = asked(made, {"temperature": 0, "messages": [{"role": "user", "content": question}]})
    return measured_score(parse_rollout(recorded), {"outcome": "answered"})


def _broken_off(scores: list[Score]) -> list[Entry]:
    account = account_of(scores)
    entries = [account.of(score.record) for score in scores]
    return [entry for entry in entries if entry.rule == "reply.broken_off"]


@pytest.mark.parametrize(
    ("texts", "broken"),
    [
        ([_STORY, _STORY, _STORY[:33]], True),  # within a word
        ([_STORY, _STORY, _STORY[:25]], True),  # within a sentence
        ([_STORY, _STORY[:25]], False),  # one of the texts may be longer than what was written
        ([_STORY, _STORY, _STORY[:-1]], False),  # without its full stop
        ([f"{_STORY} {_STORY}"] * 2 + [_STORY], False),  # after a sentence
        ([f"- salt\n- {_STORY}"] * 2 + ["- salt"], False),  # after a line
        ([_STORY, _STORY, "The town has one."], False),
    ],
)
@pytest.mark.parametrize("streaming", [False, True])
def test_replies_that_end_in_the_middle_of_the_texts_of_their_twins_are_broken_off(
    texts, broken, streaming
):
    """If there are several: one may be a near-tie of the model."""
    requests = ("Where?", "Which one?", "And the next one?")
    for several in (requests, requests[:1]):
        scores = [
            _greedy(text, question, streaming=streaming and at > 0)
            for question in several
            for at, text in enumerate(texts)
        ]
        found = _broken_off(scores)
        assert len(found) == (3 if broken and len(several) == 3 else 0)
        assert {entry.got for entry in found} <= {texts[-1]}
