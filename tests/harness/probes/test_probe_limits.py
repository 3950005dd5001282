"""Probes of token limits and stop strings with simulated replies."""

import json
from typing import Any

import pytest
from healthy import json_response, stream_response
from probing import checked, judged, refusal
from replies import (
    Reply,
    chat_blocks,
    chat_chunks,
    chat_whole,
    responses_blocks,
    responses_events,
    responses_whole,
)

from harness.records.conditions import Api
from harness.records.rollouts import Response
from harness.rules.limits.probes import GROUP, LIMIT
from harness.rules.probe import ProbeRequest
from harness.run.attempts import Attempt

COT = "The user requests for the code word, so I say it."
ANSWER = Reply(text="The code word is orchid596.", reasoning=COT)


def ended(attempt: Attempt, finish: str, tokens: int, text: str | None = None) -> Response:
    """A non-streaming reply with this token count and finish; without text, only truncated CoT."""
    reply = Reply(text=text, reasoning="Let me see how")
    if attempt.condition.api == "chat":
        body = chat_whole(reply)
        body["choices"][0]["finish_reason"] = finish
        body["usage"] |= {"completion_tokens": tokens, "total_tokens": 50 + tokens}
    else:
        body = responses_whole(reply)
        if finish == "length":
            details = {"reason": "max_output_tokens"}
            body |= {"status": "incomplete", "incomplete_details": details}
        body["usage"] |= {"output_tokens": tokens, "total_tokens": 50 + tokens}
    return json_response(body)


def begun(attempt: Attempt, reasoning: str, text: str | None = None) -> Response:
    """A reply of either mode that the token limit cut after these texts."""
    reply = Reply(text=text, reasoning=reasoning)
    if attempt.condition.api == "chat":
        chunks = chat_chunks(reply)
        last = next(each for each in reversed(chunks) if each["choices"])
        body = chat_whole(reply)
        for each in (body, last):
            each["choices"][0]["finish_reason"] = "length"
        whole, blocks = body, chat_blocks(chunks)
    else:
        events = responses_events(reply)
        details = {"reason": "max_output_tokens"}
        whole = responses_whole(reply) | {"status": "incomplete", "incomplete_details": details}
        events[-1] |= {"type": "response.incomplete", "response": whole}
        blocks = responses_blocks(events)
    return stream_response(blocks) if attempt.condition.streaming else json_response(whole)


def healthy(request: ProbeRequest, attempt: Attempt) -> Any:
    if request.id == "cut list":
        return begun(attempt, "Do as told.", '{"zeros": [0, 0')
    if request.id.startswith(("cut in", "cut at")):
        return begun(attempt, COT[:20])
    if request.id.startswith("cut"):
        return refusal() if attempt.condition.streaming else ended(attempt, "length", LIMIT)
    if request.id.endswith("long answer"):
        return long(attempt, 2_100, "stop", len(request.id))
    return Reply(text="The ", reasoning=COT) if request.id.startswith("stopped") else ANSWER


def long(attempt: Attempt, tokens: int, finish: str, prompt: int) -> Response:
    """A reply to a prompt of this many tokens that ended at this many tokens."""
    response = ended(attempt, finish, tokens, text="One, two")
    name = "prompt_tokens" if attempt.condition.api == "chat" else "input_tokens"
    body = json.loads(response.body or "")
    return json_response(body | {"usage": body["usage"] | {name: prompt}})


def healthy_except(name: str, said: Any) -> Any:
    """The healthy provider with another non-streaming reply to requests with this name."""

    def provider(request: ProbeRequest, attempt: Attempt) -> Any:
        if not request.id.startswith(name) or attempt.condition.streaming:
            return healthy(request, attempt)
        return said(attempt) if callable(said) else said

    return provider


def failed(provider: Any) -> set[str]:
    """The failed probes over both APIs; all streaming requests are refused."""
    results = judged(GROUP, provider)
    return {
        name
        for name, each in results.items()
        if any("/non-streaming/" in example.evidence.record for example in each.examples)
        and each.status == "failed"
    }


@pytest.mark.parametrize(
    ("said", "rule"),
    [
        (lambda attempt: ended(attempt, "stop", LIMIT, text=" one" * LIMIT), "finish.limit"),
        (
            lambda attempt: ended(attempt, "length", LIMIT + 300, text=" one" * (LIMIT + 300)),
            "finish.limit",
        ),
        (lambda attempt: ended(attempt, "tool_calls", LIMIT, text=" one" * LIMIT), "finish.limit"),
        (refusal(500), "request.failed"),
    ],
)
def test_silent_truncation_is_detected(said: Any, rule: str) -> None:
    assert checked(GROUP, healthy_except("cut", said))[rule].status == "failed"


def test_refused_requests_have_no_end_to_judge() -> None:
    assert checked(GROUP, lambda *_: refusal())["finish.limit"].applicable == 0


def test_to_refuse_max_completion_tokens_is_a_warning_and_to_ignore_it_an_error() -> None:
    name = "limits.max_completion_tokens"
    refused = judged(GROUP, healthy_except("cut otherwise", refusal()))[name]
    assert (refused.status, refused.failures) == ("warned", 1)
    ignored = healthy_except(
        "cut otherwise", lambda attempt: ended(attempt, "stop", 300, text="One.")
    )
    assert failed(ignored) == {name}


@pytest.mark.parametrize(("tokens", "expected"), [(16, {"limits.default"}), (4096, set())])
def test_a_low_default_limit_is_detected(tokens: int, expected: set[str]) -> None:
    assert failed(healthy_except("unlimited", lambda a: ended(a, "length", tokens))) == expected


@pytest.mark.parametrize(
    ("finish", "tokens", "status"),
    [
        ("length", 128, "failed"),
        ("length", 1_024, "failed"),
        ("length", 1_900, "passed"),
        ("stop", 512, "failed"),
        ("stop", 700, "passed"),
    ],
)
@pytest.mark.parametrize("api", ["chat", "responses"])
def test_a_default_limit_above_the_length_of_other_replies_shows_in_a_long_list(
    api: Api, finish: str, tokens: int, status: str
) -> None:
    begun = '{"zeros": [0, 0'
    said = healthy_except("unlimited list", lambda a: ended(a, finish, tokens, text=begun))
    assert judged(GROUP, said, [api])["limits.default"].status == status
    refused = judged(GROUP, healthy_except("unlimited list", refusal()), [api])
    assert refused["limits.default"].status == "passed"


@pytest.mark.parametrize(("short", "counts"), [(40, (1, 1)), (511, (1, 1)), (512, (1, 2))])
def test_replies_too_short_to_show_a_limit_do_not_count_beside_one_that_does(
    short: int, counts: tuple[int, int]
) -> None:
    def said(request: ProbeRequest, attempt: Attempt) -> Any:
        if request.id == "unlimited":
            return ended(attempt, "stop", short)
        if request.id == "unlimited list":
            return ended(attempt, "stop", 512, text='{"zeros": [0, 0')
        return healthy(request, attempt)

    result = judged(GROUP, said, ["chat"])["limits.default"]
    assert (result.failures, result.applicable) == counts


@pytest.mark.parametrize(
    ("tokens", "finish", "found"),
    [
        (lambda prompt: 512, "length", True),
        (lambda prompt: 2_048, "length", True),
        (lambda prompt: 4_096, "length", False),
        (lambda prompt: 1_500, "stop", False),
    ],
)
def test_a_limit_below_that_of_the_request(tokens: Any, finish: str, found: bool) -> None:
    def provider(request: ProbeRequest, attempt: Attempt) -> Any:
        if not request.id.endswith("long answer"):
            return healthy(request, attempt)
        prompt = 100 + 4 * len(request.id)
        return long(attempt, tokens(prompt), finish, prompt)

    assert bool(checked(GROUP, provider)["finish.early"].failures) == found


@pytest.mark.parametrize(
    "said",
    [
        ANSWER,
        Reply(text="The code word", reasoning=COT),
        Reply(text="The code ", reasoning=COT),
    ],
)
def test_ineffective_stop_strings_are_detected(said: Reply) -> None:
    for name in ("stopped", "stopped by another"):
        assert checked(GROUP, healthy_except(name, said))["stop.kept"].status == "failed"


@pytest.mark.parametrize(
    ("reasoning", "status"),
    [
        ("", "warned"),
        ("The user requests for the code word", "warned"),
        ("The code word is orchid596, so I say it.", "passed"),
    ],
)
def test_a_stop_string_that_ends_the_cot_is_a_warning(reasoning: str, status: str) -> None:
    found = checked(GROUP, healthy_except("stopped", Reply(text="", reasoning=reasoning)))
    assert found["stop.early"].status == status
    assert found["stop.kept"].status == "passed"


NOTICE = "The reply reached the limit."


@pytest.mark.parametrize(
    ("cot", "text", "found"),
    [
        (COT, None, False),
        (COT[:20], None, False),
        (COT[:20], COT[20:30], True),
        (COT[:20], NOTICE, True),
        (COT, "The code", False),
        (COT, "Sorry, it was cut.", False),  # as another answer of the model may be
        ("Another CoT.", "The code", False),
        ("Another CoT.", NOTICE, False),
    ],
)
def test_a_truncated_greedy_reply_is_the_beginning_of_the_whole_one(
    cot: str, text: str | None, found: bool
) -> None:
    """Replies to one request may differ by chance."""

    def truncating(*names: str) -> bool:
        def provider(request: ProbeRequest, attempt: Attempt) -> Any:
            if request.id.startswith(names):
                return begun(attempt, cot, text)
            return healthy(request, attempt)

        return checked(GROUP, provider)["limits.prefix"].failures > 0

    assert truncating("cut in the CoT", "cut at") == found
    assert not truncating("cut in the CoT")
    assert not truncating("cut at")
