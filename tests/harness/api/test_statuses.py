"""Every status outside 2xx of a valid request is an overload, a refusal or a server error."""

from collections.abc import Sequence

import pytest
from healthy import exchange, json_response, rollout

from harness.api.parsed_rollout import parse_rollout
from harness.api.statuses import (
    fails_to_render,
    meaning,
    passing_failures,
    trouble_of,
    without_reply,
)
from harness.records.conditions import Mode
from harness.records.rollouts import Exchange, Rollout
from harness.rules.catalogue import examine

LIMITS = (
    {"error": {"message": "Rate limit reached for gpt-oss-120b", "code": "x"}},
    {"error": {"message": "slow down", "type": "too_many_requests"}},
    {"error": {"message": "Requested 9000", "code": "rate_limit_exceeded"}},
    {"error": "You exceeded your current quota"},
    {"detail": "Request too large: tokens per minute (TPM): Limit 8000"},
    {"message": "RESOURCE_EXHAUSTED"},
    "upstream connect error: overloaded",
)
REFUSALS = (
    {"error": {"message": "max_tokens is too large: the context has 8192 tokens"}},
    {"error": {"message": "response_format is not supported", "code": "unsupported_value"}},
    {"detail": [{"msg": "field required", "input": "Explain rate limits and quotas to me."}]},
)


@pytest.mark.parametrize("status", range(300, 600))
def test_somebody_is_responsible_for_every_status(status):
    failed = exchange("chat", False, json_response({"error": {"message": "no"}}, status=status))
    said = meaning(failed.response)
    found = {finding.id for finding in examine(parse_rollout(rollout([failed])))[1]}
    if said == "overload":
        assert not found
        assert trouble_of(failed) == "overloaded"
        assert without_reply(failed)
    elif said == "refusal":
        assert found == {"request.refused"}
        assert not without_reply(failed)
    else:
        assert said == "server_error"
        assert status >= 500
        assert trouble_of(failed) == "passing"
        assert (found == {"request.failed"}) != without_reply(failed)


@pytest.mark.parametrize("body", LIMITS)
@pytest.mark.parametrize("status", [400, 403, 413, 498, 500])
def test_a_body_that_names_a_limit_is_an_overload_whatever_its_status(status, body):
    assert meaning(json_response(body, status=status)) == "overload"


@pytest.mark.parametrize("body", REFUSALS)
def test_a_refusal_is_not_an_overload(body):
    assert meaning(json_response(body, status=400)) == "refusal"


@pytest.mark.parametrize("said", ["Connection reset by peer", "upstream: 502 Bad Gateway"])
def test_the_words_of_a_lost_upstream_refuse_nothing_whatever_the_status(said):
    failed = exchange("chat", False, json_response({"error": {"message": said}}, status=400))
    assert meaning(failed.response) == "server_error"
    assert trouble_of(failed) == "passing"


@pytest.mark.parametrize(
    ("said", "of_template"),
    [
        ("Cannot pass both content and thinking in an assistant message with tool calls!", True),
        ("jinja2.exceptions.UndefinedError: 'dict object' has no attribute 'description'", True),
        ('Error rendering prompt with jinja template: "items".', True),
        ("The chat template raised an exception: can only concatenate str", True),
        ("Unknown parameter: 'chat_template_kwargs'.", False),
        ("Failed to parse messages: type must be string, but is null", False),
        ("The model does not support tools.", False),
        ('can only concatenate str (not "int") to str', False),
    ],
)
def test_an_error_names_an_exception_of_the_template(said, of_template):
    for status in (400, 500):
        assert (
            fails_to_render(json_response({"error": {"message": said}}, status=status))
            == of_template
        )


def _last(task: str, sample: str, mode: Mode, status: int) -> tuple[Rollout, Exchange]:
    body = {"error": {"message": f"The template failed at {sample}."}}
    made = rollout(
        [json_response(body, status)], task=task, sample=sample, streaming=mode == "streaming"
    )
    return made, made.exchanges[-1]


@pytest.mark.parametrize("status", [500, 400])
@pytest.mark.parametrize(
    ("failed", "served", "passing"),
    [
        (("streaming", "non-streaming"), ("streaming", "non-streaming"), True),
        (("streaming",), ("streaming",), True),  # equal requests in one mode
        (("streaming",), ("non-streaming",), False),  # a failure of streams
        (("streaming", "non-streaming"), (), False),  # of every request
    ],
)
def test_a_failure_that_equal_requests_get_now_and_then_comes_and_goes(
    status: int, failed: Sequence[Mode], served: Sequence[Mode], passing: bool
) -> None:
    last = [
        made
        for task in ("a", "b")
        for sample in ("1", "2")
        for made in (
            *(_last(task, sample, mode, status) for mode in failed),
            *(_last(task, sample, mode, 200) for mode in served),
        )
    ]
    assert bool(passing_failures(last)) is passing
    assert not passing_failures(last[: len(last) // 4])  # one request says nothing
