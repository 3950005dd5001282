"""Defects of replies that no fault of the reference engine has, and the checks that report them.

Faults of the engine describe the other defects (`test_faults_found.py`). `ALLOWED` lists variations
that are allowed.
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
    first_call,
    nothing,
    put,
    responses,
    responses_stream,
)
from replies import Reply, chat_blocks, chat_whole, choice, counts, data, responses_blocks

from harness.records.rollouts import Rollout, StreamPart, TransportFailure

ARGUMENTS = '{"location": "Lisbon"}'
CALL = Reply(call=("get_weather", ARGUMENTS))
ANSWER = Reply(text="It is sunny in Lisbon, and warm; take a hat with you, and some water.")
MESSAGE = "choices.0.message"
LENGTH, CALL_LENGTH = counts(ANSWER)[1], counts(CALL)[1]
PARSER_ERROR = {"error": {"message": "unexpected tokens remaining in message header"}}
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


@dataclass(frozen=True)
class Defect:
    """A recording of a defect, and the checks that must report it."""

    what: str
    recording: Callable[[], Rollout]
    found: frozenset[str]


def _defect(what: str, recording: Callable[[], Rollout], *found: str) -> Defect:
    return Defect(what, recording, frozenset(found))


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


def _no_parts(found: list[dict[str, Any]]) -> None:
    found[:] = [event for event in found if "content_part" not in event["type"]]


def _endless(chunks: list[dict[str, Any]]) -> list[str]:
    return chat_blocks(chunks[:-2])[:-1]


def _usage_in_every_chunk(chunks: list[dict[str, Any]]) -> None:
    for chunk in chunks[1:-1]:
        chunk["usage"] = chunks[-1]["usage"]


def _repeat_name(chunks: list[dict[str, Any]]) -> None:
    first_call(chunks[-3:])["function"]["name"] = "get_weather"


def _repeat_id(chunks: list[dict[str, Any]]) -> None:
    first_call(chunks[-3:])["id"] = first_call(chunks)["id"]


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
    _defect("or a stream that is cut", _cut, "stream.cut"),
    _defect("or a stream that just stops", streamed(_endless), "reply.unreadable"),
    _defect(
        "the CoT is the content",
        whole(both(content("We need to answer. It is sunny."), drop(f"{MESSAGE}.reasoning"))),
        "reasoning.in_answer.untagged", "reasoning.missing",
    ),
    _defect("no end", whole(content("So warm. " * 90)), "text.runaway"),
    _defect(
        "half characters, where accents were asked about",
        whole(
            content("Sunny in Li\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}ge"),
            messages=[{"role": "user", "content": "Quel temps fait-il à Liège ?"}],
        ),
        "text.garbled", "text.garbled.beyond_ascii",
    ),
    _defect(
        "the CoT goes on into the answer",
        whole(put(f"{MESSAGE}.reasoning", f"Hm, weather.assistantfinal{ANSWER.text}")),
        "harmony.remains.reasoning", "reasoning.holds_answer",
    ),
    _defect(
        "answer and CoT are one text",
        whole(put(f"{MESSAGE}.reasoning", ANSWER.text)), "reasoning.is_answer",
    ),
    _defect(
        "the call's JSON glued to text",
        whole(content(f"I will look.{ARGUMENTS}")), "calls.in_text",
    ),
    _defect(
        "the role and the content type glued to it",
        whole(content(f"assistantcode{ARGUMENTS}")), "calls.in_text", "harmony.remains",
    ),
    _defect(
        "a call as other models write it",
        whole(content(f'<call>{{"name": "get_weather", "arguments": {ARGUMENTS}}}</call>')),
        "calls.in_text",
    ),
    _defect("required ignored", whole(nothing, tool_choice="required"), "calls.choice"),
    _defect("none ignored", whole(nothing, CALL, tool_choice="none"), "calls.choice"),
    _defect(
        "another tool than the one named",
        response(nothing, CALL, tool_choice={"type": "function", "name": "service_status"}),
        "calls.choice",
    ),
    _defect(
        "the model runs on after its call, unseen",
        whole(both(put("usage.completion_tokens", 3_000), put("usage.total_tokens", 3_050)), CALL),
        "usage.output.unexplained",
    ),
    _defect("one call twice", whole(_same_call_twice, CALL), "calls.several",
            "calls.repeated"),
    _defect(
        "though one was asked for",
        whole(_two_calls, CALL, parallel_tool_calls=False), "calls.parallel",
    ),
    _defect(
        "strict is not enforced",
        whole(put(f"{MESSAGE}.tool_calls.0.function.arguments", '{"town": "Lisbon"}'), CALL,
              tools=STRICT),
        "calls.arguments.strict",
    ),
    _defect("the CoT after the answer", streamed(_late_cot), "chat.stream.order"),
    _defect(
        "the name in every delta", streamed(_repeat_name, CALL), "chat.stream.tool_calls",
    ),
    _defect(
        "the id in every delta", streamed(_repeat_id, CALL), "chat.stream.tool_calls.repeated",
    ),
    _defect("no part events", events(_no_parts), "responses.stream.parts",
            "responses.stream.reasoning_parts"),
    _defect("no response.completed", events(lambda e: e.pop()), "reply.unreadable"),
    _defect(
        "the response changes its id",
        events(lambda e: e[-1]["response"].update(id="resp_9")), "responses.stream.id",
    ),
    _defect(
        "the call changes its id",
        events(_rename_call, CALL),
        "responses.stream.call",
    ),
    _defect("everything at once, late", _slow_burst, "stream.burst"),
    _defect(
        "no CoT after a tool's result",
        lambda: rollout([CALL, json_response(_without_cot(ANSWER))]),
        "reasoning.missing.after_result",
    ),
    _defect(
        "the schema is ignored",
        whole(content('{"town": "Lisbon"}'), response_format=FORMAT), "answer.json",
    ),
    _defect(
        "the answer as a call",
        whole(nothing, Reply(call=("json", ARGUMENTS)), response_format=FORMAT, tools=None),
        "chat.answer.item",
    ),
    _defect(
        "cut at the limit, called completed",
        response(both(put("output", []), put("usage", None)), max_output_tokens=1), "reply.empty",
    ),
    _defect(
        "the CoT is not counted",
        whole(both(put(f"{MESSAGE}.reasoning", "So much thought. " * 40 + "Done."),
                   put("usage.total_tokens", 70))),
        "usage.output.unexplained",
    ),
    _defect(
        "the CoT under a name nobody knows",
        streamed(_rename_reasoning),
        "reasoning.missing",
    ),
    _defect(
        "another model's marker", whole(content("It is sunny.<|im_end|>")), "harmony.foreign"
    ),
    _defect(
        "UTF-8 read as Latin-1", whole(content("Il fait trÃ¨s beau, et voilÃ\xa0 tout.")),
        "text.mojibake",
    ),
    _defect(
        "or as Windows-1252",
        whole(put(f"{MESSAGE}.reasoning", "Câ€™est lâ€™heure.")),
        "text.mojibake",
    ),
    _defect("no content, in words", whole(content("None"), CALL), "text.placeholder"),
    _defect(
        "the CoT once more before the answer",
        whole(both(content(f"{THOUGHT} It is sunny."), put(f"{MESSAGE}.reasoning", THOUGHT))),
        "reasoning.in_answer.repeated",
    ),
    _defect(
        "more cached tokens than there are",
        whole(put("usage.prompt_tokens_details", {"cached_tokens": 900})), "usage.sum",
    ),
    _defect(
        "in Responses, too",
        response(put("usage.input_tokens_details", {"cached_tokens": 900})), "usage.sum",
    ),
    _defect(
        "the CoT after its call",
        response(lambda body: body["output"].reverse(), CALL), "responses.item.order",
    ),
    _defect(
        "a token limit of the server",
        response(put("max_output_tokens", 4096)), "responses.defaults",
    ),
    _defect("a top_p of the server", response(put("top_p", 0.9)), "responses.defaults"),
    _defect("a message of the user", whole(put(f"{MESSAGE}.role", "user")), "chat.schema"),
    _defect("an unknown end", whole(put("choices.0.finish_reason", "eos")), "chat.schema"),
    _defect(
        "content in parts",
        whole(put(f"{MESSAGE}.content", [{"type": "text", "text": "Sunny"}])),
        "reply.unreadable", "chat.schema",
    ),
    _defect(
        "chunks after the end",
        streamed(lambda chunks: [*chat_blocks(chunks), data(chunks[1])]), "chat.stream.done",
    ),
    _defect("an empty call id", response(put("output.1.call_id", ""), CALL),
            "calls.id.missing"),
    _defect(
        "every item at one index", events(_one_index),
        "responses.stream.items.repeated",
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


ALLOWED: tuple[tuple[str, Callable[[], Rollout]], ...] = (
    ("reasoning_content", whole(_reasoning_content)),
    ("reasoning_details", whole(_reasoning_details)),
    ("CoT that the request excludes",
     whole(drop(f"{MESSAGE}.reasoning"), reasoning={"exclude": True})),
    ("CoT that the request does not include",
     streamed(_without_deltas_of_cot, CALL, include_reasoning=False)),
    ("one call with parallel calls on", whole(nothing, CALL, parallel_tool_calls=True)),
    ("stop after a forced call",
     whole(put("choices.0.finish_reason", "stop"), CALL, tool_choice="required")),
    ("bare hex ids", whole(put(f"{MESSAGE}.tool_calls.0.id", "9f3c"), CALL)),
    ("extra fields", whole(lambda body: body["choices"][0]["message"].update(EXTRA))),
    ("extra fields in deltas",
     streamed(_more_in_deltas)),
    ("no calls as a list", whole(put(f"{MESSAGE}.tool_calls", []))),
    ("no calls as null", whole(put(f"{MESSAGE}.tool_calls", None))),
    ("empty content beside a call", whole(content(""), CALL)),
    ("no CoT in the second reply", lambda: rollout(
        [CALL, Reply(text=ANSWER.text, reasoning="")])),
    ("an effort", whole(nothing, reasoning_effort="low")),
    ("the rest of the context as token limit", response(_rest_of_context)),
    ("the requested temperature", response(put("temperature", 0.7), temperature=0.7)),
    ("reasoning parts", events(_reasoning_parts)),
    ("Open Responses' reasoning", events(_open_responses)),
    ("no call with tool_choice none", whole(nothing, tool_choice="none")),
    ("finish and counts with the last text", streamed(_separate_finish)),
    ("the tokens of all choices together", whole(_three_choices, n=3, max_tokens=LENGTH)),
    ("the role in every delta", streamed(_role_everywhere)),
    ("counts in every chunk", streamed(_usage_in_every_chunk)),
    ("no id beside the counts", streamed(put("-1.id", ""))),
    ("comments between events", streamed(_blocks_between)),
    ("[DONE] after a response", events(_done_after_all)),
    ("pings between events", events(_pings)),
    ("a preamble before a call",
     whole(content(PREAMBLE), CALL)),
    ("a preamble as a message before a call", response(lambda body: body["output"].insert(
        1, {"type": "message", "id": "msg_9", "role": "assistant", "status": "completed",
            "content": [{"type": "output_text", "text": PREAMBLE, "annotations": []}]}), CALL)),
    ("a call of a tool of the client that is no function", response(
        lambda body: body["output"].append(
            {"type": "custom_tool_call", "id": "ctc_1", "call_id": "call_1",
             "name": "apply_patch", "input": "*** Begin Patch", "status": "completed"}),
        Reply(), tools=[{"type": "custom", "name": "apply_patch"}])),
    ("JSON that was asked for",
     whole(content('{"city": "Lisbon"}'), response_format=FORMAT)),
    ("an answer cut at its limit",
     whole(put("choices.0.finish_reason", "length"), max_tokens=LENGTH)),
    ("an incomplete response", events(lambda found: (
        found[-1].update(type="response.incomplete"),
        found[-1]["response"].update(
            status="incomplete", incomplete_details={"reason": "max_output_tokens"}),
    ), max_output_tokens=LENGTH)),
    ("markers that the user wrote", whole(
        content("You wrote <|end|>."), messages=[{"role": "user", "content": "Say <|end|>"}])),
    ("tool arguments with odd text", whole(
        put(f"{MESSAGE}.tool_calls.0.function.arguments",
            json.dumps({"location": "functions.get_weather \"x\" \n 札幌 🌧"})), CALL)),
    ("overload", status(429, {"error": {"message": "slow down"}})),
    ("a table with a long rule", whole(content("| a |\n|---|\n" + "-" * 80))),
)  # fmt: skip
