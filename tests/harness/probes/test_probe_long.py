"""Probes of long prompts with simulated replies, in a context of 8,192 tokens."""

from collections.abc import Callable
from typing import Any

import pytest
from healthy import Say, chat_whole, json_response
from probing import judged, refusal, statuses

from harmony.vocabulary import harmony_encoding
from harness.probes.base import ProbeOptions, ProbeRequest
from harness.probes.long.requests import GROUP, code_words, document, word
from harness.probes.rendering import Prompt, Rendering, count
from harness.records.rollouts import Response
from harness.sampling.attempts import Attempt, Sample
from harness.tasks.probing import ProbeTask

CONTEXT = 8192
ADDED = 11
"""Tokens that the simulated provider adds to every prompt."""
WORDS = code_words()
TOO_LONG = refusal()
NAMED = json_response(
    {"error": {"message": "The limit is 8,192 tokens.", "type": "invalid_request_error"}}, 400
)


_COUNTED: dict[str, int] = {}


def prompt_tokens(sample: Sample) -> int:
    """Tokens of the prompt in harmony."""
    if sample.id not in _COUNTED:
        _COUNTED[sample.id] = count(Prompt(sample.turns, sample.tools), Rendering())
    return _COUNTED[sample.id]


def reply(
    attempt: Attempt, *, says: str | None = None, lost: int = 0, shift: float = 0.0
) -> Response:
    """A reply with the code word, or another text; `lost` tokens of the prompt are not counted."""
    text = says or f"It is {WORDS.get(attempt.sample.id, 'unknown')}."
    body = chat_whole(Say(text=text))
    used = prompt_tokens(attempt.sample) + ADDED - lost
    usage = body["usage"]
    usage |= {"prompt_tokens": used, "total_tokens": used + usage["completion_tokens"]}
    if "logprobs" in attempt.settings.extra_body:
        body["choices"][0]["logprobs"] = {"content": [entry(name, shift) for name in text.split()]}
    return json_response(body)


def entry(token: str, shift: float) -> dict[str, Any]:
    """The logprobs of a token and of ten others, all of them shifted."""
    values = {token: -0.2, **{f"{token}{at}": -3.0 - at for at in range(10)}}
    top = [{"token": k, "bytes": list(k.encode()), "logprob": v - shift} for k, v in values.items()]
    return {**top[0], "top_logprobs": top}


def healthy(request: ProbeRequest, attempt: Attempt) -> Response:
    if request.id == "over":
        return NAMED
    return reply(attempt, shift=0.03 if request.effort == "high" else 0.0)


def but(matches: Callable[[str], bool], change: Callable[[Attempt], Response]) -> Any:
    """The healthy provider with other replies to some requests."""

    def provider(request: ProbeRequest, attempt: Attempt) -> Response:
        return change(attempt) if matches(request.id) else healthy(request, attempt)

    return provider


def results(provider: Any) -> dict[str, Any]:
    return judged(GROUP, provider, ("chat",), max_context=CONTEXT)


def starting(*beginnings: str) -> Callable[[str], bool]:
    return lambda name: name.startswith(beginnings)


def test_a_healthy_provider_passes() -> None:
    found = statuses(results(healthy))
    assert found.pop("long.tokens.result") == "not_verifiable"  # It needs 20,000 tokens.
    assert set(found.values()) == {"passed"}


@pytest.mark.parametrize(
    ("provider", "failed"),
    [
        (but(starting("6000"), lambda a: reply(a, lost=1)), {"long.tokens"}),
        (but(starting("25 steps"), lambda a: reply(a, lost=40)), {"long.tokens.loop"}),
        (but(starting("one tool"), lambda a: reply(a, lost=-7)), {"long.tokens.tools"}),
        (but(starting("fits"), lambda a: reply(a, lost=64)), {"long.limit.fits"}),
        (but(starting("over"), lambda a: reply(a, lost=1)), {"long.limit.over"}),
        (but(starting("over"), lambda a: refusal(500)), {"long.limit.over"}),
        (but(starting("6000"), lambda a: refusal(503)), {"long.answered"}),
        (but(starting("tools B"), lambda a: reply(a, says=WORDS["tools A"])), {"long.foreign"}),
        (but(starting("6000"), lambda a: reply(a, says=WORDS["1000 at 2%"])), {"long.foreign"}),
        (but(starting("warm", "again"), lambda a: reply(a, says="No.")), {"long.prefix.words"}),
        (but(starting("warm", "again"), lambda a: reply(a, shift=2)), {"long.prefix.numbers"}),
        (but(starting("other effort"), reply), {"long.prefix.effort"}),
    ],
)
def test_a_defect_fails_its_probe(provider: Any, failed: set[str]) -> None:
    found = statuses(results(provider))
    assert {name for name, status in found.items() if status == "failed"} == failed


@pytest.mark.parametrize(
    ("replies", "status"),
    [
        ({"warm": "No.", "again": "No."}, "warned"),
        ({"warm": "No.", "again": "None."}, "passed"),
        ({"again": "No."}, "passed"),
        ({"warm 1": "No.", "again 1": "No."}, "passed"),
    ],
)
def test_a_cache_that_changes_replies_does_so_each_time(
    replies: dict[str, str], status: str
) -> None:
    def provider(request: ProbeRequest, attempt: Attempt) -> Response:
        says = next((replies[each] for each in replies if request.id.startswith(each)), None)
        return healthy(request, attempt) if says is None else reply(attempt, says=says)

    assert statuses(results(provider))["long.prefix.replies"] == status


def test_a_request_without_a_reply_does_not_hide_a_shortened_one() -> None:
    def provider(request: ProbeRequest, attempt: Attempt) -> Response:
        if request.id.startswith("5 steps"):
            return refusal(503)
        return reply(attempt, lost=40 if request.id.startswith("25 steps") else 0)

    assert statuses(results(provider))["long.tokens.loop"] == "failed"


def test_a_whole_prompt_may_exceed_the_stated_context() -> None:
    found = statuses(results(but(starting("over"), reply)))
    assert found["long.limit.over"] == "passed"
    assert found["long.limit.named"] == "not_verifiable"


def test_a_smaller_context_and_a_limit_without_a_number_are_warnings() -> None:
    found = statuses(results(but(starting("6000", "fits", "over"), lambda a: TOO_LONG)))
    assert (found["long.accepted"], found["long.limit.named"]) == ("warned", "warned")
    assert "failed" not in found.values()


def test_words_that_are_not_found_at_length_do_not_blame_the_server() -> None:
    found = results(but(starting("6000", "25 steps"), lambda a: reply(a, says="I do not know.")))
    for name in ("long.words", "long.words.loop"):
        assert found[name].status == "passed"
        assert "a limit of the model" in found[name].examples[0].message
        assert found[name].examples[0].severity == "info"


def test_a_model_that_finds_no_words_is_not_judged_by_them() -> None:
    def silent(attempt: Attempt) -> Response:
        return reply(attempt, says="No.", shift=0.1 * (attempt.settings.reasoning_effort == "high"))

    found = statuses(results(but(lambda name: name in WORDS, silent)))
    names = ("long.words", "long.words.loop", "long.prefix.words")
    assert {found[name] for name in names} == {"not_verifiable"}
    assert "failed" not in found.values()


def test_rounding_does_not_fail_a_repeated_prompt() -> None:
    found = statuses(results(but(starting("warm"), lambda a: reply(a, shift=0.4))))
    assert found["long.prefix.numbers"] == "passed"


def test_requests_fit_into_their_context_and_go_over_one_api() -> None:
    options = ProbeOptions("m", ("responses", "chat"), max_context=CONTEXT)
    planned = list(ProbeTask(GROUP, GROUP.probes, options).all_attempts())
    assert {each.condition.api for each in planned} == {"responses"}
    for each in planned:
        tokens = prompt_tokens(each.sample)
        expected = {"fits": CONTEXT - 64 - 16, "over": CONTEXT + 1}.get(each.sample.id)
        assert tokens == expected or expected is None
        assert expected or tokens + (each.settings.max_tokens or 0) <= CONTEXT


def test_documents_have_the_stated_tokens_and_code_words_differ() -> None:
    encode = harmony_encoding().encode
    text = document(6_000, word(3), 0.5)
    assert len(encode(text)) == pytest.approx(6_000, abs=24)
    assert text.count(word(3)) == 1
    everything = "\n".join(document(6_000, first=97 * at) for at in range(6))
    assert not any(each in everything for each in WORDS.values())
