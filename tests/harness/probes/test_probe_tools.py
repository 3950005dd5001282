"""Tool probes with simulated replies of healthy and faulty providers."""

import itertools
import json
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any

import pytest
from healthy import json_response, stream_response
from probing import Provider, Served, judged, prove, refusal, statuses
from replies import Reply, chat_whole, responses_blocks, responses_events, responses_whole

from harmony.render import text_tokens
from harness.api.items import Message, Tool, ToolResult
from harness.records.rollouts import Response
from harness.rules.account.differences import CHANGES
from harness.rules.account.entry import What
from harness.rules.calls import argument_probes as arguments
from harness.rules.calls import choice_probes as choice
from harness.rules.calls import name_probes as names
from harness.rules.calls import preamble_probes as preamble
from harness.rules.calls import result_probes as results
from harness.rules.calls import schema_probes as schemas
from harness.rules.calls.argument_probes import TYPES_GROUP, VALUES
from harness.rules.evidence.offers import BY_NAME, LANGUAGE, ORDER, WEATHER
from harness.rules.evidence.rendering import Prompt, count
from harness.rules.probe import ProbeRequest
from harness.run.attempts import Attempt

_numbers = itertools.count(1)


def calling(tool: Tool | str, arguments: str = '{"location": "Lisbon"}') -> Reply:
    name = tool if isinstance(tool, str) else tool.name
    return Reply(call=(name, arguments), call_id=f"call_{next(_numbers)}")


# --- tool_choice

_KEPT = {
    "none": Reply(text="I may not look."),
    "named": calling(LANGUAGE, '{"text": "a"}'),
    "allowed": calling(LANGUAGE, '{"text": "a"}'),
    "namespace": Reply(text="I may not look."),
}


def _chosen(request: ProbeRequest, attempt: Attempt) -> Reply | Response:
    """A server that follows every choice of tools, and calls custom tools."""
    if request.id != "custom":
        return _KEPT.get(request.id) or calling(WEATHER)
    if attempt.condition.api == "chat":
        whole = chat_whole(Reply(text=None))
        call = {"id": "call_1", "type": "custom", "custom": {"name": "add_note", "input": "dock"}}
        whole["choices"][0]["message"]["tool_calls"] = [call]
        return json_response(whole)
    call = {"type": "custom_tool_call", "call_id": "call_1", "name": "add_note", "input": "dock"}
    return json_response(responses_whole(Reply(text="Hm."), [call]))


def _choosing(name: str, said: Reply | Response, only_streams: bool = False) -> Provider:
    """A server that follows tool_choice, but for one request, perhaps in streams only."""
    return lambda asked, attempt: (
        said
        if asked.id == name and (attempt.condition.streaming or not only_streams)
        else _chosen(asked, attempt)
    )


# --- Names


def _calls(name_of: Callable[[str], str], *, wanted: bool = True) -> Provider:
    """A model that calls the offered function by another name, perhaps as it is asked to."""

    def provider(request: ProbeRequest, _: Attempt) -> Reply:
        sent = json.dumps(request.wanted.arguments) if wanted else '{"location": "Lisbon"}'
        return calling(name_of(request.tools[0].name), sent)

    return provider


def _offered(request: ProbeRequest, _: Attempt) -> Reply:
    return calling(request.tools[0].name)


def _refuses_mixed(said: str) -> Provider:
    refused = json_response({"error": {"message": said}}, 502)
    return lambda r, a: refused if r.id == "mixed" else _offered(r, a)


def test_the_longest_name_is_as_long_as_the_api_allows() -> None:
    assert len(names.NAMES["longest"].name) == 64


# --- Arguments


def _writing(text: str, request: ProbeRequest) -> Reply:
    """A call that the model writes."""
    tool = BY_NAME[arguments.TEXTS[request.id].tool]
    (key,) = tool.parameters["properties"]
    return calling(tool, json.dumps({key: text}, ensure_ascii=False))


def _changing(text: str, request: ProbeRequest) -> Reply:
    """The same call, but the model writes the intact text."""
    intact = _writing(arguments.TEXTS[request.id].intact, request)
    return replace(_writing(text, request), wrote=intact.call)


@pytest.mark.parametrize("what", CHANGES, ids=lambda what: what.name)
def test_texts_that_a_server_changes_alike_fail_if_the_tokens_show_it(what: What) -> None:
    """One text alone does not, and neither does the CoT: a model writes what it did not plan."""

    def length(text: str) -> int:
        return len(text_tokens(json.dumps({"note": text}, ensure_ascii=False)))

    texts = {name: text.intact for name, text in arguments.TEXTS.items()}
    changed = {name: CHANGES[what](text) for name, text in texts.items()}
    more = {name: abs(length(changed[name]) - length(text)) for name, text in texts.items()}
    shown = [name for name in texts if more[name] > 2]
    few = [name for name in shown if more[name] <= 24]

    def failed(names: Collection[str]) -> bool:
        def changing(request: ProbeRequest, _: Attempt) -> Reply:
            intact = texts[request.id]
            got = changed[request.id] if request.id in names else intact
            return replace(_changing(got, request), reasoning=f"The text is: {intact}")

        return "failed" in statuses(judged(arguments.GROUP, changing)).values()

    assert failed(texts) or len(shown) < 2
    assert not failed(few[:1])


# --- Types of arguments


def _typed(arguments: Mapping[str, str]) -> Provider:
    """A provider whose calls have these arguments although the model writes the right ones."""

    def provider(request: ProbeRequest, _: Attempt) -> Reply:
        typed = VALUES[request.id]
        right = json.dumps(typed.arguments)
        said = calling(typed.tool, arguments.get(request.id, right))
        return replace(said, wrote=(typed.tool.name, right))

    return provider


_ONLY_IN_STREAMS: Mapping[str, Callable[[str], str]] = {
    "line breaks and tabs are escaped twice": lambda text: re.sub(r"\\([nt])", r"\\\\\1", text),
    "numbers and booleans are texts": lambda text: re.sub(r": ([\d.]+|false)", r': "\1"', text),
    "empty values are left out": lambda text: re.sub(
        r'"\w+": (0|false|null|"")(, |(?=}))', "", text
    ),
    "texts are in lower case": str.lower,
}


@pytest.mark.parametrize("changed", ["streaming", "non-streaming"])
@pytest.mark.parametrize("change", _ONLY_IN_STREAMS)
def test_arguments_that_differ_from_greedy_twins_fail(change: str, changed: str) -> None:
    """The model writes the same tokens in both modes, which may also be those of the change."""

    def judged_with(share: Callable[[str], bool]) -> set[str]:
        def provider(request: ProbeRequest, attempt: Attempt) -> Reply:
            if typed := VALUES.get(request.id):
                right = calling(typed.tool, json.dumps(typed.arguments, ensure_ascii=False))
            else:
                right = _writing(arguments.TEXTS[request.id].intact, request)
            wrong = attempt.condition.mode == changed and share(request.id)
            made = _ONLY_IN_STREAMS[change](right.call[1]) if wrong else right.call[1]
            return replace(right, call=(right.call[0], made), wrote=right.call)

        found = {}
        for group in (arguments.GROUP, TYPES_GROUP):
            found |= statuses(judged(group, provider))
        return {probe for probe, status in found.items() if status == "failed"}

    failed = judged_with(lambda _: True)
    assert len(failed) > 1
    one = next(name for name in (*arguments.TEXTS, *VALUES) if _probe(name) in failed)
    assert judged_with(lambda name: name == one) == set()


def _probe(name: str) -> str:
    return f"tools.arguments.{name.replace(' ', '_')}"


def _once(name: str, sent: str) -> Provider:
    """A server that changes the arguments of one reply to one request."""
    changed = iter([{name: sent}])
    return lambda request, attempt: _typed(next(changed, {}) if request.id == name else {})(
        request, attempt
    )


def _confused(request: ProbeRequest, _: Attempt) -> Reply:
    typed = VALUES[request.id]
    return calling(typed.tool, json.dumps({typed.key: "something else entirely"}))


# --- The loop


def _looping(request: ProbeRequest, _: Attempt) -> list[Reply | Response]:
    if request.id == "dependent":
        return [calling(ORDER, '{"order_id": "A-17"}'), calling(WEATHER), Reply(text="Sunny.")]
    return [calling(WEATHER), Reply(text="I could not find out.")]


# --- Results of two calls


def _telling(which: Callable[[int], int]) -> Provider:
    """A model that names the result of the call `which(asked)` if it is `asked` about a call."""

    def says(request: ProbeRequest, attempt: Attempt) -> Reply:
        if " not " not in request.id:
            return Reply(text="Ahoy!")
        found = [turn for turn in attempt.sample.turns if isinstance(turn, ToolResult)]
        question = attempt.sample.turns[0]
        assert isinstance(question, Message)
        asked = 0 if "word of Lisbon" in str(question.text) else 1
        return Reply(text=json.loads(str(found[which(asked)].text))["code_word"].title())

    return says


def _guessing(request: ProbeRequest, attempt: Attempt) -> Reply:
    """A weak model on a server that swaps the results: wrong, but for one lucky answer."""
    lucky = request.id == "zulu4182 not orchid596"
    return _telling(lambda asked: asked if lucky else 1 - asked)(request, attempt)


# --- What the model does with results


def _with_results(request: ProbeRequest, attempt: Attempt) -> Reply:
    """A model that names the word of the last result, and calls where it is asked to."""
    if request.id.startswith("five results"):
        return calling(WEATHER)
    last = attempt.sample.turns[-1]
    assert isinstance(last, ToolResult)
    said = str(last.text).strip("{}").rpartition(" ")[2].strip('".').title()
    return Reply(text=f"It is **{said}**.", reasoning="The tool has told me the code word.")


def _unaware(request: ProbeRequest, attempt: Attempt) -> Reply:
    """A model that sees only the first question."""
    return calling(attempt.sample.tools[0], '{"city": "Rome"}')


def _shows_cot(request: ProbeRequest, attempt: Attempt) -> Reply:
    reply = _with_results(request, attempt)
    if not attempt.condition.streaming or reply.call:
        return reply
    return replace(reply, text=f"{reply.reasoning}{reply.text}", reasoning="")


def _quotes_itself(request: ProbeRequest, attempt: Attempt) -> Reply:
    """A healthy model whose answer repeats its CoT in both modes."""
    reply = _with_results(request, attempt)
    return reply if reply.call else replace(reply, text=f"{reply.reasoning} {reply.text}")


def _but(changes: Callable[[ProbeRequest, Attempt], bool], said: Any = _unaware) -> Provider:
    """A model that uses results, but for some requests."""
    return lambda request, attempt: (
        (said(request, attempt) if callable(said) else said)
        if changes(request, attempt)
        else _with_results(request, attempt)
    )


def _hiding(share: float) -> Provider:
    """A server that loses the results of this share of the conversations."""
    numbers = itertools.count(1)
    return _but(lambda *_: int((n := next(numbers)) * share) > int((n - 1) * share))


def _chat_stream(request: ProbeRequest, attempt: Attempt) -> bool:
    return request.id == "code word of Rome" and attempt.condition.name == "chat · streaming"


def _preamble(text: str | None, tokens: int | None, **other: str) -> Provider:
    """A call with this preamble, whose reply reports these tokens."""
    whole = chat_whole(replace(calling(WEATHER), text=text, **other))
    if tokens is None:
        del whole["usage"]
    else:
        whole["usage"] |= {"completion_tokens": tokens}
    return lambda *_: json_response(whole)


def _refusing(arrives: bool) -> Provider:
    """A model that refuses everything; its prompts have the results or not."""

    def provider(request: ProbeRequest, _: Attempt) -> Reply:
        turns = (turn for turn in request.turns if arrives or not isinstance(turn, ToolResult))
        tokens = count(Prompt(tuple(turns), request.tools))
        return Reply(text="I’m sorry, but I can’t help with that.", prompt=tokens)

    return provider


_STREAM = stream_response(responses_blocks(responses_events(calling(WEATHER))))
HELLO, LOST = Reply(text="Hello!"), Reply(text="", wrote=(WEATHER.name, '{"location": "Lisbon"}'))
UNKNOWN = "not_verifiable"
UNNAMED = "The upstream made an undeclared tool call."
OTHER = "The model tried to call tool 'language' which was not in request.tools."
USED, GOES_ON, STREAMS = (f"tools.results.{each}" for each in ("used", "goes_on", "streams"))
ORDERED, KEPT, ACCEPTED = "tools.results.order", "tools.names.kept", "tools.names.accepted"
NAMESPACE, PREAMBLE = "tools.namespace", "tools.preamble"
_ALL_TEXTS = [_probe(name) for name in arguments.TEXTS]
_IN_LOOP = [each.id for each in results.LOOP_GROUP.probes]
SERVERS: Served = {
    **{
        f"{rule} is ignored{' in streams' * streams}": (
            choice.GROUP,
            _choosing(name, said, streams),
            {f"tools.choice.{name}": "failed"},
        )
        for rule, name, said in (
            ("none", "none", calling(WEATHER)),
            ("required", "required", HELLO),
            ("named", "named", calling(WEATHER)),
            ("named with a text", "named", HELLO),
            ("named with 500", "named", refusal(500)),
        )
        for streams in (False, True)
    },
    **{
        f"{name} called for a namespace": (
            choice.GROUP,
            _choosing("namespace", calling(name)),
            {NAMESPACE: status},
            ["responses"],
        )
        for name, status in (
            ("forecasts.get_weather", "failed"),
            ("get_weather", "failed"),
            ("call_me", UNKNOWN),
        )
    },
    "choices are refused": (
        choice.GROUP,
        lambda *_: refusal(),
        {"tools.choice.none": UNKNOWN, "tools.choice.named": f"{UNKNOWN}: (status 400)"},
    ),
    "names are corrected": (
        names.GROUP,
        _calls(lambda name: name.replace("-", "_").lower()),
        {KEPT: "passed"},
    ),
    "names have a prefix": (names.GROUP, _calls(lambda name: f"my_{name}"), {KEPT: UNKNOWN}),
    "names are invented": (names.GROUP, lambda *_: calling("look_it_up"), {KEPT: UNKNOWN}),
    **{
        f"a call is refused: {said}": (names.GROUP, _refuses_mixed(said), {ACCEPTED: status})
        for said, status in (
            (UNNAMED, "passed"),
            (OTHER, "passed"),
            ("Tried to call tool 'Identify-Language_v2json', not in request.tools.", "failed"),
            ("Invalid function name.", "failed"),
        )
    },
    **{
        # open-responses-server 0.4.1 answers every request without streaming with `null`.
        f"null for {group.name}": (group, lambda *_: json_response("null"), {}, ["responses"])
        for group in (names.GROUP, choice.GROUP, schemas.GROUP)
    },
    **{
        f"unexpected streams for {group.name}": (
            group,
            lambda *_: _STREAM,
            {each.id: UNKNOWN for each in group.probes},
            ["responses"],
        )
        for group in (names.GROUP, choice.GROUP, schemas.GROUP)
    },
    "other texts": (
        arguments.GROUP,
        lambda request, _: _writing("Something else", request),
        dict.fromkeys(_ALL_TEXTS, UNKNOWN),
    ),
    "quotes are lost by the model": (
        arguments.GROUP,
        lambda request, _: _writing('salt \\"and', request),
        {_probe("quotes"): UNKNOWN},
    ),
    "markup is lost by the model": (
        arguments.GROUP,
        lambda request, _: _writing("dock nine", request),
        {_probe("markup"): UNKNOWN},
    ),
    "several wrong texts": (
        arguments.GROUP,
        lambda request, attempt: _writing(attempt.condition.name, request),
        dict.fromkeys(_ALL_TEXTS, f"{UNKNOWN}: not_copied"),
    ),
    **{
        f"the model writes {sent}": (TYPES_GROUP, _typed({name: sent}), {_probe(name): UNKNOWN})
        for name, sent in (
            ("boolean", '{"shuffle": 0}'),
            ("boolean", '{"Advantages": false}'),
            ("empty string", '{"label": null}'),
            ("name in camel case", '{"depth": 7}'),
        )
    },
    "one other value": (
        TYPES_GROUP,
        _once("null", '{"label": "null"}'),
        {_probe("null"): "passed"},
    ),
    "types are confused": (TYPES_GROUP, _confused, {}),
    "no loop": (results.LOOP_GROUP, lambda *_: HELLO, dict.fromkeys(_IN_LOOP, UNKNOWN)),
    "a schema crashes the server": (
        schemas.GROUP,
        lambda r, _: refusal(500) if r.id == "items_property" else calling(WEATHER),
        {"tools.schema.items_property": "failed"},
    ),
    **{
        f"results in order {name}": (
            results.GROUP,
            provider,
            {ORDERED: status, USED: used, GOES_ON: UNKNOWN},
        )
        for name, provider, status, used in (
            ("as asked", _telling(lambda asked: asked), "passed", "failed"),
            ("swapped", _telling(lambda asked: 1 - asked), "failed", "failed"),
            ("the first", _telling(lambda asked: 0), UNKNOWN, "failed"),
            ("the second", _telling(lambda asked: 1), UNKNOWN, "failed"),
            ("a lucky guess", _guessing, UNKNOWN, "failed"),
            ("unknown", lambda *_: Reply(text="I cannot tell."), UNKNOWN, "failed"),
            ("refused", lambda *_: refusal(), UNKNOWN, UNKNOWN),
        )
    },
    **{
        f"results {name}": (
            results.GROUP,
            provider,
            dict(zip((USED, GOES_ON, STREAMS), statuses, strict=True)),
        )
        for name, provider, *statuses in (
            ("are used", _with_results, "passed", "passed", "passed"),
            ("are quoted", _quotes_itself, "passed", "passed", UNKNOWN),
            ("are unknown", _unaware, "failed", "passed", "passed"),
            ("shown with CoT", _shows_cot, "passed", "passed", "failed"),
            ("are ignored", lambda *_: HELLO, "failed", UNKNOWN, "passed"),
            ("end every conversation", lambda *_: Reply(text=""), UNKNOWN, UNKNOWN, "passed"),
            *(
                (f"of {share} are lost", _hiding(share), "failed", "passed", "passed")
                for share in (0.3, 0.5)
            ),
            *(
                (
                    f"are not read in {len(weak)} forms",
                    _but(lambda r, _, weak=weak: r.id in weak, Reply(text="Rome.")),
                    *(status, "passed", "passed"),
                )
                for weak, status in (
                    ({"code word of Rome", "code word of Cairo"}, "passed: info"),
                    ({f"code word of {each}" for each in ("Athens", "Berlin", "Vienna")}, "passed"),
                    (set(results.GROUP.probes[1].uses), "failed"),
                )
            ),
            *(
                (
                    f"lose calls of {weak}",
                    _but(lambda r, _, weak=weak: r.id.endswith(weak), LOST),
                    *("passed", status, "passed"),
                )
                for weak, status in (
                    (("A-17", "B-9"), "passed"),
                    (("Lisbon", "Vienna"), "passed"),
                    (("A-17", "B-9", "Lisbon", "Vienna"), "failed"),
                )
            ),
            (  # One of twenty answers may be of the model.
                "are kept secret once",
                _but(_chat_stream, Reply(text="I keep it to myself.")),
                *("passed", "passed", "passed"),
            ),
            (
                "never arrive over one API",
                _but(lambda _, a: a.condition.name == "chat · non-streaming"),
                *("failed", "passed", "passed"),
            ),
            ("refused", _refusing(True), UNKNOWN, UNKNOWN, "passed"),
            ("refused without results", _refusing(False), "failed", UNKNOWN, "passed"),
        )
    },
    **{
        f"preamble: {text}, {tokens} tokens": (
            preamble.GROUP,
            _preamble(text, tokens, **other),
            {PREAMBLE: status},
            ["chat"],
        )
        for text, tokens, other, status in (
            ("I will look up the weather, as you asked.", 60, {}, "passed"),
            (None, 90, {}, "failed"),
            (None, 45, {}, UNKNOWN),
            (None, None, {}, UNKNOWN),
            (None, 91, {"reasoning": ""}, UNKNOWN),
        )
    },
    "no call, no preamble": (preamble.GROUP, lambda *_: HELLO, {PREAMBLE: UNKNOWN}),
}


@pytest.mark.parametrize("server", SERVERS)
def test_a_server(server: str) -> None:
    prove(*SERVERS[server])
