"""Whether the model calls a tool where one is needed, the right one, and none where none is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from harness.api.base import Reply
from harness.api.conversation import Message
from harness.checks.base import GUIDE, Problem
from harness.parsing.rollout import ParsedExchange
from harness.probes.base import Answers, Ask, Bench, NotVerifiableError, Trial
from harness.probes.tools.offers import REPLY_TOKENS, TOOLS
from harness.records.conditions import Api

NEEDED: Mapping[str, tuple[str, str]] = {
    "status": ("Is the service up right now?", "service_status"),
    "weather": ("What is the weather in Lisbon?", "get_weather"),
    "language": ('Which language is this: "Der Zug kommt gleich"', "identify_language"),
    "markdown": ("Convert to HTML: **very bold**", "markdown_to_html"),
    "chart": ("Draw a line chart of [[1, 2], [2, 4], [3, 8]].", "draw_chart"),
    "table": ("Show the columns name and price of the table products.", "query_table"),
}
"""Requests that one of the tools serves, and which."""

NOT_NEEDED: Mapping[str, str] = {
    "hello": "Hello!",
    "morning": "Good morning",
    "thanks": "Thank you, that was great.",
    "who": "Who are you?",
    "how": "How are you?",
    "bye": "Goodbye!",
}
"""Requests that no tool serves."""

_REQUIRED = 0.6
_LEAST_F1 = 0.7


def _asks(_api: Api) -> tuple[Ask, ...]:
    prompts = {name: prompt for name, (prompt, _) in NEEDED.items()} | dict(NOT_NEEDED)
    return tuple(
        Ask(name, (Message("user", prompt),), TOOLS, max_tokens=REPLY_TOKENS)
        for name, prompt in prompts.items()
    )


BENCH = Bench("tools.trigger", _asks)


@BENCH.probe(
    "tools.trigger.recall",
    uses=NEEDED,
    severity="error",
    summary="A tool is called where one is needed, in most cases.",
    why="gpt-oss calls tools reliably; where calls get lost, the prompt or the parser is broken.",
    source=GUIDE,
    required=_REQUIRED,
)
def _recall(answers: Answers) -> Iterator[Trial]:
    for turn, reply in _replies(answers, NEEDED):
        if reply.calls:
            yield None
        else:
            message = "A tool was needed and none was called."
            yield Problem(turn, message, "a tool call", reply.text or "no text, no call")


@BENCH.probe(
    "tools.trigger.precision",
    uses=NOT_NEEDED,
    severity="warning",
    summary="No tool is called where none is needed, in most cases.",
    why="A model that calls tools at every greeting was not given the prompt it was trained on.",
    source=GUIDE,
    required=_REQUIRED,
)
def _precision(answers: Answers) -> Iterator[Trial]:
    for turn, reply in _replies(answers, NOT_NEEDED):
        if reply.calls:
            message = "A tool was called where none was needed."
            yield Problem(turn, message, "no tool call", reply.calls[0].name)
        else:
            yield None


@BENCH.probe(
    "tools.trigger.f1",
    uses=(*NEEDED, *NOT_NEEDED),
    severity="warning",
    summary=f"Precision and recall of calling a tool give an F1 of {_LEAST_F1} at least.",
    why="One figure to compare providers by; it is about the model as much as about its server.",
    source="https://github.com/MoonshotAI/K2-Vendor-Verifier",
)
def _f1(answers: Answers) -> Iterator[Trial]:
    needed = [bool(reply.calls) for _, reply in _replies(answers, NEEDED)]
    idle = list(_replies(answers, NOT_NEEDED))
    right, called = sum(needed), sum(needed) + sum(bool(reply.calls) for _, reply in idle)
    score = 2 * right / (len(needed) + called)
    if score >= _LEAST_F1:
        yield None
        return
    got = f"F1 {score:.2f}: {right} of {len(needed)} needed calls, {called} calls made"
    message = "Tools are called at the wrong times."
    yield Problem(idle[0][0], message, f"F1 of {_LEAST_F1} at least", got)


@BENCH.probe(
    "tools.trigger.right_tool",
    uses=NEEDED,
    severity="warning",
    summary="Among several tools the right one is called, in most cases.",
    why="It is the model's choice, but a model that sees all descriptions rarely errs.",
    source=GUIDE,
    required=_REQUIRED,
)
def _right_tool(answers: Answers) -> Iterator[Trial]:
    called = 0
    for name, (_, expected) in NEEDED.items():
        for turn, reply in _replies(answers, [name]):
            for call in reply.calls[:1]:
                called += 1
                right = call.name == expected
                message = "The wrong tool was called."
                yield None if right else Problem(turn, message, expected, call.name)
    if not called:
        raise NotVerifiableError("No tool was called at all.")


def _replies(answers: Answers, names: Iterable[str]) -> Iterator[tuple[ParsedExchange, Reply]]:
    """The replies to several asks that were not cut off. Raises NotVerifiableError."""
    found = [each for name in names for each in answers.replies(name)]
    whole = [each for each in found if each[1].finish != "length"]
    if not whole:
        raise NotVerifiableError("Every reply was cut off by the limit on tokens.")
    yield from whole
