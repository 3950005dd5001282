"""A check counts only what can have its defect: its rate is then the share that users meet."""

import pytest
from healthy import rollout
from replies import Reply
from written import ABSENT, chat, chat_stream, responses, responses_stream

from harness.api.parsed_rollout import parse_rollout
from harness.rules import catalogue
from harness.rules.catalogue import SINGLE_CHECKS
from harness.rules.evidence import subjects

CALL = Reply(call=("get_weather", '{"location": "Lisbon"}'))
ANSWER = Reply(text="It is sunny in Lisbon, and warm.")
BROAD = {
    getattr(subjects, name)
    for name in ("answers", "conversations", "counted", "every_choice", "exchanges", "readable")
} | {subjects.streams, subjects.good_statuses, subjects.delivered, subjects.items}
"""Selections that leave out nothing for which a defect is impossible."""
ANY_REPLY = {
    *("reply.id", "reply.model", "reply.content_type", "request.failed"),
    *("usage.sum", "chat.choices", "chat.schema", "chat.schema.minor"),
    *("responses.schema", "responses.schema.minor", "responses.schema.required"),
    *("responses.status", "responses.item_type.undeclared"),
    *("request.server_error", "stream.content_type", "stream.json", "stream.error_event"),
    *("stream.cut", "reply.unreadable", "reasoning.in_answer", "reasoning.in_answer.repeated"),
    *("reasoning.in_answer.untagged", "reasoning.holds_answer", "harmony.markers"),
    *("harmony.remains", "harmony.remains.reasoning", "harmony.foreign", "text.garbled"),
    "usage.unasked",
    *("text.mojibake", "text.placeholder", "text.masked", "text.runaway"),
    *(
        "chat.stream.done",
        "chat.stream.done.repeated",
        "chat.stream.finish",
        "chat.stream.finish.followed",
        "chat.stream.finish.repeated",
    ),
    *("chat.stream.role", "chat.stream.id"),
    *("responses.stream.items", "responses.stream.items.index", "responses.stream.items.id"),
    *("responses.stream.items.repeated", "responses.stream.items.changed"),
    *("responses.stream.parts", "responses.stream.done_text"),
    *("responses.stream.done_missing", "responses.stream.item_text"),
    *("responses.stream.item_status", "responses.stream.sequence", "responses.stream.created"),
    *("responses.stream.terminal", "responses.stream.id", "responses.stream.event_name"),
    *("responses.stream.final", "responses.stream.output_text", "responses.stream.event_type"),
}
"""The checks whose defect any selected reply can have. A new check either belongs here, or selects
the replies that it can judge."""


def judged(recorded):
    return catalogue.examine(parse_rollout(recorded))[0]


def test_every_check_selects_what_it_can_judge_or_judges_any_reply():
    broad = {each.id for each in SINGLE_CHECKS.values() if each.over in BROAD and not each.where}
    assert broad == ANY_REPLY


LIMITED = {
    "-1.type": "response.incomplete",
    "-1.response.status": "incomplete",
    "-1.response.incomplete_details": {"reason": "max_output_tokens"},
}
PHASE = {"output.1.phase": "final_answer"}
TWO_CALLS = {
    "choices.0.message.tool_calls": [
        {"id": f"call_{at}", "type": "function", "function": {"name": "f", "arguments": "{}"}}
        for at in "12"
    ]
}
CHOICE = {"tool_choice": "required"}
LENGTH = {"choices.0.finish_reason": "length"}
ONE_ITEM = {"output": []}

# A check; a reply that can have its defect; one that cannot.
CONDITIONS = [
    ("responses.stream.status", responses_stream, LIMITED, ANSWER, {}, ANSWER),
    ("responses.stream.call", responses_stream, {}, CALL, {}, ANSWER),
    ("responses.stream.call.deltas", responses_stream, {}, CALL, {}, ANSWER),
    ("chat.stream.tool_calls", chat_stream, {}, CALL, {}, ANSWER),
    ("chat.stream.tool_calls.index", chat_stream, {}, CALL, {}, ANSWER),
    ("chat.stream.tool_calls.numbers", chat_stream, {}, CALL, {}, ANSWER),
    ("chat.stream.tool_calls.type", chat_stream, {}, CALL, {}, ANSWER),
    ("chat.stream.tool_calls.repeated", chat_stream, {}, CALL, {}, ANSWER),
    ("chat.stream.order", chat_stream, {}, ANSWER, {}, CALL),
    ("responses.item_id.repeated", responses, {}, ANSWER, ONE_ITEM, ANSWER),
    ("responses.item.order", responses, {}, ANSWER, ONE_ITEM, ANSWER),
    ("responses.message.phase", responses, PHASE, ANSWER, {}, ANSWER),
    ("reply.created", chat, {}, ANSWER, {"created": ABSENT}, ANSWER),
    ("chat.reasoning.field", chat, {}, ANSWER, {}, Reply(text="Yes.", reasoning="")),
    ("calls.id.repeated", chat, TWO_CALLS, CALL, {}, CALL),
    ("calls.several", chat, {}, CALL, {}, ANSWER),
    ("chat.finish.no_calls", chat, {}, CALL, {}, ANSWER),
    ("usage.sum", chat, {}, ANSWER, {"usage.prompt_tokens": ABSENT}, ANSWER),
]


@pytest.mark.parametrize("row", CONDITIONS, ids=lambda row: row[0])
def test_a_check_counts_only_replies_that_can_have_its_defect(row):
    check, kind, possible, reply, impossible, other = row
    assert check in judged(kind(possible, reply))
    assert check not in judged(kind(impossible, other))


_LISTED = {"tools": [{"type": "function", "function": {"name": "get_weather"}}]}


@pytest.mark.parametrize(
    ("choice", "binds", "forces"),
    [
        ("auto", False, False),
        ("none", True, False),
        ("required", True, True),
        ({"type": "function", "function": {"name": "get_weather"}}, True, True),
        ({"type": "allowed_tools", "allowed_tools": {"mode": "auto", **_LISTED}}, False, False),
        ({"type": "allowed_tools", "allowed_tools": {"mode": "required", **_LISTED}}, True, True),
        ({"type": "custom", "custom": {"name": "add_note"}}, False, True),
    ],
)
def test_a_tool_choice_binds_or_forces_a_call(choice, binds, forces):
    checks = judged(chat({}, CALL, {"tool_choice": choice}))
    assert ("calls.choice" in checks) == binds
    assert ("chat.finish.tool_calls" not in checks) == forces


def test_a_reply_that_a_limit_cut_need_not_have_the_forced_call():
    assert "calls.choice" not in judged(chat(LENGTH, ANSWER, CHOICE))


def test_a_single_reply_repeats_no_id():
    assert "reply.id.repeated" not in judged(rollout([ANSWER]))
    assert "reply.id.repeated" in judged(rollout([CALL, ANSWER]))
