"""Probes of logprobs, structured answers and options; each simulated reply has one defect."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from random import Random
from typing import Any

import pytest
from healthy import json_response, stream_response
from probing import checked, judged, made, refusal, statuses
from replies import (
    Reply,
    chat_blocks,
    chat_chunks,
    chat_whole,
    responses_blocks,
    responses_events,
    responses_whole,
)

from harness.records.conditions import BOTH_APIS, Api
from harness.records.rollouts import Response
from harness.rules.account import Account
from harness.rules.numerics import logprob_probes as logprobs
from harness.rules.probe import ProbeOptions, ProbeRequest
from harness.rules.results import probe_results
from harness.rules.sampling import option_probes as options
from harness.rules.structured import probes as structured
from harness.run.attempts import Attempt

VALUES = {"logprobs.values"}
TOKENS = ("The", " word", " is", " kelp", ".")


def entry(token: str, logprob: float = -0.25) -> dict[str, Any]:
    own = {"token": token, "bytes": list(token.encode()), "logprob": logprob}
    others = [
        {"token": f" {word}", "bytes": list(f" {word}".encode()), "logprob": logprob - less}
        for word, less in (("and", 2), ("or", 3))
    ]
    return {**own, "top_logprobs": [own.copy(), *others]}


def with_logprobs(change: Callable[[list[Any]], object], **reply_of: str) -> Any:
    """A provider with modified logprobs."""

    def provider(_: ProbeRequest, attempt: Attempt) -> Response:
        entries = [entry(token) for token in TOKENS]
        change(entries)
        reply = Reply(text="".join(TOKENS), **reply_of)
        if attempt.condition.streaming:
            return streamed(reply, entries, attempt.condition.api)
        if attempt.condition.api == "chat":
            body = chat_whole(reply)
            body["choices"][0]["logprobs"] = {"content": entries, "refusal": None}
        else:
            body = responses_whole(reply)
            body["output"][-1]["content"][0]["logprobs"] = entries
        return json_response(body)

    return provider


def streamed(reply: Reply, entries: list[Any], api: Api) -> Response:
    """A stream with these logprobs: those of Chat come with the finish reason."""
    if api == "chat":
        chunks = chat_chunks(reply)
        chunks[-2]["choices"][0]["logprobs"] = {"content": entries}
        return stream_response(chat_blocks(chunks))
    events = responses_events(reply)
    events[-1]["response"]["output"][-1]["content"][0]["logprobs"] = entries
    return stream_response(responses_blocks(events))


def each_entry(change: Callable[[dict[str, Any]], object]) -> Callable[[list[Any]], object]:
    return lambda entries: [*map(change, entries)]


def strip_alternatives(entry: dict[str, Any]) -> None:
    for other in entry["top_logprobs"]:
        token = other["token"].strip()
        other |= {"token": token, "bytes": list(token.encode())}


def exponentiate(entries: list[Any]) -> None:
    for each in entries:
        each["logprob"] = math.exp(each["logprob"])


def swap_ranks(entries: list[Any]) -> None:
    entries[2]["top_logprobs"].reverse()


def sampled_first(entries: list[Any]) -> None:
    """A token that is not the most probable one precedes the alternatives, as in vLLM's replies."""
    own = entries[2]
    own["logprob"] = own["top_logprobs"][0]["logprob"] = -3.5
    own["top_logprobs"][1]["logprob"] = -0.1


def shift(entries: list[Any]) -> None:
    entries[0]["logprob"] = -1.5


def sure_of_both(entries: list[Any]) -> None:
    for other in entries[1]["top_logprobs"]:
        other["logprob"] = entries[1]["logprob"] = -0.01


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda entries: None, set()),
        (sampled_first, set()),
        (lambda entries: entries[0]["top_logprobs"].pop(), set()),
        (each_entry(lambda entry: entry["top_logprobs"].pop()), {"logprobs.given"}),
        (list.clear, {"logprobs.given"}),
        (exponentiate, VALUES),
        (swap_ranks, VALUES),
        (shift, VALUES),
        (sure_of_both, VALUES),
        (lambda entries: entries[3]["top_logprobs"].pop(0), VALUES),
        (each_entry(strip_alternatives), VALUES),
        (lambda entries: entries[0].update(logprob=None), VALUES),
        (lambda entries: entries[2].update(top_logprobs=entries[1]["top_logprobs"]), VALUES),
        (lambda entries: entries.pop(1), {"logprobs.tokens"}),
    ],
)
def test_defective_logprobs_are_reported(
    change: Callable[[list[Any]], object], found: set[str]
) -> None:
    provider = with_logprobs(change)
    results = statuses(
        {
            **judged(logprobs.GROUP, provider),
            **{
                name: result
                for name, result in checked(logprobs.GROUP, provider).items()
                if name.startswith("logprobs.")
            },
        }
    )
    assert {name for name, each in results.items() if each in ("failed", "warned")} == found


@pytest.mark.parametrize(("kept", "status"), [(5, "passed"), (0, "warned")])
def test_logprobs_may_be_in_the_deltas_of_a_stream(kept: int, status: str) -> None:
    def provider(request: ProbeRequest, attempt: Attempt) -> Response:
        if not attempt.condition.streaming:
            return with_logprobs(lambda entries: None)(request, attempt)
        entries = iter([entry(token) for token in TOKENS][:kept])
        events = responses_events(Reply(text="".join(TOKENS)))
        for event in events:
            if event["type"] == "response.output_text.delta":
                event["logprobs"] = list(islice(entries, 1))
        return stream_response(responses_blocks(events))

    found = checked(logprobs.GROUP, provider, ["responses"])
    assert found["logprobs.given"].status == status


def test_parts_of_a_character_are_joined_by_bytes() -> None:
    def halve(entries: list[Any]) -> None:
        first, second = "é".encode()[:1], "é".encode()[1:]
        entries[:] = [entry("�") | {"bytes": list(half)} for half in (first, second)]

    def provider(request: ProbeRequest, attempt: Attempt) -> Response:
        if attempt.condition.streaming:
            return refusal()
        told = with_logprobs(halve)(request, attempt)
        return told.model_copy(update={"body": told.body.replace("".join(TOKENS), "é")})

    assert checked(logprobs.GROUP, provider)["logprobs.tokens"].status == "passed"


# --- Tokens drawn with their probabilities


def sampled(temperature: float, alternatives: int = 5, drawn_listed_last: bool = False) -> Any:
    """A provider that draws tokens at this temperature and reports the logprobs of the model."""
    odds = [0.4, 0.25, 0.15, 0.08, 0.05, 0.04, 0.02, 0.01]
    random = Random(0)

    def token() -> dict[str, Any]:
        (at,) = random.choices(range(len(odds)), [each ** (1 / temperature) for each in odds])
        listed = [*range(alternatives)]
        if drawn_listed_last and at >= alternatives:
            listed[-1] = at
        top = [{"token": f" w{n}", "logprob": math.log(odds[n])} for n in listed]
        return {"token": f" w{at}", "logprob": math.log(odds[at]), "top_logprobs": top}

    def provider(request: ProbeRequest, attempt: Attempt) -> Response:
        entries = [token() for _ in range(64)]
        return with_logprobs(lambda given: given.__setitem__(slice(None), entries))(
            request, attempt
        )

    return provider


@pytest.mark.parametrize(
    ("provider", "status"),
    [
        (sampled(1.0), "passed"),
        (sampled(1.0, drawn_listed_last=True), "passed"),
        (sampled(0.7), "warned"),
        (sampled(1.5), "warned"),
        (sampled(0.7, drawn_listed_last=True), "warned"),
        (sampled(0.7, alternatives=2), "not_verifiable"),
        (with_logprobs(lambda entries: None), "not_verifiable"),
        (refusal(), "not_verifiable"),
    ],
)
def test_tokens_are_drawn_with_their_probabilities(provider: Any, status: str) -> None:
    given = provider if callable(provider) else lambda request, attempt: provider
    results = judged(logprobs.GROUP, given, ["chat"])
    assert results["sampling.probabilities"].status == status


@pytest.mark.parametrize(
    ("temperature", "message"), [(1.5, "improbable tokens are drawn"), (1e6, "do not belong to")]
)
def test_logprobs_that_fit_no_temperature_are_wrong_themselves(
    temperature: float, message: str
) -> None:
    (found,) = judged(logprobs.GROUP, sampled(temperature), ["chat"]).values()
    assert message in found.examples[0].message
    assert "inf" not in found.examples[0].evidence.got


def test_one_rare_token_is_no_evidence_of_a_temperature() -> None:
    def certain(entries: list[Any]) -> None:
        odds = [0.975, 0.01, 0.008, 0.004, 0.003]
        top = [{"token": f" w{n}", "logprob": math.log(p)} for n, p in enumerate(odds)]
        drawn = [0] * 80
        drawn[40] = 1
        entries[:] = [{**top[at], "top_logprobs": top} for at in drawn]

    found = judged(logprobs.GROUP, with_logprobs(certain), ["chat"])
    assert found["sampling.probabilities"].status == "passed"


# --- Structured answers


GOOD, FREE = Reply(text='{"harbour": "Brest"}'), Reply(text='{"verdict_text": "orchid596"}')
PROSE, SPOKEN = Reply(text="It is orchid596."), Reply(text="The word is orchid596.")


CONSTRAINED = {
    "pattern": Reply(text='{"harbour": "DOVER-596"}'),
    "anyOf": Reply(text='{"berth": 12, "open": true}'),
    "uniqueItems": Reply(text='{"harbours": ["Brest", "Cork", "Bilbao", "Dover", "La Rochelle"]}'),
    "references": Reply(text='{"harbour": "Dover"}'),
}
"""Answers of a grammar with every keyword, to prompts that contradict each."""
OBEYED = {
    "pattern": Reply(text='{"harbour": "BREST-596"}'),
    "anyOf": Reply(text='{"berth": 12}'),
    "uniqueItems": Reply(text=json.dumps({"harbours": ["Brest"] * 5})),
    "references": Reply(text='{"harbour": "Lisbon"}'),
}
"""Answers of a model that nothing constrains."""
_ALSO = ("object streamed", "object with a tool", "choices")
"""What `test_every_probe.py` proves."""


def structures(
    named: Reply,
    free: Reply,
    schema_tokens: int = 40,
    any_json: Reply = FREE,
    streamed: Reply = FREE,
    streamed_tokens: int = 40,
    later: Reply = GOOD,
    beside_tool: Reply = FREE,
    beside_tool_tokens: int = 95,
    any_json_tokens: int | None = None,
    told: Reply | None = None,
) -> Any:
    """A provider whose prompts with a format have this many additional tokens; a tool has 55."""
    replies = {"named": named, "free": free, "object": any_json, "free streamed": streamed}
    replies |= {"free with a tool": beside_tool, "named later": later}
    replies["object told"] = told or any_json
    replies |= CONSTRAINED
    replies |= dict.fromkeys(_ALSO, FREE)

    def provider(request: ProbeRequest, attempt: Attempt) -> Response:
        reply = replies.get(request.id, PROSE)
        more = 0
        if request.options:
            more = streamed_tokens if attempt.condition.streaming else schema_tokens
        if request.tools:
            more = beside_tool_tokens if request.options else 55
        if request.id == "object" and any_json_tokens is not None:
            more = any_json_tokens
        count = 60 + more
        chunks = chat_chunks(reply) if attempt.condition.streaming else [chat_whole(reply)]
        chunks[-1]["usage"] |= {"prompt_tokens": count, "total_tokens": count + 20}
        if attempt.condition.streaming:
            return stream_response(chat_blocks(chunks))
        return json_response(*chunks)

    return provider


def without_end(text: str, asked: int, plain: int = 0) -> Any:
    """A provider that truncates the first replies with a format, or without one, in this text."""
    whole, left = structures(GOOD, FREE), {True: asked, False: plain}

    def provider(request: ProbeRequest, attempt: Attempt) -> Response:
        kind = bool(request.options)
        if attempt.condition.streaming or request.id in {*_ALSO, *CONSTRAINED} or not left[kind]:
            return whole(request, attempt)
        left[kind] -= 1
        body = chat_whole(Reply(text=text))
        body["choices"][0]["finish_reason"] = "length"
        return json_response(body)

    return provider


@pytest.mark.parametrize(
    ("provider", "status"),
    [
        (without_end('{"harbour": "Brest"}' + " \n" * 900, 1), "failed"),
        (without_end('{"harbour": "Brest' + " \n" * 900, 1), "passed"),
        (without_end('{"harbour": "Brest' + " \n" * 900, 12), "failed"),
        (without_end('{"harbour": "Brest' + " \n" * 900, 12, plain=1), "passed"),
        (without_end('{"harbour": "Brest' + " told" * 900, 12), "passed"),  # a model loops
    ],
)
def test_replies_with_a_format_end_like_others(provider: Any, status: str) -> None:
    results = statuses(judged(structured.GROUP, provider, ["chat"]))
    assert results["structured.ends"] == status


PROBED = (
    "ends",
    *("followed", "place", "object", "asked", "asked.streaming", "asked.tools", "tools"),
    *("reasoning", "later"),
)
INTRODUCED = Reply(text=f"Here you are: {GOOD.text}")
CALLED = Reply(call=("lookup_order", '{"order_id": "A-17"}'))
UNFINISHED = '{"harbour": "Br'
OTHER = Reply(text='{"code_word": "orchid596"}')
FENCED = Reply(text=f"```json\n{UNFINISHED}\n```")
AS_CALL = Reply(call=("json", '{"harbour": "Brest"}'))
LOST = Reply(wrote='{"harbour": "Brest", "country": "France"}')
GARBLED = Reply(text='{"harbour": "Brest"}', reasoning="??? ???? ?? ???")


@pytest.mark.parametrize(
    ("provider", "found"),
    [
        (structures(GOOD, FREE), {}),
        (structures(PROSE, SPOKEN, later=SPOKEN), {"structured.followed": "not_verifiable"}),
        (structures(FENCED, PROSE, later=PROSE), {"structured.followed": "not_verifiable"}),
        (structures(Reply(text=UNFINISHED), PROSE), {"structured.followed": "not_verifiable"}),
        (
            structures(Reply(call=("json", UNFINISHED)), PROSE),
            {"structured.followed": "not_verifiable", "structured.place": "failed"},
        ),
        (
            structures(Reply(call=("container.exec", '{"cmd": ["ls"]}')), PROSE),
            {"structured.followed": "not_verifiable"},
        ),
        (structures(GOOD, PROSE, schema_tokens=0), {"structured.asked": "failed"}),
        (structures(GOOD, FREE, schema_tokens=0), {}),
        (structures(GOOD, OTHER, any_json=OTHER), {"structured.asked": "failed"}),
        (structures(GOOD, OTHER, any_json=OTHER, any_json_tokens=12), {}),
        (
            structures(GOOD, FREE, schema_tokens=0, any_json=PROSE),
            {"structured.asked": "failed", "structured.object": "not_verifiable"},
        ),
        (structures(GOOD, FREE, any_json=PROSE), {"structured.object": "not_verifiable"}),
        (structures(GOOD, FREE, any_json=FENCED), {"structured.object": "not_verifiable"}),
        (structures(GOOD, FREE, any_json=Reply(text="{ }")), {"structured.object": "warned"}),
        (structures(GOOD, FREE, any_json=Reply(text="{ }"), told=GOOD), {}),
        (structures(GOOD, FREE, streamed=PROSE), {}),
        (structures(GOOD, FREE, streamed_tokens=0), {}),
        (
            structures(GOOD, FREE, streamed=PROSE, streamed_tokens=0),
            {"structured.asked.streaming": "failed"},
        ),
        (structures(GOOD, FREE, beside_tool=PROSE), {}),
        (structures(GOOD, FREE, beside_tool_tokens=55), {}),
        (
            structures(GOOD, FREE, beside_tool=PROSE, beside_tool_tokens=55),
            {"structured.asked.tools": "failed"},
        ),
        (
            structures(GOOD, FREE, beside_tool=CALLED, beside_tool_tokens=55),
            {"structured.asked.tools": "not_verifiable"},
        ),
        (structures(GOOD, FREE, beside_tool_tokens=40), {"structured.tools": "failed"}),
        (
            structures(GOOD, FREE, beside_tool=PROSE, beside_tool_tokens=0),
            {"structured.tools": "failed", "structured.asked.tools": "failed"},
        ),
        (
            structures(AS_CALL, AS_CALL),
            {"structured.followed": "not_verifiable", "structured.place": "failed"},
        ),
        (
            structures(LOST, LOST),
            {
                "structured.followed": "not_verifiable",
                "structured.place": "failed",
            },
        ),
        (
            structures(AS_CALL, AS_CALL, schema_tokens=0),
            {
                "structured.followed": "not_verifiable",
                "structured.place": "failed",
                "structured.asked": "not_verifiable",
            },
        ),
        (
            structures(replace(GOOD, text="", reasoning=GOOD.text or ""), FREE),
            {
                "structured.followed": "not_verifiable",
                "structured.place": "failed",
                "structured.reasoning": "failed",
            },
        ),
        (
            structures(Reply(text='```json\n{"harbour": "Brest"}\n```'), FREE),
            {"structured.followed": "failed"},
        ),
        (structures(INTRODUCED, FREE), {"structured.followed": "failed"}),
        (structures(Reply(text=json.dumps(GOOD.text)), FREE), {"structured.followed": "failed"}),
        (structures(GARBLED, GARBLED, any_json_tokens=12), {"structured.reasoning": "failed"}),
        (structures(GOOD, FREE, later=replace(GOOD, text="")), {"structured.later": "failed"}),
        (structures(GOOD, FREE, later=GARBLED), {"structured.later": "failed"}),
        (structures(GOOD, FREE, later=AS_CALL), {}),
        (
            lambda request, _: Reply(text="Orchid596.") if "without" in request.id else refusal(),
            dict.fromkeys(
                [f"structured.{name}" for name in PROBED],
                "not_verifiable",
            ),
        ),
    ],
)
def test_defective_structured_answers_are_reported(provider: Any, found: dict[str, str]) -> None:
    results = statuses(judged(structured.GROUP, provider, ["chat"]))
    elsewhere = (
        *("structured.characters", "structured.object.", "structured.choices"),
        "structured.references",
    )
    judged_here = {name: each for name, each in results.items() if not name.startswith(elsewhere)}
    assert {name: each for name, each in judged_here.items() if each != "passed"} == found


@pytest.mark.parametrize(
    ("plain", "with_schema", "status"),
    [
        ("Łódź", '{"harbour": "Łódź"}', "passed"),
        ("Łódź", '{"harbour": "d"}', "failed"),
        ("Łódź", '{"harbour": "Lodz"}', "failed"),
        ("Łódź", '{"harbour": "Málaga"}', "not_verifiable"),
        ("Łódź", "{}", "not_verifiable"),
        ("Brest", '{"harbour": "Brest"}', "not_verifiable"),
    ],
)
def test_characters_are_compared_with_the_answer_without_a_schema(
    plain: str, with_schema: str, status: str
) -> None:
    def provider(request: ProbeRequest, _: Attempt) -> Reply:
        return Reply(text=plain if request.id == "abroad without" else with_schema)

    found = statuses(judged(structured.GROUP, provider, ["chat"]))
    assert found["structured.characters"] == status


def test_letters_that_one_api_loses_are_reported_for_it_alone() -> None:
    def provider(request: ProbeRequest, attempt: Attempt) -> Reply:
        if request.id == "abroad without":
            return Reply(text="Łódź")
        harbour = "Lodz" if attempt.condition.api == "chat" else "Łódź"
        return Reply(text=f'{{"harbour": "{harbour}"}}')

    result = judged(structured.GROUP, provider)["structured.characters"]
    assert (result.status, result.counts) == ("failed", {"chat": (2, 2), "responses": (0, 2)})


def test_prose_in_streams_alone_is_not_what_the_model_answers() -> None:
    def provider(request: ProbeRequest, attempt: Attempt) -> Any:
        if request.id == "named":
            return PROSE if attempt.condition.streaming else GOOD
        return FREE

    result = judged(structured.GROUP, provider)["structured.followed"]
    assert (result.status, result.modes) == ("failed", ("streaming",))


def test_replies_without_text_do_not_violate_the_schema() -> None:
    def provider(request: ProbeRequest, attempt: Attempt) -> Any:
        lost = request.id == "named" and attempt.number < 5
        return Reply(text="") if lost else structures(GOOD, FREE)(request, attempt)

    found = judged(structured.GROUP, provider, ["chat"])["structured.followed"]
    assert (found.status, found.counts) == ("passed", {"chat": (0, 2)})


def test_answers_in_another_place_are_judged_even_if_other_replies_are_cut() -> None:
    def provider(request: ProbeRequest, attempt: Attempt) -> Any:
        if request.id == "free":
            body = chat_whole(PROSE)
            body["choices"][0]["finish_reason"] = "length"
            return json_response(body)
        return structures(AS_CALL, PROSE)(request, attempt)

    assert judged(structured.GROUP, provider, ["chat"])["structured.place"].status == "failed"


@pytest.mark.parametrize(
    ("answer", "obedient", "status"),
    [(LOST, True, "failed"), (LOST, False, "not_verifiable"), (AS_CALL, False, "failed")],
)
def test_only_counts_of_an_obedient_model_show_that_an_answer_is_lost(
    answer: Reply, obedient: bool, status: str
) -> None:
    planned = ProbeOptions("gpt-oss-mock", ("chat",))
    rollouts = made(structured.GROUP, structures(answer, answer), planned)
    probes = [probe for probe in structured.GROUP.probes if probe.id == "structured.place"]
    account = Account(is_obedient=obedient)
    (result,) = probe_results(probes, rollouts, planned, account=account)
    assert result.status == status


def test_a_format_with_any_effect_is_not_called_ignored() -> None:
    spelled = Reply(text='{"verdict_text": "<|end|>orchid596')  # The member is only in the schema.
    as_call = Reply(call=("json", FREE.text or ""))
    for answer in (spelled, as_call):
        provider = structures(GOOD, answer, schema_tokens=0, any_json=Reply(text="{}"))
        asked = judged(structured.GROUP, provider, ["chat"])["structured.asked"]
        assert asked.status == "passed"
    elsewhere = judged(structured.GROUP, structures(AS_CALL, AS_CALL), ["chat"])
    assert "in another part" in (elsewhere["structured.followed"].reason or "")


def test_hidden_cot_is_not_attributed_to_the_schema() -> None:
    silent = {
        name: replace(reply, reasoning="") for name, reply in (("named", GOOD), ("free", FREE))
    }
    other = replace(PROSE, reasoning="")
    found = judged(structured.GROUP, lambda request, _: silent.get(request.id, other), ["chat"])
    assert statuses(found)["structured.reasoning"] == "not_verifiable"


EMPTY, THINKS_ONLY = Reply(text=""), Reply(text=None, reasoning="The user wants an object.")


def compiling(replies: dict[str, Any], named: Reply = GOOD) -> dict[str, Any]:
    """The results of a server with these responses to some requests, over both APIs."""
    known = {"named": named} | CONSTRAINED | replies

    def provider(request: ProbeRequest, _: Attempt) -> Any:
        return known.get(request.id, PROSE)

    return judged(structured.GROUP, provider)


@pytest.mark.parametrize(
    ("ignored", "said"),
    [
        ("pattern", "a pattern with a lookahead"),
        ("anyOf", "anyOf with lists of required members"),
        ("uniqueItems", "uniqueItems"),
        ("references", "a $ref"),
    ],
)
def test_a_keyword_that_a_grammar_ignores_is_named(ignored: str, said: str) -> None:
    found = compiling({ignored: OBEYED[ignored]})["structured.compiled"]
    assert found.status == "warned"
    assert {each.message for each in found.examples} == {
        f"The schema has {said}, which has no effect."
    }


@pytest.mark.parametrize(
    "replies",
    [
        CONSTRAINED,
        dict.fromkeys(CONSTRAINED, refusal()),
        {"anyOf": refusal(), "references": refusal()},
    ],
)
def test_a_server_that_enforces_or_refuses_a_schema_is_not_accused(replies: dict[str, Any]) -> None:
    found = statuses(compiling(replies))
    assert found["structured.compiled"] in ("passed", "not_verifiable")
    assert found["structured.references"] in ("passed", "not_verifiable")


@pytest.mark.parametrize(
    ("replies", "named", "status"),
    [
        ({"references": EMPTY, "uniqueItems": EMPTY}, GOOD, "failed"),
        ({"references": EMPTY, "uniqueItems": refusal()}, GOOD, "failed"),  # over both APIs
        ({"references": EMPTY}, GOOD, "passed"),
        ({"references": EMPTY, "uniqueItems": EMPTY}, EMPTY, "not_verifiable"),
        ({"references": refusal(), "uniqueItems": refusal()}, GOOD, "not_verifiable"),
        ({"references": AS_CALL}, GOOD, "passed"),
    ],
)
def test_answers_with_references_have_text(
    replies: dict[str, Any], named: Reply, status: str
) -> None:
    assert statuses(compiling(replies, named))["structured.references"] == status


def test_one_empty_answer_with_references_proves_nothing() -> None:
    replies = {"named": GOOD} | CONSTRAINED | {"references": EMPTY, "uniqueItems": refusal()}
    found = judged(structured.GROUP, lambda request, _: replies.get(request.id, PROSE), ["chat"])
    assert found["structured.references"].status == "not_verifiable"


# --- Options


def padded(api: Api, *, pads: bool = True) -> Response:
    """A stream whose events have random characters, if it `pads` them."""
    said, more = Reply(text="Hello!"), {"obfuscation": "x"} if pads else {}
    events = chat_chunks(said) if api == "chat" else responses_events(said)
    encode = chat_blocks if api == "chat" else responses_blocks
    return stream_response(encode([event | more for event in events]))


def repeats(*absent: str, **changes: Any) -> Any:
    """A provider that repeats options with these changes; it leaves out the absent ones."""

    def provider(request: ProbeRequest, attempt: Attempt) -> Response | Reply:
        if request.id.startswith("order"):
            return Reply(text="anchor pumpkin")
        if attempt.condition.streaming:
            return padded(attempt.condition.api)
        tool = {"type": "function", "name": "get_weather", "parameters": {}, "strict": False}
        sent = {"temperature": 0.75, "max_output_tokens": 96, "tools": [tool], **request.options}
        reply = responses_whole(Reply(text="Hello!"))
        body = reply | sent | {"instructions": request.instructions} | changes
        return json_response({key: body[key] for key in body if key not in absent})

    return provider


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({}, set()),
        ({"temperature": 1.0}, {"options.repeated"}),
        ({"top_p": None}, {"options.repeated"}),
        ({"tools": []}, {"options.repeated"}),
        ({"metadata": {}}, {"options.metadata"}),
    ],
)
def test_wrongly_echoed_options_are_reported(changes: dict[str, Any], found: set[str]) -> None:
    results = statuses(judged(options.GROUP, repeats(**changes), ["responses"]))
    assert {name for name, status in results.items() if status == "warned"} == found
    assert "failed" not in results.values()


@pytest.mark.parametrize("api", BOTH_APIS)
@pytest.mark.parametrize(
    ("streamed", "whole", "statuses_of"),
    [
        (True, {"service_tier": "default"}, ("passed", "passed")),
        (False, {"service_tier": None}, ("warned", "warned")),
        (400, 400, ("passed", "passed")),
        (500, 500, ("warned", "warned")),
    ],
)
def test_an_option_has_an_effect_or_is_refused(
    api: Api, streamed: Any, whole: Any, statuses_of: tuple[str, str]
) -> None:
    make = chat_whole if api == "chat" else responses_whole

    def provider(_: ProbeRequest, attempt: Attempt) -> Any:
        answer = streamed if attempt.condition.streaming else whole
        if isinstance(answer, bool):
            return padded(api, pads=answer)
        if isinstance(answer, int):
            return refusal(answer)
        return json_response(make(Reply(text="Hello!")) | answer)

    found = statuses(judged(options.GROUP, provider, [api]))
    assert (found["options.obfuscation"], found["options.service_tier"]) == statuses_of


def test_options_left_out_of_a_response_are_not_verifiable() -> None:
    """llama.cpp leaves them out, which is not evidence about the values that it used."""
    results = judged(options.GROUP, repeats("tools", "metadata"), ["responses"])
    assert results["options.repeated"].status == "passed"
    every = ("temperature", "top_p", "max_output_tokens", "tool_choice", "instructions", "tools")
    silent = judged(options.GROUP, repeats(*every), ["responses"])["options.repeated"]
    assert (silent.status, silent.reason) == ("not_verifiable", "No response can be judged.")
    assert [each.message for each in results["options.metadata"].examples] == [
        "The response has no `metadata`, although its request set it."
    ]
