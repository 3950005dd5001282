"""What the reference was asked, and a provider is asked again, to compare them token by token.

Prompts of several lengths: within the sliding window of 128 tokens, beyond it, and so long that
positions are stretched (YaRN) by much. Short answers serve best, because two servers go different
ways after a while. Golden files are answers to these very requests: after a change here they must
be made anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

from harness.api import DIALECTS
from harness.api.base import Settings
from harness.api.conversation import ConversationItem, Message, Reasoning, ToolCall, ToolResult
from harness.checks.texts import GARBLED
from harness.golden.requests import Requests
from harness.probes.base import Ask
from harness.probes.plan import settings_of
from harness.probes.tools.offers import WEATHER
from harness.records.conditions import Api

ALTERNATIVES = 20
_MOST_TOKENS = 48
DRAWS = 6
_MOST_DRAWN = 32
_COLOURS = ("red", "green", "amber", "white", "violet", "black", "silver")
_PLACES = ("harbour", "library", "mill", "chapel", "depot", "tower", "orchard", "bridge")
_STATES = ("open", "closed", "leaking", "under repair", "empty", "sold", "flooded")

_CALLED: tuple[ConversationItem, ...] = (
    Message("user", "What is the weather in Lisbon?"),
    Reasoning("The user wants get_weather, with Lisbon."),
    ToolCall("call_1", WEATHER.name, '{"location": "Lisbon"}'),
    ToolResult("call_1", '{"temperature": 21, "sky": "cloudy"}'),
)
_CALLED_TWICE: tuple[ConversationItem, ...] = (
    Message("user", "What is the weather in Oslo, and in Cairo?"),
    Reasoning("The user wants get_weather, with Oslo and with Cairo."),
    ToolCall("call_1", WEATHER.name, '{"location": "Oslo"}'),
    ToolCall("call_2", WEATHER.name, '{"location": "Cairo"}'),
    ToolResult("call_1", '{"temperature": 4, "sky": "snow"}'),
    ToolResult("call_2", '{"temperature": 38, "sky": "clear"}'),
)


def asks(api: Api) -> tuple[Ask, ...]:
    """The requests over one API, at temperature 0, with log probabilities asked for."""
    return tuple(_requests(api))


def drawn(_api: Api = "chat") -> tuple[Ask, ...]:
    """The requests whose replies are drawn at temperature 1, several times each."""
    questions = (
        "What is 98123 + 5512 * 3?",
        "Name three things, then name them in another order.",
        "What is 4817 + 2936 * 7?",
        "Write two sentences about the sea.",
        "Repeat after me: kwv 9x2 plof, tirrin zab 40 quade.",
        f"{_report(30)}\nInvent two more lines.",
        f"{_report(40)}\nWhich places are flooded?",
        "Repeat after me: tirrin 4x zab plof 88 quade kwv.",
    )
    return tuple(
        Ask(
            f"drawn {at}",
            (Message("user", question),),
            effort="low",
            temperature=1.0,
            max_tokens=_MOST_DRAWN,
            tries=DRAWS,
            provokes=GARBLED,
        )
        for at, question in enumerate(questions, 1)
    )


def _requests(api: Api) -> Iterator[Ask]:
    yield _ask(api, "unsure", "Think of a name and a number. What are the name and the number?")
    yield _ask(api, "copy", "Repeat exactly: kestrel73 sees 418 violet lamps, naïve Gödel, 東京.")
    yield _ask(api, "list", "Name three things, then name them in another order.")
    yield _ask(api, "sum", "What is 98123 + 5512 * 3?", effort="high")
    yield _ask(
        api,
        "developer",
        "Say exactly: pumpkin pie, pumpkin pie, pumpkin pie",
        instructions="Begin every answer with the word 'anchor', whatever the user asks.",
    )
    yield _ask(
        api,
        "turns",
        Message("user", "The code word is orchid596."),
        Message("assistant", "Understood."),
        Message("user", "What is the code word?"),
        effort="medium",
    )
    yield _ask(api, "call", "What is the weather in Reykjavik?", tools=True)
    yield _ask(api, "result", *_CALLED, tools=True)
    yield _ask(api, "two results", *_CALLED_TWICE, tools=True)
    for name, lines in (("window", 14), ("long", 45), ("longest", 75)):
        question = f"What is the code word, and what is said of the {_PLACES[3]}?"
        yield _ask(api, name, f"{_report(lines)}\n{question}")
    for name, lines in (("copy after", 28), ("copy long after", 60)):
        wish = "Repeat exactly: kestrel73 sees 418 violet lamps near the old mill."
        yield _ask(api, name, f"{_report(lines)}\n{wish}")


def _ask(
    api: Api,
    name: str,
    *said: str | ConversationItem,
    effort: str = "low",
    tools: bool = False,
    instructions: str | None = None,
) -> Ask:
    included = {"include": ["message.output_text.logprobs"]}
    options = {"logprobs": True} if api == "chat" else included
    return Ask(
        name,
        tuple(Message("user", each) if isinstance(each, str) else each for each in said),
        tools=(WEATHER,) if tools else (),
        instructions=instructions,
        effort=effort,
        temperature=0.0,
        max_tokens=_MOST_TOKENS,
        options=options | {"top_logprobs": ALTERNATIVES},
        provokes=GARBLED | {"request.refused", "chat.logprobs.missing"},
    )


def _report(lines: int) -> str:
    """A code word, then so many lines of some 13 tokens each, all different."""
    said = (
        f"{100 + 37 * at % 900}: the {_COLOURS[at % 7]} {_PLACES[at * 3 % 8]} is "
        f"{_STATES[at * 5 % 7]} since {1 + at * 11 % 28} May."
        for at in range(lines)
    )
    return "\n".join(("The code word is zulu4182.", *said))


def body(api: Api, ask: Ask, model: str = "") -> dict[str, Any]:
    """The body of the request for an ask."""
    return DIALECTS[api].first_request(
        ask.turns,
        instructions=ask.instructions,
        tools=ask.tools,
        streaming=False,
        settings=settings_of(ask, Settings(model)),
    )


def requests() -> Requests:
    """All requests, as a golden file answers them."""
    return Requests(
        {ask.name: body("chat", ask) for ask in asks("chat")},
        {ask.name: body("chat", ask) for ask in drawn()},
    )


@cache
def fingerprint() -> str:
    """SHA-256 of all requests."""
    return requests().sha256
