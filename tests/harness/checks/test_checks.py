"""Every check on healthy replies (no findings) and on replies with one defect (reported)."""

import ast
import json
import re
from functools import partial
from itertools import pairwise
from pathlib import Path

import mutations
import pytest
from analyses import planned, scored
from defects import DEFECTS, _open_responses, _reasoning_parts
from examined import details, findings
from healthy import SUITE, correct, exchange, json_response, rollout, stream_response
from mutations import change_event, drop, event_of, first_call, put, remove_event
from pydantic import TypeAdapter
from replies import (
    Reply,
    chat_blocks,
    chat_chunks,
    chat_whole,
    choice,
    counts,
    data,
    responses_blocks,
    responses_whole,
)

from harmony.conversation import Answer, Reasoning
from harmony.render import message_tokens
from harness.api.ledger import IN_PROMPT
from harness.api.parsed_rollout import parse_rollout
from harness.records.analysis import RuleResult
from harness.records.rollouts import Response, Retry
from harness.records.scores import Score
from harness.repeat import commands
from harness.repeat.subject import Subject
from harness.rules import catalogue
from harness.rules.catalogue import CHECKS, RULES
from harness.rules.check import AccountRule
from harness.rules.probe import ProbeOptions
from harness.rules.text.checks import misread
from harness.run.run_folder import COMPARED
from reference_engine.faults.catalogue import CATALOGUE

CASE = SUITE.cases[6]
CALL, ANSWER = correct(CASE)
ANSWERED = Reply(text="It is sunny in Lisbon, and warm.")
EMPTIED = {"stop.early", "reply.empty", "reasoning.missing", "reasoning.rare"}


def found(answers, api="chat", streaming=False):
    return catalogue.examine(parse_rollout(rollout(answers, api=api, streaming=streaming)))[1]


@pytest.mark.parametrize(("effort", "reported"), [("low", False), ("medium", True)])
@pytest.mark.parametrize("api", ["chat", "responses"])
def test_the_model_may_answer_without_cot_at_low_effort(api, effort, reported):
    whole = chat_whole if api == "chat" else responses_whole
    options = {"chat": {"reasoning_effort": effort}, "responses": {"reasoning": {"effort": effort}}}
    reply = whole(Reply(text="Yes.", reasoning=""))
    recorded = mutations.asked(rollout([json_response(reply)], api=api), options[api])
    assert ("reasoning.rare" in findings(recorded)) == reported


def ids(findings):
    return {finding.id for finding in findings}


def chat(change, reply=CALL):
    return reported(mutations.chat(change, reply))


def responses(change, reply=CALL):
    return reported(mutations.responses(change, reply))


def chat_stream(change, reply=CALL):
    return reported(mutations.chat_stream(change, reply))


def responses_stream(change, reply=CALL):
    return reported(mutations.responses_stream(change, reply))


def reported(recorded):
    return findings(recorded)


def judged(rollouts):
    """The scores of strict tool calling, as they are written to the folder."""
    run = planned(strict=True, tries=1, only=("cases",), suite=SUITE)
    dump = TypeAdapter(Score).dump_python
    scores = [each for each in scored(rollouts, run) if each.finished]
    return [dump(each, mode="json", exclude=COMPARED) for each in scores]


# --- Healthy


@pytest.mark.parametrize("api", ["chat", "responses"])
@pytest.mark.parametrize("streaming", [True, False])
@pytest.mark.parametrize("case", SUITE.cases, ids=lambda case: case.id)
def test_healthy_replies_have_no_findings(api, streaming, case):
    assert found(correct(case), api=api, streaming=streaming) == ()


HEALTHY_VARIATIONS = {
    "extra fields": put("choices.0.message.provider_specific_fields", {"a": None}),
    "empty instead of null content": put("choices.0.message.content", ""),
    "another id prefix": put("choices.0.message.tool_calls.0.id", "chatcmpl-tool-1f"),
    "null where optional": put("service_tier", None),
    "its own service level": put("service_tier", "on_demand"),
    "both reasoning fields": put("choices.0.message.reasoning_content", CALL.reasoning),
    "a trimmed copy of the CoT": put("choices.0.message.reasoning_content", f"{CALL.reasoning}\n"),
    "matched stop token": put("choices.0.stop_reason", 200012),
}


@pytest.mark.parametrize("name", HEALTHY_VARIATIONS)
def test_healthy_variations_of_a_completion_are_accepted(name):
    assert chat(HEALTHY_VARIATIONS[name]) == set()


def test_healthy_variations_of_streams_are_accepted():
    assert chat_stream(lambda c: [": keep-alive", *chat_blocks(c)]) == set()
    assert chat_stream(lambda c: c.insert(3, {**c[0], "choices": []})) == set()
    assert responses_stream(lambda e: [*responses_blocks(e), "data: [DONE]"]) == set()

    def absent_optional(events):
        for event in events:
            event.pop("logprobs", None)
            event.get("part", {}).pop("annotations", None)

    assert responses_stream(absent_optional, ANSWERED) == {"responses.schema.minor"}


def azure_remark(chunks):
    remark = {"id": "", "object": "", "created": 0, "model": "", "choices": []}
    chunks.insert(0, {**remark, "prompt_filter_results": []})


def early_keep_alive(chunks):
    chunks.insert(0, {**chunks[0], "id": "chatcmpl-keepalive", "choices": [choice({})]})


def repeat_finish(chunks):
    chunks[-1]["choices"] = [choice({"role": "assistant", "content": ""}, "tool_calls")]


def keep_alives(events):
    remark = {"type": "keepalive", "sequence_number": 3}
    return [data(remark), *responses_blocks(events[:3]), data({"type": "ping"}),
            *responses_blocks(events[3:])]  # fmt: skip


def heartbeat(events):
    events.insert(2, {"type": "keepalive", "sequence_number": 2})
    for number, event in enumerate(events):
        event["sequence_number"] = number


def own_service(events):
    for event in events:
        if "response" in event:
            event["response"]["tool_usage"] = {"web_search": {"num_requests": 0}}


def echo_tools(events):
    tool = {"type": "function", "name": "f", "description": None, "parameters": {}}
    for event in events:
        if "response" in event:
            event["response"]["tools"] = [tool]


@pytest.mark.parametrize(
    ("quirk", "findings"),
    [
        (azure_remark, set()),
        (early_keep_alive, set()),
        (repeat_finish, {"chat.stream.finish.repeated"}),
    ],
)
def test_additions_of_gateways_to_chat_streams_are_not_errors(quirk, findings):
    assert chat_stream(quirk) == findings


@pytest.mark.parametrize(
    ("quirk", "findings"),
    [
        (keep_alives, {"responses.stream.event_type", "responses.stream.event_name"}),
        (heartbeat, set()),
        (echo_tools, {"responses.schema.minor"}),
        (own_service, {"responses.schema.minor"}),
    ],
)
def test_additions_of_gateways_to_responses_streams_are_not_errors(quirk, findings):
    assert responses_stream(quirk) <= findings


def test_a_retry_after_a_server_error_is_reported():
    repeated = exchange("chat", False, json_response(chat_whole(ANSWERED)))
    for status, expected in ((500, {"request.server_error"}), (429, set())):
        answer = repeated.model_copy(update={"retries": (Retry(status=status, waited=0.1),)})
        assert ids(found([answer])) == expected


@pytest.mark.parametrize("api", ["chat", "responses"])
def test_a_rejected_request_is_reported(api):
    refused = json_response({"error": {"message": "no CoT, please"}}, status=400)
    (finding,) = found([CALL, refused], api=api)
    assert (finding.id, finding.evidence.exchange) == ("request.refused", 1)
    assert "no CoT, please" in finding.evidence.got
    for status in (429, 503):
        assert found([json_response({}, status=status)], api=api) == ()
    assert ids(found([json_response({}, status=500)], api=api)) == {"request.failed"}


def test_kinds_of_refusals_are_told_apart_by_what_decides():
    """Foundry Local 2.2's errors begin with the signature of a C++ function."""

    def refused(reason):
        text = f"generate failed: {'std::vector<int64_t> ' * 30}{reason}"
        bodies = {"error": {"message": text}}, {"detail": text}
        problems = [found([json_response(body, status=400)])[0] for body in bodies]
        assert all(each.evidence.got.endswith(reason) for each in problems)
        return {each.message for each in problems}

    (first,) = refused("request a1 has too few tokens: 97")
    (again,) = refused("request b2 has too few tokens: 102")
    (other,) = refused("a tool has no grammar")
    assert first == again != other


def test_error_messages_are_shortened_for_reports():
    reply = Reply(call=("f" * 1_000_000, "{"), call_id="")
    assert 0 < max(map(len, [finding.message for finding in found([reply])])) < 400


def test_a_summary_without_its_part_is_a_warning():
    """Ollama streams the CoT as a summary, without the events of its part."""

    def summary(events):
        events[:] = [e for e in events if e.get("part", {}).get("type") != "reasoning_text"]
        for event in events:
            if event["type"].startswith("response.reasoning_text"):
                event["type"] = event["type"].replace("reasoning_text", "reasoning_summary_text")
                event["summary_index"] = event.pop("content_index")
            for item in (event.get("item"), *event.get("response", {}).get("output", [])):
                if item and item["type"] == "reasoning" and item.get("content"):
                    item["summary"] = [
                        {"type": "summary_text", "text": item.pop("content")[0]["text"]}
                    ]

    expected = {"responses.reasoning.content", "responses.stream.reasoning_parts"}
    assert responses_stream(summary) == expected


def test_other_reasoning_dialects_are_healthy():
    assert responses_stream(_open_responses) == set()
    assert responses_stream(_reasoning_parts) == set()


def test_a_header_written_by_the_model_as_text_is_not_a_leak():
    assert ids(found([Reply(text="I would write to=functions.get_weather here.")])) == set()


def test_the_arguments_of_the_built_in_python_are_a_program():
    assert ids(found([Reply(call=("python", "print(1 + 1)"))])) == {"calls.name.built_in"}
    broken = ids(found([Reply(call=("browser.search", "weather in Lisbon"))]))
    assert broken == {"calls.name.built_in", "calls.arguments.json"}


def test_arguments_that_the_token_limit_cut_are_no_invalid_json():
    cut = Reply(call=("get_weather", '{"city": "Lis'))
    assert "calls.arguments.json" not in chat(put("choices.0.finish_reason", "length"), cut)
    assert "calls.arguments.json" in chat(mutations.nothing, cut)


def test_special_tokens_in_the_prompt_may_be_repeated():
    recorded = rollout([Reply(text="You wrote <|end|>.", wrote="You wrote.")])
    assert "harmony.markers" in findings(recorded)
    recorded.exchanges[0].request.body["messages"][0]["content"] = "Say <|end|>"
    assert findings(recorded) == set()


# --- Replies with one defect


def truncated_without_cot(body):
    choice = body["choices"][0]
    choice["finish_reason"] = "length"
    choice["message"] |= {"content": "We need to", "reasoning": None}


BROKEN_CHAT = [
    ("chat.choices", lambda body: body["choices"].append(body["choices"][0]), CALL),
    ("chat.choices", put("choices.0.index", 1), CALL),
    ("reply.model", put("model", ""), CALL),
    ("reply.created", put("created", 1_767_323_045_000), CALL),
    ("chat.schema", put("created", "1"), CALL),
    ("chat.schema", put("object", "completion"), CALL),
    ("chat.schema", drop("id"), CALL),
    ("reply.unreadable", put("choices", []), CALL),
    ("reply.unreadable", put("choices.0.message.content", {"a": 1}), CALL),
    ("reply.unreadable", put("choices.0.message.tool_calls.0.function.arguments", {}), CALL),
    ("reply.unreadable", put("error", {"message": "no"}), CALL),
    ("reply.id", put("id", ""), CALL),
    ("reasoning.missing", drop("choices.0.message.reasoning"), CALL),
    (
        "reasoning.rare",
        lambda b: b["choices"][0]["message"].pop("reasoning") and b.pop("usage"),
        CALL,
    ),
    ("chat.reasoning.type", put("choices.0.message.reasoning", {"text": "x"}), CALL),
    ("chat.reasoning.field", put("choices.0.message.reasoning_content", "Another text."), CALL),
    ("chat.finish.tool_calls", put("choices.0.finish_reason", "stop"), CALL),
    ("chat.finish.no_calls", put("choices.0.finish_reason", "tool_calls"), ANSWER),
    ("chat.finish.no_calls", put("choices.0.finish_reason", "function_call"), ANSWER),
    (
        "harmony.remains.reasoning",
        put("choices.0.message.reasoning", "analysisThe user asks for the weather."),
        ANSWER,
    ),
    ("reply.empty", put("choices.0.message.content", None), ANSWER),
    ("reply.refused", put("choices.0.message.refusal", "I cannot help with that."), ANSWER),
    ("usage.missing", drop("usage"), CALL),
    ("usage.sum", put("usage.total_tokens", 71), CALL),
    ("usage.sum", put("usage.prompt_tokens", 0), CALL),
    ("usage.sum", put("usage.completion_tokens", 0), CALL),
    ("usage.sum", put("usage.completion_tokens_details.reasoning_tokens", 99), CALL),
    ("usage.reasoning", drop("usage.completion_tokens_details"), CALL),
    ("calls.id.missing", put("choices.0.message.tool_calls.0.id", ""), CALL),
    ("calls.name.unknown", put("choices.0.message.tool_calls.0.function.name", "fly"), CALL),
    ("calls.arguments.json", put("choices.0.message.tool_calls.0.function.arguments", "{"), CALL),
    (
        "calls.arguments.json",
        put("choices.0.message.tool_calls.0.function.arguments", '{"a": NaN}'),
        CALL,
    ),
    (
        "calls.arguments.escaped",
        put("choices.0.message.tool_calls.0.function.arguments", "{'a': None}"),
        CALL,
    ),
    ("harmony.markers", put("choices.0.message.content", "a<|channel|>final"), ANSWER),
    ("harmony.markers", put("choices.0.message.reasoning", "a<|end|>"), ANSWER),
    ("harmony.markers", put("choices.0.message.tool_calls.0.function.name", "f<|start|>"), CALL),
    ("harmony.remains", put("choices.0.message.content", "analysisWe need to…"), ANSWERED),
    ("harmony.remains", put("choices.0.message.content", "commentaryI will look."), ANSWERED),
    ("harmony.remains", put("choices.0.message.content", "So.assistantfinalFour"), ANSWERED),
    ("harmony.remains", put("choices.0.message.content", "commentary to=functions.f"), ANSWERED),
    ("reasoning.in_answer", put("choices.0.message.content", "<think>Hm</think>4"), ANSWER),
    ("reasoning.missing.truncated", truncated_without_cot, ANSWER),
]


def stopped_for(reason):
    return lambda body: body.update(status="incomplete", incomplete_details={"reason": reason})


BROKEN_RESPONSES = [
    ("responses.schema.required", drop("metadata"), CALL),
    ("reply.created", put("created_at", 1), CALL),
    ("responses.schema", put("created_at", "now"), CALL),
    ("responses.schema", put("parallel_tool_calls", None), CALL),
    ("responses.schema", put("output.0.summary", None), CALL),
    ("responses.schema", drop("output.1.id"), ANSWERED),
    ("responses.schema", put("output.1.type", "poem"), ANSWERED),
    ("responses.schema.minor", drop("usage.input_tokens_details"), CALL),
    ("reasoning.missing", lambda body: body["output"].pop(0), CALL),
    ("responses.reasoning.content", put("output.0.content", None), CALL),
    ("responses.reasoning.content", put("output.0.content.0.type", "text"), CALL),
    ("responses.reasoning.summary",
     put("output.0.summary", [{"type": "summary_text", "text": CALL.reasoning}]), CALL),
    ("responses.status", put("status", "in_progress"), CALL),
    ("responses.status", put("status", "incomplete"), CALL),
    ("responses.status", stopped_for("length"), CALL),
    ("responses.status", put("output.1.status", "in_progress"), CALL),
    ("responses.item_id.repeated", put("output.1.id", "rs_1"), CALL),
    ("responses.message.phase", put("output.1.phase", "commentary"), ANSWERED),
    ("reply.lost", lambda body: body["output"].pop(1), ANSWERED),
    ("reply.refused", put("output.1.content.0", {"type": "refusal", "refusal": "No."}), ANSWERED),
    ("usage.sum", put("usage.total_tokens", 1), CALL),
    ("harmony.markers", put("output.1.content.0.text", "<|return|>"), ANSWERED),
    ("reply.unreadable", put("output", None), CALL),
]  # fmt: skip


def drop_done(chunks):
    return chat_blocks(chunks)[:-1]


def extra_done(chunks):
    return ["data: [DONE]", *chat_blocks(chunks)]


def null_type(chunks):
    """OGX: `chat.completions.stream()` of openai takes this type for that of the call."""
    later = [
        call
        for chunk in chunks
        for choice in chunk["choices"]
        for call in choice["delta"].get("tool_calls", ())
    ]
    later[-1]["type"] = None


def second_finish(chunks):
    chunks.insert(-1, {**chunks[0], "choices": [choice({}, "stop")]})


def say_more(chunks):
    chunks.insert(-1, {**chunks[0], "choices": [choice({"content": "more"})]})


def error_chunk(chunks):
    return [*chat_blocks(chunks[:-2]), 'data: {"error": {"message": "out of memory"}}']


def garbage(chunks):
    return [*chat_blocks(chunks[:3]), "data: {oops", *chat_blocks(chunks[3:])]


def rename_reasoning(chunks):
    for chunk in chunks:
        for entry in chunk["choices"]:
            if "reasoning" in entry["delta"]:
                entry["delta"]["reasoning_content"] = entry["delta"].pop("reasoning")


def late_copy(chunks):
    pieces = [each["delta"] for chunk in chunks for each in chunk["choices"]]
    pieces = [delta for delta in pieces if "reasoning" in delta]
    for delta, later in pairwise(pieces):
        later["reasoning_content"] = delta["reasoning"]


def name_later(chunks):
    function = first_call(chunks)["function"]
    later = next(
        call
        for chunk in chunks
        for choice in chunk["choices"]
        for call in choice["delta"].get("tool_calls", ())
        if call["function"] is not function
    )
    later["function"]["name"], function["name"] = function["name"], ""


BROKEN_CHAT_STREAM = [
    ("chat.schema", put("2.created", "1"), CALL),
    ("chat.schema.minor", put("2.created", 1.5), CALL),
    ("chat.schema.minor", put("2.choices.0.finish_reason", ""), CALL),
    ("chat.schema", put("2.object", "chat.completion"), CALL),
    ("reply.model", put("2.model", "gpt-oss-other"), CALL),
    ("stream.json", garbage, CALL),
    ("stream.error_event", error_chunk, CALL),
    ("chat.stream.done", drop_done, CALL),
    ("chat.stream.done", extra_done, CALL),
    ("chat.stream.done.repeated", lambda chunks: [*chat_blocks(chunks), "data: [DONE]"], CALL),
    ("chat.stream.finish", lambda chunks: chunks.pop(-2), CALL),
    ("chat.stream.finish.followed", second_finish, CALL),
    ("chat.stream.finish.followed", say_more, CALL),
    ("chat.stream.role", lambda chunks: chunks.pop(0), CALL),
    ("chat.stream.id", put("2.id", "chatcmpl-2"), CALL),
    ("chat.stream.tool_calls", lambda chunks: first_call(chunks).pop("id"), CALL),
    ("chat.stream.tool_calls", lambda chunks: first_call(chunks)["function"].pop("name"), CALL),
    ("chat.stream.tool_calls", name_later, CALL),
    ("chat.stream.tool_calls.numbers", lambda chunks: first_call(chunks).update(index=1), CALL),
    ("chat.stream.tool_calls.type", null_type, CALL),
    ("chat.stream.tool_calls.type", lambda chunks: first_call(chunks).pop("type"), CALL),
    ("chat.stream.tool_calls.type", lambda chunks: first_call(chunks).update(type=None), CALL),
    ("chat.reasoning.field", rename_reasoning, CALL),
    ("chat.reasoning.field", late_copy, CALL),
    ("usage.missing", lambda chunks: chunks.pop(), CALL),
]


def forget_item(events):
    event_of(events, "response.completed")["response"]["output"].pop()


def other_final(events):
    event_of(events, "response.completed")["response"]["output"][1]["arguments"] = "{}"


def bare_blocks(events):
    return [block.split("\n", 1)[1] for block in responses_blocks(events)]


def twice(events):
    events.append({**events[-1], "sequence_number": 999})


def drop_one_text(events):
    """A missing delta without a done event."""
    remove_event(f"{ARGUMENTS}.delta")(events)
    remove_event(f"{ARGUMENTS}.done")(events)


def count_up(events):
    deltas = [event for event in events if event["type"] == "response.output_text.delta"]
    for number, event in enumerate(deltas):
        event["content_index"] = number
    remove_event("response.output_text.done")(events)


def move_part_done(events):
    done = event_of(events, "response.content_part.done")
    events.remove(done)
    events.insert(events.index(event_of(events, "response.reasoning_text.delta")) + 1, done)


def wrong_kind(events):
    for event in events:
        event["type"] = event["type"].replace("output_text", "function_call_arguments")


def count_items_from_one(events):
    for event in events:
        if "output_index" in event:
            event["output_index"] += 1


def change_part_text(events):
    parts = [event for event in events if event["type"] == "response.content_part.done"]
    parts[-1]["part"] = {**parts[-1]["part"], "text": "Something else."}


def stream_no_text(events):
    """The answer is only in the final item."""
    events[:] = [event for event in events if "output_text" not in event["type"]]


def call_added(events):
    added = [event["item"] for event in events if event["type"] == ADDED]
    return next(item for item in added if item["type"] == "function_call")


def remove_last_event(kind):
    return lambda events: events.remove(event_of(events[::-1], kind))


ADDED, DONE = "response.output_item.added", "response.output_item.done"
ARGUMENTS = "response.function_call_arguments"


def no_arguments_events(events):
    events[:] = [event for event in events if not event["type"].startswith(ARGUMENTS)]


def only_done_arguments(events):
    events[:] = [event for event in events if event["type"] != f"{ARGUMENTS}.delta"]


BROKEN_RESPONSES_STREAM = [
    ("responses.stream.status", lambda e: e[-1]["response"].update(status="incomplete"), CALL),
    ("responses.stream.done_missing", remove_event(f"{ARGUMENTS}.done"), CALL),
    ("responses.stream.done_missing", no_arguments_events, CALL),
    ("responses.stream.call.deltas", only_done_arguments, CALL),
    (
        "responses.stream.item_status",
        lambda e: event_of(e, DONE)["item"].update(status="in_progress"),
        CALL,
    ),
    (
        "responses.stream.item_status",
        lambda e: event_of(e, "response.created")["response"].update(status="completed"),
        CALL,
    ),
    ("responses.stream.reasoning_parts", remove_event("response.content_part.done"), ANSWERED),
    ("responses.stream.parts", remove_last_event("response.content_part.done"), ANSWERED),
    ("responses.stream.parts", change_event("response.content_part.added", content_index=1), CALL),
    ("responses.stream.parts", move_part_done, CALL),
    ("responses.stream.items", wrong_kind, ANSWERED),
    ("responses.stream.items.index", count_items_from_one, CALL),
    ("responses.stream.item_text", change_part_text, ANSWERED),
    ("responses.stream.item_text", stream_no_text, ANSWERED),
    ("responses.stream.call", lambda e: call_added(e).pop("name"), CALL),
    ("responses.stream.created", lambda e: e.insert(2, e[0]), CALL),
    ("responses.schema", change_event(f"{ARGUMENTS}.delta", delta=5), CALL),
    ("responses.schema", change_event(DONE, output_index="0"), CALL),
    ("responses.stream.event_type", change_event("response.in_progress", type="response.x"), CALL),
    ("responses.stream.sequence", change_event("response.in_progress", sequence_number=0), CALL),
    ("responses.stream.sequence", lambda e: e[1].pop("sequence_number"), CALL),
    ("responses.stream.created", remove_event("response.created"), CALL),
    ("responses.stream.terminal", twice, CALL),
    ("responses.stream.terminal", lambda e: e.append(dict(e[1], sequence_number=999)), CALL),
    ("responses.stream.event_name", bare_blocks, CALL),
    ("responses.stream.items", remove_event(ADDED), CALL),
    ("responses.stream.items", remove_event(DONE), CALL),
    ("responses.stream.items.id", change_event(f"{ARGUMENTS}.delta", item_id="fc_9"), CALL),
    ("responses.stream.done_text", change_event(f"{ARGUMENTS}.done", arguments="{}"), CALL),
    ("responses.stream.done_text", remove_event("response.reasoning_text.delta"), CALL),
    ("responses.stream.done_text", remove_event("response.output_text.delta"), ANSWERED),
    ("responses.stream.item_text", drop_one_text, CALL),
    ("responses.stream.item_text", count_up, ANSWERED),
    (
        "responses.stream.output_text",
        lambda e: event_of(e, "response.completed")["response"].update(output_text=""),
        ANSWERED,
    ),
    ("responses.stream.final", forget_item, CALL),
    ("responses.stream.final", other_final, CALL),
    ("stream.error_event", lambda e: e.insert(-1, {"type": "error", "message": "x"}), CALL),
]


BROKEN = [
    *((chat, *each) for each in BROKEN_CHAT),
    *((responses, *each) for each in BROKEN_RESPONSES),
    *((chat_stream, *each) for each in BROKEN_CHAT_STREAM),
    *((responses_stream, *each) for each in BROKEN_RESPONSES_STREAM),
]


@pytest.mark.parametrize(("found_in", "check", "change", "reply"), BROKEN)
def test_a_broken_reply_is_reported(found_in, check, change, reply):
    assert check in found_in(change, reply)


def test_the_text_of_an_issue_has_what_each_finding_names(monkeypatch):
    """An event, or the member that its path names unless that is missing, of a long response."""
    monkeypatch.setattr(commands, "_MOST_LINES", 8)
    monkeypatch.setattr(commands, "_LONGEST_LINE", 200)
    made = [getattr(mutations, where.__name__)(*change) for where, _, *change in BROKEN]
    shown = set()
    for recorded in (*made, *(defect.recording() for defect in DEFECTS)):
        for finding in details(recorded):
            about, at = RULES[finding.id].about, finding.evidence
            result = RuleResult(check=about, status="failed", applicable=1, failures=1, findings=1)
            subject = Subject(result, finding, recorded, (), ProbeOptions("m", ("chat",)))
            text = commands.issue(subject, ["curl"], commands.Outcome()).partition("## Response")[2]
            response = recorded.exchanges[at.exchange].response
            named = [f'"{name}": ' for name in re.findall(r"[a-z]\w+", at.path or "")[-1:]]
            if at.event is not None:
                named = [line[:90] for line in response.parts[at.event].raw.splitlines()[:1]]
            for part in named:
                if part in response.text:
                    assert part in text, finding
                    shown.add(finding.id)
    assert len(shown) > 50


def test_a_repeated_call_id_is_reported():
    assert ids(found([CALL, CALL, ANSWER])) == {"calls.id.repeated"}


def test_a_repeated_reply_id_is_reported():
    same = json_response(chat_whole(ANSWERED))
    assert ids(found([same, same])) == {"reply.id.repeated"}


def test_a_model_of_another_size_is_reported():
    twice = "/models/gpt-oss-120b/gpt-oss-120b-mxfp4.gguf"
    others = [(name, {"reply.model"}) for name in ("gpt-oss-20b", "gpt_oss_20b", "gpt-oss-20B_q4")]
    for named, expected in (("openai/gpt-oss-120b", set()), (twice, set()), *others):
        recorded = mutations.chat(put("model", named), CALL, {"model": "gpt-oss-120b"})
        assert reported(recorded) == expected


@pytest.mark.parametrize(
    ("text", "prompt_text", "check"),
    [
        ("analysisWe need four.", "Run an analysis of it.", "harmony.remains"),
        ("finalThe word is X.", "Say it in your final answer.", "harmony.remains"),
        ("You wrote <|end|>. So.<|channel|>final", "What is <|end|>?", "harmony.markers"),
    ],
)
def test_text_of_the_prompt_does_not_hide_a_leaked_header(text, prompt_text, check):
    prompt = {"messages": [{"role": "user", "content": prompt_text}]}
    said = put("choices.0.message.content", text)
    assert check in reported(mutations.chat(said, ANSWERED, prompt))


@pytest.mark.parametrize(
    ("text", "reasoning", "leaked"),
    [
        ("final4.25", None, True),
        ("final**Yes**", None, True),
        ('{"final{" : {"fruit": true}}', "It is one.", True),
        ('{"final": true}', "It is one.", False),
        ("final4.25 is the name of the release.", "They ask for its name.", False),
        ("final answer: 4.25", None, False),
    ],
)
def test_the_header_of_an_answer_is_a_leak(text, reasoning, leaked):
    def change(body):
        body["choices"][0]["message"] |= {"content": text, "reasoning": reasoning}

    assert ("harmony.remains" in chat(change, ANSWER)) == leaked


@pytest.mark.parametrize(
    ("tokens", "leaked"),
    [(0, False), (-2, False), (-1, True), (3, True), (None, True)],
    ids=["as text", "malformed", "stripped", "all stripped", "no counts"],
)
def test_a_header_that_the_model_malformed_is_not_a_leak(tokens, leaked):
    """The model left out `<|message|>`, so the parser cannot tell the header from the text."""
    said, cot = "finalmessage It is sunny.", "They ask for the weather."

    def change(body):
        body["choices"][0]["message"] |= {"content": said, "reasoning": cot}
        whole = sum(len(message_tokens(each)) for each in (Reasoning(cot), Answer(said)))
        count = None if tokens is None else whole - IN_PROMPT + tokens
        body["usage"] |= {"completion_tokens": count, "completion_tokens_details": None}

    assert ("harmony.remains" in chat(change, ANSWER)) == leaked


def test_a_cot_with_its_header_in_the_answer_is_a_leak_for_any_token_count():
    said = "analysisWe need to say hello.Hello."

    def change(body):
        body["choices"][0]["message"] |= {"content": said, "reasoning": None}
        tokens = len(message_tokens(Answer(said))) - IN_PROMPT
        body["usage"] |= {"completion_tokens": tokens, "completion_tokens_details": None}

    assert "harmony.remains" in chat(change, ANSWER)


def test_a_stop_string_that_ends_the_cot_is_one_finding():
    prompt = {"stop": ["is"], "messages": [{"role": "user", "content": "What is it?"}]}

    def change(body):
        body["choices"][0]["message"]["content"] = ""

    for reply in (
        Reply(text="x", reasoning="The user asks what it "),
        Reply(text="x", reasoning=""),
    ):
        recorded = mutations.chat(change, reply, prompt)
        assert reported(recorded) & EMPTIED == {"stop.early"}
    thought = Reply(text="", reasoning="The user asks about a hat.")
    assert "stop.early" not in reported(mutations.chat(lambda _: None, thought, prompt))
    for reason, found in ((None, False), ("is", True)):
        cut = mutations.both(change, mutations.put("choices.0.stop_reason", reason))
        recorded = mutations.chat(cut, Reply(text="x", reasoning="The user asks what it "), prompt)
        assert ("stop.early" in reported(recorded)) == found
    assert "stop.early" not in reported(mutations.chat(lambda _: None, ANSWERED, prompt))
    assert "stop.early" not in reported(mutations.chat(lambda _: None, CALL, prompt))


@pytest.mark.parametrize(("change", "reported"), [({}, False), ({"usage": None}, True)])
def test_an_answer_to_a_tool_result_may_have_no_cot(change, reported):
    """If its tokens are those of the answer, the model wrote no CoT."""
    answer = chat_whole(Reply(text="It is sunny in Lisbon.", reasoning="")) | change
    findings = found([json_response(chat_whole(CALL)), json_response(answer)])
    assert ("reasoning.missing.after_result" in ids(findings)) == reported


def test_a_changed_item_of_the_final_response_is_reported_with_the_difference():
    examined = parse_rollout(mutations.responses_stream(other_final, CALL))
    found = [each for each in catalogue.examine(examined)[1] if each.id == "responses.stream.final"]
    (evidence,) = [each.evidence for each in found]
    assert evidence.got == "{'arguments': '{}'}"
    assert set(ast.literal_eval(evidence.expected)) == {"arguments"}


def test_other_phases_and_a_comment_before_a_call_are_healthy():
    for phase in ("final_answer", None):
        assert responses(put("output.1.phase", phase), ANSWERED) == set()

    def comment(body):
        message = responses_whole(ANSWERED)["output"][1]
        body["output"].insert(1, message | {"id": "msg_comment", "phase": "commentary"})

    assert "responses.message.phase" not in responses(comment, CALL)


@pytest.mark.parametrize("limit", [1, 100, 128, 512, 1000, 4096, 65_536])
def test_a_limit_of_any_size_that_the_request_did_not_set_is_reported(limit):
    assert "responses.defaults" in responses(put("max_output_tokens", limit), ANSWERED)
    set_to = mutations.responses(
        put("max_output_tokens", limit), ANSWERED, {"max_output_tokens": limit}
    )
    assert "responses.defaults" not in reported(set_to)


def test_the_message_on_a_missing_field_is_a_sentence():
    recorded = parse_rollout(mutations.chat(drop("choices.0.index"), ANSWER))
    (finding,) = [each for each in catalogue.examine(recorded)[1] if each.id == "chat.schema"]
    assert finding.message == "The required field $.choices[0].index is missing."
    assert finding.evidence.expected == "a required field"
    assert finding.evidence.got == "no such field"


def test_a_special_token_in_the_prompt_is_not_a_leak():
    prompt = {"messages": [{"role": "user", "content": "What is <|end|>?"}]}
    said = put("choices.0.message.content", "<|end|> ends a message.")
    assert reported(mutations.chat(said, ANSWER, prompt)) == set()


@pytest.mark.parametrize("details", [None, {}, {"cached_tokens": None, "reasoning_tokens": None}])
def test_usage_without_details_is_not_an_error(details):
    body = responses_whole(ANSWERED)
    body["usage"] |= {"input_tokens_details": details, "output_tokens_details": details}
    findings = found([json_response(body)], api="responses")
    assert [each for each in findings if each.severity == "error"] == []


@pytest.mark.parametrize(
    ("usage", "message", "got"),
    [
        (None, "The reply lacks token counts.", "none"),
        ("many", "The reply lacks token counts.", "usage is a string"),
        ({"output_tokens": 5}, "The usage lacks input_tokens.", "none"),
        (
            {"input_tokens": 9.0, "output_tokens": 5},
            "input_tokens is not an integer.",
            "a number, 9.0",
        ),
        (
            {"input_tokens": 9, "output_tokens": "5"},
            "output_tokens is not an integer.",
            "a string, '5'",
        ),
    ],
)
def test_missing_counts_and_counts_of_another_type_are_told_apart(usage, message, got):
    findings = found([json_response(responses_whole(ANSWERED) | {"usage": usage})], api="responses")
    (missing,) = [each for each in findings if each.id == "usage.missing"]
    assert (missing.message, missing.evidence.got) == (message, got)


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        (9, {"usage.reasoning"}),
        (500, {"usage.reasoning", "usage.sum"}),
    ],
)
def test_reasoning_tokens_outside_their_details_are_reported(tokens, expected):
    """SGLang reports them there; with speculative decoding, they exceed the output tokens."""
    body = chat_whole(CALL)
    del body["usage"]["completion_tokens_details"]
    body["usage"]["reasoning_tokens"] = tokens
    findings = {each.id: each for each in found([json_response(body)]) if "usage" in each.id}
    assert expected <= set(findings)
    assert "few clients" in findings["usage.reasoning"].message


@pytest.mark.parametrize(
    ("severity", "check", "streaming", "content_type"),
    [
        ("error", "stream.content_type", True, "application/json"),
        ("error", "stream.content_type", True, "text/event-stream, application/json"),
        ("warning", "stream.content_type", True, "text/event-stream, text/event-stream; q=1"),
        ("warning", "reply.content_type", False, None),
    ],
)
def test_a_wrong_content_type_is_reported(severity, check, streaming, content_type):
    headers = {"Content-Type": content_type} if content_type else {}
    if streaming:
        parts = stream_response(chat_blocks(chat_chunks(CALL))).parts
        answer = Response(status=200, headers=headers, parts=parts)
    else:
        answer = Response(status=200, headers=headers, body=json.dumps(chat_whole(CALL)))
    problems = found([answer], streaming=streaming)
    assert {(each.id, each.severity) for each in problems} == {(check, severity)}


def test_a_non_streaming_reply_to_a_streaming_request_is_reported():
    answer = json_response(chat_whole(CALL))
    assert ids(found([answer], streaming=True)) == {"stream.content_type", "reply.unreadable"}


def test_a_stream_that_was_not_requested_is_one_finding():
    answer = stream_response(chat_blocks(chat_chunks(CALL)))
    assert ids(found([answer], streaming=False)) == {"reply.streamed"}


_IN_ROWS = {"usage.output.miscounted"}
ELSEWHERE = {
    "test_sent_schemas.py": {"request.schema"},
    "test_added_prompts.py": {"prompt.added"},
    "test_account.py": {name for name, check in CHECKS.items() if isinstance(check, AccountRule)}
    - _IN_ROWS,
    "test_account_rules.py": _IN_ROWS,
    "test_checks.py": {
        "calls.id.repeated",
        "chat.schema.minor",
        "chat.stream.finish.repeated",
        "request.refused",
        "request.server_error",
        "reply.content_type",
        "reply.id.repeated",
        "stream.content_type",
        "text.masked",
    },
    "test_cross_checks.py": {"calls.id.shared", "stream.cut.always"},
    "test_evidence.py": {
        "calls.arguments.json.none",
        "harmony.cut",
        "logprobs.tokens",
        "usage.reasoning",
    },
    "test_hidden_failures.py": {"request.limit_name", "request.refused.partly"},
    "test_named_exactly.py": {
        "prompt.cut",
        "calls.custom",
        "calls.refused",
        "clients.refused_form",
        "reply.broken_off",
        "state.background.ignored",
        "usage.unasked",
    },
    "test_reported_kinds.py": {
        "calls.arguments.escapes",
        "calls.arguments.line_breaks",
        "calls.arguments.quotes",
    },
    "test_stream_timing.py": {"stream.left_open", "stream.silent"},
    "test_truncated_replies.py": {
        "logprobs.empty",
        "request.refused.foreign",
        "responses.status.cut",
        "text.one_token",
    },
}
"""Files of tests, and the checks that are violated by them alone."""


def test_every_check_is_violated_by_a_test():
    tables = (BROKEN_CHAT, BROKEN_RESPONSES, BROKEN_CHAT_STREAM, BROKEN_RESPONSES_STREAM)
    broken = {row[0] for table in tables for row in table}
    for defect in DEFECTS:
        broken |= defect.found
    for fault in CATALOGUE.values():  # test_faults_found.py
        broken.update(fault.detectors)
    (root,) = (each for each in Path(__file__).parents if each.name == "tests")
    for name, checks in ELSEWHERE.items():
        (file,) = root.rglob(name)
        tests, here = file.read_text("utf-8"), file == Path(__file__)  # which has this table
        unproved = {check for check in checks - broken if tests.count(f'"{check}"') <= here}
        assert not unproved, f"{name} violates none of these"
        broken |= checks
    assert set(CHECKS) - broken == set()


# --- Hostile data


@pytest.mark.parametrize("depth", [300, 100_000])
def test_deep_nesting_does_not_crash_the_checks(depth):
    nested = "[" * depth + "]" * depth
    call = Reply(call=("get_weather", f'{{"location": "Lisbon", "x": {nested}}}'))
    for answer in (call, json_response(nested), stream_response([f"data: {nested}"])):
        judged([rollout([answer])])


@pytest.mark.parametrize("streaming", [False, True])
def test_endless_digits_do_not_crash_the_checks(streaming):
    """Python reads no number of more than 4,300 digits."""
    digits = "9" * 5000
    arguments = f'{{"location": {digits}}}'
    for answer in (Reply(call=("get_weather", arguments)), Reply(text=arguments, reasoning=digits)):
        found([answer], streaming=streaming)  # raises what a rule raises


# --- Evidence and descriptions


def test_a_finding_points_at_its_evidence():
    body = chat_whole(CALL)
    body["usage"]["total_tokens"] = 1
    (finding,) = found([CALL, json_response(body | {"id": "x"})][1:])
    evidence = finding.evidence
    assert (finding.id, finding.severity) == ("usage.sum", "error")
    assert (evidence.record, evidence.exchange) == ("weather-lisbon/chat/non-streaming/1", 0)
    assert (evidence.path, evidence.expected, evidence.got) == (
        "$.usage",
        str(50 + counts(CALL)[1]),
        "1",
    )


def test_evidence_in_a_stream_has_event_and_path():
    chunks = chat_chunks(CALL)
    chunks[2]["created"] = "x"
    chunks[3]["created"] = "x"
    every = found([stream_response(chat_blocks(chunks))], streaming=True)
    finding = next(each for each in every if each.id == "chat.schema")
    assert (finding.evidence.event, finding.evidence.path) == (2, "$.created")
    assert finding.evidence.got == '"x"'


def test_checks_do_not_apply_to_missing_replies():
    assert found([CALL, json_response({"error": {"message": "overloaded"}}, 503)]) == ()


@pytest.mark.parametrize(
    "text",
    ["»Spaß« sagt er, »der Fuß«.", "Ça va ? « À bientôt »", "naïve Gödel, žluté lodě",
     "東京 🌊 ÄÖÜß", "È «così»", "ÁÉÍÓÚ ÂÊÎ", "20 °C – 30 °C…"],
)  # fmt: skip
def test_correct_letters_are_not_mojibake(text):
    assert len(misread(text)) < 2
    assert misread(f"{text.encode().decode('latin-1')} Ã©Ã¨ et Ã\xa0") != []


def test_ids_are_unique():
    check = CHECKS["usage.sum"]
    with pytest.raises(ValueError, match=r"two rules have the id usage\.sum"):
        catalogue._by_id([check, check])


def test_the_family_of_a_rule_is_its_folder():
    for rule in RULES.values():
        judge = getattr(rule, "judge", None) or getattr(rule, "compare", None) or rule.judges
        while isinstance(judge, partial):
            judge = judge.func
        if judge.__module__ not in ("harness.rules.probe", "harness.rules.check"):  # the account
            assert judge.__module__.split(".")[2] == rule.about.family
