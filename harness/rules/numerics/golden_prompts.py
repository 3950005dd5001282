"""Golden prompts: sent to the reference engine and to providers, to compare the replies.

Their lengths lie within the sliding window of 128 tokens, beyond it, and far enough that YaRN
stretches positions strongly; long ones lie around and beyond the 4,096 positions that the model was
first trained on. Replies are short because two servers eventually diverge.
Golden files answer exactly these requests: after a change here, create them again.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from hashlib import sha256
from typing import Any

import orjson

from harmony.render import OTHER_ORDERS, Order, render_prompt
from harness.api import DIALECTS
from harness.api.harmony import conversation_of
from harness.api.items import (
    ConversationItem,
    Message,
    Reasoning,
    RequestSettings,
    ToolCall,
    ToolResult,
)
from harness.golden.content import Requests
from harness.records.conditions import Api
from harness.rules.evidence.documents import PLACES, behind, line, lines_of
from harness.rules.evidence.offers import WEATHER
from harness.rules.probe import GARBLED, ProbeRequest

ALTERNATIVES = 20
_LONG = {
    2_000: (512, 1_024),
    5_000: (2_048, 4_096),
    20_000: (8_192, 16_384),
    60_000: (32_768, 49_152),
}
"""Tokens of a long prompt, and where its code word may be: see `behind`."""
_FRAME_TOKENS = 200  # at most, of a long request around its document, and of its reply
_QUESTION = f"What is the code word, and what is said of the {PLACES[3]}?"
_COPY = "Repeat exactly: kestrel73 sees 418 violet lamps near the old mill."

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


RESULT, TWO_RESULTS = "result", "two results"


def greedy(api: Api) -> tuple[ProbeRequest, ...]:
    """Return the requests at temperature 0, with logprobs."""
    return tuple(_greedy(api))


def long(api: Api) -> tuple[ProbeRequest, ...]:
    """Return the requests with long prompts, at temperature 0 and with logprobs."""
    return tuple(
        replace(
            _request(
                api,
                f"{length} tokens, code word at {boundary}",
                f"{_report(lines_of(length), lines_of(behind(boundary)))}\n{_QUESTION}",
            ),
            context=length + _FRAME_TOKENS,
        )
        for length, boundaries in _LONG.items()
        for boundary in boundaries
    )


def drawn(_api: Api = "chat") -> tuple[ProbeRequest, ...]:
    """Return the requests sampled several times at temperature 1."""
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
        ProbeRequest(
            f"drawn {at}",
            (Message("user", question),),
            effort="low",
            temperature=1.0,
            max_tokens=32,
            whole=False,
            tries=6,
            provokes=GARBLED,
        )
        for at, question in enumerate(questions, 1)
    )


def _greedy(api: Api) -> Iterator[ProbeRequest]:
    yield _request(api, "unsure", "Think of a name and a number. What are the name and the number?")
    yield _request(
        api, "copy", "Repeat exactly: kestrel73 sees 418 violet lamps, naïve Gödel, 東京."
    )
    yield _request(api, "list", "Name three things, then name them in another order.")
    yield _request(api, "sum", "What is 98123 + 5512 * 3?", effort="high")
    yield _request(
        api,
        "developer",
        "Say exactly: pumpkin pie, pumpkin pie, pumpkin pie",
        instructions="Begin every answer with the word 'anchor', whatever the user asks.",
    )
    yield _request(
        api,
        "turns",
        Message("user", "The code word is orchid596."),
        Message("assistant", "Understood."),
        Message("user", "What is the code word?"),
        effort="medium",
    )
    yield _request(api, "call", "What is the weather in Reykjavik?", tools=True)
    yield _request(api, RESULT, *_CALLED, tools=True)
    yield _request(api, TWO_RESULTS, *_CALLED_TWICE, tools=True)
    for name, lines in (("window", 14), ("long", 45), ("longest", 75)):
        yield _request(api, name, f"{_report(lines)}\n{_QUESTION}")
    for name, lines in (("copy after", 28), ("copy long after", 60)):
        yield _request(api, name, f"{_report(lines)}\n{_COPY}")


def _request(
    api: Api,
    name: str,
    *items: str | ConversationItem,
    effort: str = "low",
    tools: bool = False,
    instructions: str | None = None,
) -> ProbeRequest:
    return ProbeRequest(
        name,
        tuple(Message("user", item) if isinstance(item, str) else item for item in items),
        tools=(WEATHER,) if tools else (),
        instructions=instructions,
        effort=effort,
        temperature=0.0,
        max_tokens=48,
        whole=False,
        options=DIALECTS[api].logprob_options(ALTERNATIVES),
        provokes=GARBLED | {"request.refused"},
    )


def _report(lines: int, before: int = 0) -> str:
    """This many lines, `before` of them before a code word."""
    text = [line(at) for at in range(lines)]
    text.insert(before, "The code word is zulu4182.")
    return "\n".join(text)


def body(api: Api, request: ProbeRequest, model: str = "") -> dict[str, Any]:
    """Return the request body."""
    return DIALECTS[api].first_request(
        request.turns,
        instructions=request.instructions,
        tools=request.tools,
        streaming=False,
        settings=request.settings(RequestSettings(model)),
    )


def requests(api: Api = "chat", model: str = "") -> Requests:
    """All requests that a golden file answers."""
    return Requests(
        _bodies(greedy, api, model),
        _bodies(drawn, api, model),
        api,
        fingerprint(),
        partial(respelled, model),
    )


def respelled(model: str, date: str | None) -> Mapping[Order, Mapping[str, Mapping[str, Any]]]:
    """The raw completions of the greedy requests with earlier calls, in each other order.

    `date` is that of the system message, YYYY-MM-DD.
    """
    bodies: dict[Order, dict[str, Mapping[str, Any]]] = {order: {} for order in OTHER_ORDERS}
    for request in greedy("harmony"):
        if not any(isinstance(turn, ToolCall) for turn in request.turns):
            continue
        settings = request.settings(RequestSettings(model))
        asked = conversation_of(request.turns, request.instructions, request.tools, settings)
        raw = body("harmony", request, model)
        for order, named in bodies.items():
            prompt = render_prompt(replace(asked, current_date=date), order)
            named[request.id] = raw | {"prompt": prompt}
    return bodies


def long_requests(api: Api = "chat", model: str = "") -> Requests:
    """Return the requests with long prompts, whose answers a golden file may have."""
    return Requests(_bodies(long, api, model), {}, api, long_fingerprint())


@cache
def fingerprint() -> str:
    """SHA-256 (hexadecimal) of the Chat bodies of all requests except those with long prompts."""
    return _sha256(greedy, drawn)


@cache
def long_fingerprint() -> str:
    """SHA-256 of the Chat bodies of the requests with long prompts."""
    return _sha256(long)


_Prompts = Callable[[Api], Sequence[ProbeRequest]]


def _sha256(*groups: _Prompts) -> str:
    bodies = [body for group in groups for body in _bodies(group, "chat").values()]
    return sha256(orjson.dumps(bodies, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _bodies(group: _Prompts, api: Api, model: str = "") -> Mapping[str, Mapping[str, Any]]:
    return {request.id: body(api, request, model) for request in group(api)}
