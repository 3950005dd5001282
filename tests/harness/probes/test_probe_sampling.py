"""Probes of sampling parameters with simulated variation."""

from collections.abc import Mapping
from itertools import zip_longest
from typing import Any

import pytest
from healthy import json_response, stream_response
from probing import Served, checked, judged, prove, refusal
from replies import Reply, chat_blocks, chat_chunks, chat_whole

from harness.records.rollouts import Response
from harness.rules.probe import ProbeRequest
from harness.rules.sampling import option_probes as options
from harness.rules.sampling.requests import GROUP, HOT
from harness.run.attempts import Attempt

WORDS = {"low": 5, "medium": 14, "high": 62}
SAID, MIXED = (
    Reply(text="Once upon a time."),
    Reply(text="We write. Once upon a time.", reasoning=""),
)


def choices(
    count: int,
    same: bool = False,
    *,
    prompts: int = 1,
    counted: int | None = None,
    first: Mapping[str, Any] = {},
) -> Response:
    """A reply whose usage counts the prompt this many times and the tokens of `counted` choices.

    `first` are members of the first choice.
    """
    whole = chat_whole(Reply(text="The code word is kelp."))
    whole["usage"]["prompt_tokens"] *= prompts
    whole["usage"]["completion_tokens"] *= count if counted is None else counted
    whole["choices"] = [
        {**chat_whole(Reply(text=f"The {0 if same else index}."))["choices"][0], "index": index}
        for index in range(count)
    ]
    whole["choices"][0] |= first
    return json_response(whole)


WITHOUT_COT = {"message": {"role": "assistant", "content": "The kelp."}}
CUT_IN_HEADER = {"message": {"role": "assistant", "content": ""}, "finish_reason": "length"}


def interleaved(*says: Reply) -> Response:
    """A stream whose chunks alternate between these choices."""
    streams = [chat_chunks(reply)[:-1] for reply in says]
    for index, chunks in enumerate(streams):
        for chunk in chunks:
            chunk["choices"][0]["index"] = index
    turns = [chunk for chunks in zip_longest(*streams) for chunk in chunks if chunk is not None]
    return stream_response(chat_blocks([*turns, chat_chunks(says[0])[-1]]))


def healthy(request: ProbeRequest, attempt: Attempt) -> Any:
    """A provider that follows effort, varies at temperature 1 and is otherwise deterministic."""
    if request.id == "choices streamed":
        return interleaved(*[Reply(text=f"Story {number}.") for number in range(3)])
    if request.id == "choices":
        return choices(3) if attempt.condition.api == "chat" else Reply(text="One.")
    if request.id.startswith(("effort", "greedy")):
        return Reply(
            text="266", reasoning="hmm " * (WORDS[str(request.effort)] + attempt.number % 3)
        )
    if request.id.startswith("fresh"):
        return open_answer(request.id)
    if request.id.startswith("hot"):
        return open_answer(attempt.number)
    return Reply(text="The word is kelp.", reasoning="")


def open_answer(word: object) -> Reply:
    return Reply(
        text=f"{word:>12} is the word that I thought of when I read your question.", reasoning=""
    )


def healthy_except(name: str | tuple[str, ...], said: Any) -> Any:
    """The healthy provider with another reply to requests whose name has this prefix."""

    def provider(request: ProbeRequest, attempt: Attempt) -> Any:
        if not request.id.startswith(name) or (request.id == "choices streamed") != (
            name == "choices streamed"
        ):
            return healthy(request, attempt)
        return said(attempt) if callable(said) else said

    return provider


def word_of(attempt: Attempt) -> Reply:
    return Reply(text=f"The word is {attempt.number}.", reasoning="")


def greedy(request: ProbeRequest, attempt: Attempt) -> Any:
    """A provider that gives one reply to every question."""
    if request.id[:3] in ("hot", "fre"):
        return open_answer(request.id.split()[1])
    return healthy(request, attempt)


def thinking(words: Any) -> Any:
    """A reply whose CoT has so many words, by the number of the attempt."""
    return lambda attempt: Reply(text="266", reasoning="hmm " * words(attempt.number))


thinking_alike = thinking(lambda number: 14 + number)


def only(condition: Any, said: Any) -> Any:
    """The healthy provider with another reply to some requests."""
    return lambda request, attempt: (
        said(request, attempt) if condition(request, attempt) else healthy(request, attempt)
    )


def cached(hot: Any, fresh: Any) -> Any:
    """A provider whose replies to repeated and to fresh requests have these words."""
    hots = only(lambda r, _: r.id.startswith("hot"), lambda _, a: open_answer(hot(a.number)))
    return lambda request, attempt: (
        open_answer(fresh(request.id)) if request.id.startswith("fresh") else hots(request, attempt)
    )


def of_effort(cot: Mapping[str, str], other: str = "c" * 99, as_: Mapping[str, str] = {}) -> Any:
    """A provider whose CoT depends on the effort alone, and which serves some efforts as others."""
    return only(
        lambda r, _: r.id.startswith(("effort", "greedy") if as_ else "effort"),
        lambda r, _: Reply(text="266", reasoning=cot.get(as_.get(r.effort, r.effort), other)),
    )


def frequent(equal: int) -> Any:
    """A worse model: one call in ten of ten tries over Responses, and in so many over Chat."""
    return lambda a: open_answer(
        1 if a.condition.api == "responses" or a.number <= equal else a.number
    )


def odd(count: int) -> Any:
    """A provider whose first `count` replies at temperature 0 are unique."""

    def said(attempt: Attempt) -> Reply:
        number = 3 * (attempt.number - 1) + int(attempt.sample.id.split()[1])
        return open_answer(number if number <= count else "usual")

    return healthy_except("cold", said)


def equal(more: Any) -> Any:
    """A provider with equal replies at temperature 1, longer if `more` says so."""

    def reply(request: ProbeRequest, _: Attempt) -> Reply:
        dots = more(not request.id.startswith("cold"), request.max_tokens)
        word = open_answer(request.id.split()[1]).text or ""
        return Reply(text=f"{'Hot' * bool(dots)} {word}{'.' * dots}", reasoning="")

    return only(lambda r, _: r.id.startswith(("hot", "fresh", "cold")), reply)


def sure(request: ProbeRequest, attempt: Attempt) -> Any:
    """A model that says one word to everything, but once."""
    if request.id == "hot 1" and attempt.number == 1:
        return Reply(text="Kelp.")
    eel = request.id[:3] in ("hot", "col", "see")
    return Reply(text="Eel.") if eel else healthy(request, attempt)


def other_effort(said: Any) -> Any:
    return only(lambda r, _: r.id == "other effort xhigh", lambda *_: said)


SORRY = Reply(
    text="I’m sorry, but I can’t help with that.", reasoning="I must refuse what it asks."
)
EMPTY = Response(status=200, headers={"content-type": "application/json"}, body="")
HIGH, ZERO = "sampling.temperature.high", "sampling.temperature.zero"
EFFORT, TOOLS, STREAMS = (f"sampling.effort{each}" for each in ("", ".tools", ".streaming"))
UNREASONED = dict.fromkeys((EFFORT, TOOLS, STREAMS), "not_verifiable")
GREEDY = {"low": "a" * 40, "medium": "b" * 60}
_SERVERS: Mapping[str, tuple[Any, Mapping[str, str]]] = {
    # Parameters without an effect
    "seed 0 is none": (
        healthy_except("zero as seed", word_of),
        {"sampling.seed.zero": "warned: 15 of 18"},
    ),
    "efforts are alike": (
        healthy_except(("effort", "greedy"), thinking_alike),
        dict.fromkeys((EFFORT, TOOLS, STREAMS), "failed"),
    ),
    "efforts with tools are alike": (
        only(lambda r, _: r.tools, lambda _, a: thinking_alike(a)),
        {TOOLS: "failed"},
    ),
    "efforts in streams are alike": (
        only(lambda r, a: r.effort and a.condition.streaming, lambda _, a: thinking_alike(a)),
        {STREAMS: "failed"},
    ),
    "greedy": (greedy, {HIGH: "failed"}),
    "a frequent call": (healthy_except("hot with a tool", frequent(9)), {}),
    "an equal call": (
        healthy_except("hot with a tool", frequent(4)),
        {"sampling.temperature.tools": "failed"},
    ),
    "temperature 0 varies": (healthy_except("cold", word_of), {ZERO: "failed"}),
    "four odd replies": (odd(4), {ZERO: "failed"}),
    "top_p is ignored": (healthy_except("narrow", word_of), {"sampling.top_p": "failed"}),
    "the seed is ignored": (healthy_except("seeded", word_of), {"sampling.seed": "warned"}),
    "one choice": (healthy_except("choices", choices(1)), {"sampling.n": "failed"}),
    "equal choices": (healthy_except("choices", choices(3, same=True)), {"sampling.n": "failed"}),
    "a choice without CoT": (
        healthy_except("choices", choices(3, counted=9, first=WITHOUT_COT)),
        {"sampling.n": "failed"},
    ),
    "one choice is counted": (
        healthy_except("choices", choices(3, counted=1)),
        {"sampling.n.usage": "warned"},
    ),
    "the prompt is counted for each": (
        healthy_except("choices", choices(3, prompts=3)),
        {"sampling.n.usage": "warned"},
    ),
    "one choice in streams": (
        healthy_except("choices streamed", interleaved(SAID)),
        {"sampling.n.streaming": "failed"},
    ),
    "choices share a parser": (
        healthy_except("choices streamed", interleaved(SAID, SAID, MIXED)),
        {"sampling.n.streaming": "failed"},
    ),
    "every effort is low": (
        of_effort(GREEDY, as_={"medium": "low", "high": "low"}),
        {EFFORT: "failed: medium and low effort", TOOLS: "failed", STREAMS: "failed"},
    ),
    "high effort is medium": (  # d-inference PR#703
        of_effort(GREEDY, as_={"high": "medium"}),
        {EFFORT: "failed: high and medium effort"},
    ),
    "prompts of all efforts are as long": (
        healthy_except("effort high", Reply(text="266", reasoning="b" * 99, prompt=46)),
        {EFFORT: "failed: 46 at high effort"},
    ),
    "temperature 1 is 0": (equal(lambda *_: 0), {HIGH: "failed: at temperature 0"}),
    "one seed for all": (
        equal(lambda hot, limit: hot * limit),
        {HIGH: "failed: without a seed"},
    ),
    "a cache without the limit": (
        equal(lambda hot, _: hot),
        {HIGH: "failed: each of three questions."},
    ),
    "a cache": (cached(lambda n: 1, lambda name: name), {"sampling.cached": "failed"}),
    "a cache after the first": (
        cached(lambda n: 1 if n > 1 else 2, lambda name: name),
        {"sampling.cached": "failed"},
    ),
    "another effort gets 500": (other_effort(refusal(500)), {"sampling.effort.others": "failed"}),
    # Healthy servers, and other models
    "noise at seed 0": (
        healthy_except("zero as seed", lambda a: word_of(a) if a.number <= 2 else SAID),
        {"sampling.seed.zero": "passed"},
    ),
    "noise at temperature 0": (
        healthy_except(
            "cold", lambda a: Reply(text=f"A word{'.' * a.number if a.number == 2 else ''}")
        ),
        {ZERO: "passed"},
    ),
    "three odd replies": (odd(3), {ZERO: "passed"}),
    "copies now and then": (cached(lambda n: n // 2, lambda name: name), {}),
    "a peaked model": (
        cached(lambda n: 1 if n > 1 else 2, lambda name: name[:7]),
        {"sampling.cached": "passed"},
    ),
    "medium effort is as long": (
        healthy_except("effort medium", thinking(lambda _: 64)),
        {EFFORT: "passed"},
    ),
    "lengths vary widely": (
        healthy_except("effort high", thinking(lambda n: (5, 6, 200, 260, 300)[n % 5])),
        {},
    ),
    "two lost CoTs": (
        healthy_except("effort high", thinking(lambda n: 0 if n <= 2 else 62)),
        {EFFORT: "passed", TOOLS: "passed"},
    ),
    "short replies in one form": (
        only(
            lambda r, a: r.id.endswith("schema") and a.condition.streaming,
            lambda *_: Reply(text="266", reasoning="7 = 7."),
        ),
        {},
    ),
    "short replies over one API": (
        only(
            lambda r, a: r.effort and a.condition.api == "responses",
            lambda *_: Reply(text='{"answer": 1000}', reasoning="1000."),
        ),
        {"sampling.effort.others": "passed"},
    ),
    "a model refuses everything": (
        only(lambda r, _: not r.id.startswith("choices"), lambda *_: SORRY),
        {},
    ),
    "a choice is cut in its header": (
        healthy_except("choices", choices(3, counted=9, first=CUT_IN_HEADER)),
        {},
    ),
    "another effort is refused": (other_effort(refusal()), {"sampling.effort.others": "passed"}),
    "another effort is served": (
        other_effort(Reply(text="Ahoy!", reasoning="")),
        {"sampling.effort.others": "passed"},
    ),
    # Not verifiable
    "a model in a loop": (  # Nothing varies, whatever the temperature.
        healthy_except(
            "hot with a tool", Reply(text="We need to answer the question. " * 9, reasoning="")
        ),
        {"sampling.temperature.tools": "not_verifiable"},
    ),
    "three lost CoTs": (
        healthy_except("effort high", thinking(lambda n: 0 if n <= 3 else 62)),
        {EFFORT: "not_verifiable", TOOLS: "not_verifiable"},
    ),
    "seed 0 is refused": (
        healthy_except("zero as seed", refusal()),
        {"sampling.seed.zero": "not_verifiable", "sampling.seed": "passed"},
    ),
    "unreadable choices": (healthy_except("choices", EMPTY), {"sampling.n": "not_verifiable"}),
    "choices are refused": (
        healthy_except("choices", refusal()),
        {"sampling.n": "not_verifiable", "sampling.n.usage": "not_verifiable"},
    ),
    "streamed choices are refused": (
        healthy_except("choices streamed", refusal()),
        {"sampling.n.streaming": "not_verifiable", "sampling.n": "passed"},
    ),
    "seeds are refused": (
        healthy_except("seeded", refusal()),
        {"sampling.seed": "not_verifiable", "sampling.seed.zero": "not_verifiable"},
    ),
    "a model that does not reason": (
        of_effort({"low": "." * 5, "high": "." * 5}, "." * 20),
        UNREASONED,
    ),
    "a model that reasons less at high effort": (
        of_effort({"low": "." * 400, "high": "." * 50}, "." * 20),
        UNREASONED,
    ),
    "low variation": (
        sure,
        dict.fromkeys((ZERO, "sampling.seed", "sampling.seed.zero"), "not_verifiable"),
    ),
}
SERVERS: Served = {
    **{name: (GROUP, *row) for name, row in _SERVERS.items()},
    "a refusal for another reason": (  # A gateway refuses metadata (kimi-code#3530).
        options.GROUP,
        lambda *_: TOO_LONG,
        {"options.metadata": "not_verifiable: request.refused.foreign"},
        ["responses"],
    ),
}
TOO_LONG = json_response(
    {"error": {"message": "Your request exceeded model token limit: 262144"}}, 400
)


@pytest.mark.parametrize("server", SERVERS)
def test_a_server(server: str) -> None:
    prove(*SERVERS[server])


def test_every_later_reply_can_be_a_copy() -> None:
    """Of each repeated request, only the first reply has no earlier one."""
    result = judged(GROUP, healthy_except("hot ", lambda _: open_answer(1)))["sampling.cached"]
    tries = [one.tries for one in HOT]
    copies = sum(tries) - len(tries)
    assert result.examples[0].evidence.got == f"{copies} of {copies} are copies"


def test_a_refusal_of_a_short_request_for_its_length_is_reported() -> None:
    checks = checked(options.GROUP, lambda *_: TOO_LONG, ["responses"])
    assert checks["request.refused.foreign"].status == "warned"
