"""Probes of long prompts with simulated replies, in a context of 8,192 tokens."""

from collections.abc import Callable
from typing import Any

import pytest
from healthy import json_response, stream_response
from probing import judged, refusal, statuses
from replies import Reply, chat_blocks, chat_chunks, chat_whole

from harmony.vocabulary import harmony_encoding
from harness.api.items import Sample
from harness.records.rollouts import Response
from harness.rules.evidence.documents import document, word
from harness.rules.evidence.rendering import Prompt, Rendering, count, tokens
from harness.rules.long.requests import CODE_WORDS, COPIED, COPY, GROUP, PREFIXES, UNLIMITED
from harness.rules.numerics import golden_prompts
from harness.rules.probe import ProbeOptions, ProbeRequest
from harness.run.attempts import Attempt
from harness.tasks.probing import ProbeTask

CONTEXT = 8192
ADDED = 11
"""Tokens that the simulated provider adds to every prompt."""
WORDS = CODE_WORDS
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
    body = chat_whole(Reply(text=text))
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


def healthy_except(matches: Callable[[str], bool], change: Callable[[Attempt], Response]) -> Any:
    """The healthy provider with other replies to some requests."""

    def provider(request: ProbeRequest, attempt: Attempt) -> Response:
        return change(attempt) if matches(request.id) else healthy(request, attempt)

    return provider


def results(provider: Any) -> dict[str, Any]:
    return judged(GROUP, provider, ("chat",), max_context=CONTEXT)


def starting(*beginnings: str) -> Callable[[str], bool]:
    return lambda name: name.startswith(beginnings)


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

    assert statuses(results(provider))["long.tokens"] == "failed"


def test_a_whole_prompt_may_exceed_the_stated_context() -> None:
    found = statuses(results(healthy_except(starting("over"), reply)))
    assert found["long.limit"] == "passed"


def test_a_smaller_context_and_a_limit_without_a_number_are_warnings() -> None:
    found = statuses(results(healthy_except(starting("6000", "fits", "over"), lambda a: TOO_LONG)))
    assert (found["long.answered"], found["long.limit"]) == ("warned", "warned")
    assert "failed" not in found.values()


def test_words_missed_in_long_prompts_are_not_attributed_to_the_server() -> None:
    found = results(
        healthy_except(starting("6000", "25 steps"), lambda a: reply(a, says="I do not know."))
    )
    words = found["long.words"]
    assert words.status == "passed"
    assert "a limit of the model" in words.examples[0].message
    assert words.examples[0].severity == "info"


def test_a_model_that_finds_no_words_is_not_judged_by_them() -> None:
    def silent(attempt: Attempt) -> Response:
        return reply(attempt, says="No.", shift=0.1 * (attempt.settings.reasoning_effort == "high"))

    found = statuses(results(healthy_except(lambda name: name in WORDS, silent)))
    assert found["long.words"] == "not_verifiable"
    assert "failed" not in found.values()


def test_rounding_does_not_fail_a_repeated_prompt() -> None:
    found = statuses(results(healthy_except(starting("warm"), lambda a: reply(a, shift=0.4))))
    assert found["long.prefix.numbers"] == "passed"


def test_requests_fit_their_context_and_use_one_api() -> None:
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


PLACED = [
    *((f"cold {number}", boundary) for number, boundary in PREFIXES.items()),
    *(
        (f"{length} tokens, code word at {boundary}", boundary)
        for length, boundaries in {2_000: (512, 1_024), 5_000: (2_048, 4_096)}.items()
        for boundary in boundaries
    ),
]


@pytest.mark.parametrize("date", [None, "2026-11-23"])
@pytest.mark.parametrize(("name", "boundary"), PLACED)
def test_code_words_are_just_behind_boundaries_of_blocks(
    name: str, boundary: int, date: str | None
) -> None:
    sent = {each.id: each for each in (*GROUP.requests("chat"), *golden_prompts.long("chat"))}
    rendered = harmony_encoding().decode(tokens(Prompt(sent[name].turns), Rendering(), date))
    before, _, _ = rendered.partition(WORDS.get(name, "zulu4182"))
    at = len(harmony_encoding().encode(before, allowed_special="all"))
    assert boundary + 10 <= at <= boundary + 40


WHOLE = 9_200  # tokens of a copy


def copying(attempt: Attempt, *, tokens: int = WHOLE, finish: str = "stop") -> Response:
    """Two copies of the document; a stream without a gap."""
    text = COPIED[attempt.sample.id] * 2
    body = chat_whole(Reply(text=text))
    body["choices"][0]["finish_reason"] = finish
    body["usage"] |= {"prompt_tokens": 4_700, "completion_tokens": tokens}
    body["usage"]["total_tokens"] = 4_700 + tokens
    if not attempt.condition.streaming:
        return json_response(body)
    chunks = chat_chunks(Reply(text=text))
    chunks[-1]["usage"] |= body["usage"]
    for choice in (choice for chunk in chunks for choice in chunk["choices"]):
        choice["finish_reason"] = choice["finish_reason"] and finish
    return stream_response(chat_blocks(chunks))


def copies(copy: Any = copying, unlimited: Any = copying) -> dict[str, Any]:
    """The results of the probes of long replies, in a context of 32,768 tokens."""

    def provider(request: ProbeRequest, attempt: Attempt) -> Response:
        if request.id == COPY:
            return copy(attempt)
        return unlimited(attempt) if request.id == UNLIMITED else healthy(request, attempt)

    found = judged(GROUP, provider, ("chat",), max_context=32_768)
    return {name: each for name, each in found.items() if name.startswith("long.output")}


@pytest.mark.parametrize("tokens", [2_048, 4_096, 8_192])
def test_a_hidden_limit_of_long_replies_is_detected(tokens: int) -> None:
    def cut(attempt: Attempt) -> Response:
        return copying(attempt, tokens=tokens, finish="length")

    found = statuses(copies(cut, cut))
    assert (found["long.output.limit"], found["long.output.default"]) == ("failed", "warned")
    assert statuses(copies(copying, cut))["long.output.limit"] == "passed"


def test_a_reply_at_its_limit_or_the_end_of_the_context_is_not_a_defect() -> None:
    assert statuses(copies(lambda a: copying(a, tokens=16_000, finish="length")))[
        "long.output.limit"
    ] == ("passed")
    full = statuses(copies(unlimited=lambda a: copying(a, tokens=27_900, finish="length")))
    assert full["long.output.default"] == "not_verifiable"


def test_a_model_that_does_not_copy_is_not_judged() -> None:
    def short(attempt: Attempt) -> Response:
        if attempt.condition.streaming:
            return stream_response(chat_blocks(chat_chunks(Reply(text="No."))))
        return json_response(chat_whole(Reply(text="No.")))

    assert set(statuses(copies(short, short)).values()) == {"not_verifiable"}
