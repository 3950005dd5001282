"""Tool results: conversations that continue after any of them, and several results in one prompt.

Harmony distinguishes the results of several calls in one reply only by their order.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from harness.api.items import Message, Reply, Tool, ToolCall, ToolResult
from harness.api.parsed_rollout import ParsedExchange, ParsedRollout
from harness.records.conditions import MODES
from harness.rules.evidence.offers import ORDER, ORDER_PLACE, TOOLS, WEATHER
from harness.rules.evidence.refusals import failure
from harness.rules.evidence.subjects import calls
from harness.rules.missing import NotVerifiableError, required
from harness.rules.probe import ProbeGroup, ProbeRequest, ProbeResponses, Trials
from harness.rules.rule import GUIDE, HARMONY, RAW_COT, Problem

_TURNS = 4
_UNANSWERED, _INDEPENDENT = 0.4, 0.2
_TRIES = 2


def _with_output(tool: Tool, output: str) -> tuple[Tool, ...]:
    return tuple(replace(other, output=output) if other is tool else other for other in TOOLS)


_HOURS = [("sunny", "cloudy", "windy", "rainy")[hour % 4] for hour in range(120)]
RESULTS = {
    "error": '{"error": "The weather service is unavailable."}',
    "plain error": "Traceback: TimeoutError: no answer after 30 s",
    "empty": "",
    "long": json.dumps({"temperature_c": 18, "hours": _HOURS}),
}
"""Tool results other than a short JSON object."""

_request = partial(ProbeRequest, max_turns=_TURNS)
_DEPENDENT = Message("user", "Find the order A-17 and then call get_weather with its city.")
_QUESTION = Message("user", "What is the weather in Lisbon?")
_LOOPS = (
    _request("dependent", (_DEPENDENT,), (ORDER, WEATHER), tries=3),
    *(
        _request(name, (_QUESTION,), _with_output(WEATHER, output), tries=_TRIES)
        for name, output in RESULTS.items()
    ),
)
LOOP_GROUP = ProbeGroup(
    "tools.loop", lambda _api: _LOOPS, GUIDE, family="calls", component="history"
)


@LOOP_GROUP.probe("tools.loop.goes_on", ("dependent", *RESULTS), witness=True)
def _continues(responses: ProbeResponses) -> Trials:
    """A conversation continues after any tool result.

    Tools fail, return long results, or return nothing. Agents must not fail for that reason.
    """
    rollouts = _with_results(responses, "dependent", *RESULTS)
    return (failure(rollout, "a conversation with a tool result") for rollout in rollouts)


@LOOP_GROUP.probe(
    "tools.loop.answers", RESULTS, severity="warning", tolerated=_UNANSWERED, witness=True
)
def _answers(responses: ProbeResponses) -> Trials:
    """In most cases, the model answers after a tool result.

    A model that never answers does not see tool results, or does not recognize them.
    """
    for rollout in _with_results(responses, *RESULTS):
        last = rollout.exchanges[-1]
        text = last.reply.text if last.reply else ""
        message = "The conversation ended without an answer after a tool result."
        yield None if text else Problem(last, message, "an answer", "no text")


@LOOP_GROUP.probe(
    "tools.loop.dependent",
    ("dependent",),
    severity="warning",
    source=RAW_COT,
    modes=MODES,
    tolerated=_INDEPENDENT,
    witness=True,
)
def _dependent(responses: ProbeResponses) -> Trials:
    """In most cases, the model uses the result of the first call in the second call.

    gpt-oss plans calls in its CoT. It cannot do so without CoT and tool results in the prompt.
    """
    found = (
        (rollout.exchanges[-1], [call.call.arguments for call in second])
        for rollout in responses.all("dependent")
        if any(call.call.name == ORDER.name for call in calls(rollout))
        if (second := [call for call in calls(rollout) if call.call.name == WEATHER.name])
    )
    for last, arguments in required(found, "not_both_calls"):
        message = "The second call does not use the result of the first call."
        wrong = Problem(last, message, f"a call with {ORDER_PLACE}", arguments[-1])
        yield None if any(ORDER_PLACE in text for text in arguments) else wrong


def _with_results(responses: ProbeResponses, *names: str) -> Sequence[ParsedRollout]:
    """Return the rollouts with a tool result. Raises NotVerifiableError."""
    found = (rollout for rollout in responses.all(*names) if len(rollout.exchanges) > 1)
    return required(found, "no_tool_result")


_LOOK_UP = Tool(
    "get_code_word",
    "Look up the code word of a city.",
    {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    '{"code_word": "none"}',
)
_CITIES = ("Lisbon", "Oslo")
_PAIRS = (
    ("zulu4182", "orchid596"),
    ("orchid596", "kestrel73"),
    ("kestrel73", "falcon2290"),
    ("falcon2290", "zulu4182"),
)
"""Code words of the two cities. Each pair is sent in both orders."""
_ORDERS = tuple(
    (number, words)
    for number, (one, other) in enumerate(_PAIRS)
    for words in ((one, other), (other, one))
)


def _asked(number: int, words: tuple[str, str]) -> ProbeRequest:
    """A request about the first call in every other conversation, and else about the second."""
    cities = _CITIES if number % 2 == 0 else _CITIES[::-1]
    told = dict(zip(cities, words, strict=True))
    prompt = (
        f"What is the code word of {cities[0]}? Look up that of {cities[1]}, too, but do not tell "
        "me."
    )
    return ProbeRequest(
        " not ".join(words),
        (
            Message("user", prompt),
            *(ToolCall(f"call_{city}", _LOOK_UP.name, f'{{"city": "{city}"}}') for city in _CITIES),
            *(
                ToolResult(f"call_{city}", json.dumps({"code_word": told[city]}))
                for city in _CITIES
            ),
        ),
        (_LOOK_UP,),
        temperature=0.0,
    )


_REQUESTS = tuple(_asked(*order) for order in _ORDERS)
GROUP = ProbeGroup(
    "tools.results", lambda _api: _REQUESTS, HARMONY, family="calls", component="history"
)


@GROUP.probe("tools.results.order", [request.id for request in _REQUESTS])
def _order(responses: ProbeResponses) -> Trials:
    """The results of two calls of one function reach the model in the order of the calls.

    Nothing else in the prompt assigns results to calls. A model sees their order if it names the
    other word when two results change places, whichever city the user asks about. If it is right
    for some and wrong for others, it shows nothing.
    """
    told: list[tuple[ParsedExchange, str, str]] = []
    asked: set[int] = set()
    for number in range(len(_PAIRS)):
        found = []
        for words in (words for at, words in _ORDERS if at == number):
            exchange, reply = responses.reply(" not ".join(words))
            found.append((exchange, words[0], _named(reply, words) or ""))
        if len({word for _, _, word in found} - {""}) == len(found):
            told += found
            asked.add(number % len(_CITIES))
    wrong = [answer for answer in told if answer[1] != answer[2]]
    if len(asked) < len(_CITIES):
        raise NotVerifiableError("one_result_named")
    if wrong and len(wrong) < len(_ORDERS):
        raise NotVerifiableError("results_mixed_up")
    for exchange, named, word in told:
        message = "The model takes the result of one call for that of the other."
        yield Problem(exchange, message, named, word) if wrong else None


def _named(reply: Reply, words: tuple[str, str]) -> str | None:
    """Return the only word that a reply names; without text, the only one in its CoT."""
    text = (reply.text or reply.reasoning).lower()
    found = [word for word in words if word in text]
    return found[0] if len(found) == 1 else None
