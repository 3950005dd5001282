"""Recorded replies, and all that the checks say about each: nothing else may be found in it."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from examined import details
from healthy import SUITE, exchange, json_response, rollout, stream_response
from replies import (
    Reply,
    chat_blocks,
    chat_chunks,
    chat_whole,
    choice,
    counts,
    data,
    responses_blocks,
)
from written import ABSENT, chat, chat_stream, responses, responses_stream

from harmony.conversation import Answer, Reasoning
from harmony.render import message_tokens
from harness.api.ledger import IN_PROMPT
from harness.records.rollouts import Response, Retry, Rollout, StreamPart, TransportFailure

ARGUMENTS = '{"location": "Lisbon"}'
CALL = Reply(call=("get_weather", ARGUMENTS))
ANSWER = Reply(text="It is sunny in Lisbon, and warm.")
LONG = Reply(text="It is sunny in Lisbon, and warm; take a hat with you, and some water.")
LENGTH = counts(LONG)[1]
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
FORMAT = {"type": "json_schema", "json_schema": {"name": "place", "schema": SCHEMA}}
STRICT = [
    {"type": "function", "function": {"name": "get_weather", "strict": True,
     "parameters": {**SUITE.tool("get_weather").parameters, "additionalProperties": False}}},
]  # fmt: skip
Judged = tuple[Callable[[], Rollout], str]
"""How a recording is made, and the ids of all findings in it: `ID`, `ID:SEVERITY`, `ID:proven` or
`ID:open`."""


def told(recorded: Rollout, expected: str) -> set[str]:
    """Return the ids of the findings; what is expected behind the colon of one is told with it."""
    names = [
        (f"{each.id}:{each.severity}", f"{each.id}:{'proven' if each.proven else 'open'}", each.id)
        for each in details(recorded)
    ]
    return {next((name for name in each if name in expected.split()), each[-1]) for each in names}


BY_FAULT: Mapping[tuple[partial[Rollout], Reply], Mapping[str, str]] = {
    (chat, ANSWER): {
        "another-model-named": "reply.model",
        "answers-doubled": "text.doubled",
        "character-of-answers-garbled": "text.garbled",
        "chat-ids-missing": "chat.schema reply.id",
        "completion-tokens-excess": "usage.output.unexplained",
        "cot-in-both": "text.added",
        "created-in-milliseconds": "reply.created",
        "created-time-with-fraction": "chat.schema.minor",
        "end-of-turn-of-another-model": "harmony.foreign",
        "ok:both-reasoning-fields": "",
        "ok:reasoning-content": "chat.reasoning.field",
        "plain-text": "reply.content_type",
        "reasoning-in-parts": "chat.reasoning.type reply.unreadable",
        "reasoning-tokens-include-answer": "usage.reasoning",
        "space-before-answers": "text.space_first",
        "usage-member-missing": "usage.missing",
        "usage-sum-wrong": "usage.sum",
    },
    (chat, CALL): {
        "arguments-closed-twice": "calls.arguments.cut calls.arguments.json",
        "arguments-escaped-twice": "calls.arguments.escaped calls.arguments.json",
        "calls-dropped-reason-kept": "chat.finish.no_calls reply.lost",
        "calls-finish-with-stop": "chat.finish.tool_calls",
        "content-in-parts": "",
        "empty-members-dropped": "chat.schema",
        "missing-text-as-none": "text.placeholder",
        "places-masked-in-arguments": "text.masked",
        "reasoning-emptied": "reasoning.missing",
        "reasoning-tokens-excess": "usage.reasoning usage.sum",
        "usage-zero": "usage.sum",
    },
    (chat_stream, ANSWER): {
        "another-model-named": "reply.model",
        "answers-doubled": "text.doubled",
        "character-of-answers-garbled": "text.garbled",
        "chat-ids-missing": "chat.schema reply.id",
        "chunk-ids-differ": "chat.stream.id",
        "completion-tokens-excess": "usage.output.unexplained",
        "completion-tokens-of-all-chunks": "usage.output.miscounted",
        "cot-in-both": "text.added",
        "created-in-milliseconds": "reply.created",
        "created-time-with-fraction": "chat.schema.minor",
        "done-missing": "chat.stream.done",
        "done-repeated": "chat.stream.done.repeated",
        "end-of-turn-of-another-model": "harmony.foreign",
        "error-in-choice": "stream.error_event",
        "event-cut-off": "reply.unreadable stream.json",
        "finish-in-every-chunk": "chat.stream.finish.followed chat.stream.finish.repeated",
        "finish-missing": "chat.stream.finish",
        "late-reasoning": "chat.stream.order",
        "ok:finish-with-last-text": "",
        "ok:reasoning-content": "chat.reasoning.field",
        "plain-text": "reply.unreadable stream.content_type",
        "reasoning-in-parts": "chat.reasoning.type reply.unreadable",
        "reasoning-tokens-include-answer": "usage.reasoning",
        "role-always-missing": "chat.stream.role",
        "space-before-answers": "text.space_first",
        "stream-ends-silently": "chat.stream.done chat.stream.finish reply.unreadable",
        "usage-chunk-missing": "usage.missing",
        "usage-in-every-chunk": "usage.unasked",
        "usage-sum-wrong": "usage.sum",
    },
    (chat_stream, CALL): {
        "arguments-closed-twice": "calls.arguments.cut calls.arguments.json",
        "arguments-in-single-quotes": "calls.arguments.escaped calls.arguments.json",
        "call-ids-missing": "chat.stream.tool_calls reply.unreadable",
        "call-index-from-one": "chat.stream.tool_calls.numbers",
        "call-index-missing": "chat.schema chat.stream.tool_calls.index reply.unreadable",
        "call-name-late": "chat.stream.tool_calls",
        "call-name-missing": "chat.stream.tool_calls reply.unreadable",
        "call-type-always-missing": "chat.stream.tool_calls.type",
        "call-type-null": "chat.stream.tool_calls.type",
        "calls-dropped-reason-kept": "chat.finish.no_calls reply.lost",
        "calls-finish-with-stop": "chat.finish.tool_calls",
        "ids-in-every-fragment": "chat.stream.tool_calls.repeated",
        "names-in-every-fragment": "chat.stream.tool_calls",
        "places-masked-in-arguments": "text.masked",
        "reasoning-emptied": "reasoning.missing",
        "stream-fails-in-a-choice": "stream.error_event",
    },
    (responses, ANSWER): {
        "annotations-missing": "responses.schema.minor",
        "another-model-named": "reply.model",
        "answers-doubled": "text.doubled",
        "character-of-answers-garbled": "text.garbled",
        "completion-tokens-excess": "usage.output.unexplained",
        "end-of-turn-of-another-model": "harmony.foreign",
        "final-output-empty": "reasoning.missing reply.lost",
        "final-output-null": "reply.unreadable responses.schema",
        "item-ids-equal": "responses.item_id.repeated",
        "plain-text": "reply.content_type",
        "reasoning-in-summary": "responses.reasoning.content",
        "reasoning-in-summary-too": "responses.reasoning.summary",
        "reasoning-tokens-include-answer": "usage.reasoning",
        "reply-id-missing": "reply.id responses.schema responses.schema.required",
        "space-before-answers": "text.space_first",
        "usage-details-empty": "responses.schema usage.reasoning",
        "usage-details-null": "responses.schema usage.reasoning",
        "usage-missing": "usage.missing",
        "usage-sum-wrong": "usage.sum",
    },
    (responses, CALL): {
        "arguments-closed-twice": "calls.arguments.cut calls.arguments.json",
        "arguments-escaped-twice": "calls.arguments.escaped calls.arguments.json",
        "call-as-mcp-call": "reply.empty responses.call.item responses.item_type.undeclared",
        "complete-calls-incomplete": "responses.status",
        "places-masked-in-arguments": "text.masked",
    },
    (responses_stream, ANSWER): {
        "annotations-missing": "responses.schema.minor",
        "another-model-named": "reply.model",
        "answers-doubled": "text.doubled",
        "call-events-as-reasoning": "",
        "character-of-answers-garbled": "text.garbled",
        "completed-missing": "reply.unreadable responses.stream.terminal",
        "completion-tokens-excess": "usage.output.unexplained",
        "completion-tokens-of-all-chunks": "usage.output.miscounted",
        "content-index-counts-deltas": (
            "responses.stream.done_missing responses.stream.done_text "
            "responses.stream.item_text responses.stream.parts"
        ),
        "content-index-from-one": "responses.stream.parts",
        "cot-cut-to-last-fragment": "responses.stream.done_text responses.stream.item_text",
        "created-event-missing": "responses.stream.created",
        "end-of-turn-of-another-model": "harmony.foreign",
        "event-name-differs": "responses.stream.event_name",
        "final-items-reversed": "responses.item.order responses.stream.final",
        "foreign-event-first": "responses.stream.event_type",
        "item-id-changes": "responses.stream.final responses.stream.items.changed",
        "item-ids-change": "responses.stream.items.id",
        "ok:open-responses-events": "",
        "ok:other-ids": "responses.item_id.repeated",
        "ok:reasoning-part-events": "",
        "output-index-missing": "responses.schema responses.stream.items.index",
        "output-index-zero": "responses.stream.items.repeated",
        "output-text-empty": "responses.stream.output_text",
        "plain-text": "reply.unreadable stream.content_type",
        "reasoning-in-summary": "responses.reasoning.content responses.stream.item_text",
        "reasoning-in-summary-too": "responses.reasoning.summary",
        "reasoning-tokens-include-answer": "usage.reasoning",
        "reply-id-missing": "reply.id responses.schema responses.schema.required",
        "response-failed": "stream.error_event",
        "response-id-changes-at-end": "responses.stream.id",
        "sequence-numbers-repeat": "responses.stream.sequence",
        "space-before-answers": "text.space_first",
        "stream-simulated": "responses.stream.simulated",
        "text-deltas-missing": "responses.stream.done_text responses.stream.item_text",
        "text-done-missing": "responses.stream.done_missing",
        "usage-missing": "usage.missing",
        "usage-sum-wrong": "usage.sum",
    },
    (responses_stream, CALL): {
        "arguments-closed-twice": "calls.arguments.cut calls.arguments.json",
        "arguments-done-missing": "responses.stream.done_missing",
        "arguments-in-single-quotes": "calls.arguments.escaped calls.arguments.json",
        "call-as-mcp-call": (
            "reply.empty responses.call.item responses.item_type.undeclared responses.stream.items"
        ),
        "call-ids-missing": "reply.unreadable responses.schema responses.stream.call",
        "calls-dropped-reason-kept": "reply.lost responses.stream.final",
        "created-missing": "responses.stream.created",
        "event-cut-off": "reply.unreadable stream.json",
        "item-done-missing": "responses.stream.final responses.stream.items",
        "keepalive-event": "responses.stream.event_type",
        "ok:arguments-when-done": "responses.stream.call.deltas",
        "part-events-missing": "responses.stream.reasoning_parts",
        "places-masked-in-arguments": "text.masked",
        "sequence-missing": "responses.schema responses.stream.sequence",
        "status-of-a-cut": "responses.status responses.stream.status",
        "stream-ends-silently": "reply.unreadable responses.stream.terminal",
        "stream-fails-as-another-response": (
            "responses.schema responses.stream.id responses.stream.sequence stream.error_event"
        ),
    },
}
"""What a fault of the catalogue shows in a reply: faults that show one rule alone, if any does."""


def _one(answer: Any, *, api: str = "chat", streaming: bool = False, **more: Any) -> Rollout:
    """A rollout of one exchange."""
    return rollout([answer], api=api, streaming=streaming, **more)  # type: ignore[arg-type]


def _prompt(text: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}]}


def _summarized(events: list[dict[str, Any]]) -> None:
    """Ollama streams the CoT as a summary, without the events of its part."""
    events[:] = [e for e in events if e.get("part", {}).get("type") != "reasoning_text"]
    for event in events:
        if event["type"].startswith("response.reasoning_text"):
            event["type"] = event["type"].replace("reasoning_text", "reasoning_summary_text")
            event["summary_index"] = event.pop("content_index")
        for item in (event.get("item"), *event.get("response", {}).get("output", [])):
            if item and item["type"] == "reasoning" and item.get("content"):
                item["summary"] = [{"type": "summary_text", "text": item.pop("content")[0]["text"]}]


def _content(text: object) -> dict[str, Any]:
    return {"choices.0.message.content": text}


def _cot(text: object) -> dict[str, Any]:
    return {"choices.0.message.reasoning": text}


def _sent(text: object) -> dict[str, Any]:
    return {"choices.0.message.tool_calls.0.function.arguments": text}


def _malformed(tokens: int | None) -> Rollout:
    """The header of an answer whose `<|message|>` the model left out, or the server dropped."""
    said, cot = "finalmessage It is sunny.", "They ask for the weather."
    whole = sum(len(message_tokens(each)) for each in (Reasoning(cot), Answer(said)))
    count = None if tokens is None else whole - IN_PROMPT + tokens
    usage = {"usage.completion_tokens": count, "usage.completion_tokens_details": None}
    return chat(_content(said) | {"choices.0.message.reasoning": cot} | usage, ANSWER)


_CALL_AT = [f"{at}.choices.0.delta.tool_calls.0.function" for at in (4, 5)]
_ADDED, _TOTAL = "usage.completion_tokens", "usage.total_tokens"
_INCOMPLETE = {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}
_IN_TURN = {"stop": ["is"], "messages": [{"role": "user", "content": "What is it?"}]}
_BOTH = (chat, chat_stream, responses, responses_stream)
_THOUGHT = "The user asks for the weather in Lisbon; I know it is sunny there."
_SAID = "analysisWe need to say hello.Hello."
_TOOL = {"type": "function", "name": "f", "description": None, "parameters": {}}
_PREAMBLE = "I will look up the weather first."
_TWICE = "/models/gpt-oss-120b/gpt-oss-120b-mxfp4.gguf"
_PLAIN = {"content-type": "text/event-stream, text/event-stream; q=1"}
_EVENTS = stream_response(chat_blocks(chat_chunks(CALL)))
ROWS: tuple[Judged, ...] = (
    # Chat Completions
    (
        lambda: chat(lambda body: body["choices"].append(body["choices"][0]), CALL),
        "calls.id.repeated chat.choices",
    ),
    (lambda: chat({"choices.0.index": 1}, CALL), "chat.choices"),
    (lambda: chat({"choices.0.index": ABSENT}, LONG), "chat.schema"),
    (lambda: chat({"choices": []}, CALL), "reply.unreadable"),
    (lambda: chat({"model": ""}, CALL), "reply.model"),
    (lambda: chat({"created": "1"}, CALL), "chat.schema"),
    (lambda: chat({"object": "completion"}, CALL), "chat.schema"),
    (lambda: chat({"id": ""}, CALL), "reply.id"),
    (lambda: chat({"error": {"message": "no"}}, CALL), "reply.unreadable"),
    (lambda: chat(_content({"a": 1}), CALL), "chat.schema reply.unreadable"),
    (lambda: chat({"choices.0.message.role": "user"}, LONG), "chat.schema"),
    (lambda: chat({"choices.0.finish_reason": "eos"}, LONG), "chat.schema"),
    (lambda: chat(_cot(ABSENT) | {"usage": ABSENT}, CALL), "reasoning.rare usage.missing"),
    (
        lambda: chat({"choices.0.message.reasoning_content": "Another text."}, CALL),
        "chat.reasoning.field",
    ),
    (lambda: chat({"choices.0.finish_reason": "tool_calls"}, LONG), "chat.finish.no_calls"),
    (lambda: chat({"choices.0.finish_reason": "function_call"}, LONG), "chat.finish.no_calls"),
    (lambda: chat(_content(None), Reply(text="All done.")), "reply.empty"),
    (
        lambda: chat({"choices.0.message.refusal": "I cannot help with that."}, LONG),
        "reply.refused",
    ),
    (lambda: chat({"usage.total_tokens": 71}, CALL), "usage.sum"),
    (lambda: chat({"usage.prompt_tokens": 0}, CALL), "usage.sum"),
    (lambda: chat({"usage.completion_tokens": 0}, CALL), "usage.sum"),
    (lambda: chat({"usage.prompt_tokens_details": {"cached_tokens": 900}}, LONG), "usage.sum"),
    (lambda: chat({_ADDED: 3_000, _TOTAL: 3_050}, CALL), "usage.output.unexplained"),
    (lambda: chat({"choices.0.message.tool_calls.0.id": ""}, CALL), "calls.id.missing"),
    (
        lambda: chat({"choices.0.message.tool_calls.0.function.name": "fly"}, CALL),
        "calls.name.unknown",
    ),
    (
        lambda: chat({"choices.0.message.tool_calls.0.function.name": "f<|start|>"}, CALL),
        "calls.name.unknown harmony.markers",
    ),
    (lambda: chat(_sent({}), CALL), "chat.schema reply.unreadable"),
    (lambda: chat(_sent("{"), CALL), "calls.arguments.cut calls.arguments.json"),
    (lambda: chat(_sent('{"a": NaN}'), CALL), "calls.arguments.json"),
    (lambda: chat(_sent("{'a': None}"), CALL), "calls.arguments.escaped calls.arguments.json"),
    (lambda: chat(_content("a<|channel|>final"), LONG), "harmony.markers"),
    (lambda: chat(_cot("a<|end|>"), LONG), "harmony.markers"),
    (
        lambda: chat(_cot("analysisThe user asks for the weather."), LONG),
        "harmony.remains.reasoning",
    ),
    (lambda: chat(_content("analysisWe need to…"), ANSWER), "harmony.remains"),
    (lambda: chat(_content("commentaryI will look."), ANSWER), "harmony.remains"),
    (lambda: chat(_content("So.assistantfinalFour"), ANSWER), "harmony.remains"),
    (lambda: chat(_content("commentary to=functions.f"), ANSWER), "harmony.remains"),
    (
        lambda: chat(_content("<think>Hm</think>4"), LONG),
        "reasoning.in_answer usage.output.unexplained",
    ),
    (
        lambda: chat(
            _content("We need to") | _cot(None) | {"choices.0.finish_reason": "length"}, LONG
        ),
        "reasoning.in_answer.untagged reasoning.missing.truncated",
    ),
    (lambda: chat({"model": "openai/gpt-oss-120b"}, CALL, {"model": "gpt-oss-120b"}), ""),
    (lambda: chat({"model": _TWICE}, CALL, {"model": "gpt-oss-120b"}), ""),
    *(
        (lambda name=name: chat({"model": name}, CALL, {"model": "gpt-oss-120b"}), "reply.model")
        for name in ("gpt-oss-20b", "gpt_oss_20b", "gpt-oss-20B_q4")
    ),
    # Texts
    (
        lambda: chat(_content("We need to answer. It is sunny.") | _cot(ABSENT), LONG),
        "reasoning.in_answer.untagged reasoning.missing usage.output.lost",
    ),
    (lambda: chat(_content("So warm. " * 90), LONG), "text.runaway usage.output.unexplained"),
    (
        lambda: chat(
            _content("Sunny in Li\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}ge"),
            LONG,
            _prompt("Quel temps fait-il à Liège ?"),
        ),
        "text.garbled text.garbled.beyond_ascii usage.output.unexplained",
    ),
    (
        lambda: chat(_cot(f"Hm, weather.assistantfinal{LONG.text}"), LONG),
        "harmony.remains.reasoning reasoning.holds_answer usage.output.unexplained usage.reasoning",
    ),
    (
        lambda: chat(_cot(LONG.text), LONG),
        "reasoning.is_answer usage.output.unexplained usage.reasoning",
    ),
    (
        lambda: chat(_content(f"I will look.{ARGUMENTS}"), LONG),
        "calls.in_text usage.output.unexplained",
    ),
    (lambda: chat(_content(f"assistantcode{ARGUMENTS}"), LONG), "calls.in_text harmony.remains"),
    (
        lambda: chat(
            _content(f'<call>{{"name": "get_weather", "arguments": {ARGUMENTS}}}</call>'), LONG
        ),
        "calls.in_text",
    ),
    (lambda: chat(_content("It is sunny.<|im_end|>"), LONG), "harmony.foreign"),
    (lambda: chat(_content("Il fait trÃ¨s beau, et voilÃ\xa0 tout."), LONG), "text.mojibake"),
    (lambda: chat(_cot("Câ€™est lâ€™heure."), LONG), "text.mojibake"),
    (lambda: chat(_content("None"), CALL), "text.placeholder"),
    (
        lambda: chat(_content(f"{_THOUGHT} It is sunny.") | _cot(_THOUGHT), LONG),
        "reasoning.in_answer.repeated usage.output.unexplained usage.reasoning",
    ),
    (
        lambda: chat(_cot("So much thought. " * 40 + "Done.") | {_TOTAL: 70}, LONG),
        "usage.output.unexplained usage.reasoning usage.sum",
    ),
    (lambda: chat({}, Reply(text="You wrote <|end|>.", wrote="You wrote.")), "harmony.markers"),
    (
        lambda: chat(
            {}, Reply(text="You wrote <|end|>.", wrote="You wrote."), _prompt("Say <|end|>")
        ),
        "",
    ),
    (lambda: chat(_content("<|end|> ends it."), LONG, _prompt("What is <|end|>?")), ""),
    (
        lambda: chat(
            _content("You wrote <|end|>. So.<|channel|>final"), ANSWER, _prompt("What is <|end|>?")
        ),
        "harmony.markers",
    ),
    (
        lambda: chat(_content("analysisWe need four."), ANSWER, _prompt("Run an analysis of it.")),
        "harmony.remains",
    ),
    (
        lambda: chat(
            _content("finalThe word is X."), ANSWER, _prompt("Say it in your final answer.")
        ),
        "harmony.remains",
    ),
    (lambda: chat({}, Reply(text="I would write to=functions.get_weather here.")), ""),
    (lambda: chat(_content("final4.25") | _cot(None), LONG), "harmony.remains reasoning.missing"),
    (
        lambda: chat(_content("final**Yes**") | _cot(None), LONG),
        "harmony.remains reasoning.missing",
    ),
    (
        lambda: chat(_content('{"final{" : {"fruit": true}}') | _cot("It is one."), LONG),
        "harmony.remains",
    ),
    (lambda: chat(_content('{"final": true}') | _cot("It is one."), LONG), ""),
    (
        lambda: chat(
            _content("final4.25 is the name of the release.") | _cot("They ask for its name."), LONG
        ),
        "usage.output.unexplained",
    ),
    (
        lambda: chat(_content("final answer: 4.25") | _cot(None), LONG),
        "reasoning.missing usage.output.lost",
    ),
    # The tokens of a header tell who wrote it: as text, malformed, stripped, all stripped, or none.
    (lambda: _malformed(0), "usage.reasoning usage.sum"),
    (lambda: _malformed(-2), "usage.reasoning usage.sum"),
    (lambda: _malformed(-1), "harmony.remains usage.reasoning usage.sum"),
    (lambda: _malformed(3), "harmony.remains usage.reasoning usage.sum"),
    (lambda: _malformed(None), "chat.schema harmony.remains usage.missing"),
    (
        lambda: chat(
            _content(_SAID)
            | _cot(None)
            | {_ADDED: len(message_tokens(Answer(_SAID))) - IN_PROMPT}
            | {"usage.completion_tokens_details": None},
            LONG,
        ),
        "harmony.remains reasoning.rare usage.sum",
    ),
    # Stop strings
    (
        lambda: chat(_content(""), Reply(text="x", reasoning="The user asks what it "), _IN_TURN),
        "stop.early",
    ),
    (lambda: chat(_content(""), Reply(text="x", reasoning=""), _IN_TURN), "stop.early"),
    (lambda: chat({}, Reply(text="", reasoning="The user asks about a hat."), _IN_TURN), ""),
    (
        lambda: chat(
            _content("") | {"choices.0.stop_reason": None},
            Reply(text="x", reasoning="The user asks what it "),
            _IN_TURN,
        ),
        "",
    ),
    (
        lambda: chat(
            _content("") | {"choices.0.stop_reason": "is"},
            Reply(text="x", reasoning="The user asks what it "),
            _IN_TURN,
        ),
        "stop.early",
    ),
    *(  # The string may be the first of the answer, unless no token is left for one.
        (
            lambda counted=counted: chat(
                {"choices.0.stop_reason": "is", _ADDED: counted, _TOTAL: 50 + counted},
                Reply(text="", reasoning="The user asks what it is"),
                _IN_TURN,
            ),
            f"stop.early:{found}",
        )
        for counted, found in ((9, "proven"), (15, "open"))
    ),
    (lambda: chat({}, ANSWER, _IN_TURN), "stop.kept"),
    (lambda: chat({}, CALL, _IN_TURN), ""),
    # Calls
    (lambda: chat({}, Reply(call=("python", "print(1 + 1)"))), "calls.name.built_in"),
    (
        lambda: chat({}, Reply(call=("browser.search", "weather in Lisbon"))),
        "calls.arguments.json calls.name.built_in",
    ),
    (
        lambda: chat(
            {"choices.0.finish_reason": "length"}, Reply(call=("get_weather", '{"city": "Lis'))
        ),
        "",
    ),
    (
        lambda: chat({}, Reply(call=("get_weather", '{"city": "Lis'))),
        "calls.arguments.cut calls.arguments.json",
    ),
    (lambda: chat({}, LONG, {"tool_choice": "required"}), "calls.choice"),
    (lambda: chat({}, CALL, {"tool_choice": "none"}), "calls.choice"),
    (
        lambda: responses(
            {}, CALL, {"tool_choice": {"type": "function", "name": "service_status"}}
        ),
        "calls.choice",
    ),
    (lambda: chat(_twice(ARGUMENTS), CALL), "calls.repeated calls.several"),
    (
        lambda: chat(_twice('{"location": "Oslo"}'), CALL, {"parallel_tool_calls": False}),
        "calls.parallel calls.several",
    ),
    (lambda: chat(_sent('{"town": "Lisbon"}'), CALL, {"tools": STRICT}), "calls.arguments.strict"),
    (
        lambda: chat(_content('{"town": "Lisbon"}'), LONG, {"response_format": FORMAT}),
        "answer.json",
    ),
    (
        lambda: chat(
            {}, Reply(call=("json", ARGUMENTS)), {"response_format": FORMAT, "tools": None}
        ),
        "chat.answer.item",
    ),
    # Several replies, and failures
    (lambda: rollout([CALL, CALL, ANSWER]), "calls.id.repeated"),
    (lambda: rollout([json_response(chat_whole(ANSWER))] * 2), "reply.id.repeated"),
    (
        lambda: rollout([CALL, json_response(chat_whole(LONG) | _no_cot(LONG))]),
        "reasoning.missing.after_result usage.output.unexplained",
    ),
    (
        lambda: rollout(
            [
                json_response(chat_whole(CALL)),
                json_response(chat_whole(replace(ANSWER, reasoning=""))),
            ]
        ),
        "reply.id.repeated",
    ),
    (
        lambda: rollout(
            [
                json_response(chat_whole(CALL)),
                json_response(chat_whole(replace(ANSWER, reasoning="")) | {"usage": None}),
            ]
        ),
        "reasoning.missing.after_result reply.id.repeated usage.missing",
    ),
    *(
        (lambda status=status: _one(_retried(status)), found)
        for status, found in ((500, "request.server_error"), (429, ""))
    ),
    *(
        (lambda status=status, api=api: _one(json_response({}, status), api=api), found)
        for status, found in ((429, ""), (503, ""), (500, "request.failed"))
        for api in ("chat", "responses")
    ),
    (lambda: rollout([CALL, json_response({"error": {"message": "overloaded"}}, 503)]), ""),
    # Responses
    (lambda: responses({"metadata": ABSENT}, CALL), "responses.schema.required"),
    (lambda: responses({"created_at": 1}, CALL), "reply.created"),
    (lambda: responses({"created_at": "now"}, CALL), "responses.schema"),
    (lambda: responses({"parallel_tool_calls": None}, CALL), "responses.schema"),
    (lambda: responses({"output.0.summary": None}, CALL), "responses.schema"),
    (lambda: responses({"output.1.id": ABSENT}, ANSWER), "responses.schema"),
    (
        lambda: responses({"output.1.type": "poem"}, ANSWER),
        "reply.empty responses.item_type.undeclared responses.schema",
    ),
    (lambda: responses({"usage.input_tokens_details": ABSENT}, CALL), "responses.schema.minor"),
    (lambda: responses({"output.0": ABSENT}, CALL), "reasoning.missing"),
    (lambda: responses({"output.0.content": None}, CALL), "responses.reasoning.content"),
    (
        lambda: responses({"output.0.content.0.type": "text"}, CALL),
        "responses.reasoning.content responses.schema",
    ),
    (lambda: responses({"status": "in_progress"}, CALL), "responses.status"),
    (lambda: responses({"status": "incomplete"}, CALL), "responses.status"),
    (
        lambda: responses(
            {"status": "incomplete", "incomplete_details": {"reason": "length"}}, CALL
        ),
        "responses.schema responses.status",
    ),
    (lambda: responses({"output.1.status": "in_progress"}, CALL), "responses.status"),
    (lambda: responses({"output.1.id": "rs_1"}, CALL), "responses.item_id.repeated"),
    (lambda: responses({"output.1.phase": "commentary"}, ANSWER), "responses.message.phase"),
    (lambda: responses({"output.1": ABSENT}, ANSWER), "reply.lost"),
    (
        lambda: responses({"output.1.content.0": {"type": "refusal", "refusal": "No."}}, ANSWER),
        "reply.refused",
    ),
    (lambda: responses({"usage.total_tokens": 1}, CALL), "usage.sum"),
    (lambda: responses({"usage.input_tokens_details": {"cached_tokens": 900}}, LONG), "usage.sum"),
    (lambda: responses({"output.1.content.0.text": "<|return|>"}, ANSWER), "harmony.markers"),
    (lambda: responses({"output.1.call_id": ""}, CALL), "calls.id.missing"),
    (lambda: responses(lambda body: body["output"].reverse(), CALL), "responses.item.order"),
    (lambda: responses({"top_p": 0.9}, LONG), "responses.defaults"),
    (
        lambda: responses({"output": [], "usage": None}, LONG, {"max_output_tokens": 1}),
        "reasoning.rare reply.empty usage.missing",
    ),
    *(
        (lambda limit=limit: responses({"max_output_tokens": limit}, ANSWER), "responses.defaults")
        for limit in (1, 100, 128, 512, 1000, 4096, 65_536)
    ),
    # Streams of Chat Completions
    (lambda: chat_stream({"2.created": "1"}, CALL), "chat.schema"),
    (lambda: chat_stream({"2.choices.0.finish_reason": ""}, CALL), "chat.schema.minor"),
    (lambda: chat_stream({"2.object": "chat.completion"}, CALL), "chat.schema"),
    (lambda: chat_stream({"2.model": "gpt-oss-other"}, CALL), "reply.model"),
    (
        lambda: chat_stream(lambda c: ["data: [DONE]", *chat_blocks(c)], CALL),
        "chat.stream.done chat.stream.done.repeated",
    ),
    (
        lambda: chat_stream(lambda c: [*chat_blocks(c), data(c[1])], LONG),
        "chat.stream.done chat.stream.finish.followed chat.stream.order",
    ),
    (
        lambda: chat_stream(lambda c: chat_blocks(c[:-2])[:-1], LONG),
        "chat.stream.done chat.stream.finish reply.unreadable",
    ),
    (
        lambda: chat_stream(
            lambda c: c.insert(-1, {**c[0], "choices": [choice({"content": "more"})]}), CALL
        ),
        "chat.stream.finish.followed",
    ),
    (
        lambda: chat_stream(
            lambda c: c.insert(-1, {**c[0], "choices": [choice({}, "stop")]}), CALL
        ),
        "chat.finish.tool_calls chat.stream.finish.followed",
    ),
    (
        lambda: chat_stream(
            {f"{_CALL_AT[0]}.name": "", f"{_CALL_AT[1]}.name": "get_weather"}, CALL
        ),
        "chat.stream.tool_calls",
    ),
    (lambda: chat_stream(lambda c: c.insert(-2, c.pop(1)), LONG), "chat.stream.order"),
    (
        lambda: chat_stream({"2.choices.0.delta.reasoning_content": "Another text."}, CALL),
        "chat.reasoning.field",
    ),
    (
        lambda: chat_stream(
            lambda c: [*chat_blocks(c[:3]), "data: {oops", *chat_blocks(c[3:])], CALL
        ),
        "chat.stream.done chat.stream.done.repeated reply.unreadable stream.json",
    ),
    (lambda: _one(_EVENTS, streaming=False), "reply.streamed"),
    (
        lambda: _one(json_response(chat_whole(CALL)), streaming=True),
        "reply.unreadable stream.content_type",
    ),
    (
        lambda: _one(_EVENTS.model_copy(update={"headers": _PLAIN}), streaming=True),
        "stream.content_type",
    ),
    *(
        (
            lambda kind=kind: _one(
                _EVENTS.model_copy(update={"headers": {"Content-Type": kind}}), streaming=True
            ),
            "stream.content_type:error",
        )
        for kind in ("application/json", "text/event-stream, application/json")
    ),
    (
        lambda: _one(Response(status=200, headers={}, body=json_response(chat_whole(CALL)).body)),
        "reply.content_type",
    ),
    (lambda: _cut(), "chat.schema stream.cut"),
    (lambda: _slow_burst(), "stream.burst usage.output.unexplained usage.sum"),
    # Streams of Responses
    (
        lambda: responses_stream({"9.item.status": "in_progress"}, CALL),
        "responses.stream.item_status",
    ),
    (
        lambda: responses_stream({"0.response.status": "completed"}, CALL),
        "responses.stream.item_status",
    ),
    (
        lambda: responses_stream({"3.content_index": 1}, CALL),
        "responses.stream.parts responses.stream.reasoning_parts",
    ),
    (
        lambda: responses_stream(lambda e: e.insert(5, e.pop(8)), CALL),
        "responses.stream.done_missing responses.stream.item_text responses.stream.parts "
        "responses.stream.sequence",
    ),
    (lambda: responses_stream(lambda e: e.pop(16), ANSWER), "responses.stream.parts"),
    (
        lambda: responses_stream(
            lambda e: [x.update(output_index=x["output_index"] + 1) for x in e if "item" in x], CALL
        ),
        "responses.stream.items.index",
    ),
    (
        lambda: responses_stream(
            {"16.part": {"type": "output_text", "text": "Else.", "annotations": []}}, ANSWER
        ),
        "responses.stream.item_text",
    ),
    (
        lambda: responses_stream(
            lambda e: responses_blocks([x for x in e if "output_text" not in x["type"]]), ANSWER
        ),
        "responses.stream.item_text",
    ),
    (
        lambda: responses_stream(
            lambda e: responses_blocks([x for x in e if "arguments" not in x["type"]]), CALL
        ),
        "responses.stream.done_missing",
    ),
    (
        lambda: responses_stream({"10.item.name": ABSENT}, CALL),
        "responses.schema responses.stream.call",
    ),
    (lambda: responses_stream({"10.item.call_id": "call_9"}, CALL), "responses.stream.call"),
    (
        lambda: responses_stream(lambda e: e.insert(2, e[0]), CALL),
        "responses.stream.created responses.stream.sequence",
    ),
    (
        lambda: responses_stream({"11.delta": 5}, CALL),
        "responses.schema responses.stream.done_text responses.stream.item_text",
    ),
    (
        lambda: responses_stream({"9.output_index": "0"}, CALL),
        "responses.schema responses.stream.items.index",
    ),
    (
        lambda: responses_stream(lambda e: e.append({**e[-1], "sequence_number": 999}), CALL),
        "responses.stream.terminal",
    ),
    (
        lambda: responses_stream(lambda e: e.append({**e[1], "sequence_number": 999}), CALL),
        "responses.stream.terminal",
    ),
    (lambda: responses_stream({"10": ABSENT}, CALL), "responses.stream.items"),
    (lambda: responses_stream({"14.arguments": "{}"}, CALL), "responses.stream.done_text"),
    (
        lambda: responses_stream({"4": ABSENT}, CALL),
        "responses.stream.done_text responses.stream.item_text",
    ),
    (
        lambda: responses_stream({"14": ABSENT, "11": ABSENT}, CALL),
        "responses.stream.done_missing responses.stream.item_text",
    ),
    (
        lambda: responses_stream({"-1.response.output.1.arguments": "{}"}, CALL),
        "responses.stream.final",
    ),
    (
        lambda: responses_stream(
            {"-1.type": "response.incomplete", "-1.response.output": []}
            | {f"-1.response.{k}": v for k, v in _INCOMPLETE.items()},
            LONG,
            {"max_output_tokens": LENGTH},
        ),
        "responses.stream.final",
    ),
    (
        lambda: responses_stream(lambda e: e.insert(-1, {"type": "error", "message": "x"}), CALL),
        "stream.error_event",
    ),
    (
        lambda: responses_stream(_summarized, CALL),
        "responses.reasoning.content responses.stream.reasoning_parts",
    ),
    # Healthy
    *(
        (lambda kind=kind, reply=reply: kind({}, reply), "")
        for kind in _BOTH
        for reply in (CALL, ANSWER)
    ),
    *(
        (lambda kind=kind, asked=asked: kind(asked, Reply(text="Yes.", reasoning=""), asked), found)
        for level, found in (("low", ""), ("medium", "reasoning.rare"))
        for kind, asked in (
            (chat, {"reasoning_effort": level}),
            (responses, {"reasoning": {"effort": level, "summary": None}}),
        )
    ),
    *(
        (lambda members=members: chat(members, CALL), "")
        for members in (
            _content(""),
            _content(_PREAMBLE),
            _sent('{"location": "functions.get_weather \\"x\\" \\n 札幌 🌧"}'),
            {"choices.0.message.tool_calls.0.id": "chatcmpl-tool-1f"},
            {"choices.0.message.tool_calls.0.id": "9f3c"},
            {"choices.0.message.reasoning_content": CALL.reasoning},
            {"choices.0.message.reasoning_content": f"{CALL.reasoning}\n"},
            {"choices.0.stop_reason": 200012},
            {"service_tier": None},
            {"service_tier": "on_demand"},
        )
    ),
    *(
        (
            lambda members=members: chat(
                {f"choices.0.message.{k}": v for k, v in members.items()}, LONG
            ),
            "",
        )
        for members in (
            {
                "refusal": None,
                "annotations": [],
                "audio": None,
                "function_call": None,
                "token_ids": None,
                "matched_stop": 200002,
                "thinking_blocks": None,
                "provider_specific_fields": {"a": [1]},
            },
            {"tool_calls": []},
            {"tool_calls": None},
        )
    ),
    (
        lambda: chat(_cot(ABSENT) | {"choices.0.message.reasoning_content": LONG.reasoning}, LONG),
        "chat.reasoning.field:warning",
    ),
    (
        lambda: chat(
            _cot(ABSENT)
            | {
                "choices.0.message.reasoning_details": [
                    {"type": "reasoning.text", "text": LONG.reasoning, "index": 0}
                ]
            },
            LONG,
        ),
        "chat.reasoning.field:warning",
    ),
    (lambda: chat(_cot(ABSENT), LONG, {"reasoning": {"exclude": True}}), ""),
    # SGLang; with speculative decoding, the reasoning tokens exceed the output tokens.
    *(
        (
            lambda tokens=tokens: chat(
                {"usage.completion_tokens_details": ABSENT, "usage.reasoning_tokens": tokens}, CALL
            ),
            found,
        )
        for tokens, found in ((9, "usage.reasoning"), (500, "usage.reasoning usage.sum"))
    ),
    (
        lambda: chat_stream(
            lambda c: chat_blocks([x for x in c if "'reasoning': '" not in str(x)]),
            CALL,
            {"include_reasoning": False},
        ),
        "",
    ),
    (lambda: chat({}, CALL, {"parallel_tool_calls": True}), ""),
    (lambda: chat({"choices.0.finish_reason": "stop"}, CALL, {"tool_choice": "required"}), ""),
    (lambda: chat({}, LONG, {"tool_choice": "none"}), ""),
    (lambda: chat({}, LONG, {"reasoning_effort": "low"}), ""),
    (lambda: rollout([CALL, Reply(text=LONG.text, reasoning="")]), ""),
    (lambda: chat(_content('{"city": "Lisbon"}'), LONG, {"response_format": FORMAT}), ""),
    (lambda: chat({"choices.0.finish_reason": "length"}, LONG, {"max_tokens": LENGTH}), ""),
    (lambda: chat(_content("You wrote <|end|>."), LONG, _prompt("Say <|end|>")), ""),
    (lambda: chat(_content("| a |\n|---|\n" + "-" * 80), LONG), ""),
    (
        lambda: chat(
            lambda body: body.update(choices=[body["choices"][0] | {"index": n} for n in range(3)]),
            LONG,
            {"n": 3, "max_tokens": LENGTH},
        ),
        "",
    ),
    (
        lambda: responses(
            lambda body: body.update(max_output_tokens=4096 - body["usage"]["input_tokens"]), LONG
        ),
        "",
    ),
    (lambda: responses({"temperature": 0.7}, LONG, {"temperature": 0.7}), ""),
    (lambda: responses({"max_output_tokens": 512}, ANSWER, {"max_output_tokens": 512}), ""),
    (lambda: responses({"output.1.phase": "final_answer"}, ANSWER), ""),
    (lambda: responses({"output.1.phase": None}, ANSWER), ""),
    (lambda: responses(_commentary, CALL), ""),
    (
        lambda: responses(
            lambda body: body["output"].append(
                {
                    "type": "custom_tool_call",
                    "id": "ctc_1",
                    "call_id": "call_1",
                    "name": "apply_patch",
                    "input": "*** Begin Patch",
                    "status": "completed",
                }
            ),
            Reply(),
            {"tools": [{"type": "custom", "name": "apply_patch"}]},
        ),
        "",
    ),
    *(
        (
            lambda details=details: responses(
                {"usage.input_tokens_details": details, "usage.output_tokens_details": details},
                ANSWER,
            ),
            "responses.schema usage.reasoning",
        )
        for details in (None, {}, {"cached_tokens": None, "reasoning_tokens": None})
    ),
    (lambda: chat_stream({"-1.id": ""}, LONG), ""),
    (lambda: chat_stream(lambda c: [": keep-alive", *chat_blocks(c)], CALL), ""),
    (lambda: chat_stream(lambda c: c.insert(3, {**c[0], "choices": []}), CALL), ""),
    (
        lambda: chat_stream(
            lambda c: c.insert(0, {**c[0], "id": "chatcmpl-keepalive", "choices": [choice({})]}),
            CALL,
        ),
        "",
    ),
    (
        lambda: chat_stream(  # Azure
            lambda c: c.insert(
                0,
                {
                    "id": "",
                    "object": "",
                    "created": 0,
                    "model": "",
                    "choices": [],
                    "prompt_filter_results": [],
                },
            ),
            CALL,
        ),
        "",
    ),
    (
        lambda: chat_stream(
            {"-1.choices": [choice({"role": "assistant", "content": ""}, "tool_calls")]}, CALL
        ),
        "chat.stream.finish.repeated",
    ),
    (
        lambda: chat_stream(
            lambda c: c[3]["choices"][0]["delta"].update(refusal=None, annotations=[]), LONG
        ),
        "",
    ),
    (lambda: responses_stream(lambda e: [*responses_blocks(e), "data: [DONE]"], CALL), ""),
    (
        lambda: responses_stream(
            lambda e: [x["part"].update(text="The") for x in e if x["type"].endswith("part.added")],
            ANSWER,
        ),
        "responses.stream.item_text",
    ),
    *(
        (
            lambda kept=kept: responses_stream(
                lambda e: [*responses_blocks(e[:3]), kept, *responses_blocks(e[3:])], CALL
            ),
            found,
        )
        for kept, found in (
            (": keepalive", ""),
            (data({"type": "keepalive"}), "responses.stream.event_type"),
        )
    ),
    (
        lambda: responses_stream(
            lambda e: [
                data({"type": "keepalive", "sequence_number": 3}),
                *responses_blocks(e[:3]),
                data({"type": "ping"}),
                *responses_blocks(e[3:]),
            ],
            CALL,
        ),
        "responses.stream.event_type",
    ),
    (
        lambda: responses_stream(
            lambda e: [x.pop("logprobs", x.get("part", {}).pop("annotations", None)) for x in e],
            ANSWER,
        ),
        "responses.schema.minor",
    ),
    *(
        (
            lambda members=members: responses_stream(
                lambda e: [x["response"].update(members) for x in e if "response" in x], CALL
            ),
            found,
        )
        for members, found in (
            ({"tools": [_TOOL]}, ""),
            ({"tool_usage": {"web_search": {"num_requests": 0}}}, "responses.schema.minor"),
        )
    ),
    (
        lambda: responses_stream(
            {"-1.type": "response.incomplete"}
            | {f"-1.response.{k}": v for k, v in _INCOMPLETE.items()},
            LONG,
            {"max_output_tokens": LENGTH},
        ),
        "",
    ),
)


def _twice(arguments: str) -> Callable[[dict[str, Any]], None]:
    """Two calls of one function, the second one with these arguments."""

    def change(body: dict[str, Any]) -> None:
        calls = body["choices"][0]["message"]["tool_calls"]
        function = {**calls[0]["function"], "arguments": arguments}
        calls.append({**calls[0], "id": "call_2", "function": function})

    return change


def _no_cot(reply: Reply) -> dict[str, Any]:
    """A message without the CoT that its tokens include."""
    message = {"role": "assistant", "content": reply.text, "reasoning": None}
    return {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}


def _commentary(body: dict[str, Any]) -> None:
    """A preamble of its own phase before the call."""
    part = {"type": "output_text", "text": _PREAMBLE, "annotations": []}
    message = {"type": "message", "id": "msg_9", "role": "assistant", "status": "completed"}
    body["output"].insert(1, message | {"content": [part], "phase": "commentary"})


def _retried(status: int) -> Any:
    made = exchange("chat", False, json_response(chat_whole(ANSWER)))
    return made.model_copy(update={"retries": (Retry(status=status, waited=0.1),)})


def _cut() -> Rollout:
    answer = stream_response(chat_blocks([{"choices": [choice({"role": "assistant"})]}])[:-1])
    failure = TransportFailure(kind="cut", message="cut")
    cut = answer.model_copy(update={"complete": False})
    return _one(exchange("chat", True, cut, failure=failure), streaming=True, end="failed")


def _slow_burst() -> Rollout:
    """All events at once, five seconds late."""
    recorded = chat_stream({"-1.usage.completion_tokens": 400}, LONG)
    (only,) = recorded.exchanges
    assert only.response is not None
    parts = tuple(StreamPart(at=5.0, raw=part.raw) for part in only.response.parts)
    late = only.model_copy(update={"response": only.response.model_copy(update={"parts": parts})})
    return recorded.model_copy(update={"exchanges": (late,)})
