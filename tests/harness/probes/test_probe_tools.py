"""Tool probes with simulated replies of healthy and faulty providers."""

import itertools
import json
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace

import pytest
from healthy import json_response, stream_response
from probing import Provider, judged, refusal, statuses
from replies import Reply, chat_whole, responses_blocks, responses_events

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
from harness.rules.probe import ProbeGroup, ProbeRequest
from harness.run.attempts import Attempt

_numbers = itertools.count(1)


def calling(tool: Tool | str, arguments: str = '{"location": "Lisbon"}') -> Reply:
    name = tool if isinstance(tool, str) else tool.name
    return Reply(call=(name, arguments), call_id=f"call_{next(_numbers)}")


# --- tool_choice

_KEPT = {
    "none": Reply(text="I may not look."),
    "named": calling(LANGUAGE, '{"text": "a"}'),
    "namespace": Reply(text="I may not look."),
}


def _chosen(request: ProbeRequest, _: Attempt) -> Reply:
    return _KEPT.get(request.id) or calling(WEATHER)


@pytest.mark.parametrize(
    ("name", "said", "probe"),
    [
        ("none", calling(WEATHER), "tools.choice.none"),
        ("required", Reply(text="Hello!"), "tools.choice.required"),
        ("named", calling(WEATHER), "tools.choice.named"),
        ("named", Reply(text="Hello!"), "tools.choice.named"),
        ("named", refusal(500), "tools.choice.named"),
    ],
)
@pytest.mark.parametrize("only_streams", [False, True])
def test_ignoring_tool_choice_fails(
    name: str, said: Reply | Response, probe: str, only_streams: bool
) -> None:
    def provider(asked: ProbeRequest, attempt: Attempt) -> Reply | Response:
        wrong = asked.id == name and (attempt.condition.mode == "streaming" or not only_streams)
        return said if wrong else _chosen(asked, attempt)

    found = statuses(judged(choice.GROUP, provider))
    assert {name for name, status in found.items() if status == "failed"} == {probe}


@pytest.mark.parametrize(
    ("name", "status"),
    [("forecasts.get_weather", "failed"), ("get_weather", "failed"), ("call_me", "not_verifiable")],
)
def test_a_call_of_something_else_shows_nothing_of_a_namespace(name: str, status: str) -> None:
    def provider(asked: ProbeRequest, attempt: Attempt) -> Reply | Response:
        return calling(name) if asked.id == "namespace" else _chosen(asked, attempt)

    assert statuses(judged(choice.GROUP, provider, ["responses"]))["tools.namespace"] == status


def test_rejecting_tool_choice_is_legitimate() -> None:
    def provider(request: ProbeRequest, attempt: Attempt) -> Reply | Response:
        return refusal()

    results = judged(choice.GROUP, provider)
    assert results["tools.choice.none"].status == "not_verifiable"
    reason = results["tools.choice.named"].reason
    assert reason == "The provider refuses requests with tool_choice named (status 400)."


@pytest.mark.parametrize("group", [choice.GROUP, names.GROUP, schemas.GROUP])
def test_unexpected_streams_are_not_attributed_to_tool_choice(
    group: ProbeGroup,
) -> None:
    stream = stream_response(responses_blocks(responses_events(calling(WEATHER))))
    found = statuses(judged(group, lambda *_: stream, ["responses"]))
    for name in ("none", "required", "named"):
        found.pop(f"tools.choice.{name}.streaming", None)  # This probe requests a stream.
    assert set(found.values()) == {"not_verifiable"}


# --- Names


def _named(request: ProbeRequest, _: Attempt) -> Reply:
    return calling(request.tools[0].name)


def test_the_longest_name_is_as_long_as_the_api_allows() -> None:
    assert len(names.NAMES["longest"].name) == 64


def test_names_that_the_model_corrects_are_not_verifiable() -> None:
    def called(request: ProbeRequest, name: str) -> Reply:
        assert request.wanted is not None
        return calling(name, json.dumps(request.wanted.arguments))

    found = judged(names.GROUP, lambda r, _: called(r, r.tools[0].name.replace("-", "_").lower()))
    assert found["tools.names.kept"].status == "passed"
    corrected = judged(names.GROUP, lambda r, _: called(r, f"my_{r.tools[0].name}"))
    assert corrected["tools.names.kept"].status == "not_verifiable"


def test_mistakes_of_the_model_in_names_are_not_verifiable() -> None:
    found = judged(names.GROUP, lambda *_: calling("look_it_up"))
    assert found["tools.names.kept"].status == "not_verifiable"


def test_bodies_that_are_no_objects_are_not_failures_on_a_feature() -> None:
    """open-responses-server 0.4.1 answers every request without streaming with `null`."""
    for group in (names.GROUP, choice.GROUP, schemas.GROUP):
        found = statuses(judged(group, lambda *_: json_response("null"), ["responses"]))
        assert "failed" not in found.values()


@pytest.mark.parametrize(
    ("said", "status"),
    [
        ("The upstream made an undeclared tool call.", "passed"),
        ("The model tried to call tool 'language' which was not in request.tools.", "passed"),
        ("Tried to call tool 'Identify-Language_v2json', not in request.tools.", "failed"),
        ("Invalid function name.", "failed"),
    ],
)
def test_a_refused_call_of_another_function_is_not_a_refused_name(said: str, status: str) -> None:
    refused = json_response({"error": {"message": said}}, 502)
    found = judged(
        names.GROUP, lambda r, _: refused if r.id == "mixed" else calling(r.tools[0].name)
    )
    assert found["tools.names.accepted"].status == status


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


@pytest.mark.parametrize(("lost", "failed"), [(2, True), (1, False)])
@pytest.mark.parametrize("lossy", [True, False])
def test_characters_lost_in_one_mode_are_reported(lost: int, failed: bool, lossy: bool) -> None:
    beyond = [name for name, text in arguments.TEXTS.items() if not text.intact.isascii()]

    def provider(request: ProbeRequest, attempt: Attempt) -> Reply:
        intact = text = arguments.TEXTS[request.id].intact
        if attempt.condition.streaming is lossy and request.id in beyond[:lost]:
            text = "".join(filter(str.isascii, text))
        elif request.id in beyond[lost:]:
            return Reply(text="No.")
        said, whole = (_writing(each, request) for each in (text, intact))
        return replace(said, wrote=whole.call, reasoning=f"The note: {text}")

    found = statuses(judged(arguments.GROUP, provider))
    assert ("failed" in found.values()) == failed


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


def test_texts_that_are_all_damaged_alike_fail_although_the_tokens_are_equal() -> None:
    def damaging(request: ProbeRequest, _: Attempt) -> Reply:
        intact = arguments.TEXTS[request.id].intact
        return replace(_changing(intact.title(), request), reasoning=f"The text is: {intact}")

    assert "failed" in statuses(judged(arguments.GROUP, damaging)).values()


@pytest.mark.parametrize(("name", "harm"), [("quotes", 'salt \\"and'), ("markup", "dock nine")])
def test_texts_that_the_model_damages_are_not_verifiable(name: str, harm: str) -> None:
    found = judged(arguments.GROUP, lambda request, _: _writing(harm, request))
    assert found[f"tools.arguments.{name}"].status == "not_verifiable"


def test_texts_copied_incorrectly_are_not_verifiable() -> None:
    found = judged(arguments.GROUP, lambda request, _: _writing("Something else", request))
    assert set(statuses(found).values()) == {"not_verifiable"}
    reasons = {reason.code for result in found.values() for reason in result.reasons}
    assert reasons == {"same_value", "only_ascii"}


def test_replies_with_several_wrong_values_are_slips_of_the_model() -> None:
    found = judged(
        arguments.GROUP, lambda request, attempt: _writing(attempt.condition.name, request)
    )
    reasons = {reason.code for result in found.values() for reason in result.reasons}
    assert reasons == {"not_copied"}


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
            assert right.call is not None
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


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("boolean", '{"shuffle": 0}'),
        ("boolean", '{"Advantages": false}'),
        ("empty string", '{"label": null}'),
        ("name in camel case", '{"depth": 7}'),
    ],
)
def test_changes_that_the_model_may_have_made_are_not_verifiable(name: str, arguments: str) -> None:
    """The tokens are the same, and another check judges names."""
    found = statuses(judged(TYPES_GROUP, _typed({name: arguments})))
    assert found[f"tools.arguments.{name.replace(' ', '_')}"] == "not_verifiable"


def test_one_reply_with_the_tokens_of_another_value_proves_nothing() -> None:
    changed = iter([{"null": '{"label": "null"}'}])

    def provider(request: ProbeRequest, attempt: Attempt) -> Reply:
        arguments = next(changed, {}) if request.id == "null" else {}
        return _typed(arguments)(request, attempt)

    assert statuses(judged(TYPES_GROUP, provider))["tools.arguments.null"] == "passed"


def test_types_that_the_model_confuses_are_not_verifiable() -> None:
    def provider(request: ProbeRequest, _: Attempt) -> Reply:
        typed = VALUES[request.id]
        return calling(typed.tool, json.dumps({typed.key: "something else entirely"}))

    assert "failed" not in statuses(judged(TYPES_GROUP, provider)).values()


# --- The loop


def _looping(request: ProbeRequest, _: Attempt) -> list[Reply | Response]:
    if request.id == "dependent":
        return [calling(ORDER, '{"order_id": "A-17"}'), calling(WEATHER), Reply(text="Sunny.")]
    return [calling(WEATHER), Reply(text="I could not find out.")]


def test_without_a_call_the_loop_is_not_verifiable() -> None:
    found = judged(results.LOOP_GROUP, lambda *_: Reply(text="Hello!"))
    assert set(statuses(found).values()) == {"not_verifiable"}


# --- Schemas


def test_a_schema_that_crashes_the_server_fails_its_probe() -> None:
    def provider(request: ProbeRequest, attempt: Attempt) -> Reply | Response:
        return refusal(500) if request.id == "items_property" else calling(WEATHER)

    found = statuses(judged(schemas.GROUP, provider))
    failed = {name for name, status in found.items() if status == "failed"}
    assert failed == {"tools.schema.items_property"}


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


@pytest.mark.parametrize(
    ("provider", "status"),
    [
        (_telling(lambda asked: asked), "passed"),
        (_telling(lambda asked: 1 - asked), "failed"),
        (_telling(lambda asked: 0), "not_verifiable"),
        (_telling(lambda asked: 1), "not_verifiable"),
        (_guessing, "not_verifiable"),
        (lambda *_: Reply(text="I cannot tell."), "not_verifiable"),
        (lambda *_: refusal(), "not_verifiable"),
    ],
)
def test_results_are_distinguished_by_order(provider: Provider, status: str) -> None:
    assert statuses(judged(results.GROUP, provider))["tools.results.order"] == status


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


@pytest.mark.parametrize(
    ("provider", "used", "goes_on", "streams"),
    [
        (_with_results, "passed", "passed", "passed"),
        (_quotes_itself, "passed", "passed", "not_verifiable"),
        (_unaware, "failed", "passed", "passed"),
        (_shows_cot, "passed", "passed", "failed"),
        (lambda *_: Reply(text="Ahoy!"), "failed", "not_verifiable", "passed"),
        (lambda *_: refusal(), "not_verifiable", "not_verifiable", "not_verifiable"),
    ],
)
def test_results_are_used(provider: Provider, used: str, goes_on: str, streams: str) -> None:
    found = statuses(judged(results.GROUP, provider))
    assert found["tools.results.used"] == used
    assert found["tools.results.goes_on"] == goes_on
    assert found["tools.results.streams"] == streams


@pytest.mark.parametrize(
    ("weak", "status"),
    [
        ({"code word of Rome", "code word of Cairo"}, "passed"),
        ({"code word of Athens", "code word of Berlin", "code word of Vienna"}, "passed"),
        (set(results.GROUP.probes[1].uses), "failed"),
    ],
    ids=["JSON", "sentences", "every form"],
)
def test_a_form_that_the_model_never_reads_is_no_defect(weak: set[str], status: str) -> None:
    def provider(request: ProbeRequest, attempt: Attempt) -> Reply:
        return Reply(text="Rome.") if request.id in weak else _with_results(request, attempt)

    found = judged(results.GROUP, provider)["tools.results.used"]
    assert found.status == status
    assert {example.severity for example in found.examples} == {
        "info" if status == "passed" else "error"
    }


def test_results_that_never_arrive_over_one_api_are_a_defect() -> None:
    def provider(request: ProbeRequest, attempt: Attempt) -> Reply:
        lost = attempt.condition.api == "chat" and not attempt.condition.streaming
        return _unaware(request, attempt) if lost else _with_results(request, attempt)

    found = judged(results.GROUP, provider)
    assert found["tools.results.used"].status == "failed"
    assert {example.proven for example in found["tools.results.used"].examples} == {True}


@pytest.mark.parametrize(
    ("weak", "status"),
    [
        (("A-17", "B-9"), "passed"),
        (("Lisbon", "Vienna"), "passed"),
        (("A-17", "B-9", "Lisbon", "Vienna"), "failed"),
    ],
)
def test_a_model_that_ends_some_conversations_is_no_defect(
    weak: tuple[str, ...], status: str
) -> None:
    def provider(request: ProbeRequest, attempt: Attempt) -> Reply:
        lost = Reply(text="", wrote=(WEATHER.name, '{"location": "Lisbon"}'))
        return lost if request.id.endswith(weak) else _with_results(request, attempt)

    assert statuses(judged(results.GROUP, provider))["tools.results.goes_on"] == status


def test_a_model_that_ends_every_conversation_itself_is_no_defect() -> None:
    provider: Provider = lambda *_: Reply(text="")  # noqa: E731
    assert statuses(judged(results.GROUP, provider))["tools.results.goes_on"] == "not_verifiable"


def test_one_of_twenty_answers_without_the_word_may_be_of_the_model() -> None:
    def provider(request: ProbeRequest, attempt: Attempt) -> Reply:
        reply = _with_results(request, attempt)
        chat_stream = attempt.condition.api == "chat" and attempt.condition.streaming
        secret = request.id == "code word of Rome" and chat_stream
        return Reply(text="I keep it to myself.") if secret else reply

    assert statuses(judged(results.GROUP, provider))["tools.results.used"] == "passed"


@pytest.mark.parametrize("hidden", [0.3, 0.5])
def test_results_that_some_conversations_hide_are_detected(hidden: float) -> None:
    numbers = itertools.count(1)

    def provider(request: ProbeRequest, attempt: Attempt) -> Reply:
        number = next(numbers)
        affected = int(number * hidden) > int((number - 1) * hidden)
        return (_unaware if affected else _with_results)(request, attempt)

    assert statuses(judged(results.GROUP, provider))["tools.results.used"] == "failed"


# --- Preambles


@pytest.mark.parametrize(
    ("said", "tokens", "status"),
    [
        ("I will look up the weather, as you asked.", 60, "passed"),
        (None, 90, "failed"),
        (None, 45, "not_verifiable"),
        (None, None, "not_verifiable"),
    ],
)
def test_lost_preambles_are_detected(said: str | None, tokens: int | None, status: str) -> None:
    whole = chat_whole(replace(calling(WEATHER), text=said))
    if tokens is None:
        del whole["usage"]
    else:
        whole["usage"] |= {"completion_tokens": tokens}
    found = judged(preamble.GROUP, lambda *_: json_response(whole), apis=["chat"])
    assert statuses(found)["tools.preamble"] == status


def test_tokens_of_hidden_cot_are_not_a_lost_preamble() -> None:
    whole = chat_whole(replace(calling(WEATHER), text=None, reasoning=""))
    whole["usage"] |= {"completion_tokens": 90}
    found = judged(preamble.GROUP, lambda *_: json_response(whole), apis=["chat"])
    assert statuses(found)["tools.preamble"] == "not_verifiable"


def test_without_a_call_there_is_no_preamble() -> None:
    found = judged(preamble.GROUP, lambda *_: Reply(text="Lisbon has 21 degrees."))
    assert statuses(found)["tools.preamble"] == "not_verifiable"


@pytest.mark.parametrize(("arrives", "status"), [(True, "not_verifiable"), (False, "failed")])
def test_a_model_that_refuses_although_its_prompts_have_the_results_is_not_accused(
    arrives: bool, status: str
) -> None:
    def refusing(request: ProbeRequest, attempt: Attempt) -> Reply:
        turns = (turn for turn in request.turns if arrives or not isinstance(turn, ToolResult))
        tokens = count(Prompt(tuple(turns), request.tools))
        return Reply(text="I’m sorry, but I can’t help with that.", prompt=tokens)

    assert statuses(judged(results.GROUP, refusing))["tools.results.used"] == status
