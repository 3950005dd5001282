"""Probes of token limits and stop strings with simulated replies."""

import json
from typing import Any

import pytest
from healthy import json_response, stream_response
from probing import Served, checked, judged, prove, refusal
from replies import (
    Reply,
    chat_blocks,
    chat_chunks,
    chat_whole,
    responses_blocks,
    responses_events,
    responses_whole,
)

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
            body |= {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}
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


def short_beside_one(short: int) -> Any:
    """A server with a limit of 512 tokens, which a reply of so many does not show."""

    def provider(request: ProbeRequest, attempt: Attempt) -> Any:
        if request.id == "unlimited":
            return ended(attempt, "stop", short)
        if request.id == "unlimited list":
            return ended(attempt, "stop", 512, text=LIST)
        return healthy(request, attempt)

    return provider


def long_answers(tokens: int, finish: str) -> Any:
    """A server that ends long answers so."""

    def provider(request: ProbeRequest, attempt: Attempt) -> Any:
        prompt = 100 + 4 * len(request.id)
        of_long = request.id.endswith("long answer")
        return long(attempt, tokens, finish, prompt) if of_long else healthy(request, attempt)

    return provider


def truncating(cot: str, text: str | None, *names: str) -> Any:
    """A server with these beginnings of replies to some requests."""
    return lambda request, attempt: (
        begun(attempt, cot, text) if request.id.startswith(names) else healthy(request, attempt)
    )


LIST, DEFAULT = '{"zeros": [0, 0', "limits.default"
OTHERWISE = "limits.max_completion_tokens"
SERVERS: Served = {
    name: (GROUP, provider, found, *apis)
    for name, provider, found, *apis in (
        (
            "max_completion_tokens is refused",
            healthy_except("cut otherwise", refusal()),
            {OTHERWISE: "warned"},
        ),
        (
            "max_completion_tokens is ignored",
            healthy_except("cut otherwise", lambda a: ended(a, "stop", 300, text="One.")),
            {OTHERWISE: "failed"},
        ),
        *(
            (
                f"unlimited replies end at {tokens}",
                healthy_except("unlimited", lambda a, tokens=tokens: ended(a, "length", tokens)),
                {DEFAULT: status},
            )
            for tokens, status in ((16, "failed"), (4096, "passed"))
        ),
        *(
            (
                f"a list over {api} ends with {finish} at {tokens}",
                healthy_except(
                    "unlimited list",
                    lambda a, finish=finish, tokens=tokens: ended(a, finish, tokens, text=LIST),
                ),
                {DEFAULT: status},
                [api],
            )
            for api, finish, tokens, status in (
                ("chat", "length", 128, "failed"),
                ("responses", "length", 512, "failed"),
                ("chat", "length", 900, "passed"),
                ("chat", "stop", 512, "failed"),
                ("responses", "stop", 512, "failed"),
                ("chat", "stop", 700, "passed"),
            )
        ),
        ("a list is refused", healthy_except("unlimited list", refusal()), {DEFAULT: "passed"}),
    )
}


@pytest.mark.parametrize("server", SERVERS)
def test_a_server(server: str) -> None:
    prove(*SERVERS[server])


@pytest.mark.parametrize(("short", "counts"), [(40, (1, 1)), (511, (1, 1)), (512, (1, 2))])
def test_replies_too_short_to_show_a_limit_do_not_count_beside_one_that_does(
    short: int, counts: tuple[int, int]
) -> None:
    result = judged(GROUP, short_beside_one(short), ["chat"])[DEFAULT]
    assert (result.failures, result.applicable) == counts


def stopped(name: str, text: str, reasoning: str = COT) -> Any:
    return healthy_except(name, Reply(text=text, reasoning=reasoning))


NOTICE = "The reply reached the limit."
CUT = ("cut in the CoT", "cut at")
CHECKED: dict[str, tuple[Any, dict[str, str]]] = {
    # A limit that is not told
    "stop at the limit": (
        healthy_except("cut", lambda a: ended(a, "stop", LIMIT, text=" one" * LIMIT)),
        {"finish.limit": "failed"},
    ),
    "beyond the limit": (
        healthy_except(
            "cut", lambda a: ended(a, "length", LIMIT + 300, text=" one" * (LIMIT + 300))
        ),
        {"finish.limit": "failed"},
    ),
    "calls at the limit": (
        healthy_except("cut", lambda a: ended(a, "tool_calls", LIMIT, text=" one" * LIMIT)),
        {"finish.limit": "failed"},
    ),
    "500 for a limit": (healthy_except("cut", refusal(500)), {"request.failed": "failed"}),
    "refused": (lambda *_: refusal(), {"finish.limit": "not_verifiable"}),
    # A limit below that of the request
    **{
        f"long answers end with {finish} at {tokens}": (
            long_answers(tokens, finish),
            {"finish.early": status},
        )
        for tokens, finish, status in (
            (512, "length", "failed"),
            (2_048, "length", "failed"),
            (4_096, "length", "passed"),
            (1_500, "stop", "passed"),
        )
    },
    # Stop strings
    **{
        f"{name}: {text}": (stopped(name, text), {"stop.kept": "failed"})
        for name in ("stopped", "stopped by another")
        for text in (ANSWER.text or "", "The code word", "The code ")
    },
    **{
        f"the CoT ends: {cot}": (
            stopped("stopped", "", cot),
            {"stop.early": status, "stop.kept": "passed"},
        )
        for cot, status in (
            ("", "warned"),
            ("The user requests for the code word", "warned"),
            ("The code word is orchid596, so I say it.", "passed"),
        )
    },
    # A truncated greedy reply is the beginning of the whole one; one may differ by chance.
    **{
        f"cut: {cot[:12]}, {text}, {' and '.join(names)}": (
            truncating(cot, text, *names),
            {"limits.prefix": status if names == CUT else "passed"},
        )
        for cot, text, status in (
            (COT, None, "passed"),
            (COT[:20], None, "passed"),
            (COT[:20], COT[20:30], "failed"),
            (COT[:20], NOTICE, "failed"),
            (COT, "The code", "passed"),
            (COT, "Sorry, it was cut.", "not_verifiable"),  # as another answer of the model may be
            ("Another CoT.", "The code", "not_verifiable"),
            ("Another CoT.", NOTICE, "not_verifiable"),
        )
        for names in ([CUT, CUT[:1], CUT[1:]] if status == "failed" else [CUT])
    },
}


@pytest.mark.parametrize("server", CHECKED)
def test_what_the_checks_find(server: str) -> None:
    provider, found = CHECKED[server]
    results = checked(GROUP, provider)
    assert {rule: results[rule].status for rule in found} == found
