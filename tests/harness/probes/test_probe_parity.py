"""Parity probes with simulated replies that differ between modes in one way."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest
from healthy import json_response, stream_response
from probing import Provider, checked, judged, statuses
from replies import Reply, chat_blocks, chat_chunks, chat_whole

from harness.records.analysis import RuleResult
from harness.records.rollouts import Response
from harness.rules.probe import ProbeRequest
from harness.rules.stream.probes import GROUP
from harness.run.attempts import Attempt

_CALLS = {"weather", "language", "chart"}


def reply(request: ProbeRequest) -> Reply:
    if request.id in _CALLS:
        return Reply(call=("get_weather", '{"location": "Lisbon"}'))
    return Reply(text=f"About {request.id} there is much to say.")


TEXTS = {"text.added", "text.changed", "text.doubled", "usage.output.lost"}
"""The checks that report what the account says of texts."""


def streamed(change: Callable[[Reply], Reply]) -> Mapping[str, RuleResult]:
    """The results of a provider with modified streams, with the checks of texts."""

    def provider(request: ProbeRequest, attempt: Attempt) -> Reply:
        return change(reply(request)) if attempt.condition.streaming else reply(request)

    return {**judged(GROUP, provider), **of_texts(provider)}


def of_texts(provider: Provider) -> Mapping[str, RuleResult]:
    return {rule: one for rule, one in checked(GROUP, provider).items() if rule in TEXTS}


def test_white_space_that_streams_lose_is_named() -> None:
    trimmed = streamed(lambda each: replace(each, text=(each.text or "").replace(" ", "") or None))
    (message,) = trimmed["text.changed"].messages
    assert "changed or removed white space" in message


def test_json_that_is_reformatted_in_one_mode_passes() -> None:
    def spaced(each: Reply) -> Reply:
        name, arguments = each.call or ("", "{}")
        return replace(each, call=(name, json.dumps(json.loads(arguments), indent=1)))

    found = statuses(streamed(lambda each: spaced(each) if each.call else each))
    assert {found[rule] for rule in TEXTS} == {"passed"}


def _call_as_reasoning(each: Reply) -> Reply:
    return replace(each, call=None, text="", reasoning=each.call[1]) if each.call else each


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda each: replace(each, reasoning=""), {"parity.reasoning"}),
        (_call_as_reasoning, {"parity.calls", "parity.finish"}),
        (lambda each: replace(each, text=each.text and each.text[7:]), {"usage.output.lost"}),
        (lambda each: replace(each, text=each.text and each.text[:9] * 2 + each.text[9:]),
         {"text.doubled"}),
    ],
)  # fmt: skip
def test_losses_in_streams_are_errors(change: Callable[[Reply], Reply], found: set[str]) -> None:
    failed = {name for name, status in statuses(streamed(change)).items() if status == "failed"}
    assert found <= failed <= found | TEXTS


def _empty(each: Reply) -> Reply:
    return replace(each, call=None, text="", reasoning="They ask.")


def _with_text(each: Reply) -> Reply:
    return replace(each, text="Lisbon") if each.call else each


@pytest.mark.parametrize(
    ("change", "streams", "rule"),
    [
        (_empty, True, "parity.calls"),
        (_empty, False, "parity.calls"),
        (_empty, False, "parity.finish"),
        (_with_text, True, "parity.text"),
        (_with_text, False, "parity.text"),
    ],
)
def test_the_mode_that_lost_or_invented_something_is_shown(
    change: Callable[[Reply], Reply], streams: bool, rule: str
) -> None:
    def provider(request: ProbeRequest, attempt: Attempt) -> Reply:
        made = reply(request)
        return change(made) if attempt.condition.streaming is streams else made

    (example, *_) = judged(GROUP, provider)[rule].examples
    assert ("/streaming/" in example.evidence.record) is streams
    assert ("streams" in example.evidence.got) is streams


def test_random_variation_is_not_a_defect() -> None:
    def provider(request: ProbeRequest, attempt: Attempt) -> Reply:
        return replace(
            reply(request), text=f"{attempt.number} {attempt.condition.streaming}", reasoning="r"
        )

    assert "failed" not in statuses(judged(GROUP, provider)).values()

    def varied(request: ProbeRequest, attempt: Attempt) -> Reply:
        return Reply(text=f"Answer {attempt.id}", reasoning=f"Reasoning {attempt.id}")

    assert {"failed", "warned"}.isdisjoint(statuses(of_texts(varied)).values())


def test_a_near_tie_of_one_prompt_is_not_a_defect() -> None:
    def provider(request: ProbeRequest, attempt: Attempt) -> Reply:
        if request.id in _CALLS:
            return reply(request)
        hello = request.id == "hello"
        return Reply(
            text=f"Hello!{' 👋' if hello and attempt.condition.streaming else ''} How are you?"
        )

    assert set(statuses(of_texts(provider)).values()) == {"passed"}


def _counting(**counts: int) -> Callable[[ProbeRequest, Attempt], Reply | Response]:
    """A Chat provider whose streams report other counts."""

    def provider(request: ProbeRequest, attempt: Attempt) -> Reply | Response:
        chunks = chat_chunks(reply(request))
        usage = chunks[-1]["usage"]
        usage |= {key: value for key, value in counts.items() if key in usage}
        streamed = stream_response(chat_blocks(chunks))
        return (
            streamed if attempt.condition.streaming else json_response(chat_whole(reply(request)))
        )

    return provider
