"""Probes of sampling parameters with simulated variation."""

from collections.abc import Mapping
from itertools import zip_longest
from typing import Any

import pytest
from healthy import json_response, stream_response
from probing import checked, judged, refusal, statuses
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


def found(provider: Any, *wanted: str) -> set[str]:
    results = statuses(judged(GROUP, provider))
    return {name for name, status in results.items() if status in wanted}


def test_a_model_that_repeats_its_words_ignores_no_temperature() -> None:
    """Nothing varies in a loop, whatever the temperature."""
    name = "sampling.temperature.tools"
    loop = Reply(text="We need to answer the question. " * 9, reasoning="")
    assert name not in found(healthy_except("hot with a tool", loop), "failed", "passed")
    assert name in found(healthy_except("hot with a tool", open_answer(1)), "failed")


@pytest.mark.parametrize(("equal", "status"), [(9, "passed"), (4, "failed")])
def test_a_call_that_is_frequent_over_the_other_api_ignores_no_temperature(
    equal: int, status: str
) -> None:
    """A worse model made one call in ten of ten tries over Responses, and in nine over Chat."""

    def provider(attempt: Attempt) -> Reply:
        usual = attempt.condition.api == "responses" or attempt.number <= equal
        return open_answer(1 if usual else attempt.number)

    results = judged(GROUP, healthy_except("hot with a tool", provider))
    assert results["sampling.temperature.tools"].status == status


def word_of(attempt: Attempt) -> Reply:
    return Reply(text=f"The word is {attempt.number}.", reasoning="")


def test_a_seed_of_zero_that_counts_as_none_is_a_warning() -> None:
    results = judged(GROUP, healthy_except("zero as seed", word_of))
    assert {name for name, each in results.items() if each.failures} == {"sampling.seed.zero"}
    (example,) = results["sampling.seed.zero"].examples
    assert (example.severity, example.evidence.got) == ("warning", "15 of 18")
    assert example.evidence.expected.startswith("0 of 9 replies")


def test_noise_at_seed_zero_is_not_a_finding() -> None:
    def noisy(attempt: Attempt) -> Reply:
        return word_of(attempt) if attempt.number <= 2 else SAID

    assert found(healthy_except("zero as seed", noisy), "warned", "not_verifiable") == set()
    refused = found(healthy_except("zero as seed", refusal()), "not_verifiable")
    assert refused == {"sampling.seed.zero"}


def test_unreadable_choices_are_no_evidence() -> None:
    empty = Response(status=200, headers={"content-type": "application/json"}, body="")
    provider = healthy_except("choices", empty)
    assert found(provider, "failed", "warned") == set()
    assert "sampling.n" in found(provider, "not_verifiable")


def greedy(request: ProbeRequest, attempt: Attempt) -> Any:
    """A provider that gives one reply to every question."""
    if request.id[:3] in ("hot", "fre"):
        return open_answer(request.id.split()[1])
    return healthy(request, attempt)


def with_tools(said: Any) -> Any:
    """The healthy provider with another reply to requests with tools."""
    return lambda request, attempt: said(attempt) if request.tools else healthy(request, attempt)


def in_streams(said: Any) -> Any:
    """The healthy provider with other replies to streaming requests with an effort."""
    return lambda request, attempt: (
        said(attempt)
        if request.effort and attempt.condition.streaming
        else healthy(request, attempt)
    )


def thinking_alike(attempt: Attempt) -> Reply:
    return Reply(text="266", reasoning="hmm " * (14 + attempt.number))


@pytest.mark.parametrize(
    ("provider", "expected"),
    [
        (
            healthy_except(("effort", "greedy"), thinking_alike),
            {
                "sampling.effort",
                "sampling.effort.streaming",
                "sampling.effort.tools",
            },
        ),
        (with_tools(thinking_alike), {"sampling.effort.tools"}),
        (in_streams(thinking_alike), {"sampling.effort.streaming"}),
        (
            healthy_except("effort medium", Reply(text="266", reasoning="hmm " * 64)),
            set(),  # A worse model may think as long at medium as at high effort.
        ),
        (greedy, {"sampling.temperature.high"}),
        (healthy_except("cold", word_of), {"sampling.temperature.zero"}),
        (healthy_except("narrow", word_of), {"sampling.top_p"}),
        (healthy_except("seeded", word_of), {"sampling.seed"}),
        (healthy_except("choices", choices(1)), {"sampling.n"}),
        (healthy_except("choices", choices(3, same=True)), {"sampling.n"}),
        (healthy_except("choices", choices(3, counted=9, first=WITHOUT_COT)), {"sampling.n"}),
        (healthy_except("choices", choices(3, counted=9, first=CUT_IN_HEADER)), set()),
        (healthy_except("choices", choices(3, counted=1)), {"sampling.n.usage"}),
        (healthy_except("choices", choices(3, prompts=3)), {"sampling.n.usage"}),
        (healthy_except("choices streamed", interleaved(SAID)), {"sampling.n.streaming"}),
        (
            healthy_except("choices streamed", interleaved(SAID, SAID, MIXED)),
            {"sampling.n.streaming"},
        ),
    ],
)
def test_ineffective_parameters_are_detected(provider: Any, expected: set[str]) -> None:
    assert found(provider, "failed", "warned") == expected


@pytest.mark.parametrize(
    ("hot", "fresh", "expected"),
    [
        (lambda number: 1, lambda name: name, {"sampling.cached"}),
        (lambda number: 1 if number > 1 else 2, lambda name: name, {"sampling.cached"}),
        (lambda number: number // 2, lambda name: name, set()),
        (lambda number: 1 if number > 1 else 2, lambda name: name[:7], set()),
        (lambda number: number, lambda name: name, set()),
    ],
    ids=["always", "all but the first", "now and then", "a peaked model", "healthy"],
)
def test_copies_of_earlier_replies_are_detected(hot: Any, fresh: Any, expected: set[str]) -> None:
    def provider(request: ProbeRequest, attempt: Attempt) -> Any:
        if request.id.startswith("hot"):
            return open_answer(hot(attempt.number))
        if request.id.startswith("fresh"):
            return open_answer(fresh(request.id))
        return healthy(request, attempt)

    assert found(provider, "failed") & {"sampling.cached"} == expected


def test_every_later_reply_can_be_a_copy() -> None:
    """Of each repeated request, only the first reply has no earlier one."""
    result = judged(GROUP, healthy_except("hot ", lambda _: open_answer(1)))["sampling.cached"]
    tries = [one.tries for one in GROUP.requests("chat") if one.id in HOT]
    copies = sum(tries) - len(tries)
    assert result.examples[0].evidence.got == f"{copies} of {copies} are copies"


@pytest.mark.parametrize(("lost", "expected"), [(2, "passed"), (3, "not_verifiable")])
def test_a_lost_cot_is_not_a_short_cot(lost: int, expected: str) -> None:
    said = {True: "", False: "hmm " * WORDS["high"]}
    provider = healthy_except(
        "effort high", lambda a: Reply(text="266", reasoning=said[a.number <= lost])
    )
    efforts = {f"sampling.effort{each}" for each in ("", ".tools")}
    assert efforts <= found(provider, expected)


def test_lengths_that_vary_widely_but_are_twice_as_long_are_healthy() -> None:
    def thinking(attempt: Attempt) -> Reply:
        return Reply(text="266", reasoning="hmm " * (5, 6, 200, 260, 300)[attempt.number % 5])

    provider = healthy_except("effort high", thinking)
    assert "sampling.effort" not in found(provider, "warned")


@pytest.mark.parametrize(("low", "high"), [(5, 5), (400, 50)])
def test_a_model_that_does_not_reason_shows_nothing_about_effort(low: int, high: int) -> None:
    def provider(request: ProbeRequest, attempt: Attempt) -> Any:
        if not request.id.startswith("effort"):
            return healthy(request, attempt)
        return Reply(text="266", reasoning="." * {"low": low, "high": high}.get(request.effort, 20))

    efforts = {f"sampling.effort{each}" for each in ("", ".tools", ".streaming")}
    assert efforts <= found(provider, "not_verifiable")


@pytest.mark.parametrize(
    ("served", "message"),
    [
        (
            {"low": "low", "medium": "low", "high": "low"},
            "Greedy replies at medium and low effort are equal.",
        ),
        ({"high": "medium"}, "Greedy replies at high and medium effort are equal."),
    ],
)
def test_equal_greedy_replies_show_that_the_effort_has_no_effect(
    served: dict[str, str], message: str
) -> None:
    """As a server of low effort, and d-inference PR#703."""

    def provider(request: ProbeRequest, attempt: Attempt) -> Any:
        if not request.id.startswith(("effort", "greedy")):
            return healthy(request, attempt)
        effort = served.get(str(request.effort), request.effort)
        return Reply(
            text="266", reasoning={"low": "a" * 40, "medium": "b" * 60}.get(str(effort), "c" * 99)
        )

    result = judged(GROUP, provider)["sampling.effort"]
    assert result.status == "failed"
    assert message in {each.message for each in result.examples}


def test_equal_short_replies_show_nothing_about_the_effort() -> None:
    """A worse model writes one short line at any effort, perhaps over one API alone."""

    def provider(request: ProbeRequest, attempt: Attempt) -> Any:
        if not request.effort or attempt.condition.api == "chat":
            return healthy(request, attempt)
        return Reply(text='{"answer": 1000}', reasoning="1000.")

    efforts = {f"sampling.effort{each}" for each in ("", ".tools", ".streaming")}
    assert not efforts & found(provider, "failed")


def test_prompts_of_all_efforts_have_as_many_tokens() -> None:
    provider = healthy_except("effort high", Reply(text="266", reasoning="b" * 99, prompt=46))
    result = judged(GROUP, provider)["sampling.effort"]
    assert result.status == "failed"
    assert "46 at high effort" in result.examples[0].evidence.got


def test_a_model_whose_replies_in_one_form_are_short_is_not_accused() -> None:
    def provider(request: ProbeRequest, attempt: Attempt) -> Any:
        short = request.id.endswith("schema") and attempt.condition.streaming
        return Reply(text="266", reasoning="7 = 7.") if short else healthy(request, attempt)

    assert found(provider, "failed") == set()


def test_a_model_that_refuses_everything_is_not_accused() -> None:
    def refusing(request: ProbeRequest, attempt: Attempt) -> Any:
        if request.id.startswith("choices"):
            return healthy(request, attempt)
        sorry = "I’m sorry, but I can’t help with that."
        return Reply(text=sorry, reasoning="The user asks for something that I must refuse.")

    assert found(refusing, "failed", "warned") == set()


def test_noise_at_temperature_0_is_healthy() -> None:
    provider = healthy_except(
        "cold", lambda a: Reply(text="Another word." if a.number == 2 else "A word.")
    )
    assert found(provider, "failed") == set()


def odd(count: int) -> Any:
    """A provider whose first `count` replies at temperature 0 are unique."""

    def said(attempt: Attempt) -> Reply:
        number = 3 * (attempt.number - 1) + int(attempt.sample.id.split()[1])
        return open_answer(number if number <= count else "usual")

    return healthy_except("cold", said)


@pytest.mark.parametrize(("count", "expected"), [(1, "passed"), (3, "passed"), (4, "failed")])
def test_a_few_odd_replies_at_temperature_0_are_noise(count: int, expected: str) -> None:
    assert "sampling.temperature.zero" in found(odd(count), expected)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (lambda *_: 0, "equal to those at temperature 0"),
        (lambda hot, limit: hot * limit, "requests without a seed get the same"),
        (lambda hot, _: hot, "each of three questions."),  # A cache without the limit in its key.
    ],
)
def test_equal_replies_tell_a_constant_seed_from_greedy_ones(said: Any, words: str) -> None:
    def provider(request: ProbeRequest, attempt: Attempt) -> Any:
        if not request.id.startswith(("hot", "fresh", "cold")):
            return healthy(request, attempt)
        word = open_answer(request.id.split()[1]).text or ""
        more = said(not request.id.startswith("cold"), request.max_tokens)
        return Reply(text=f"{'Hot' * bool(more)} {word}{'.' * more}", reasoning="")

    of_each_api = judged(GROUP, provider)["sampling.temperature.high"].examples
    assert all(words in example.message for example in of_each_api)


def test_low_variation_is_not_verifiable() -> None:
    def sure(request: ProbeRequest, attempt: Attempt) -> Any:
        if request.id == "hot 1" and attempt.number == 1:
            return Reply(text="Kelp.")
        return (
            Reply(text="Eel.")
            if request.id[:3] in ("hot", "col", "see")
            else healthy(request, attempt)
        )

    assert found(sure, "failed", "warned") == set()
    unclear = {"sampling.temperature.zero", "sampling.seed", "sampling.seed.zero"}
    assert found(sure, "not_verifiable") >= unclear


def test_refusals_are_legitimate() -> None:
    refused = {"sampling.n", "sampling.n.usage"}
    assert found(healthy_except("choices", refusal()), "not_verifiable") == refused
    refused = {"sampling.n.streaming"}
    assert found(healthy_except("choices streamed", refusal()), "not_verifiable") == refused
    refused = {"sampling.seed", "sampling.seed.zero"}
    assert found(healthy_except("seeded", refusal()), "not_verifiable") == refused


def test_a_refusal_for_another_reason_is_no_refusal_of_the_feature() -> None:
    """As a gateway refuses metadata (kimi-code#3530)."""
    said = {"error": {"message": "Your request exceeded model token limit: 262144"}}
    results = judged(options.GROUP, lambda *_: json_response(said, 400), ["responses"])
    reason = results["options.metadata"].reason
    assert reason is not None
    assert reason.endswith("for its length, although it is short (request.refused.foreign).")
    checks = checked(options.GROUP, lambda *_: json_response(said, 400), ["responses"])
    assert checks["request.refused.foreign"].status == "warned"


@pytest.mark.parametrize(
    ("said", "status"),
    [
        (refusal(400), "passed"),
        (Reply(text="Ahoy!"), "passed"),
        (Reply(text="Ahoy!", reasoning=""), "passed"),
        (refusal(500), "failed"),
    ],
)
def test_other_efforts_are_refused_or_served(said: Any, status: str) -> None:
    def provider(request: ProbeRequest, attempt: Attempt) -> Any:
        other = request.id == "other effort xhigh"
        return said if other else healthy(request, attempt)

    assert statuses(judged(GROUP, provider))["sampling.effort.others"] == status
