"""One cause yields one finding."""

from collections.abc import Callable
from itertools import product
from typing import Any

import pytest
from examined import details
from healthy import rollout
from judged_replies import CALL, Judged, told
from judged_replies import LONG as ANSWER
from replies import Reply, chat_blocks, chat_whole, counts, data, responses_blocks
from written import (
    ABSENT,
    chat,
    chat_stream,
    faulty,
    responses,
    responses_stream,
)

from harness.api import DIALECTS
from harness.api.parsed_rollout import parse_rollout
from harness.records.conditions import Api

COT = "The user wants a comparison of two numbers, so I compare them."
CONTENT, FINISH = "choices.0.message.content", "choices.0.finish_reason"
JSON = {"response_format": {"type": "json_object"}}
JSON_FORMAT = JSON | {"tools": None}
SETTINGS = (
    "reasoning",
    "previous_response_id",
    "text",
    "max_output_tokens",
    "temperature",
    "top_p",
)
SUNNY = '{"sky": "sunny"}'
OTHER = Reply(call=("get_weather", '{"location": "Oslo"}'), call_id="call_2", mark="2")
AGAIN = Reply(call=("get_weather", '{"location": "Lisbon"}'), call_id="call_2", mark="2")
SENTENCES = ["Ok.", "We need to think of something else.", "Maybe add a card.", "Already present.",
             "Maybe show the last time.", "We could also change the title of it."]  # fmt: skip
CUT = Reply(call=("get_weather", '{"location": "Lis'))
OUTPUT = Reply(text='{"town": "Lisbon", "district": "Alfama"}')
ZEROS = dict.fromkeys(("prompt_tokens", "completion_tokens", "total_tokens"), 0)
PLANNED = Reply(text="It is sunny.", reasoning="The user wants get_weather. I call get_weather.")
PART = {"type": "output_text", "text": ANSWER.reasoning, "annotations": [], "logprobs": []}
FORMAT = {"text": {"format": {"type": "json_object"}}}


def _name_in_pieces(chunks: list[dict[str, Any]]) -> None:
    at = next(n for n, chunk in enumerate(chunks) if "tool_calls" in str(chunk))
    first = chunks[at]["choices"][0]
    (call,) = first["delta"]["tool_calls"]
    call["function"]["name"] = "get_"
    more = {"index": 0, "function": {"name": "weather", "arguments": ""}}
    chunks.insert(at + 1, {**chunks[at], "choices": [{**first, "delta": {"tool_calls": [more]}}]})


def _one_delta(events: list[dict[str, Any]]) -> None:
    for kind in ("response.reasoning_text.delta", "response.output_text.delta"):
        deltas = [event for event in events if event["type"] == kind]
        deltas[0]["delta"] = "".join(event["delta"] for event in deltas)
        for event in deltas[1:]:
            events.remove(event)


def _untyped(events: list[dict[str, Any]], *, named: bool) -> list[str]:
    return [
        f"event: {event.pop('type')}\n{data(event)}" if named else data(event | {"type": None})
        for event in events
    ]


def _with_text(text: str, *, before: bool = False) -> Callable[[Any], None]:
    """A chat stream of a call, with text before the call or after it."""

    def change(chunks: list[dict[str, Any]]) -> None:
        at = next(n for n, chunk in enumerate(chunks) if "tool_calls" in str(chunk))
        said = {**chunks[at]["choices"][0], "delta": {"content": text}}
        chunks.insert(at if before else len(chunks) - 2, {**chunks[at], "choices": [said]})

    return change


def _conversation(api: Api, output: str, *replies: Reply) -> Any:
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


def _about(said: str) -> dict[str, Any]:
    """A request that has a mask itself if the answer is about a rule."""
    asked = "What is ***?" if "rule" in said else "What is it?"
    return {"messages": [{"role": "user", "content": asked}]}


def _joined(separator: str) -> Reply:
    """Seven messages of CoT as one, and no answer, as a worse model wrote them."""
    return Reply(text="", reasoning=separator.join(["I compute this and write it."] * 7))


def _twice() -> Any:
    """The first request, which is recorded twice."""
    recorded = _conversation("chat", SUNNY, CALL, AGAIN)
    return recorded.model_copy(update={"exchanges": recorded.exchanges[:1] * 2})


def _misplaced(body: dict[str, Any]) -> None:
    """The answer as a call of no function."""
    call = {"type": "mcp_call", "id": "mcp_1", "name": "json", "server_label": "x"}
    body["output"][-1] = {**call, "arguments": '{"city": "Lisbon"}'}
    body |= FORMAT


def _unnumbered(events: list[dict[str, Any]]) -> None:
    for event in events:
        event.pop("content_index", None)
        if event["type"] == "response.output_item.done":
            event.pop("output_index")


def _empty(events: list[dict[str, Any]]) -> None:
    events[:] = [
        {k: v for k, v in e.items() if k != "sequence_number"} for e in (events[0], events[-1])
    ]
    events[-1]["response"]["output"] = []


ROWS: tuple[Judged, ...] = (
    (
        lambda: faulty(responses_stream({}, ANSWER), "stream-simulated"),
        "responses.stream.simulated",
    ),
    (
        lambda: responses_stream(_empty, ANSWER),
        "reasoning.missing reply.lost responses.schema responses.stream.sequence",
    ),
    (lambda: chat_stream(_name_in_pieces, CALL), "chat.stream.tool_calls"),
    (lambda: responses_stream(_one_delta, ANSWER), ""),
    (lambda: responses(_misplaced, ANSWER, FORMAT), "responses.answer.item"),
    # Escapes that the server added do not fit the count, by so many tokens that no header explains
    # them; one token does not show an edit.
    *(
        (
            lambda sent=sent, written=written: chat(
                {CONTENT: " ".join([sent] * 12)},
                Reply(text=" ".join([written] * 12), reasoning=COT),
            ),
            f"text.changed {more}".strip() if sent != written else more,
        )
        for of_server, of_model, more in (
            ("žluté kvítí".encode().decode("latin-1"), "žluté kvítí", "text.mojibake"),
            ("2 &lt; 3 &amp; 4 &gt; 1 &amp; 5 &lt; 6", "2 < 3 & 4 > 1 & 5 < 6", "text.runaway"),
            ("Gr\\u00fc\\u00dfe, \\u6771\\u4eac", "Grüße, 東京", ""),
        )
        for sent, written in ((of_server, of_model), (of_server, of_server))
    ),
    (
        lambda: chat(
            {
                "choices.0.message.reasoning": 'Write "<p>\\n</p>" there.',
                "usage": chat_whole(Reply(text=ANSWER.text, reasoning='Write "<p>\n</p>" there.'))[
                    "usage"
                ],
            },
            ANSWER,
        ),
        "",
    ),
    *(
        (
            lambda said=said: chat({}, Reply(text=said), _about(said)),
            "text.masked",
        )
        for said in (
            "The password is ***, so keep it.",
            "The password is ******",
            "Write to [REDACTED] and ask.",
            "Write to <EMAIL_ADDRESS> and ask.",
            "Nice to meet you, <PERSON>!",
            "The meeting in <LOCATION> is on <DATE_TIME>.",
            "He owes ████ to her.",
            "The user wants the weather in […] so I call it.",
            "The log says [truncated] there.",
        )
    ),
    *(
        (
            lambda said=said: chat({}, Reply(text=said), _about(said)),
            "",
        )
        for said in (
            "A name is written as <PERSON>Ada</PERSON>.",
            "Pass <person> and <location> to it.",
            "The list is [1, 2, ...] or [...], and so on […",
            "***Very*** important, **this** one.",
            "First part.\n\n***\n\nSecond part.",
            "Use `***` or *** for a rule: ***",
            "Dear [NAME], the list is [A, B] and [TODO].",
            "Should I use *** End of Patch *** as the last line? Then *** Update File: a.py.",
        )
    ),
    # Calls and texts that repeat arguments
    *(
        (lambda sent=sent: chat({}, Reply(call=("get_weather", sent))), found)
        for sent, found in (
            (
                '{"location": "Lisbon"}{"location": "Lisbon"}',
                "calls.arguments.json calls.repeated",
            ),
            (
                '{"location": "Lisbon"}\n{"location": "Lisbon"}',
                "calls.arguments.json calls.repeated",
            ),
            ('{"location": "Lisbon"}', ""),
            ("{}", ""),
            ("xyxy", "calls.arguments.json"),
        )
    ),
    *(
        (
            lambda kind=kind, said=said: kind(
                {}, Reply(text=said, call=("get_weather", '{"location": "Lisbon"}'))
            ),
            found,
        )
        for kind, (said, found) in product(
            (chat, responses),
            (
                ('{"location":"Lisbon"}', "calls.repeated"),
                ('{"location": "Porto"}', ""),
                ("I look it up.", ""),
                ("", ""),
            ),
        )
    ),
    *(
        (lambda said=said: chat({}, Reply(text=said)), found)
        for said, found in (
            (
                '[{ "name": "get_weather", "parameters": { "location": "Lisbon" } }]',
                "calls.in_text",
            ),
            ('[{"location": "Lisbon"}, {"location": "Porto"}]', "calls.in_text"),
            ('[{"name": "another_tool", "parameters": {}}]', ""),
            ("[Lisbon]", ""),
            (" It is sunny.", "text.space_first"),
            ("\nIt is sunny.", ""),
        )
    ),
    *(
        (lambda said=said: chat_stream(_with_text(said), CALL), "calls.repeated:proven")
        for said in ("Lisbon", "location: Lisbon", '{"location": "Lisbon"}')
    ),
    *(
        (lambda said=said: chat_stream(_with_text(said, before=True), CALL), found)
        for said, found in (
            ("Lisbon", "calls.repeated:open"),
            ("I look up the weather in Lisbon.", ""),
            ("Lisbon it is.", ""),
            ("One moment…", ""),
            ("…", ""),
        )
    ),
    *(
        (
            lambda api=api, output=output, later=later: _conversation(api, output, CALL, later),
            found,
        )
        for api in ("chat", "responses")
        for output, later, found in (
            (SUNNY, AGAIN, "calls.again"),
            (SUNNY, OTHER, ""),
            (SUNNY, ANSWER, ""),
            ("", AGAIN, ""),
            ('{"error": "The weather service is unavailable."}', AGAIN, ""),
        )
    ),
    (_twice, "calls.id.repeated reply.id.repeated"),
    # Ends of streams
    *(
        (lambda late=late: chat_stream(lambda c: [*chat_blocks(c), f"data: {late}"], ANSWER), "")
        for late in ('{"choices": [], "cost": "0"}', '{"type": "ping"}')
    ),
    (lambda: chat_stream(lambda c: [*chat_blocks(c), data(c[-1])], ANSWER), "chat.stream.done"),
    (
        lambda: chat_stream(
            {"-1.choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": None}]}, ANSWER
        ),
        "",
    ),
    (lambda: chat_stream(lambda c: c[1].update(usage=c[-1]["usage"]), ANSWER), ""),
    (
        lambda: responses_stream(_unnumbered, ANSWER),
        "responses.schema responses.stream.items.index",
    ),
    (
        lambda: responses_stream({"3.part": PART | {"text": ""}}, ANSWER),
        "responses.stream.reasoning_parts",
    ),
    (lambda: responses_stream({"8.part": PART}, ANSWER), "responses.stream.reasoning_parts"),
    (
        lambda: responses_stream(lambda e: _untyped(e, named=True), ANSWER),
        "responses.stream.event_type:error",
    ),
    (
        lambda: responses_stream(lambda e: _untyped(e, named=False), ANSWER),
        "reply.unreadable responses.stream.event_type:error",
    ),
    (
        lambda: responses_stream(lambda e: [data({"cost": 0.1}), *responses_blocks(e)], ANSWER),
        "responses.stream.event_type:warning",
    ),
    # Structured answers
    *(
        (
            lambda padding=padding, finish=finish: chat(
                {CONTENT: '{"town": "Lisbon"}' + padding, FINISH: finish, "usage": ABSENT},
                ANSWER,
                JSON_FORMAT,
            ),
            found,
        )
        for padding, finish, found in (
            (" \n" * 60, "length", "answer.json usage.missing"),
            ("\n", "length", "usage.missing"),
            (" \n" * 60, "stop", "usage.missing"),
        )
    ),
    *(
        (lambda call=call, asked=asked: chat({}, Reply(call=call), asked), found)
        for call, asked, found in (
            (("json", '{"town": "Lisbon"}'), JSON_FORMAT, "chat.answer.item"),
            (("json", '{"town": "Lisbon"}'), JSON, "chat.answer.item"),
            (CALL.call, {"tools": None}, "calls.name.unknown"),
            (("python", '{"town": "Lisbon"}'), JSON_FORMAT, "calls.name.built_in"),
            (CALL.call, JSON, ""),
        )
    ),
    *(
        (lambda call=call: chat({FINISH: "length"}, Reply(call=call), JSON), found)
        for call, found in (
            (("json", '{"town": '), "chat.answer.item"),
            (("json", '{"town": "Lisb'), "chat.answer.item"),
            (("get_weather", '{"town": '), ""),
        )
    ),
    (lambda: chat({CONTENT: None}, OUTPUT, JSON_FORMAT), "chat.answer.item reply.lost"),
    (
        lambda: chat(
            {CONTENT: None, "usage.completion_tokens": counts(Reply())[1] + 6}, OUTPUT, JSON_FORMAT
        ),
        "answer.json reply.empty usage.sum",
    ),
    # Counts
    (
        lambda: chat(
            {"usage": {**ZEROS, "completion_tokens_details": {"reasoning_tokens": 0}}}, ANSWER
        ),
        "usage.sum",
    ),
    *(
        (
            lambda kind=kind, call=call, limit=limit: kind({}, call, {"max_tokens": limit}),
            found,
        )
        for kind in (chat, chat_stream)  # vLLM ends such a Chat call with tool_calls.
        for call, limit, found in (
            (CUT, counts(CUT)[1], "calls.arguments.json finish.limit"),
            (CALL, 4096, ""),
        )
    ),
    *(
        (
            lambda more=more: chat(
                {FINISH: "length"}, ANSWER, {"max_tokens": counts(ANSWER)[1] + more}
            ),
            found,
        )
        for more, found in ((0, ""), (1, "usage.sum:warning"), (2, ""))
    ),
    *(
        (
            lambda text=text: chat({CONTENT: text, "usage": ABSENT}, ANSWER),
            f"usage.missing {found}".strip(),
        )
        for text, found in (
            ("\n\n".join(SENTENCES[at * at % 7 % 6] for at in range(900)), "text.runaway"),
            ("It is warm." + " \n" * 400, "text.runaway"),
            ("\n".join(f"{n // 100} hundred and {n % 100} boats lie" for n in range(400)), ""),
            ("\n".join("| yes | no | yes |" for _ in range(150)) + "\n| all | none |", ""),
        )
    ),
    *(
        (
            lambda separator=separator, more=more: chat(
                {"usage.completion_tokens": counts(_joined(separator))[1] + more},
                _joined(separator),
            ),
            f"reply.lost:{found} usage.sum",
        )
        for separator, more, found in (("\n\n", 34, "open"), (" ", 34, "open"), (" ", 38, "proven"))
    ),
    *(
        (
            lambda more=more: chat({"usage.completion_tokens": counts(PLANNED)[1] + more}, PLANNED),
            f"calls.lost:{found} usage.output.unexplained usage.sum",
        )
        for more, found in ((17, "open"), (35, "open"), (40, "proven"))
    ),
    (
        lambda: chat(
            {
                CONTENT: f"<think>{ANSWER.reasoning}</think>{ANSWER.text}",
                "choices.0.message.reasoning": ABSENT,
            },
            ANSWER,
        ),
        "reasoning.in_answer",
    ),
    (lambda: chat({"choices.0.message.tool_calls.0.type": ABSENT}, CALL), "chat.schema"),
    (lambda: chat_stream({"-1.id": "chatcmpl-usage"}, ANSWER), "chat.stream.id"),
    # Settings that a response repeats
    *(
        (
            lambda sent=sent, repeated=repeated: responses(
                lambda body: (
                    [body.pop(name, None) for name in SETTINGS],
                    body.update(repeated),
                ),
                ANSWER,
                sent,
            ),
            f"responses.schema.required {found}".strip(),
        )
        for sent, repeated, found in (
            (
                {"reasoning": {"effort": "high"}},
                {"reasoning": {"effort": "low"}},
                "responses.settings",
            ),
            ({"reasoning": {"effort": "minimal"}}, {"reasoning": {"effort": "low"}}, ""),
            (
                {"previous_response_id": "resp_1"},
                {"previous_response_id": None},
                "responses.settings",
            ),
            ({"previous_response_id": "resp_1"}, {}, ""),
            (FORMAT, {"text": {"format": {"type": "text"}}}, "answer.json responses.settings"),
            ({}, {"text": {"format": {"type": "text"}}}, ""),
            ({"max_output_tokens": 400}, {"max_output_tokens": 300}, "responses.settings"),
            ({"max_output_tokens": 400}, {"max_output_tokens": None}, ""),
            # vLLM reports the rest of the context, here of 1,024 tokens, for a limit above it.
            ({"max_output_tokens": 4000}, {"max_output_tokens": 1024 - ANSWER.prompt}, ""),
            (
                {"max_output_tokens": 400},
                {"max_output_tokens": 1024 - ANSWER.prompt},
                "responses.settings",
            ),
            ({"temperature": 0.7}, {"temperature": 1.0}, "responses.settings"),
            ({"top_p": 0.7}, {"top_p": 0.699999988079071}, ""),
        )
    ),
)


@pytest.mark.parametrize("row", ROWS)
def test_a_cause_is_one_finding(row: Judged) -> None:
    recording, expected = row
    assert told(recording(), expected) == {*expected.split()}


def test_a_name_in_several_pieces_is_joined() -> None:
    ((_, reply),) = parse_rollout(chat_stream(_name_in_pieces, CALL)).replies
    assert [call.name for call in reply.calls] == ["get_weather"]


def test_the_id_of_a_stream_is_that_of_its_first_chunk() -> None:
    """The usage has the id of another reply: an event is wrong, and no reply is mixed up."""
    (exchange,) = parse_rollout(chat_stream({"-1.id": "chatcmpl-usage"}, ANSWER)).exchanges
    assert exchange.reply.raw["id"] != "chatcmpl-usage"


@pytest.mark.parametrize("other", ['{"type": "ping"}', "{}", '{"code": 7, "message": "busy"}'])
def test_an_object_in_a_chat_stream_that_is_not_a_chunk_is_one_finding(other: str) -> None:
    recorded = chat_stream(lambda c: [f"data: {other}", *chat_blocks(c)], ANSWER)
    found = [each for each in details(recorded) if "schema" in each.id]
    assert [each.message for each in found] == ["$: should be a chat.completion.chunk."]


def test_two_objects_without_their_types_are_two_findings() -> None:
    output = [{"id": "rs_1", "summary": []}, {"id": "rs_2"}]
    paths = {each.evidence.path for each in details(responses({"output": output}, ANSWER))}
    assert {"$.output[0].type", "$.output[1].type"} <= paths


def test_the_finding_for_a_text_without_deltas_says_so() -> None:
    lost = responses_stream(
        lambda e: responses_blocks([x for x in e if x["type"] != "response.reasoning_text.delta"]),
        ANSWER,
    )
    messages = {each.id: each.message for each in details(lost)}
    assert messages["responses.stream.done_text"].startswith("No delta precedes")


@pytest.mark.parametrize(
    ("factor", "unit"), [(10**3, "milliseconds"), (10**6, "microseconds"), (2, None)]
)
def test_a_creation_time_in_another_unit_is_named(factor: int, unit: str | None) -> None:
    (found,) = details(chat({"created": ANSWER.created * factor}, ANSWER))
    expected = f"in {unit} instead" if unit else "more than a day away"
    assert (found.id, expected in found.message) == ("reply.created", True)
