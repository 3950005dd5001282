"""Tool results: conversations that continue after any of them, and what the model does with them.

The model can only name a random word if it sees the result that contains it. Harmony distinguishes
the results of several calls in one reply only by their order.
"""

import json
from collections import defaultdict
from dataclasses import replace
from functools import cache, partial

from harness.api.items import ConversationItem, Message, Reply, Tool, ToolCall, ToolResult
from harness.api.parsed_rollout import ParsedExchange
from harness.records.conditions import MODES
from harness.records.replies import Wanted
from harness.rules.evidence.obedience import disobeyed
from harness.rules.evidence.offers import IN_LISBON, ORDER, TOOLS, WEATHER
from harness.rules.evidence.rendering import Prompt, differences
from harness.rules.habits import NEAR_TIES
from harness.rules.missing import NotVerifiableError, Unlike, repeated, required, unlike
from harness.rules.probe import ProbeGroup, ProbeRequest, Sent, Trials
from harness.rules.refusals import failure
from harness.rules.rule import GUIDE, HARMONY, Problem

_HOURS = [("sunny", "cloudy", "windy", "rainy")[hour % 4] for hour in range(120)]
RESULTS = {
    "error": '{"error": "The weather service is unavailable."}',
    "plain error": "Traceback: TimeoutError: no answer after 30 s",
    "empty": "",
    "long": json.dumps({"temperature_c": 18, "hours": _HOURS}),
}
"""Tool results other than a short JSON object."""

_request = partial(ProbeRequest, max_turns=4)
_DEPENDENT = Message("user", "Find the order A-17 and then call get_weather with its city.")
_QUESTION = Message("user", "What is the weather in Lisbon?")
LOOP_GROUP = ProbeGroup("tools.loop", GUIDE, family="calls", component="history")
_ORDERED = LOOP_GROUP.send(
    _request(
        "dependent",
        (_DEPENDENT,),
        (ORDER, WEATHER),
        tries=3,
        wanted=Wanted(name=ORDER.name, arguments={"order_id": "A-17"}),
    )
)
_WITH_RESULTS = LOOP_GROUP.send_all(
    _request(
        name,
        (_QUESTION,),
        tuple(replace(tool, output=output) if tool is WEATHER else tool for tool in TOOLS),
        tries=2,
        confirming=1,
        wanted=IN_LISBON,
    )
    for name, output in RESULTS.items()
)


@LOOP_GROUP.probe("tools.loop.goes_on", (_ORDERED, *_WITH_RESULTS), witness=True)
def _continues(looped: Sent) -> Trials:
    """A conversation continues after any tool result.

    Tools fail, return long results, or return nothing. Agents must not fail for that reason.
    """
    rollouts = (one for one in looped.rollouts if len(one.exchanges) > 1)
    return (
        failure(rollout, "a conversation with a tool result")
        for rollout in required(rollouts, "no_tool_result")
    )


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


_TOLD = {
    "Rome": "kestrel73",
    "Cairo": "maple407",
    "Athens": "heron5518",
    "Berlin": "basalt61",
    "Vienna": "falcon2290",
}
_IN_JSON = ("Rome", "Cairo")
"""Cities whose result is JSON, as usual. A sentence is easier for most models that obey less."""


def _told(city: str) -> str:
    return f"code word of {city}"


def _looked_up(city: str, word: str) -> ProbeRequest:
    question, result = "What is the code word?", f"The code word is {word}."
    if city in _IN_JSON:
        question, result = f"What is the code word of {city}?", json.dumps({"code_word": word})
    turns = (
        Message("user", question),
        ToolCall("call_1", _LOOK_UP.name, json.dumps({"city": city})),
        ToolResult("call_1", result),
    )
    return ProbeRequest(_told(city), turns, (_LOOK_UP,), temperature=0.0)


def _after_five(*orders: tuple[str, str]) -> ProbeRequest:
    """A conversation about several orders, which ends with the fifth result: the last order."""
    turns: list[ConversationItem] = []
    for number, (order, city) in enumerate(orders):
        if number:
            turns.append(Message("assistant", f"{orders[number - 1][1]} has 18 °C."))
        order_call, asked = f"call_{2 * number + 1}", f"call_{2 * number + 2}"
        turns += [
            Message("user", f"Find the order {order} and then call {WEATHER.name} with its city."),
            ToolCall(order_call, ORDER.name, json.dumps({"order_id": order})),
            ToolResult(order_call, json.dumps({"order_id": order, "city": city})),
            ToolCall(asked, WEATHER.name, json.dumps({"location": city})),
            ToolResult(asked, WEATHER.output),
        ]
    name = f"five results, then {orders[-1][0]}"
    return ProbeRequest(name, tuple(turns[:-2]), (ORDER, WEATHER), temperature=0.0)


_FIVE = (
    _after_five(("A-3", "Oslo"), ("A-8", "Rome"), ("A-17", "Lisbon")),
    _after_five(("B-2", "Cairo"), ("B-5", "Lisbon"), ("B-9", "Vienna")),
)


def _then_asked(*cities: str) -> ProbeRequest:
    """A conversation about the weather in several cities, which ends with the last question."""
    turns: list[ConversationItem] = []
    for number, city in enumerate(cities):
        turns.append(Message("user", f"What is the weather in {city}?"))
        turns.append(ToolCall(f"call_{number}", WEATHER.name, json.dumps({"location": city})))
        turns.append(ToolResult(f"call_{number}", WEATHER.output))
        turns.append(Message("assistant", f"{city} has 18 °C."))
    return ProbeRequest(
        f"five results, then {cities[-1]}", tuple(turns[:-3]), (ORDER, WEATHER), temperature=0.0
    )


_ASKED = (
    _then_asked("Oslo", "Rome", "Cairo", "Athens", "Berlin", "Lisbon"),
    _then_asked("Paris", "Madrid", "Dublin", "Prague", "Warsaw", "Vienna"),
)
GROUP = ProbeGroup("tools.results", HARMONY, family="calls", component="history")
_SWAPPED = GROUP.send_all(_asked(*order) for order in _ORDERS)
_LOOKED_UP = GROUP.send_all(_looked_up(*told) for told in _TOLD.items())
_AFTER_FIVE = GROUP.send_all((*_FIVE, *_ASKED))


@GROUP.probe("tools.results.order", _SWAPPED)
def _order(swapped: Sent) -> Trials:
    """The results of two calls of one function reach the model in the order of the calls.

    Nothing else in the prompt assigns results to calls. A model sees their order if it names the
    other word when two results change places, whichever city the user asks about. If it is right
    for some and wrong for others, it shows nothing.
    """
    told: list[tuple[ParsedExchange, str, str]] = []
    asked: set[int] = set()
    answers: dict[int, list[tuple[ParsedExchange, str, str]]] = defaultdict(list)
    for each, (number, words) in zip(swapped, _ORDERS, strict=True):
        exchange, reply = each.first
        answers[number].append((exchange, words[0], _named(reply, words) or ""))
    for number, pair in answers.items():
        if len({word for _, _, word in pair} - {""}) == len(pair):
            told += pair
            asked.add(number % len(_CITIES))
    wrong = [answer for answer in told if answer[1] != answer[2]]
    if len(asked) < len(_CITIES):
        raise NotVerifiableError("one_result_named")
    if wrong and len(wrong) < len(_ORDERS):
        raise NotVerifiableError("results_mixed_up")
    for exchange, named, word in told:
        message = "The model confuses the results of two calls."
        yield Problem(exchange, message, named, word) if wrong else None
    others = (answer for pair in answers.values() for answer in pair if answer not in told)
    yield from (unlike(word) for _, _, word in others)


@cache
def _longer_by(name: str) -> frozenset[int]:
    """By how many tokens a prompt may be longer than the one of the first swapped results."""
    requests = {request.id: request for request in (_SWAPPED[0], *_LOOKED_UP)}
    prompts = {key: Prompt(request.turns, request.tools) for key, request in requests.items()}
    return differences(prompts[name], prompts[_SWAPPED[0].id])


def _reach_model(looked_up: Sent, swapped: Sent) -> bool:
    """Whether the prompt tokens are those of conversations with all their results."""
    try:
        other = swapped.prompt
        counts = {each.name: each.prompt for each in looked_up}
    except NotVerifiableError:
        return False
    return all(count - other in _longer_by(name) for name, count in counts.items())


@GROUP.probe(
    "tools.results.used",
    _LOOKED_UP,
    _SWAPPED[0],
    modes=MODES,
    habit=NEAR_TIES,
    behaviour=True,
    unjudged="no_answer",
    fix="Render every tool result, and reuse no cached prompt beyond the tokens that both share.",
)
def _used(looked_up: Sent, swapped: Sent) -> Trials:
    """The model tells what only the tool result contains.

    A random word in the result, which is JSON or a sentence, is the answer to the user's question.
    A model that never names it, although the token counts show that its prompts have the results,
    refuses or cannot.
    """
    words = {_told(city): word for city, word in _TOLD.items()}

    def tells(name: str, reply: Reply) -> bool | Unlike:
        said = reply.text or reply.calls
        return words[name] in reply.generated.lower() if said else unlike("")

    def unused(name: str, exchange: ParsedExchange, reply: Reply) -> Problem:
        message = "The reply does not tell what the tool result contains."
        got = reply.text or f"a call of {reply.calls[0].name}"
        return Problem(exchange, message, words[name], got)

    trials = list(disobeyed(looked_up, tells, unused))
    able = any(tells(each.name, reply) is True for each in looked_up for _, reply in each.elsewhere)
    wrong = [trial for trial in trials if isinstance(trial, Problem)]
    if wrong and None not in trials and not able and _reach_model(looked_up, swapped):
        raise NotVerifiableError("has_results_in_prompt")
    return iter(trials)


@GROUP.probe(
    "tools.results.goes_on",
    _AFTER_FIVE,
    modes=MODES,
    habit=NEAR_TIES,
    behaviour=True,
    unjudged="no_call",
    fix="Offer the tools after every result, and parse calls however many results came before.",
)
def _goes_on(asked: Sent) -> Trials:
    """The model makes a requested call also after five results.

    The same conversation had such calls before: the second of two that one message requests, or
    one for each message. Agents make dozens of calls in a row. A model that answers in words, or
    that ended its reply as its tokens show, decided so itself.
    """

    def ended(_: str, exchange: ParsedExchange, __: Reply) -> Problem:
        message = "The reply after five tool results has no call, although one is requested."
        return Problem(exchange, message, f"a call of {WEATHER.name}", "no text, no call")

    intact = {id(reply) for *_, reply, entry in asked.entries() if entry.kind == "intact"}

    def calls_on(_: str, reply: Reply) -> bool | Unlike:
        if reply.text or id(reply) in intact:
            return bool(reply.calls) or unlike(reply.text or "no call")
        return bool(reply.calls)

    return disobeyed(asked, calls_on, ended)


_SHORTEST_COT = 16  # characters of a CoT that no answer contains by chance


@GROUP.probe(
    "tools.results.streams",
    _LOOKED_UP,
    modes=MODES,
    component="output",
    unjudged="no_reply_in_both_modes",
    fix="Begin the stream of a reply to a tool result with the same parser state as any other.",
)
def _streams(looked_up: Sent) -> Trials:
    """The text of a stream after a tool result does not contain the CoT.

    The same request without streaming shows which text is the CoT. A model may once write it in its
    answer.
    """
    trials: list[Problem | Unlike | None] = []
    for each in looked_up:
        complete = {
            reply.reasoning.strip()
            for _, reply in each.replies
            if reply.reasoning not in reply.text
        }
        thoughts = [text for text in complete if len(text) >= _SHORTEST_COT]
        for rollout in each.rollouts:
            for exchange, reply in rollout.replies if rollout.mode == "streaming" else ():
                shown = [text for text in thoughts if text in reply.text]
                message = "The text of a stream after a tool result contains the CoT."
                expected = "the CoT in its own field, as in replies without streaming"
                wrong = Problem(exchange, message, expected, reply.text)
                if thoughts:
                    trials.append(wrong if shown and shown[0] not in reply.reasoning else None)
    yield from repeated(trials)


def _named(reply: Reply, words: tuple[str, str]) -> str | None:
    """Return the only word that a reply names; without text, the only one in its CoT."""
    text = (reply.text or reply.reasoning).lower()
    named = [word for word in words if word in text]
    return named[0] if len(named) == 1 else None
