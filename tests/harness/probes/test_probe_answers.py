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
from probing import Served, checked, judged, made, prove, refusal, statuses
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

    assert checked(logprobs.GROUP, provider, ["responses"])["logprobs.given"].status == status


def halved(request: ProbeRequest, attempt: Attempt) -> Response:
    """A server whose tokens are parts of a character."""
    if attempt.condition.streaming:
        return refusal()
    halves = [entry("�") | {"bytes": [part]} for part in "é".encode()]
    told = with_logprobs(lambda entries: entries.__setitem__(slice(None), halves))
    response = told(request, attempt)
    return response.model_copy(update={"body": response.body.replace("".join(TOKENS), "é")})


def test_parts_of_a_character_are_joined_by_bytes() -> None:
    assert checked(logprobs.GROUP, halved)["logprobs.tokens"].status == "passed"


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


def certain(entries: list[Any]) -> None:
    """One rare token of eighty."""
    odds = [0.975, 0.01, 0.008, 0.004, 0.003]
    top = [{"token": f" w{n}", "logprob": math.log(p)} for n, p in enumerate(odds)]
    entries[:] = [{**top[at == 40], "top_logprobs": top} for at in range(80)]


UNKNOWN = "not_verifiable"
DRAWN: Served = {
    name: (logprobs.GROUP, provider, {"sampling.probabilities": status}, ["chat"])
    for name, provider, status in (
        ("temperature 1", sampled(1.0), "passed"),
        ("the drawn token last", sampled(1.0, drawn_listed_last=True), "passed"),
        ("one rare token", with_logprobs(certain), "passed"),
        ("temperature 0.7", sampled(0.7), "warned"),
        ("temperature 1.5", sampled(1.5), "warned: improbable tokens"),
        ("numbers of nothing", sampled(1e6), "warned: do not belong"),
        ("temperature 0.7, the drawn token last", sampled(0.7, drawn_listed_last=True), "warned"),
        ("few alternatives", sampled(0.7, alternatives=2), UNKNOWN),
        ("equal numbers", with_logprobs(lambda entries: None), UNKNOWN),
        ("refused", lambda *_: refusal(), UNKNOWN),
    )
}


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
    replies |= {"abroad without": Reply(text="Łódź"), "abroad": Reply(text='{"harbour": "Łódź"}')}

    def provider(request: ProbeRequest, attempt: Attempt) -> Any:
        reply = replies.get(request.id, PROSE)
        more = 0
        if request.options:
            more = streamed_tokens if attempt.condition.streaming else schema_tokens
        if request.tools:
            more = beside_tool_tokens if request.options else 55
        if request.id == "object" and any_json_tokens is not None:
            more = any_json_tokens
        if request.id == "choices":
            whole = chat_whole(reply)
            return json_response(whole | {"choices": 4 * whole["choices"]})
        return replace(reply, prompt=60 + more)

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


EMPTY = Reply(text="")
SPELLED = Reply(text='{"verdict_text": "<|end|>orchid596')  # The member is only in the schema.
FREE_CALL = Reply(call=("json", FREE.text or ""))


def instead(known: dict[str, Any], named: Reply = GOOD) -> Any:
    """A healthy server with other responses to some requests."""
    healthy = structures(named, FREE)
    return lambda request, attempt: known.get(request.id) or healthy(request, attempt)


def abroad(plain: str, harbour: str | None) -> Any:
    """A server with these answers without and with a schema to a question about Łódź."""
    told = json.dumps({} if harbour is None else {"harbour": harbour}, ensure_ascii=False)
    return instead({"abroad without": Reply(text=plain), "abroad": Reply(text=told)})


def losing_letters(request: ProbeRequest, attempt: Attempt) -> Reply:
    return abroad("Łódź", "Lodz" if attempt.condition.api == "chat" else "Łódź")(request, attempt)


def prose_in_streams(request: ProbeRequest, attempt: Attempt) -> Reply:
    said = PROSE if attempt.condition.streaming else GOOD
    return said if request.id == "named" else FREE


def without_text(request: ProbeRequest, attempt: Attempt) -> Any:
    lost = request.id == "named" and attempt.number < 5
    return Reply(text="") if lost else structures(GOOD, FREE)(request, attempt)


def cut_if_free(request: ProbeRequest, attempt: Attempt) -> Any:
    """A server that answers as a call, and cuts other replies."""
    if request.id != "free":
        return structures(AS_CALL, PROSE)(request, attempt)
    body = chat_whole(PROSE)
    body["choices"][0]["finish_reason"] = "length"
    return json_response(body)


def silent(request: ProbeRequest, attempt: Attempt) -> Any:
    """A server that hides the CoT."""
    said = structures(GOOD, FREE)(request, attempt)
    return replace(said, reasoning="") if isinstance(said, Reply) else said


STRUCTURED = [
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
    # A server that ignores every schema is not said to lack one keyword.
    (
        instead({**OBEYED, "free": SPOKEN}),
        {"structured.asked": "failed", "structured.compiled": UNKNOWN},
    ),
    # A format with any effect is not called ignored.
    (
        structures(GOOD, SPELLED, schema_tokens=0, any_json=Reply(text="{}")),
        {"structured.object": "warned", "structured.asked": "passed"},
    ),
    (
        structures(GOOD, FREE_CALL, schema_tokens=0, any_json=Reply(text="{}")),
        {"structured.object": "warned", "structured.place": "failed", "structured.asked": "passed"},
    ),
]
"""Servers over Chat, and what the probes find of which `test_every_probe.py` proves no other."""
_BLANKS = '{"harbour": "Brest' + " \n" * 900
SERVERS: Served = DRAWN | {
    name: (structured.GROUP, provider, {f"structured.{rule}": status}, *apis)
    for name, provider, rule, status, *apis in (
        *(
            (f"{plain}, {harbour}", abroad(plain, harbour), "characters", status, ["chat"])
            for plain, harbour, status in (
                ("Łódź", "Łódź", "passed"),
                ("Łódź", "d", "failed"),
                ("Łódź", "Lodz", "failed"),
                ("Łódź", "Málaga", UNKNOWN),
                ("Łódź", None, UNKNOWN),
                ("Brest", "Brest", UNKNOWN),
            )
        ),
        *(
            (f"ends: {name}", without_end(text, *times), "ends", status, ["chat"])
            for name, text, times, status in (
                ("behind the object", '{"harbour": "Brest"}' + " \n" * 900, (1,), "failed"),
                ("in the object once", _BLANKS, (1,), "passed"),
                ("in the object", _BLANKS, (12,), "failed"),
                ("in other replies too", _BLANKS, (12, 1), "passed"),
                ("a model loops", '{"harbour": "Brest' + " told" * 900, (12,), "passed"),
            )
        ),
        *(
            (f"{ignored} is ignored", instead({ignored: OBEYED[ignored]}), "compiled", said)
            for ignored, said in (
                ("pattern", "warned: a lookahead"),
                ("anyOf", "warned: of required members"),
                ("uniqueItems", "warned: has uniqueItems"),
                ("references", "warned: a $ref"),
            )
        ),
        ("all is enforced", instead({}), "compiled", "passed"),
        ("all is refused", instead(dict.fromkeys(CONSTRAINED, refusal())), "compiled", "passed"),
        (
            "some is refused",
            instead({"anyOf": refusal(), "references": refusal()}),
            *("compiled", "passed"),
        ),
        *(
            (f"references: {name}", instead(replies, named), "references", status)
            for name, replies, named, status in (
                ("no text", {"references": EMPTY, "uniqueItems": EMPTY}, GOOD, "failed"),
                ("or refused", {"references": EMPTY, "uniqueItems": refusal()}, GOOD, "failed"),
                ("no text in one", {"references": EMPTY}, GOOD, "passed"),
                ("never text", {"references": EMPTY, "uniqueItems": EMPTY}, EMPTY, UNKNOWN),
                ("refused", dict.fromkeys(("references", "uniqueItems"), refusal()), GOOD, UNKNOWN),
                ("a call", {"references": AS_CALL}, GOOD, "passed"),
            )
        ),
        (
            "references: no text over one API",
            instead({"references": EMPTY, "uniqueItems": refusal()}),
            *("references", UNKNOWN, ["chat"]),
        ),
        ("CoT is hidden", silent, "reasoning", UNKNOWN, ["chat"]),
        ("no text", without_text, "followed", "passed", ["chat"]),
        ("a call, and cut replies", cut_if_free, "place", "failed", ["chat"]),
    )
}


@pytest.mark.parametrize("server", SERVERS)
def test_a_server(server: str) -> None:
    prove(*SERVERS[server])


@pytest.mark.parametrize(("provider", "found"), STRUCTURED)
def test_structured_answers_over_chat(provider: Any, found: dict[str, str]) -> None:
    prove(structured.GROUP, provider, found, ["chat"])


@pytest.mark.parametrize(
    ("provider", "rule", "counts", "modes"),
    [
        (losing_letters, "characters", {"chat": (2, 2), "responses": (0, 2)}, None),
        (prose_in_streams, "followed", None, ("streaming",)),
    ],
)
def test_a_finding_tells_where_it_occurs(provider: Any, rule: str, counts: Any, modes: Any) -> None:
    result = judged(structured.GROUP, provider)[f"structured.{rule}"]
    assert result.status == "failed"
    assert (counts or result.counts, modes or result.modes) == (result.counts, result.modes)


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
    (result,) = probe_results(probes, rollouts, planned, account=Account(is_obedient=obedient))
    assert result.status == status


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


def answering(api: Api, streamed: Any, whole: Any) -> Any:
    """A server that pads its streams or refuses to, and has these members in other replies."""

    def provider(request: ProbeRequest, attempt: Attempt) -> Any:
        answer = streamed if attempt.condition.streaming else whole
        if isinstance(answer, bool):
            return padded(api, pads=answer)
        if isinstance(answer, int):
            return refusal(answer)
        if api == "responses":
            return repeats(**answer)(request, attempt)
        return json_response(chat_whole(Reply(text="Hello!")) | answer)

    return provider


_SET = ("temperature", "top_p", "max_output_tokens", "tool_choice", "instructions", "tools")
OPTIONS: Served = {
    **{
        f"{api}: {streamed}, {whole}": (
            options.GROUP,
            answering(api, streamed, whole),
            dict.fromkeys(("options.obfuscation", "options.service_tier"), status),
            [api],
        )
        for api in BOTH_APIS
        for streamed, whole, status in (
            (True, {"service_tier": "default"}, "passed"),
            (False, {"service_tier": None}, "warned"),
            (400, 400, "passed"),
            (500, 500, "warned"),
        )
    },
    **{
        f"repeated: {name}": (options.GROUP, provider, found, ["responses"])
        for name, provider, found in (
            ("all", repeats(), {"options.repeated": "passed"}),
            ("another temperature", repeats(temperature=1.0), {"options.repeated": "warned"}),
            ("no top_p", repeats(top_p=None), {"options.repeated": "warned"}),
            ("no tools", repeats(tools=[]), {"options.repeated": "warned"}),
            ("no metadata", repeats(metadata={}), {"options.metadata": "warned"}),
            # What is left out, as by llama.cpp, is not evidence about the values that it used.
            (
                "absent",
                repeats("tools", "metadata"),
                {"options.repeated": "passed", "options.metadata": "warned: has no `metadata`"},
            ),
            ("all absent", repeats(*_SET), {"options.repeated": UNKNOWN}),
        )
    },
}


@pytest.mark.parametrize("server", OPTIONS)
def test_options(server: str) -> None:
    prove(*OPTIONS[server])
