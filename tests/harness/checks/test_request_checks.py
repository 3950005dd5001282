"""Rejected requests, and those that a provider is allowed to reject."""

from typing import Any

import pytest
from examined import details
from healthy import json_response, rollout
from judged_replies import Judged, told
from replies import Reply, responses_whole
from written import asked, chat_stream

from harness.records.rollouts import Rollout

TOO_LONG = "This model's maximum context length is 8192 tokens. However, you requested 9001 tokens."
FOREIGN = "request.refused request.refused.foreign"
TOO_MANY = "Your request exceeded model token limit: 262144 (requested: 286657)"
NO_IMAGES = "This model does not support image input."
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
LONG = {"messages": [{"role": "user", "content": "information " * 9_000}]}
OPTIONS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("reasoning_effort must be low, medium or high", {"reasoning_effort": "xhigh"}),
    ("reasoning.effort: none is not supported", {"reasoning": {"effort": "none"}}),
    ("logprobs are not supported", {"logprobs": True}),
    ("top_logprobs may be 5 at most", {"top_logprobs": 20}),
    ("tool_choice must be auto or none", {"tool_choice": "required"}),
    ("previous_response_id is not supported", {"previous_response_id": "resp_1"}),
)


def _refused(message: str, request: dict[str, Any], status: int = 400) -> Rollout:
    answer = json_response({"error": {"message": message}}, status)
    return asked(rollout([answer], end="failed"), request)


def _encrypted(sent: str, message: str) -> Rollout:
    """A conversation whose second request has an encrypted CoT; the first reply has `own`."""
    whole = responses_whole(Reply(reasoning="We greet.", text="Hi."))
    whole["output"][0]["encrypted_content"] = "own"
    refused = json_response({"error": {"message": message}}, 400)
    recorded = rollout([json_response(whole), refused], api="responses", end="failed")
    item = {"type": "reasoning", "summary": [], "encrypted_content": sent}
    first, second = recorded.exchanges
    second = asked(recorded.model_copy(update={"exchanges": (second,)}), {"input": [item]})
    return recorded.model_copy(update={"exchanges": (first, *second.exchanges)})


def _of_image(part: dict[str, Any]) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": [part]}]}


ROWS: tuple[Judged, ...] = (
    *(
        (lambda refused=refused: _refused(*refused), found)
        for *refused, found in (
            ("bad request", {}, "request.refused"),
            (TOO_LONG, {}, FOREIGN),
            ("not supported", {}, 501, "request.refused"),
            ("unexpected tokens in message header", LONG, "request.refused"),
            # What a provider may reject
            ("no images", _of_image(IMAGE), ""),
            (TOO_LONG, LONG, ""),
            ("prompt is too long", {"max_tokens": 100_000}, ""),
            ("unknown tool type", {"tools": [{"type": "web_search"}]}, ""),
            (*OPTIONS[-1], 501, ""),
            *((message, option, "") for message, option in OPTIONS),
            *(("bad request", option, "request.refused") for _, option in OPTIONS),
            *((message, {}, "request.refused") for message, _ in OPTIONS),
            # What all support
            ("no effort, no logprobs", {"reasoning_effort": "low"}, "request.refused"),
            ("no effort, no logprobs", {"reasoning": {"effort": "high"}}, "request.refused"),
            ("no effort, no logprobs", {"logprobs": False}, "request.refused"),
            # Streams, by name
            ("stream is not supported", {"stream": True}, "request.refused:warning"),
            (
                "Streaming isn't supported for this model; set stream to false.",
                {"stream": True},
                "request.refused:warning",
            ),
            (
                "This model does not support streaming.",
                {"stream": True},
                "request.refused:warning",
            ),
            ("`stream` must be `false`", {"stream": True}, "request.refused:warning"),
            ("stream is not supported", {"stream": False}, "request.refused:error"),
            ("stream_options is not supported", {"stream": True}, "request.refused:error"),
            ("tools are not supported", {"stream": True}, "request.refused:error"),
        )
    ),
    *(
        (
            lambda message=message, request=request: _refused(
                message, {"messages": [{"content": "Hi there!"}], "tools": None} | request
            ),
            found,
        )
        for message, request, found in (
            (TOO_MANY, {"metadata": {"purpose": "x"}}, FOREIGN),  # kimi-code#3530
            ("prompt is too long", {"seed": 1}, FOREIGN),
            (NO_IMAGES, {"tools": []}, FOREIGN),
            ("Tools are not supported.", {"metadata": {}}, FOREIGN),
            ("Streaming is not supported.", {"stream": False, "metadata": {}}, FOREIGN),
            (TOO_MANY, {"max_tokens": 262_144}, ""),
            (NO_IMAGES, {"messages": [{"content": [IMAGE]}]}, ""),
            (
                "Tools are not supported with json_schema.",
                {"response_format": {"type": "json_schema"}},
                "request.refused",
            ),
            ("metadata is not supported for streams", {"metadata": {}}, "request.refused"),
            ("Streaming is not supported.", {"stream": True, "metadata": {}}, "request.refused"),
            ("Not supported.", {"metadata": {}}, "request.refused"),
            ("bad request", {"metadata": {}}, "request.refused"),
        )
    ),
    (lambda: _encrypted("own", "invalid encrypted_content"), "request.refused"),
    (lambda: _encrypted("foreign", "invalid encrypted_content"), ""),
    (lambda: _encrypted("foreign", "bad request"), "request.refused"),
    (lambda: _refused("no", _of_image(IMAGE), 500), "request.failed:proven"),
    (lambda: _refused("no", _of_image({"type": "text", "text": "Hi"}), 500), "request.failed:open"),
    *(
        (
            lambda options=options: chat_stream(
                lambda chunks: chunks.pop(), Reply(text="Warm."), {"stream_options": options}
            ),
            found,
        )
        for options, found in (({"include_usage": True}, "usage.missing"), (None, ""))
    ),
)


@pytest.mark.parametrize("row", ROWS)
def test_nothing_else_is_found_in_a_refusal(row: Judged) -> None:
    recording, expected = row
    assert told(recording(), expected) == {*expected.split()}


def test_a_refusal_of_many_tools_names_their_number() -> None:
    for number, named in ((17, True), (2, False)):
        functions = [{"name": f"f{at}", "parameters": {"type": "object"}} for at in range(number)]
        tools = [{"type": "function", "function": function} for function in functions]
        (found,) = details(_refused("no", {"tools": tools}))
        assert ("with 17 tools" in found.message) == named


def test_an_empty_body_is_not_called_a_stream() -> None:
    (finding,) = details(rollout([json_response("")]))
    assert (finding.id, finding.evidence.got) == ("reply.unreadable", "an empty body")
