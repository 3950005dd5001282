"""Probes of invalid requests with simulated responses."""

from collections.abc import Mapping
from typing import Any

import pytest
from healthy import json_response, stream_response
from mock_provider import error
from probing import Provider, judged, refusal, statuses
from replies import Reply, chat_blocks, chat_chunks, responses_blocks, responses_events

from harness.records.analysis import RuleResult
from harness.records.rollouts import Response
from harness.rules.errors import probes as invalid_requests
from harness.rules.probe import ProbeRequest
from harness.run.attempts import Attempt

HELLO = Reply(text="Hello.")
DETAIL = {"detail": [{"loc": ["body"], "msg": "no", "type": "value_error"}]}


def healthy(request: ProbeRequest, attempt: Attempt) -> Any:
    """A provider that rejects invalid requests and needs no key."""
    return HELLO if request.id in ("valid", "wrong key", "no key", "other tool") else REFUSED


def answering(wrong: Any) -> Provider:
    """A provider with this response to all invalid requests."""
    return lambda *each: HELLO if healthy(*each) is HELLO else wrong


def full(status: int) -> Response:
    return json_response({"error": {**error("No.")["error"], "param": None}}, status)


REFUSED = full(400)


def results(wrong: Any) -> Mapping[str, RuleResult]:
    return judged(invalid_requests.GROUP, answering(wrong))


def of_status(found: Mapping[str, RuleResult], status: str) -> set[str]:
    return {name for name, each in statuses(found).items() if each == status}


@pytest.mark.parametrize(
    ("wrong", "failed"),
    [
        (full(500), {"errors.status"}),
        (json_response(error("No."), 200), {"errors.status"}),
        (json_response("<html>400</html>", 400), {"errors.body"}),
        (json_response({"error": {}}, 400), {"errors.body"}),
        (HELLO, {"errors.malformed", "errors.no_object"}),
    ],
)
def test_other_kinds_of_errors_fail(wrong: Any, failed: set[str]) -> None:
    assert of_status(results(wrong), "failed") == failed


def test_an_image_that_gets_status_500_is_not_rejected() -> None:
    """As LiteLLM answers (litellm#14085)."""
    found = judged(
        invalid_requests.GROUP,
        lambda request, a: full(500) if request.id == "image" else healthy(request, a),
    )
    assert of_status(found, "failed") == {"errors.status"}
    assert "errors.image" in of_status(found, "not_verifiable")


def test_a_server_that_streams_every_reply_is_no_defect_of_errors() -> None:
    def provider(request: ProbeRequest, attempt: Attempt) -> Response:
        chat = attempt.condition.api == "chat"
        blocks = (
            chat_blocks(chat_chunks(HELLO)) if chat else responses_blocks(responses_events(HELLO))
        )
        return stream_response(blocks)

    assert "errors.status" not in of_status(judged(invalid_requests.GROUP, provider), "failed")


def test_a_defect_of_streams_alone_is_reported_as_one() -> None:
    def provider(request: ProbeRequest, attempt: Attempt) -> Any:
        streamed = attempt.condition.mode == "streaming"
        return full(500) if streamed else healthy(request, attempt)

    assert of_status(judged(invalid_requests.GROUP, provider), "failed") == {"errors.status"}


@pytest.mark.parametrize(
    "body",
    [
        *(DETAIL, {"error": "No."}, {"object": "error", "message": "No."}, {"detail": "No."}),
        {"success": False, "result": {}, "errors": [{"code": 5006, "message": "No."}]},
        {"Message": "No."},
    ],
)
def test_other_forms_of_error_bodies_are_warnings(body: Any) -> None:
    found = results(json_response(body, 422))
    assert of_status(found, "failed") == set()
    assert "errors.body" in of_status(found, "warned")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"code": 400}, "`code` is an integer"),
        ({"param": ["max_tokens"]}, "`param` is a list"),
        ({"type": "internal_server_error"}, "`type` says that the server failed"),
        ({"type": None, "code": 1.5}, "`type` is null, `code` is a number"),
    ],
)
def test_a_finding_names_the_wrong_fields(change: dict[str, Any], said: str) -> None:
    body = {"error": {**error("No.")["error"], "param": None, **change}}
    (example, *_) = results(json_response(body, 400))["errors.body"].examples
    assert example.message.endswith(f"OpenAI's format: {said}.")


@pytest.mark.parametrize(
    ("more", "fate"), [(0, "so it was dropped."), (9, "has 9 more tokens than without")]
)
def test_prompt_tokens_show_what_became_of_an_invalid_part(more: int, fate: str) -> None:
    found = results(Reply(text="Hello.", prompt=50 + more))
    for rule, shown in (("bad_tool", True), ("unmatched_result", True), ("wrong_type", False)):
        (example, *_) = found[f"errors.{rule}"].examples
        assert (fate in example.message) == shown


def test_a_rejection_as_plain_text_is_one_finding() -> None:
    found = results(json_response("No.", 422))
    assert of_status(found, "failed") == {"errors.body"}


def test_rate_limited_requests_are_not_verifiable() -> None:
    found = results(full(429))
    assert of_status(found, "passed") <= {"errors.body"}
    assert "errors.status" in of_status(found, "not_verifiable")


def test_accepted_invalid_requests_are_warnings() -> None:
    assert of_status(results(refusal()), "warned") == {"errors.body"}
    answered = of_status(results(HELLO), "warned")
    assert {"errors.unknown_model", "errors.wrong_type", "errors.unmatched_result"} <= answered
    assert not answered & {"errors.status", "errors.body"}


def test_every_invalid_request_has_a_body_for_each_api() -> None:
    for invalid in invalid_requests.INVALID_REQUESTS:
        assert invalid.raw or invalid.chat
        assert invalid.raw or invalid.responses


@pytest.mark.parametrize(
    ("said", "status"),
    [
        (full(400), "passed"),
        (full(413), "passed"),
        (full(502), "failed"),
        (HELLO, "failed"),
        (Reply(text="", reasoning="", prompt=200_000), "failed"),
    ],
)
def test_an_overflow_is_rejected_and_not_truncated(said: Any, status: str) -> None:
    found = judged(invalid_requests.OVERFLOW_GROUP, lambda request, attempt: said)
    assert found["errors.overflow"].status == status
