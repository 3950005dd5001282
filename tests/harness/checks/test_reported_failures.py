"""Failures that a server or filter reports instead of a reply are named as such."""

import json
from typing import Any

import pytest
from examined import details
from healthy import json_response, rollout, stream_response
from judged_replies import ANSWER, Judged, told
from replies import Reply, chat_blocks, chat_chunks, data, responses_blocks, responses_events
from written import chat, responses, responses_stream

FAILED = {"code": 502, "message": "The upstream server failed"}
FLAT = {"object": "error", "message": "The parser failed", "type": "BadRequestError", "code": 400}
CHOICE = {"index": 0, "delta": {"content": ""}, "finish_reason": "error"}
COMPLETION = {"object": "chat.completion", "choices": [{"index": 0, "message": {"content": "Hi"}}]}
FAILED_CHOICE = {"finish_reason": "error", "message": {"role": "assistant", "content": ""}}
SERVER_ERROR = {"message": "The parser failed", "code": "server_error"}
SAID = Reply(text=json.dumps({"error": "none", "object": "error", "finish_reason": "error"}))
NOTHING = dict.fromkeys(("prompt_tokens", "completion_tokens", "total_tokens"), 0)
FILTERED = {"choices.0.message.reasoning": None, "usage": NOTHING}


def _ends(chat: bool, begun: int, *blocks: str) -> Any:
    """A stream whose last blocks are these."""
    made = chat_blocks(chat_chunks(ANSWER)) if chat else responses_blocks(responses_events(ANSWER))
    api = "chat" if chat else "responses"
    return rollout([stream_response([*made[:begun], *blocks])], api=api, streaming=True)


ROWS: tuple[Judged, ...] = (
    *(
        (
            lambda body=body, api=api: rollout([json_response(body)], api=api),
            "reply.unreadable",
        )
        for api, body in (
            ("responses", COMPLETION),
            *(
                (api, body)
                for api in ("chat", "responses")
                for body in (
                    {"error": FAILED},
                    {"error": FAILED, "choices": []},
                    FLAT,
                    {"result": COMPLETION, "success": True},
                    {"code": 50505, "message": "The service is overloaded", "data": None},
                    {"detail": "Internal Server Error"},
                    {},
                )
            ),
        )
    ),
    *(
        (lambda how=how: chat({"choices.0": FAILED_CHOICE | how}, ANSWER), "reply.unreadable")
        for how in ({"error": FAILED}, {"native_finish_reason": "error"})
    ),
    *(
        (lambda blocks=blocks: _ends(True, 3, *blocks), "stream.error_event")
        for blocks in (
            [data({"id": "gen-1", "choices": [CHOICE]}), "data: [DONE]"],
            [data({"id": "gen-1", "choices": [{**CHOICE, "error": FAILED}]}), "data: [DONE]"],
            [data(FLAT), "data: [DONE]"],
            ['event: error\ndata: {"message": "The model crashed", "code": 500}'],
            ["event: error\ndata: Internal Server Error"],
        )
    ),
    *(
        (
            lambda begun=begun, event=event: _ends(False, begun, data(event)),
            f"stream.error_event {also}".strip(),
        )
        for begun in (0, 6)
        for event, also in (
            ({"type": "error", **SERVER_ERROR}, "responses.stream.event_name"),
            ({"error": SERVER_ERROR}, ""),
        )
    ),
    (
        lambda: responses({"status": "failed", "error": FAILED, "output": []}, ANSWER),
        "reply.unreadable responses.schema",
    ),
    (lambda: chat({}, SAID), ""),
    (lambda: responses_stream({}, SAID), ""),
    # Filtered replies need no CoT and no token counts.
    *(
        (lambda members=members: chat(FILTERED | members, ANSWER), "reply.refused")
        for members in (
            {"choices.0.finish_reason": "content_filter"},
            {"choices.0.message.refusal": "Blocked.", "choices.0.message.content": None},
        )
    ),
)


@pytest.mark.parametrize("row", ROWS)
def test_a_failure_is_one_finding(row: Judged) -> None:
    recording, expected = row
    assert told(recording(), expected) == {*expected.split()}


def test_the_finding_names_the_choice_that_failed() -> None:
    failed = {"index": 1, "finish_reason": "error", "error": FAILED}
    found = details(chat(lambda body: body["choices"].append(failed), ANSWER))
    text = "the body is an error: choice 1 of 2 failed: The upstream server failed"
    assert [each.message for each in found] == [text]
