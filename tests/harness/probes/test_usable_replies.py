"""Requests that are not evidence about a provider and must not fail a probe."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from healthy import exchange, json_response, rollout, stream_response
from probing import judged, refusal
from replies import Reply, chat_whole, data, responses_whole

from harness.api.parsed_rollout import ParsedRollout, parse_rollout
from harness.records.conditions import BOTH_APIS, Api
from harness.records.reasons import Reason
from harness.records.rollouts import Exchange, Response, TransportFailure
from harness.rules.catalogue import GROUPS
from harness.rules.missing import NotVerifiableError
from harness.rules.probe import ProbeGroup, ProbeRequest, ProbeResponses, Sent
from harness.run.attempts import Attempt

_EACH_GROUP = pytest.mark.parametrize("group", GROUPS, ids=lambda group: group.name)


def _timed_out(attempt: Attempt) -> Exchange:
    failure = TransportFailure(kind="timeout", message="No answer within 600 s.")
    condition = attempt.condition
    return exchange(condition.api, condition.streaming, None, failure=failure)


def _cut(api: Api) -> Response:
    if api == "chat":
        body = chat_whole(Reply(text="The"))
        body["choices"][0]["finish_reason"] = "length"
    else:
        body = responses_whole(Reply(text="The"))
        body |= {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}
    return json_response(body)


def _filtered(attempt: Attempt) -> Response | list[str]:
    body = chat_whole(Reply(text="I am sor"))
    body["choices"][0]["finish_reason"] = "content_filter"
    return json_response(body)


@_EACH_GROUP
def test_what_a_filter_left_is_not_judged(group: ProbeGroup) -> None:
    found = judged(group, lambda _, attempt: _filtered(attempt), ["chat"])
    assert {each.status for each in found.values()} <= {"not_verifiable", "skipped", "passed"}


@_EACH_GROUP
def test_a_page_instead_of_a_reply_says_nothing_of_its_request(group: ProbeGroup) -> None:
    """`reply.unreadable` reports it, and only the probe of invalid requests is about it."""
    page = Response(status=200, headers={"content-type": "text/html"}, body="<h1>Bad Gateway</h1>")
    found = judged(group, lambda *_: [page])
    failed = {name for name, each in found.items() if each.status in ("failed", "warned")}
    assert failed <= {"errors.status"}


_LIMITED = {"message": "Too many requests.", "code": 429}
_LIMITED_BODY = json_response({"error": _LIMITED}, 200)
_LIMITED_STREAMS = [
    [data({"error": _LIMITED})],
    [data({"type": "error", "code": "rate_limit_exceeded", "message": "Too many requests."})],
    [
        data(
            {
                "type": "response.failed",
                "response": {
                    "status": "failed",
                    "error": {"code": "rate_limit_exceeded", "message": "Too many requests."},
                },
            }
        )
    ],
]


def _limited(blocks: list[str]) -> Callable[[Attempt], Response]:
    return lambda attempt: stream_response(blocks) if attempt.condition.streaming else _LIMITED_BODY


_UNUSABLE: Mapping[str, Callable[[Attempt], Any]] = {
    "timeout": lambda attempt: [_timed_out(attempt)],
    "429": lambda _: refusal(429),
    "504": lambda _: refusal(504),
    "a rate limit within a good status": _limited(_LIMITED_STREAMS[0]),
}
_OTHERS = {str(status): refusal(status) for status in (402, 408, 425, 522, 524, 529)}
_UNUSABLE_ONCE: Mapping[str, Callable[[Attempt], Any]] = {
    **{name: (lambda _, said=said: said) for name, said in _OTHERS.items()},
    "a rate limit as an event": _limited(_LIMITED_STREAMS[1]),
    "a rate limit as a failed response": _limited(_LIMITED_STREAMS[2]),
}


@pytest.mark.parametrize(
    ("group", "said"),
    [
        *(pytest.param(g, s, id=f"{g.name} {n}") for g in GROUPS for n, s in _UNUSABLE.items()),
        *(pytest.param(GROUPS[0], said, id=name) for name, said in _UNUSABLE_ONCE.items()),
    ],
)
def test_what_tells_nothing_of_the_provider_is_no_failure(group: ProbeGroup, said: Any) -> None:
    found = judged(group, lambda _, attempt: said(attempt))
    assert {each.status for each in found.values()} == {"not_verifiable"}


def test_an_error_with_another_code_is_judged() -> None:
    request = ProbeRequest("hello", ())
    other = {"message": "No.", "code": 400, "type": "invalid_request_error"}
    assert request.unusable(_recorded(json_response({"error": other}, 200))) is None
    limited = request.unusable(_recorded(_LIMITED_BODY))
    assert limited == Reason(code="rate_limited", values={"request": "hello", "status": 200})


def _of_whole_replies(group: ProbeGroup) -> set[str]:
    """The probes that need complete replies."""
    requests = [request for api in BOTH_APIS for request in group.requests(api)]
    parts = {request.id for request in requests if not request.whole}
    return {
        probe.id
        for probe in group.probes
        if "streaming" not in probe.about.modes and parts.isdisjoint(probe.uses)
    }


@pytest.mark.parametrize(
    "group", list(filter(_of_whole_replies, GROUPS)), ids=lambda group: group.name
)
def test_truncated_replies_are_not_failures(group: ProbeGroup) -> None:
    found = judged(group, lambda _, attempt: _cut(attempt.condition.api))
    statuses = {name: found[name].status for name in _of_whole_replies(group)}
    assert set(statuses.values()) == {"not_verifiable"}, statuses


def _sent(request: ProbeRequest, rollouts: Sequence[ParsedRollout]) -> Sent:
    responses = ProbeResponses.of([request], {request.id: rollouts}, "chat", None)
    return Sent(responses, (request.id,))


def _recorded(*answers: Reply | Response | Exchange) -> ParsedRollout:
    return parse_rollout(rollout(answers, sample="hello"))


def test_the_reason_is_stated() -> None:
    sent = _sent(ProbeRequest("hello", ()), [_recorded(_cut("chat"))])
    with pytest.raises(NotVerifiableError, match="'hello' got a reply that ended at its token"):
        _ = sent.rollouts


def test_other_repetitions_are_judged() -> None:
    complete = _recorded(Reply(text="Hello."))
    sent = _sent(ProbeRequest("hello", ()), [_recorded(_cut("chat")), complete])
    assert [reply.text for _, reply in sent.replies] == ["Hello."]


def test_a_reply_that_was_requested_again_is_left_out() -> None:
    ((judged_exchange, reply),) = _sent(
        ProbeRequest("hello", ()), [_recorded(_cut("chat"), Reply(text="The whole reply."))]
    ).replies
    assert (judged_exchange.index, reply.text) == (1, "The whole reply.")


def test_truncated_replies_are_judged_where_the_probe_expects_them() -> None:
    sent = _sent(ProbeRequest("hello", (), whole=False), [_recorded(_cut("chat"))])
    assert next(sent.last)[1].truncated
