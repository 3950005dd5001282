"""Minimal recordings of defects of real gpt-oss servers, and the checks that must report them.

Ids follow the catalogue of the defects: A harmony parsing, B tools, C streaming, D history,
F structured output, G sampling, limits and usage. Defects that show only in the model's behavior
over many attempts are not included. `ALLOWED` lists variations that are allowed.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from healthy import SUITE, exchange, json_response, rollout, stream_response
from mutations import (
    Change,
    both,
    chat,
    chat_stream,
    drop,
    event_of,
    first_call,
    nothing,
    put,
    remove_event,
    responses,
    responses_stream,
)
from replies import Reply, chat_blocks, chat_whole, choice, counts, data, responses_blocks

from harness.records.rollouts import Rollout, StreamPart, TransportFailure

ARGUMENTS = '{"location": "Lisbon"}'
CALL = Reply(call=("get_weather", ARGUMENTS))
ANSWER = Reply(text="It is sunny in Lisbon, and warm; take a hat with you, and some water.")
MESSAGE = "choices.0.message"
TOOL_NAME = f"{MESSAGE}.tool_calls.0.function.name"
LENGTH, CALL_LENGTH = counts(ANSWER)[1], counts(CALL)[1]
PARSER_ERROR = {"error": {"message": "unexpected tokens remaining in message header"}}
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


@dataclass(frozen=True)
class Defect:
    """A recording of a defect, and the checks that must report it."""

    id: str
    what: str
    recording: Callable[[], Rollout]
    found: frozenset[str]


def _defect(defect_id: str, what: str, recording: Callable[[], Rollout], *found: str) -> Defect:
    return Defect(defect_id, what, recording, frozenset(found))


def whole(change: Change, reply: Reply = ANSWER, **request: Any) -> Callable[[], Rollout]:
    return lambda: chat(change, reply, request)


def streamed(change: Change, reply: Reply = ANSWER, **request: Any) -> Callable[[], Rollout]:
    return lambda: chat_stream(change, reply, request)


def response(change: Change, reply: Reply = ANSWER, **request: Any) -> Callable[[], Rollout]:
    return lambda: responses(change, reply, request)


def events(change: Change, reply: Reply = ANSWER, **request: Any) -> Callable[[], Rollout]:
    return lambda: responses_stream(change, reply, request)


def status(code: int, body: object = PARSER_ERROR) -> Callable[[], Rollout]:
    return lambda: rollout([CALL, json_response(body, code)], end="failed")


def content(text: str | None) -> Change:
    return put(f"{MESSAGE}.content", text)


def _without_cot(reply: Reply) -> dict[str, Any]:
    body: dict[str, Any] = chat_whole(reply)
    body["choices"][0]["message"]["reasoning"] = None
    return body


def _cut() -> Rollout:
    answer = stream_response(chat_blocks([{"choices": [choice({"role": "assistant"})]}])[:-1])
    broken = exchange(
        "chat", True, answer.model_copy(update={"complete": False}),
        failure=TransportFailure(kind="cut", message="cut"),
    )  # fmt: skip
    return rollout([broken], streaming=True, end="failed")


def _slow_burst() -> Rollout:
    recorded = chat_stream(put("-1.usage.completion_tokens", 400), ANSWER)
    (only,) = recorded.exchanges
    parts = tuple(StreamPart(at=5.0, raw=part.raw) for part in only.response.parts)
    late = only.model_copy(update={"response": only.response.model_copy(update={"parts": parts})})
    return recorded.model_copy(update={"exchanges": (late,)})


def _other_id(item: dict[str, Any]) -> None:
    event_of(item, "response.output_item.done")["item"]["id"] = "rs_99"


def _forget_item_id(found: list[dict[str, Any]]) -> None:
    del event_of(found, "response.output_text.delta")["item_id"]


def _mcp(body: dict[str, Any]) -> None:
    call = {"type": "mcp_call", "id": "mcp_1", "name": "json", "server_label": "x"}
    body["output"].append({**call, "arguments": '{"city": "Lisbon"}'})


def _call_as_mcp_call(body: dict[str, Any]) -> None:
    body["output"][-1].update(type="mcp_call", server_label="functions")
    del body["output"][-1]["call_id"]


def _same_call_twice(body: dict[str, Any]) -> None:
    calls = body["choices"][0]["message"]["tool_calls"]
    calls.append({**calls[0], "id": "call_2"})


def _two_calls(body: dict[str, Any]) -> None:
    _same_call_twice(body)
    second = body["choices"][0]["message"]["tool_calls"][1]
    second["function"] = {**second["function"], "arguments": '{"location": "Oslo"}'}


def _late_cot(chunks: list[dict[str, Any]]) -> None:
    last = next(at for at, chunk in enumerate(chunks) if chunk["choices"][0]["finish_reason"])
    first = next(chunk for chunk in chunks if chunk["choices"][0]["delta"].get("reasoning"))
    chunks.remove(first)
    chunks.insert(last - 1, first)


def _count_up(found: list[dict[str, Any]]) -> None:
    deltas = [event for event in found if event["type"] == "response.output_text.delta"]
    for number, event in enumerate(deltas):
        event["content_index"] = number


def _no_parts(found: list[dict[str, Any]]) -> None:
    found[:] = [event for event in found if "content_part" not in event["type"]]


def _silent_calls(chunks: list[dict[str, Any]]) -> None:
    chunks[:] = [chunk for chunk in chunks if "'tool_calls': [" not in str(chunk)]


def _endless(chunks: list[dict[str, Any]]) -> list[str]:
    return chat_blocks(chunks[:-2])[:-1]


def _vary_time(chunks: list[dict[str, Any]]) -> None:
    for number, chunk in enumerate(chunks):
        chunk["created"] += number


def _usage_in_every_chunk(chunks: list[dict[str, Any]]) -> None:
    for chunk in chunks[1:-1]:
        chunk["usage"] = chunks[-1]["usage"]


def _repeat_name(chunks: list[dict[str, Any]]) -> None:
    first_call(chunks[-3:])["function"]["name"] = "get_weather"


def _rename_call(found: list[dict[str, Any]]) -> None:
    added = [event["item"] for event in found if event["type"].endswith("item.added")]
    next(item for item in added if "call_id" in item)["call_id"] = "call_9"


def _rename_reasoning(chunks: list[dict[str, Any]]) -> None:
    for chunk in chunks:
        for each in chunk["choices"]:
            if "reasoning" in each["delta"]:
                each["delta"]["thought"] = each["delta"].pop("reasoning")


def _without_deltas_of_cot(chunks: list[dict[str, Any]]) -> None:
    chunks[:] = [chunk for chunk in chunks if "'reasoning': '" not in str(chunk)]


def _more_in_deltas(chunks: list[dict[str, Any]]) -> None:
    for chunk in chunks[:4]:
        chunk["choices"][0]["delta"].update(EXTRA)


def _think_twice(body: dict[str, Any]) -> None:
    body["output"].insert(0, {**body["output"][0], "id": "rs_77"})


def _one_index(found: list[dict[str, Any]]) -> None:
    for event in found:
        if "output_index" in event:
            event["output_index"] = 0


def _simulate(found: list[dict[str, Any]]) -> None:
    """One delta for each text, no sequence numbers."""
    merged: list[dict[str, Any]] = []
    for event in found:
        event.pop("sequence_number")
        if merged and "delta" in event and event["type"] == merged[-1]["type"]:
            merged[-1]["delta"] += event["delta"]
        else:
            merged.append(event)
    found[:] = merged


def _answer_as_call(body: dict[str, Any]) -> None:
    body["output"].pop()
    call = {"type": "mcp_call", "id": "mcp_1", "name": "json", "server_label": "x"}
    body["output"].append({**call, "arguments": '{"city": "Lisbon"}'})


THOUGHT = "The user asks for the weather in Lisbon; I know it is sunny there."
FORMAT = {"type": "json_schema", "json_schema": {"name": "place", "schema": SCHEMA}}
STRICT = [
    {"type": "function", "function": {"name": "get_weather", "strict": True,
     "parameters": {**SUITE.tool("get_weather").parameters, "additionalProperties": False}}},
]  # fmt: skip

DEFECTS = (
    # A. Harmony output parsing
    _defect("A01", "a header that could not be parsed: 500", status(500), "request.failed"),
    _defect("A01", "or 400", status(400), "request.refused"),
    _defect("A01", "or a stream that is cut", _cut, "stream.cut"),
    _defect("A01", "or a stream that just stops", streamed(_endless), "reply.unreadable"),
    _defect(
        "A02", "unexpected token while expecting start token: 503",
        status(503, {"error": "Unexpected token 12606 while expecting start token 200006"}),
        "request.failed",
    ),
    _defect(
        "A03", "raw markers in the content",
        whole(content("<|channel|>commentary<|message|>{}<|end|>")), "harmony.markers",
    ),
    _defect(
        "A04", "stripped markers in the content",
        whole(content("analysisWe need four.assistantfinalfour")), "harmony.remains",
    ),
    _defect(
        "A05", "tagged CoT in the content",
        whole(content("<reasoning>Hm.</reasoning>Sunny.")), "reasoning.in_answer",
    ),
    _defect(
        "A05", "the CoT is the content",
        whole(both(content("We need to answer. It is sunny."), drop(f"{MESSAGE}.reasoning"))),
        "reasoning.in_answer.untagged", "chat.reasoning.missing",
    ),
    _defect(
        "A08", "no answer after the CoT", whole(content(None)), "reply.lost"
    ),
    _defect("A09", "a second final message", whole(content(ANSWER.text * 2)), "text.doubled"),
    _defect("A09", "no end", whole(content("So warm. " * 90)), "text.runaway"),
    _defect(
        "A10", "a marker in the tool's name",
        whole(put(TOOL_NAME, "get_weather<|channel|>commentary"), CALL),
        "harmony.markers", "calls.name.polluted",
    ),
    _defect(
        "A10", "the content type glued to it",
        whole(put(TOOL_NAME, "get_weatherjson"), CALL), "calls.name.polluted",
    ),
    _defect("A12", "a call of an MCP server", response(_mcp), "responses.item_type.undeclared"),
    _defect(
        "A12", "a function call as mcp_call", response(_call_as_mcp_call, CALL),
        "responses.item_type.undeclared", "responses.call.item",
    ),
    _defect(
        "A15", "a call left out in silence",
        whole(drop(f"{MESSAGE}.tool_calls"), CALL), "chat.finish.no_calls",
    ),
    _defect(
        "A15", "with finish_reason stop",
        whole(both(drop(f"{MESSAGE}.tool_calls"), put("choices.0.finish_reason", "stop")), CALL),
        "reply.lost",
    ),
    _defect(
        "A16", "half characters",
        whole(content("Sunny \N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER} today")),
        "text.garbled",
    ),
    _defect(
        "A16", "half characters, where accents were asked about",
        whole(
            content("Sunny in Li\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}ge"),
            messages=[{"role": "user", "content": "Quel temps fait-il à Liège ?"}],
        ),
        "text.garbled", "text.garbled.beyond_ascii",
    ),
    _defect("A17", "a channel that could not be parsed", status(500), "request.failed"),
    _defect(
        "A18", "the CoT goes on into the answer",
        whole(put(f"{MESSAGE}.reasoning", f"Hm, weather.assistantfinal{ANSWER.text}")),
        "harmony.remains.reasoning", "reasoning.holds_answer",
    ),
    _defect(
        "A18", "answer and CoT are one text",
        whole(put(f"{MESSAGE}.reasoning", ANSWER.text)), "reasoning.is_answer",
    ),
    _defect(
        "A19", "the namespace is left in the name",
        whole(put(TOOL_NAME, "functions.get_weather"), CALL), "calls.name.polluted",
    ),
    _defect(
        "A21", "the call's JSON glued to text",
        whole(content(f"I will look.{ARGUMENTS}")), "calls.in_text",
    ),
    _defect(
        "A21", "the role and the content type glued to it",
        whole(content(f"assistantcode{ARGUMENTS}")), "calls.in_text", "harmony.remains",
    ),
    # B. Tool calls
    _defect("B01", "arguments as content", whole(content(ARGUMENTS)), "calls.in_text"),
    _defect(
        "B01", "a call as other models write it",
        whole(content(f'<call>{{"name": "get_weather", "arguments": {ARGUMENTS}}}</call>')),
        "calls.in_text",
    ),
    _defect(
        "B01", "arguments as reasoning",
        whole(put(f"{MESSAGE}.reasoning", ARGUMENTS)), "calls.lost",
    ),
    _defect("B02", "required ignored", whole(nothing, tool_choice="required"), "calls.choice"),
    _defect("B03", "none ignored", whole(nothing, CALL, tool_choice="none"), "calls.choice"),
    _defect(
        "B02", "another tool than the one named",
        response(nothing, CALL, tool_choice={"type": "function", "name": "service_status"}),
        "calls.choice",
    ),
    _defect("B04", "required crashes", status(500), "request.failed"),
    _defect(
        "B05", "a built-in tool out of nowhere",
        whole(put(TOOL_NAME, "browser.search"), CALL), "calls.name.built_in",
    ),
    _defect(
        "B07", "hyphens and underscores mixed up",
        whole(put(TOOL_NAME, "get-weather"), CALL), "calls.name.unknown",
    ),
    _defect(
        "B08", "the model runs on after its call, unseen",
        whole(both(put("usage.completion_tokens", 3_000), put("usage.total_tokens", 3_050)), CALL),
        "usage.output.unseen",
    ),
    _defect("B09", "several calls", whole(_two_calls, CALL), "calls.several"),
    _defect("B09", "one call twice", whole(_same_call_twice, CALL), "calls.several",
            "calls.repeated"),
    _defect(
        "B09", "though one was asked for",
        whole(_two_calls, CALL, parallel_tool_calls=False), "calls.parallel",
    ),
    _defect(
        "B13", "status 200, then an error as the only event",
        streamed(lambda chunks: ['data: {"error": {"message": "items"}}']), "stream.error_event",
    ),
    _defect("B14", "calls not streamed", streamed(_silent_calls, CALL), "chat.finish.no_calls"),
    _defect(
        "B15", "the server cannot parse its model's arguments",
        status(400, {"error": {"code": "tool_use_failed"}}), "request.refused",
    ),
    _defect(
        "B16", "strict is not enforced",
        whole(put(f"{MESSAGE}.tool_calls.0.function.arguments", '{"town": "Lisbon"}'), CALL,
              tools=STRICT),
        "calls.arguments.strict",
    ),
    _defect(
        "B17", "numbers became strings",
        whole(put(f"{MESSAGE}.tool_calls.0.function.arguments", '{"city": "Rome", "days": "3"}'),
              Reply(call=("get_weather", '{"city": "Rome", "days": 3}'),
                  reasoning='I call it with {"city": "Rome", "days": 3}.')),
        "calls.arguments.retyped", "calls.arguments.retyped.planned",
    ),
    _defect(
        "B17", "the end of the arguments is lost",
        whole(put(f"{MESSAGE}.tool_calls.0.function.arguments", '{"location": "Lis'), CALL),
        "calls.arguments.cut", "calls.arguments.json",
    ),
    # C. Streaming
    _defect(
        "C02", "a fragment twice",
        streamed(lambda c: first_call(c[-3:])["function"].update(arguments='"Lisbon"}"}'), CALL),
        "calls.arguments.json",
    ),
    _defect("C03", "calls dropped", streamed(_silent_calls, CALL), "chat.finish.no_calls"),
    _defect("C04", "the stream ends in silence", streamed(_endless, CALL), "reply.unreadable"),
    _defect(
        "C04", "or without [DONE]", streamed(lambda c: chat_blocks(c)[:-1]), "chat.stream.done"
    ),
    _defect("C06", "each chunk has its own time", streamed(_vary_time), "chat.stream.constant"),
    _defect("C05", "the CoT after the answer", streamed(_late_cot), "chat.stream.order"),
    _defect("C06", "token counts all over", streamed(_usage_in_every_chunk), "chat.stream.usage"),
    _defect(
        "C06", "finish length overwritten",
        whole(nothing, CALL, max_tokens=CALL_LENGTH), "finish.limit",
    ),
    _defect(
        "C06", "the name in every delta", streamed(_repeat_name, CALL),
        "chat.stream.tool_calls.repeated",
    ),
    _defect(
        "C09", "no item_id", events(_forget_item_id),
        "responses.schema", "responses.stream.items",
    ),
    _defect(
        "C10", "content_index counts tokens", events(_count_up),
        "responses.stream.parts", "responses.stream.item_text",
    ),
    _defect("C10", "no part events", events(_no_parts), "responses.stream.parts",
            "responses.stream.reasoning_parts"),
    _defect(
        "C11", "an item that was never added", events(remove_event("response.output_item.added")),
        "responses.stream.items",
    ),
    _defect("C12", "no response.completed", events(lambda e: e.pop()), "reply.unreadable"),
    _defect(
        "C13", "a function call streamed as reasoning",
        events(lambda e: e[-1]["response"]["usage"].update(output_tokens=30, total_tokens=80),
               Reply(text="", reasoning=ARGUMENTS)),
        "calls.lost",
    ),
    _defect("C15", "wrong item ids", events(_other_id), "responses.stream.items"),
    _defect(
        "C15", "the response changes its id",
        events(lambda e: e[-1]["response"].update(id="resp_9")), "responses.stream.id",
    ),
    _defect(
        "C15", "the call changes its id",
        events(_rename_call, CALL),
        "responses.stream.call",
    ),
    _defect("C16", "everything at once, late", _slow_burst, "stream.burst"),
    _defect(
        "C17", "a stream made from a complete reply", events(_simulate),
        "responses.stream.simulated",
    ),
    # D. History
    _defect("D06", "CoT and calls together: 500", status(500), "request.failed"),
    _defect(
        "D10", "no CoT after a tool's result",
        lambda: rollout([CALL, json_response(_without_cot(ANSWER))]),
        "reasoning.missing.after_result",
    ),
    _defect("D08", "the second turn is refused", status(400, {"message": "no"}), "request.refused"),
    # F. Structured output
    _defect(
        "F01", "the grammar acts on headers",
        whole(content("??{city"), response_format=FORMAT), "answer.json",
    ),
    _defect("F02", "the format is ignored", whole(nothing, response_format=FORMAT), "answer.json"),
    _defect(
        "F02", "the schema is ignored",
        whole(content('{"town": "Lisbon"}'), response_format=FORMAT), "answer.json",
    ),
    _defect(
        "F03", "the JSON goes into the CoT",
        whole(both(content(""), put(f"{MESSAGE}.reasoning", '{"city": "Lisbon"}')),
              response_format=FORMAT),
        "answer.json", "reply.lost",
    ),
    _defect(
        "F04", "a forced call without CoT",
        whole(drop(f"{MESSAGE}.reasoning"), CALL, tool_choice="required"), "reasoning.forced",
    ),
    _defect(
        "F05", "the answer as another item",
        response(_answer_as_call, text={"format": {"type": "json_object"}}),
        "responses.answer.item",
    ),
    # G. Sampling, limits, usage, errors
    _defect("G02", "a stop string cuts the CoT", whole(content("")), "reply.lost"),
    _defect("G02", "with the option", whole(content(""), stop=["hat"]), "stop.early"),
    _defect("G02", "a stop string stays", whole(nothing, stop=["hat"]), "stop.kept"),
    _defect(
        "G03", "cut at the limit, called completed",
        response(both(put("output", []), put("usage", None)), max_output_tokens=1), "reply.empty",
    ),
    _defect("G03", "with counts", response(nothing, max_output_tokens=LENGTH), "finish.limit"),
    _defect("G03", "the limit is ignored", response(nothing, max_output_tokens=4), "usage.limit"),
    _defect(
        "G03", "the text before the limit is lost",
        whole(both(put("choices.0.finish_reason", "length"), content(None),
                   drop(f"{MESSAGE}.reasoning")), max_tokens=LENGTH),
        "reply.lost.truncated",
    ),
    _defect("G04", "cut at the limit: 400", status(400), "request.refused"),
    _defect("G05", "no input tokens", whole(put("usage.prompt_tokens", 0)), "usage.zero"),
    _defect("G05", "no usage", streamed(lambda chunks: chunks.pop()), "usage.missing"),
    _defect(
        "G05", "the CoT is not counted",
        whole(both(put(f"{MESSAGE}.reasoning", "So much thought. " * 40 + "Done."),
                   put("usage.total_tokens", 70))),
        "usage.output.uncounted",
    ),
    _defect(
        "G05", "the arguments are counted as CoT",
        whole(put("usage.completion_tokens_details.reasoning_tokens", CALL_LENGTH), CALL),
        "usage.reasoning.differs",
    ),
    _defect("G06", "no logprobs", whole(nothing, logprobs=True), "chat.logprobs.missing"),
    _defect(
        "G10", "the CoT under a name nobody knows",
        streamed(_rename_reasoning),
        "chat.reasoning.missing",
    ),
    _defect(
        "H00", "escaped for HTML",
        whole(content("Sunny &amp; warm: 20 &lt; t &lt; 25, &quot;perfect&quot;."),
              Reply(text='Sunny & warm: 20 < t < 25, "perfect".')),
        "text.escaped",
    ),
    # H. Without an issue
    _defect(
        "H01", "another model's marker", whole(content("It is sunny.<|im_end|>")), "harmony.foreign"
    ),
    _defect(
        "H02", "UTF-8 read as Latin-1", whole(content("Il fait trÃ¨s beau, et voilÃ\xa0 tout.")),
        "text.mojibake",
    ),
    _defect(
        "H02", "or as Windows-1252",
        whole(put(f"{MESSAGE}.reasoning", "Câ€™est lâ€™heure.")),
        "text.mojibake",
    ),
    _defect("H03", "no content, in words", whole(content("None"), CALL), "text.placeholder"),
    _defect(
        "H04", "the CoT once more before the answer",
        whole(both(content(f"{THOUGHT} It is sunny."), put(f"{MESSAGE}.reasoning", THOUGHT))),
        "reasoning.in_answer.repeated",
    ),
    _defect(
        "H05", "more cached tokens than there are",
        whole(put("usage.prompt_tokens_details", {"cached_tokens": 900})), "usage.cached.excess",
    ),
    _defect(
        "H05", "in Responses, too",
        response(put("usage.input_tokens_details", {"cached_tokens": 900})), "usage.cached.excess",
    ),
    _defect("H06", "the CoT item twice", response(_think_twice), "responses.item.repeated"),
    _defect(
        "H07", "the CoT after its call",
        response(lambda body: body["output"].reverse(), CALL), "responses.item.order",
    ),
    _defect(
        "H07", "auto in place of the choice of the request",
        response(put("tool_choice", "auto"), CALL, tool_choice="required"), "responses.options",
    ),
    _defect(
        "H07", "another effort",
        response(put("reasoning", {"effort": "medium"}), reasoning={"effort": "high"}),
        "responses.options",
    ),
    _defect(
        "G01", "a temperature of the server",
        response(put("temperature", 0.7)), "responses.defaults",
    ),
    _defect(
        "G01", "a token limit of the server",
        response(put("max_output_tokens", 4096)), "responses.defaults",
    ),
    _defect("G01", "a top_p of the server", response(put("top_p", 0.9)), "responses.defaults"),
    _defect(
        "H07", "another choice of storage",
        response(put("store", True), store=False), "responses.options",
    ),
    _defect(
        "H07", "the continued response missing",
        response(put("previous_response_id", None), previous_response_id="resp_1"),
        "responses.options",
    ),
    _defect(
        "H07", "instructions of the server",
        response(put("instructions", "Be a pirate.")), "responses.options",
    ),
    _defect(
        "H07", "another format of the answer",
        response(
            put("text", {"format": {"type": "text"}}), text={"format": {"type": "json_object"}}
        ),
        "responses.options",
    ),
    _defect("H08", "a message of the user", whole(put(f"{MESSAGE}.role", "user")), "chat.schema"),
    _defect("H09", "an unknown end", whole(put("choices.0.finish_reason", "eos")), "chat.schema"),
    _defect(
        "H10", "content in parts",
        whole(put(f"{MESSAGE}.content", [{"type": "text", "text": "Sunny"}])),
        "reply.unreadable", "chat.schema",
    ),
    _defect(
        "H11", "arguments in Python's words",
        whole(put(f"{MESSAGE}.tool_calls.0.function.arguments", "{'location': 'Lisbon'}"), CALL),
        "calls.arguments.json",
    ),
    _defect(
        "H11", "arguments written down twice",
        whole(put(f"{MESSAGE}.tool_calls.0.function.arguments", json.dumps(ARGUMENTS)), CALL),
        "calls.arguments.json", "calls.arguments.escaped",
    ),
    _defect(
        "H12", "chunks after the end",
        streamed(lambda chunks: [*chat_blocks(chunks), data(chunks[1])]), "chat.stream.done",
    ),
    _defect("H13", "an empty call id", response(put("output.1.call_id", ""), CALL),
            "calls.id.missing"),
    _defect(
        "H14", "every item at one index", events(_one_index),
        "responses.stream.items", "responses.stream.final",
    ),
    _defect(
        "H15", "the end of the arguments says other ones",
        events(lambda e: event_of(e, "response.function_call_arguments.done").update(
            arguments='{"location": "Porto"}'), CALL),
        "responses.stream.done_text",
    ),
    _defect(
        "H16", "a call that starts at index 1",
        streamed(lambda chunks: [
            first_call([chunk]).update(index=1) for chunk in chunks
            if chunk["choices"] and chunk["choices"][0]["delta"].get("tool_calls")
        ] and chat_blocks(chunks), CALL),
        "chat.stream.tool_calls",
    ),
)  # fmt: skip


def _blocks_between(chunks: list[dict[str, Any]]) -> list[str]:
    return [block for chunk in chat_blocks(chunks) for block in (": keep-alive", chunk)]


def _reasoning_parts(found: list[dict[str, Any]]) -> None:
    for event in found:
        if event.get("part", {}).get("type") == "reasoning_text":
            event["type"] = event["type"].replace("content_part", "reasoning_part")


def _open_responses(found: list[dict[str, Any]]) -> None:
    for event in found:
        event["type"] = event["type"].replace("reasoning_text.", "reasoning.")


def _reasoning_content(body: dict[str, Any]) -> None:
    message = body["choices"][0]["message"]
    message["reasoning_content"] = message.pop("reasoning")


def _reasoning_details(body: dict[str, Any]) -> None:
    message = body["choices"][0]["message"]
    details = {"type": "reasoning.text", "text": message.pop("reasoning"), "index": 0}
    message["reasoning_details"] = [details]


def _separate_finish(chunks: list[dict[str, Any]]) -> None:
    """finish_reason and usage in the last chunk with content."""
    usage = chunks.pop()["usage"]
    reason = chunks.pop()["choices"][0]["finish_reason"]
    chunks[-1]["choices"][0]["finish_reason"] = reason
    chunks[-1]["usage"] = usage


def _three_choices(body: Any) -> None:
    body["choices"] = [body["choices"][0] | {"index": index} for index in range(3)]


def _role_everywhere(chunks: list[dict[str, Any]]) -> None:
    for chunk in chunks:
        for each in chunk["choices"]:
            each["delta"]["role"] = "assistant"


def _done_after_all(found: list[dict[str, Any]]) -> list[str]:
    return [*responses_blocks(found), "data: [DONE]"]


def _pings(found: list[dict[str, Any]]) -> list[str]:
    return [data({"type": "ping"}), *responses_blocks(found)]


EXTRA = {
    "refusal": None, "annotations": [], "audio": None, "function_call": None, "token_ids": None,
    "matched_stop": 200002, "thinking_blocks": None, "provider_specific_fields": {"a": [1]},
}  # fmt: skip
PREAMBLE = "I will look up the weather first."


def _rest_of_context(body: dict[str, Any]) -> None:
    body["max_output_tokens"] = 4096 - body["usage"]["input_tokens"]


ALLOWED: tuple[tuple[str, str, Callable[[], Rollout]], ...] = (
    ("V01", "reasoning_content", whole(_reasoning_content)),
    ("V01", "reasoning_details", whole(_reasoning_details)),
    ("V01", "CoT that the request excludes",
     whole(drop(f"{MESSAGE}.reasoning"), reasoning={"exclude": True})),
    ("V01", "CoT that the request does not include",
     streamed(_without_deltas_of_cot, CALL, include_reasoning=False)),
    ("V02", "one call with parallel calls on", whole(nothing, CALL, parallel_tool_calls=True)),
    ("V03", "stop after a forced call",
     whole(put("choices.0.finish_reason", "stop"), CALL, tool_choice="required")),
    ("V04", "bare hex ids", whole(put(f"{MESSAGE}.tool_calls.0.id", "9f3c"), CALL)),
    ("V04", "extra fields", whole(lambda body: body["choices"][0]["message"].update(EXTRA))),
    ("V04", "extra fields in deltas",
     streamed(_more_in_deltas)),
    ("V04", "no calls as a list", whole(put(f"{MESSAGE}.tool_calls", []))),
    ("V04", "no calls as null", whole(put(f"{MESSAGE}.tool_calls", None))),
    ("V04", "empty content beside a call", whole(content(""), CALL)),
    ("V05", "no CoT in the second reply", lambda: rollout(
        [CALL, Reply(text=ANSWER.text, reasoning="")])),
    ("V06", "an effort", whole(nothing, reasoning_effort="low")),
    ("V06", "the rest of the context as token limit", response(_rest_of_context)),
    ("V06", "the requested temperature", response(put("temperature", 0.7), temperature=0.7)),
    ("V07", "reasoning parts", events(_reasoning_parts)),
    ("V07", "Open Responses' reasoning", events(_open_responses)),
    ("V09", "no call with tool_choice none", whole(nothing, tool_choice="none")),
    ("V12", "finish and counts with the last text", streamed(_separate_finish)),
    ("V12", "the tokens of all choices together", whole(_three_choices, n=3, max_tokens=LENGTH)),
    ("V12", "the role in every delta", streamed(_role_everywhere)),
    ("V12", "counts in every chunk", streamed(_usage_in_every_chunk)),
    ("V12", "no id beside the counts", streamed(put("-1.id", ""))),
    ("V12", "comments between events", streamed(_blocks_between)),
    ("V12", "[DONE] after a response", events(_done_after_all)),
    ("V12", "pings between events", events(_pings)),
    ("V14", "a preamble before a call",
     whole(content(PREAMBLE), CALL)),
    ("V14", "a preamble as a message before a call", response(lambda body: body["output"].insert(
        1, {"type": "message", "id": "msg_9", "role": "assistant", "status": "completed",
            "content": [{"type": "output_text", "text": PREAMBLE, "annotations": []}]}), CALL)),
    ("V14", "a call of a tool of the client that is no function", response(
        lambda body: body["output"].append(
            {"type": "custom_tool_call", "id": "ctc_1", "call_id": "call_1",
             "name": "apply_patch", "input": "*** Begin Patch", "status": "completed"}),
        Reply(), tools=[{"type": "custom", "name": "apply_patch"}])),
    ("V14", "JSON that was asked for",
     whole(content('{"city": "Lisbon"}'), response_format=FORMAT)),
    ("V14", "an answer cut at its limit",
     whole(put("choices.0.finish_reason", "length"), max_tokens=LENGTH)),
    ("V14", "an incomplete response", events(lambda found: (
        found[-1].update(type="response.incomplete"),
        found[-1]["response"].update(
            status="incomplete", incomplete_details={"reason": "max_output_tokens"}),
    ), max_output_tokens=LENGTH)),
    ("V14", "markers that the user wrote", whole(
        content("You wrote <|end|>."), messages=[{"role": "user", "content": "Say <|end|>"}])),
    ("V14", "tool arguments with odd text", whole(
        put(f"{MESSAGE}.tool_calls.0.function.arguments",
            json.dumps({"location": "functions.get_weather \"x\" \n 札幌 🌧"})), CALL)),
    ("V14", "overload", status(429, {"error": {"message": "slow down"}})),
    ("V14", "a table with a long rule", whole(content("| a |\n|---|\n" + "-" * 80))),
)  # fmt: skip
