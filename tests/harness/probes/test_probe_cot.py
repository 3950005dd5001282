"""Probes of CoT and stored responses with simulated prompts."""

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from healthy import json_response
from probing import judged, refusal, statuses
from replies import Reply, chat_whole, responses_whole

from harness.api.items import ConversationItem, Message, Reasoning, ToolCall, ToolResult
from harness.records.conditions import Api
from harness.records.rollouts import Response
from harness.rules.cot import alone_probes as alone
from harness.rules.cot import probes as cot
from harness.rules.evidence.rendering import Prompt, Rendering, count
from harness.rules.probe import ProbeRequest
from harness.rules.state import previous_response_probes as state
from harness.run.attempts import Attempt

SEEN = Reply(text="The code word is {}.", reasoning="I recall it.")
UNSEEN = Reply(text="I do not know the code word.", reasoning="Nobody gave one.")
CALL = Reply(call=("get_weather", '{"location": "Lisbon"}'))


def kept(turns: tuple[ConversationItem, ...]) -> tuple[ConversationItem, ...]:
    """A conversation without stale CoT."""
    finals = [at for at, t in enumerate(turns) if isinstance(t, Message) and t.role == "assistant"]
    last = max(finals, default=-1)
    return tuple(t for at, t in enumerate(turns) if at > last or not isinstance(t, Reasoning))


def reader(
    prompt: Callable[[tuple[ConversationItem, ...]], tuple[ConversationItem, ...]] = kept,
) -> Any:
    """A model that only knows the code words in its prompt."""

    def provider(request: ProbeRequest, _: Attempt) -> Reply | list[Reply]:
        if request.id == "own":
            return [CALL, Reply(text="It is 21 degrees."), UNSEEN]
        known = " ".join(str(turn) for turn in prompt(request.turns))
        word = next((word for word in request.id.split() if word in known), None)
        return replace(SEEN, text=f"The code word is {word}.") if word else UNSEEN

    return provider


def failed(provider: Any) -> set[str]:
    results = statuses(judged(cot.GROUP, provider))
    return {name for name, status in results.items() if status in ("failed", "warned")}


def without_cot(turns: tuple[ConversationItem, ...]) -> tuple[ConversationItem, ...]:
    return tuple(turn for turn in turns if not isinstance(turn, Reasoning))


def only_latest_cot(turns: tuple[ConversationItem, ...]) -> tuple[ConversationItem, ...]:
    thoughts = [turn for turn in turns if isinstance(turn, Reasoning)]
    return tuple(t for t in kept(turns) if not isinstance(t, Reasoning) or t is thoughts[-1])


@pytest.mark.parametrize(
    ("prompt", "found"),
    [
        (without_cot, {"cot.used", "cot.used.across_calls"}),
        (only_latest_cot, {"cot.used.across_calls"}),
        (lambda turns: turns, {"cot.dropped"}),
    ],
)
def test_missing_and_stale_cot_is_detected(prompt: Any, found: set[str]) -> None:
    assert failed(reader(prompt)) == found


def test_a_model_that_repeats_no_code_word_is_not_verifiable() -> None:
    results = statuses(
        judged(
            cot.GROUP,
            lambda request, _: reader()(request, _) if request.id == "own" else UNSEEN,
        )
    )
    unknown = {name for name, status in results.items() if status == "not_verifiable"}
    assert unknown == {"cot.used", "cot.used.across_calls", "cot.dropped"}


@pytest.mark.parametrize(
    ("said", "tokens", "status"),
    [
        (CALL, 0, "not_verifiable"),  # The model looks the weather up again.
        (Reply(text="I’m sorry, but I can’t share that."), 100 + 120, "not_verifiable"),
        (Reply(text="I’m sorry, but I can’t share that."), 100 + 103, "failed"),
    ],
)
def test_replies_without_the_code_word_count_if_the_prompt_lacks_the_cot(
    said: Reply, tokens: int, status: str
) -> None:
    def provider(request: ProbeRequest, attempt: Attempt) -> Any:
        if request.id == "own":
            return [replace(CALL, prompt=100), SEEN, UNSEEN]
        across = request.id.startswith("kept across")
        return replace(said, prompt=tokens) if across else reader()(request, attempt)

    assert judged(cot.GROUP, provider)["cot.used.across_calls"].status == status


def test_one_stale_code_word_is_enough() -> None:
    def provider(request: ProbeRequest, attempt: Attempt) -> Any:
        leaky = request.id.startswith("stale zulu")
        return (
            reader(lambda turns: turns)(request, attempt) if leaky else reader()(request, attempt)
        )

    result = judged(cot.GROUP, provider)["cot.dropped"]
    assert (result.status, result.failures) == ("failed", 2)
    assert "zulu4182" in result.examples[0].evidence.got


def silent(names: tuple[str, ...], *, wrote: bool = True) -> Any:
    """A provider that loses the CoT of some replies, or whose model writes none."""

    def provider(request: ProbeRequest, attempt: Attempt) -> Any:
        said = reader()(request, attempt)
        if not request.id.startswith(names):
            return said
        return replace(said, reasoning="", wrote=3 * said.text if wrote else None)

    return provider


def test_cot_that_is_missing_once_is_healthy_and_more_often_is_not() -> None:
    assert failed(silent(("told zulu",))) == set()
    assert failed(silent(("told",))) == {"cot.returned", "cot.returned.unasked"}
    assert failed(silent(("told",), wrote=False)) == set()  # The model wrote none.


def test_cot_in_a_summary_is_not_reported_as_missing() -> None:
    def provider(request: ProbeRequest, attempt: Attempt) -> Any:
        said = reader()(request, attempt)
        if attempt.condition.api == "chat" or not isinstance(said, Reply) or said.call:
            return said
        body = responses_whole(said)
        for item in body["output"]:
            if item["type"] == "reasoning":
                text = item.pop("content")[0]["text"]
                item["summary"] = [{"type": "summary_text", "text": text}]
        return json_response(body)

    result = judged(cot.GROUP, provider)["cot.returned"]
    assert result.status == "failed"
    assert (
        result.examples[0].message == "The CoT is in a summary, where clients do not look for it."
    )


def refusing(unwanted: Callable[[ProbeRequest], bool], status: int = 400) -> Any:
    def provider(request: ProbeRequest, attempt: Attempt) -> Any:
        return refusal(status) if unwanted(request) else reader()(request, attempt)

    return provider


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("beside text", {"cot.accepted.beside_text"}),
        ("kept", {"cot.accepted"}),
    ],
)
def test_rejected_cot_is_detected(name: str, found: set[str]) -> None:
    assert failed(refusing(lambda request: request.id.startswith(name), 500)) >= found


def test_a_call_that_is_refused_without_cot_is_not_refused_for_its_cot() -> None:
    """As two gateways do that drop or refuse a call after a message of the user."""
    found = judged(cot.GROUP, refusing(lambda request: bool(request.tools)))
    accepted = {name: result for name, result in found.items() if "cot.accepted" in name}
    assert {result.status for result in accepted.values()} <= {"passed", "not_verifiable"}
    assert accepted["cot.accepted"].status == "passed"  # those without a call are accepted


# --- Stored responses


def stored(counts: tuple[int, int], second: Response | None = None, keeps: bool = True) -> Any:
    """A provider that reports these prompt tokens for the first and second reply."""

    def whole(reply: Reply, tokens: int, api: Api) -> Response:
        body = chat_whole(reply) if api == "chat" else responses_whole(reply) | {"store": keeps}
        body["usage"] |= {"input_tokens": tokens, "total_tokens": tokens + 20}
        return json_response(body)

    def provider(request: ProbeRequest, attempt: Attempt) -> Any:
        if request.id in ("unknown", "compacted before"):
            return refusal(404)
        first = CALL if request.id == "called" else SEEN
        if request.id == "unkept":
            return [first, refusal(404)]
        if attempt.condition.streaming:
            return [first, replace(SEEN, text="Yes.")]
        return [whole(first, counts[0], "responses"), second or whole(SEEN, counts[1], "responses")]

    return provider


def streams_pass(provider: Any) -> Any:
    """Results without streams, because the simulated streams share their counts."""
    return lambda request, attempt: (
        [refusal()] if attempt.condition.streaming else provider(request, attempt)
    )


def state_results(provider: Any) -> dict[str, str]:
    return statuses(judged(state.GROUP, streams_pass(provider), ["responses"]))


def test_a_continued_conversation_has_a_longer_prompt() -> None:
    found = state_results(stored((60, 90)))
    assert found["state.previous_response"] == found["state.previous_response"] == "passed"
    assert "failed" not in found.values()
    forgot = state_results(stored((60, 12)))
    assert forgot["state.previous_response"] == forgot["state.previous_response"] == "failed"


@pytest.mark.parametrize(("third", "status"), [(120, "passed"), (70, "failed")])
def test_a_chain_of_three_has_its_first_request(third: int, status: str) -> None:
    def provider(request: ProbeRequest, attempt: Attempt) -> Any:
        said = stored((60, 90))(request, attempt)
        if request.id != "told":
            return said
        body = responses_whole(SEEN)
        body["usage"] |= {"input_tokens": third, "total_tokens": third + 20}
        return [*said, json_response(body)]

    assert state_results(provider)["state.previous_response"] == status


def test_an_id_that_was_just_issued_is_found_in_every_request() -> None:
    def provider(request: ProbeRequest, attempt: Attempt) -> Any:
        said = stored((60, 90))(request, attempt)
        return [said[0], refusal(404)] if request.id == "offered" else said

    found = judged(state.GROUP, streams_pass(provider), ["responses"])["state.previous_response"]
    assert (found.status, found.failures) == ("failed", 2)


def test_a_page_instead_of_a_stored_reply_breaks_no_continuation() -> None:
    page = Response(status=200, headers={"content-type": "text/html"}, body="<h1>Bad Gateway</h1>")
    found = state_results(stored((60, 90), page))
    assert found["state.previous_response"] == "not_verifiable"
    assert "failed" not in found.values()


def test_repeating_the_code_word_proves_continuation() -> None:
    knows = Reply(text="The code word is Orchid596.")
    said = json_response(responses_whole(knows))
    found = state_results(stored((60, 12), said))
    assert found["state.previous_response"] == "passed"


def test_not_found_is_a_defect_only_if_the_provider_claims_to_store() -> None:
    claims = state_results(stored((60, 0), refusal(404)))
    assert claims["state.previous_response"] == "failed"
    honest = state_results(stored((60, 0), refusal(404), keeps=False))
    assert honest["state.previous_response"] == "not_verifiable"
    stateless = state_results(stored((60, 0), refusal(400)))
    assert stateless["state.previous_response"] == "not_verifiable"


def test_not_implemented_refuses_to_continue_a_response() -> None:
    """As Dynamo 1.6 answers: status 501 for every request with previous_response_id."""
    second = stored((60, 0), refusal(501), keeps=False)
    found = state_results(
        lambda request, a: refusal(501) if request.id == "unknown" else second(request, a)
    )
    assert found["state.previous_response"] == "not_verifiable"
    assert found["state.previous_response.unknown"] == "not_verifiable"


@pytest.mark.parametrize(
    ("second", "status"),
    [
        (refusal(404), "passed"),
        (Reply(text="I do not know any code word."), "passed"),
        (Reply(text="It is orchid596."), "failed"),
    ],
)
def test_a_response_that_must_not_be_stored_cannot_be_continued(
    second: Reply | Response, status: str
) -> None:
    found = statuses(judged(state.GROUP, lambda _request, _: [SEEN, second], ["responses"]))
    assert found["state.unstored"] == status


def test_streams_that_are_not_stored_are_detected() -> None:
    def provider(request: ProbeRequest, attempt: Attempt) -> Any:
        said = stored((60, 90))(request, attempt)
        return [said[0], refusal(404)] if attempt.condition.streaming else said

    assert (
        statuses(judged(state.GROUP, provider, ["responses"]))["state.previous_response"]
        == "failed"
    )


def test_an_unknown_id_must_be_rejected() -> None:
    for said in (Reply(text="Hello."), refusal(500)):
        found = state_results(
            lambda request, a, said=said: said if request.id == "unknown" else SEEN
        )
        assert found["state.previous_response.unknown"] == "failed"


def continued(
    *,
    keeps_cot: bool = True,
    keeps_answer: bool = True,
    instructions: str = "new",
    tools: str = "new",
    call: tuple[str, str] | None = CALL.call,
    summed: bool = False,
    stale: str = "",
    without_channel: bool = False,
    reads: bool = True,
    copies: Callable[[Prompt, tuple[Any, ...]], tuple[Any, ...]] = lambda _prompt, _added: (),
) -> Any:
    """A provider that stores replies and counts the tokens of the prompt that it renders.

    It may keep `stale` CoT before an answer, and render the answer without its channel. It may not
    read instructions at all. `copies` are put before the conversation that is continued.
    """

    def provider(request: ProbeRequest, attempt: Attempt) -> Any:
        if request.id in ("unknown", "compacted", "compacted before") or request.follow is not None:
            return refusal(404)
        if attempt.condition.streaming:
            return [refusal()]
        answered = replace(SEEN, reasoning=stale) if stale else SEEN
        first = replace(CALL, call=call) if request.id == "called" else answered
        if request.id == "unkept":
            return [first, refusal(404)]
        texts = [Message("developer", text) for text in (request.instructions,) if text and reads]
        before = Prompt((*texts, *request.turns), request.tools)
        thought = (Reasoning(first.reasoning),) if keeps_cot and request.id == "called" else ()
        if request.id == "called":
            sent = ToolCall("call_1", *(first.call or ("", "")))
            added: tuple[Any, ...] = (*thought, sent, ToolResult("call_1", request.tools[0].output))
        else:
            answer = (Message("assistant", first.text or ""),) if keeps_answer else ()
            kept = (Reasoning(stale),) if stale else ()
            added = (*kept, *answer, Message("user", request.then[0]))
        used = {"new": [request.later_instructions], "old": [request.instructions], "none": []} | {
            "both": [request.instructions, request.later_instructions]
        }
        later = [Message("developer", text) for text in used[instructions] if text and reads]
        replaced = request.tools if request.later_tools is None else request.later_tools
        offers = {"new": replaced, "old": request.tools, "none": ()} | {
            "both": (*request.tools, *replaced)
        }
        offered = replaced if replaced == request.tools else offers[tools]
        after = Prompt((*later, *copies(before, added), *request.turns, *added), offered)
        counts = [count(each, Rendering()) + 9 for each in (before, after)]
        if summed:
            counts[1] += counts[0]
        counts[1] -= 2 * (without_channel and request.id != "called")
        replies = [responses_whole(reply) for reply in (first, SEEN)]
        for body, tokens in zip(replies, counts, strict=True):
            body["usage"] |= {"input_tokens": tokens, "total_tokens": tokens + 20}
        return list(map(json_response, replies))

    return provider


def test_prompt_tokens_that_are_summed_over_turns_are_detected() -> None:
    provider = streams_pass(continued(summed=True))
    results = judged(state.GROUP, provider, ["responses"])
    failed = [name for name, each in results.items() if each.status == "failed"]
    assert failed == ["state.previous_response.usage"]
    evidence = results["state.previous_response.usage"].examples[0].evidence
    expected, after, before = map(int, re.findall(r"\d+", f"{evidence.expected} {evidence.got}"))
    assert after == expected + before


def whole_copy(prompt: Prompt, added: tuple[Any, ...]) -> tuple[Any, ...]:
    return (*prompt.turns, *added[:-1])


@pytest.mark.parametrize(
    ("copies", "said"),
    [
        (lambda prompt, _: prompt.turns, "is twice in the prompt"),
        (whole_copy, "is twice in the prompt"),
        (lambda *given: whole_copy(*given) * 2, "has more than the conversation"),
        (lambda prompt, _: (Message("user", "Keep this. " * 40), *prompt.turns), "has more than"),
    ],
)
def test_a_second_copy_of_the_stored_conversation_is_detected(copies: Any, said: str) -> None:
    """As Hermes Agent 0.21 repeats the user's message, or all of them."""
    results = judged(state.GROUP, streams_pass(continued(copies=copies)), ["responses"])
    failed = [name for name, each in results.items() if each.status == "failed"]
    assert "state.previous_response.once" in failed
    # A short copy has as many tokens as some other wrong prompt.
    assert set(failed) <= {"state.previous_response.once", "state.previous_response.instructions"}
    assert said in results["state.previous_response.once"].examples[0].message


def test_a_long_stale_cot_is_no_second_copy() -> None:
    found = state_results(continued(stale="and so " * 60))
    assert found["state.previous_response.once"] == "passed"


def answering(name: str, *answers: Any) -> Any:
    """A healthy provider, except for the answers to one request."""
    return lambda request, attempt: (
        list(answers) if request.id == name else continued()(request, attempt)
    )


def long_reply(*kinds: str, tokens: int = 2_300) -> Response:
    body = responses_whole(SEEN)
    body["output"] = [*({"type": kind, "id": f"{kind}_1"} for kind in kinds), *body["output"]]
    body["usage"] |= {"input_tokens": tokens, "total_tokens": tokens + 20}
    return json_response(body)


@pytest.mark.parametrize(
    ("answers", "status"),
    [
        ([refusal(400)], "passed"),
        ([refusal(404)], "passed"),
        ([refusal(500)], "failed"),
        ([long_reply(tokens=60), long_reply(tokens=95)], "passed"),
        ([long_reply(tokens=60), long_reply(tokens=20)], "failed"),
    ],
)
def test_a_conversation_is_kept_or_refused(answers: list[Any], status: str) -> None:
    """Hermes Agent keeps named conversations, OpenAI refuses unknown ones."""
    assert state_results(answering("conversation", *answers))["state.conversation"] == status


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (refusal(400), "passed"),
        (refusal(500), "warned"),
        (long_reply("compaction"), "passed"),
        (long_reply("compaction", tokens=300), "passed"),
        (long_reply(tokens=300), "passed"),
        (long_reply(), "warned"),
    ],
)
def test_a_context_is_compacted_or_the_request_refused(answer: Any, status: str) -> None:
    assert state_results(answering("compacted", answer))["state.compaction"] == status


@pytest.mark.parametrize(
    ("answer", "status"), [(refusal(400), "passed"), (refusal(500), "failed"), (SEEN, "failed")]
)
def test_a_compaction_item_that_nobody_can_read_is_refused(answer: Any, status: str) -> None:
    provider = answering("compacted before", answer)
    assert state_results(provider)["state.compaction.item"] == status


@pytest.mark.parametrize("retrieved", [405, 404, 200])
def test_a_background_response_that_is_completed_at_once_has_ended(retrieved: int) -> None:
    def provider(request: ProbeRequest, attempt: Attempt) -> Any:
        if request.id not in ("background", "cancelled"):
            return continued()(request, attempt)
        done = json_response(responses_whole(SEEN) | {"background": True, "status": "completed"})
        return [done, done if retrieved == 200 else refusal(retrieved)]

    assert state_results(provider)["state.background"] == "passed"


@pytest.mark.parametrize(
    ("used", "probes"),
    [
        ("old", ["instructions"]),
        ("none", ["instructions"]),
        ("both", ["instructions"]),
    ],
)
def test_other_instructions_in_a_continued_conversation_are_detected(
    used: str, probes: list[str]
) -> None:
    found = state_results(continued(instructions=used))
    failed = [name for name, status in found.items() if status == "failed"]
    assert failed == [f"state.previous_response.{each}" for each in probes]


def test_a_server_that_reads_no_instructions_does_not_lose_them_by_continuing_a_response() -> None:
    found = state_results(continued(reads=False))
    rules = {"state.previous_response.instructions", "state.retrieved", "state.background"}
    assert "failed" not in found.values()
    assert {rule for rule, status in found.items() if status == "not_verifiable"} == rules


@pytest.mark.parametrize("words", range(1, 25))
def test_an_answer_without_channel_after_its_cot_is_not_taken_for_other_content(words: int) -> None:
    provider = continued(stale="and " * words, without_channel=True)
    assert "failed" not in state_results(provider).values()


THOUGHT = "There is no table of tides for Horta here, so I cannot say when it is high there."


@pytest.mark.parametrize(
    ("said", "status"),
    [
        (Reply(text="", reasoning=THOUGHT), "passed"),
        (Reply(text=THOUGHT, reasoning=THOUGHT), "not_verifiable"),  # the model wrote it twice
        (Reply(text="I do not know.", reasoning=THOUGHT), "not_verifiable"),
        (Reply(text=THOUGHT, reasoning=""), "not_verifiable"),
        (CALL, "not_verifiable"),
    ],
)
def test_a_cot_without_an_answer_stays_a_cot(said: Reply, status: str) -> None:
    found = judged(alone.GROUP, lambda *_: said, apis=["chat"])
    assert found["cot.alone"].status == status


@pytest.mark.parametrize(("counted", "status"), [(True, "failed"), (False, "not_verifiable")])
def test_a_copy_of_the_cot_is_the_servers_if_its_tokens_are_not_counted(
    counted: bool, status: str
) -> None:
    whole = chat_whole(Reply(text="", reasoning=THOUGHT))
    whole["choices"][0]["message"]["content"] = THOUGHT
    if not counted:
        del whole["usage"]
    found = judged(alone.GROUP, lambda *_: json_response(whole), apis=["chat"])
    assert found["cot.alone"].status == status
