"""Probes of invalid requests with simulated responses."""

from typing import Any

import pytest
from healthy import json_response, stream_response
from mock_provider import error
from probing import Provider, Served, judged, prove, refusal
from replies import Reply, chat_blocks, chat_chunks, responses_blocks, responses_events

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


def streaming(_: ProbeRequest, attempt: Attempt) -> Response:
    """A server that streams every reply."""
    if attempt.condition.api == "chat":
        return stream_response(chat_blocks(chat_chunks(HELLO)))
    return stream_response(responses_blocks(responses_events(HELLO)))


def only(condition: Any) -> Provider:
    """A server that fails at some requests."""
    return lambda *each: full(500) if condition(*each) else healthy(*each)


def wrong(change: dict[str, Any]) -> Provider:
    """A server whose errors have these members."""
    said = {"error": {**error("No.")["error"], "param": None, **change}}
    return answering(json_response(said, 400))


STATUS, BODY = "errors.status", "errors.body"
ACCEPTED = dict.fromkeys((each.id for each in invalid_requests.GROUP.probes), "warned") | {
    **dict.fromkeys(("errors.malformed", "errors.no_object"), "failed"),
    STATUS: "passed",
    BODY: "not_verifiable",
}
SERVERS: Served = {
    **{
        name: (invalid_requests.GROUP, provider, found)
        for name, provider, found in (
            ("status 500", answering(full(500)), {STATUS: "failed"}),
            ("status 200", answering(json_response(error("No."), 200)), {STATUS: "failed"}),
            ("a page", answering(json_response("<html>400</html>", 400)), {BODY: "failed"}),
            ("an empty error", answering(json_response({"error": {}}, 400)), {BODY: "failed"}),
            ("plain text", answering(json_response("No.", 422)), {BODY: "failed"}),
            # LiteLLM answers so (litellm#14085).
            (
                "500 for an image",
                only(lambda request, _: request.id == "image"),
                {STATUS: "failed", "errors.image": "not_verifiable"},
            ),
            ("500 in streams", only(lambda _, a: a.condition.streaming), {STATUS: "failed"}),
            *(
                (f"body {body}", answering(json_response(body, 422)), {BODY: "warned"})
                for body in (
                    *(DETAIL, {"error": "No."}, {"object": "error", "message": "No."}),
                    *({"detail": "No."}, {"Message": "No."}),
                    {"success": False, "result": {}, "errors": [{"code": 5006, "message": "No."}]},
                )
            ),
            *(
                (f"fields {change}", wrong(change), {BODY: f"{status}: {said}."})
                for change, status, said in (
                    ({"code": 400}, "passed", "`code` is an integer"),
                    ({"param": ["max_tokens"]}, "warned", "`param` is a list"),
                    (
                        {"type": "internal_server_error"},
                        "warned",
                        "`type` says that the server failed",
                    ),
                    ({"type": None, "code": 1.5}, "warned", "`type` is null, `code` is a number"),
                )
            ),
            ("rate limits", answering(full(429)), {STATUS: "not_verifiable"}),
            ("refusals without param", answering(refusal()), {BODY: "warned"}),
            ("all are accepted", answering(HELLO), ACCEPTED),
        )
    },
    **{
        f"an overflow gets {name}": (
            invalid_requests.OVERFLOW_GROUP,
            lambda *_, said=said: said,
            {"errors.overflow": status},
        )
        for name, said, status in (
            ("400", full(400), "passed"),
            ("413", full(413), "passed"),
            ("502", full(502), "failed"),
            ("an answer", HELLO, "failed"),
            ("an empty answer", Reply(text="", reasoning="", prompt=200_000), "failed"),
        )
    },
}


@pytest.mark.parametrize("server", SERVERS)
def test_a_server(server: str) -> None:
    prove(*SERVERS[server])


@pytest.mark.parametrize(
    ("more", "fate"), [(0, "so it was dropped."), (9, "has 9 more tokens than without")]
)
def test_prompt_tokens_show_what_became_of_an_invalid_part(more: int, fate: str) -> None:
    found = judged(invalid_requests.GROUP, answering(Reply(text="Hello.", prompt=50 + more)))
    for rule, shown in (("bad_tool", True), ("unmatched_result", True), ("wrong_type", False)):
        (example, *_) = found[f"errors.{rule}"].examples
        assert (fate in example.message) == shown


def test_every_invalid_request_has_a_body_for_each_api() -> None:
    for invalid in invalid_requests.INVALID_REQUESTS:
        assert invalid.raw or invalid.chat
        assert invalid.raw or invalid.responses
