"""Rejected requests, and those that a provider is allowed to reject."""

import examined
import pytest
from healthy import json_response, rollout
from mutations import asked, chat_stream
from replies import Reply, responses_whole

TOO_LONG = "This model's maximum context length is 8192 tokens. However, you requested 9001 tokens."
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
LONG = {"messages": [{"role": "user", "content": "information " * 9_000}]}

OPTIONS = [
    ("reasoning_effort must be low, medium or high", {"reasoning_effort": "xhigh"}),
    ("reasoning.effort: none is not supported", {"reasoning": {"effort": "none"}}),
    ("logprobs are not supported", {"logprobs": True}),
    ("top_logprobs may be 5 at most", {"top_logprobs": 20}),
    ("tool_choice must be auto or none", {"tool_choice": "required"}),
    ("previous_response_id is not supported", {"previous_response_id": "resp_1"}),
]


def findings(message, status=400, **request):
    refused = json_response({"error": {"message": message}}, status)
    return examined.findings(asked(rollout([refused], end="failed"), request))


def test_a_rejection_of_a_short_text_is_reported():
    assert findings("bad request") == {"request.refused"}
    assert findings(TOO_LONG) == {"request.refused", "request.refused.foreign"}


@pytest.mark.parametrize(
    ("message", "request_body"),
    [
        ("no images", {"messages": [{"role": "user", "content": [IMAGE]}]}),
        (TOO_LONG, LONG),
        ("prompt is too long", {"max_tokens": 100_000}),
        ("unknown tool type", {"tools": [{"type": "web_search"}]}),
        *OPTIONS,
    ],
)
def test_permitted_rejections_are_not_reported(message, request_body):
    assert findings(message, **request_body) == set()


@pytest.mark.parametrize(
    ("sent", "message", "expected"),
    [
        ("own", "invalid encrypted_content", {"request.refused"}),
        ("foreign", "invalid encrypted_content", set()),
        ("foreign", "bad request", {"request.refused"}),
    ],
)
def test_a_server_may_reject_only_the_encrypted_cot_of_others(sent, message, expected):
    whole = responses_whole(Reply(reasoning="We greet.", text="Hi."))
    whole["output"][0]["encrypted_content"] = "own"
    refused = json_response({"error": {"message": message}}, 400)
    recorded = rollout([json_response(whole), refused], api="responses", end="failed")
    item = {"type": "reasoning", "summary": [], "encrypted_content": sent}
    first, second = recorded.exchanges
    second = asked(recorded.model_copy(update={"exchanges": (second,)}), {"input": [item]})
    joined = recorded.model_copy(update={"exchanges": (first, *second.exchanges)})
    assert examined.findings(joined) == expected


def test_not_implemented_is_a_rejection():
    assert findings("not supported", 501) == {"request.refused"}
    option = {"previous_response_id": "resp_1"}
    assert findings("previous_response_id is not supported", 501, **option) == set()


@pytest.mark.parametrize(
    ("message", "streaming", "severity"),
    [
        ("stream is not supported", True, "warning"),
        ("Streaming isn't supported for this model; set stream to false.", True, "warning"),
        ("This model does not support streaming.", True, "warning"),
        ("`stream` must be `false`", True, "warning"),
        ("stream is not supported", False, "error"),
        ("stream_options is not supported", True, "error"),
        ("tools are not supported", True, "error"),
    ],
)
def test_to_refuse_streams_by_name_is_a_warning(message, streaming, severity):
    refused = json_response({"error": {"message": message}}, 400)
    (found,) = examined.details(asked(rollout([refused], end="failed"), {"stream": streaming}))
    assert (found.id, found.severity) == ("request.refused", severity)


def test_a_refusal_of_many_tools_names_their_number():
    for number, named in ((17, True), (2, False)):
        functions = [{"name": f"f{at}", "parameters": {"type": "object"}} for at in range(number)]
        tools = [{"type": "function", "function": function} for function in functions]
        refused = json_response({"error": {"message": "no"}}, 400)
        (found,) = examined.details(asked(rollout([refused], end="failed"), {"tools": tools}))
        assert ("with 17 tools" in found.message) == named


@pytest.mark.parametrize(("message", "request_body"), OPTIONS)
def test_a_rejection_that_does_not_name_the_option_is_reported(message, request_body):
    assert findings("bad request", **request_body) == {"request.refused"}
    assert findings(message) == {"request.refused"}


@pytest.mark.parametrize(
    "usual", [{"reasoning_effort": "low"}, {"reasoning": {"effort": "high"}}, {"logprobs": False}]
)
def test_rejections_of_universally_supported_options_are_reported(usual):
    assert findings("no effort, no logprobs", **usual) == {"request.refused"}


TOO_MANY = "Your request exceeded model token limit: 262144 (requested: 286657)"


@pytest.mark.parametrize(
    ("message", "request_body", "foreign"),
    [
        (TOO_MANY, {"metadata": {"purpose": "x"}}, True),  # kimi-code#3530
        (TOO_MANY, {"max_tokens": 262_144}, False),
        ("prompt is too long", {"seed": 1}, True),
        ("This model does not support image input.", {"tools": []}, True),
        ("This model does not support image input.", {"messages": [{"content": [IMAGE]}]}, False),
        ("Tools are not supported.", {"metadata": {}}, True),
        (
            "Tools are not supported with json_schema.",
            {"response_format": {"type": "json_schema"}},
            False,
        ),
        ("metadata is not supported for streams", {"metadata": {}}, False),
        ("Streaming is not supported.", {"stream": True, "metadata": {}}, False),
        ("Streaming is not supported.", {"stream": False, "metadata": {}}, True),
        ("Not supported.", {"metadata": {}}, False),
        ("bad request", {"metadata": {}}, False),
    ],
)
def test_a_refusal_for_what_the_request_lacks_is_reported(message, request_body, foreign):
    sent = {"messages": [{"role": "user", "content": "Hi there!"}], "tools": None} | request_body
    assert ("request.refused.foreign" in findings(message, **sent)) is foreign


def test_no_share_of_failures_on_images_is_tolerated():
    for part, proven in ((IMAGE, True), ({"type": "text", "text": "Hi"}, False)):
        sent = {"messages": [{"role": "user", "content": [part]}]}
        (found,) = examined.details(asked(rollout([json_response({}, 500)], end="failed"), sent))
        assert (found.id, found.proven) == ("request.failed", proven)


def test_an_unrelated_rejection_of_a_long_prompt_is_reported():
    assert findings("unexpected tokens in message header", **LONG) == {"request.refused"}


def test_an_empty_body_is_not_called_a_stream():
    (finding,) = examined.details(rollout([json_response("")]))
    assert (finding.id, finding.evidence.got) == ("reply.unreadable", "an empty body")


def test_a_stream_has_token_counts_only_on_request():
    reply = Reply(text="It is sunny.")
    for options, expected in (({"include_usage": True}, {"usage.missing"}), (None, set())):
        recorded = chat_stream(lambda chunks: chunks.pop(), reply, {"stream_options": options})
        assert examined.findings(recorded) == expected
