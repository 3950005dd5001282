"""Probes of long prompts with simulated replies, in a context of 8,192 tokens."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from healthy import json_response, stream_response
from probing import Served, prove, refusal
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


def starting(*beginnings: str) -> Callable[[str], bool]:
    return lambda name: name.startswith(beginnings)


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


def saying(**says: str) -> Any:
    """A server with these replies to requests whose name begins so."""

    def provider(request: ProbeRequest, attempt: Attempt) -> Response:
        said = next((says[each] for each in says if request.id.startswith(each)), None)
        return healthy(request, attempt) if said is None else reply(attempt, says=said)

    return provider


def shortening(request: ProbeRequest, attempt: Attempt) -> Response:
    """A server that does not serve some prompts, and shortens others."""
    if request.id.startswith("5 steps"):
        return refusal(503)
    return reply(attempt, lost=40 if request.id.startswith("25 steps") else 0)


def silent(attempt: Attempt) -> Response:
    return reply(attempt, says="No.", shift=0.1 * (attempt.settings.reasoning_effort == "high"))


def short(attempt: Attempt) -> Response:
    """A model that does not copy."""
    said = Reply(text="No.")
    if attempt.condition.streaming:
        return stream_response(chat_blocks(chat_chunks(said)))
    return json_response(chat_whole(said))


def at(tokens: int) -> Any:
    return lambda attempt: copying(attempt, tokens=tokens, finish="length")


def copies(copy: Any = copying, unlimited: Any = copying) -> Any:
    """A server with these long replies."""

    def provider(request: ProbeRequest, attempt: Attempt) -> Response:
        if request.id == COPY:
            return copy(attempt)
        return unlimited(attempt) if request.id == UNLIMITED else healthy(request, attempt)

    return provider


UNKNOWN = "not_verifiable"
REPLIES, LIMITED, DEFAULT = "long.prefix.replies", "long.output.limit", "long.output.default"
SERVERS: Served = {
    **{
        f"after a cache: {says}": (saying(**says), {REPLIES: status})
        for says, status in (
            ({"warm": "No.", "again": "No."}, "warned"),
            ({"warm": "No.", "again": "None."}, "passed"),
            ({"again": "No."}, "passed"),
            ({"warm 1": "No.", "again 1": "No."}, "passed"),
        )
    },
    "a shortened prompt beside one without a reply": (
        shortening,
        {"long.tokens": "failed", "long.prefix.effort": "failed"},
    ),
    "beyond the stated context": (
        healthy_except(starting("over"), reply),
        {"long.limit": "passed"},
    ),
    "a smaller context": (
        healthy_except(starting("6000", "fits", "over"), lambda a: TOO_LONG),
        {"long.answered": "warned", "long.limit": "warned"},
    ),
    "missed words": (
        healthy_except(starting("6000", "25 steps"), lambda a: reply(a, says="I do not know.")),
        {"long.words": "passed: info: "},
    ),
    "no words": (healthy_except(lambda name: name in WORDS, silent), {"long.words": UNKNOWN}),
    "rounding": (
        healthy_except(starting("warm"), lambda a: reply(a, shift=0.4)),
        {"long.prefix.numbers": "passed"},
    ),
}
OUTPUT = replace(GROUP, probes=[each for each in GROUP.probes if each.id.startswith("long.output")])
OUTPUTS: Served = {
    **{
        f"all replies end at {tokens}": (
            copies(at(tokens), at(tokens)),
            {LIMITED: "failed", DEFAULT: "warned"},
        )
        for tokens in (2_048, 4_096, 8_192)
    },
    "unlimited replies end at 4096": (
        copies(copying, at(4_096)),
        {LIMITED: "passed", DEFAULT: "warned"},
    ),
    "at the own limit": (copies(at(16_000)), {LIMITED: "passed"}),
    "at the end of the context": (copies(unlimited=at(27_900)), {DEFAULT: UNKNOWN}),
    "no copy": (copies(short, short), {LIMITED: UNKNOWN, DEFAULT: UNKNOWN}),
}


@pytest.mark.parametrize("server", SERVERS)
def test_a_server_of_8192_tokens(server: str) -> None:
    prove(GROUP, *SERVERS[server], apis=["chat"], max_context=CONTEXT)


@pytest.mark.parametrize("server", OUTPUTS)
def test_a_server_of_32768_tokens(server: str) -> None:
    prove(OUTPUT, *OUTPUTS[server], apis=["chat"], max_context=32_768)


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
