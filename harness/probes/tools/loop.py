"""The way through a conversation with tools: two dependent calls, and tools that fail."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harness.api.base import Tool
from harness.api.conversation import Message
from harness.checks.base import GUIDE, RAW_COT, Problem
from harness.checks.subjects import Call, calls
from harness.parsing.rollout import ParsedRollout
from harness.probes.base import Answers, Ask, Bench, NotVerifiableError, Trial
from harness.probes.fates import failure
from harness.probes.tools.offers import ORDER, ORDER_PLACE, REPLY_TOKENS, TOOLS, WEATHER
from harness.records.conditions import Api

_TURNS = 4
_REQUIRED = 0.5
_TRIES = 2


def _failing(tool: Tool, output: str) -> tuple[Tool, ...]:
    return tuple(
        Tool(each.name, each.description, each.parameters, output) if each is tool else each
        for each in TOOLS
    )


_LONG_RESULT = '{"hours": [' + ", ".join(str(14 + hour % 9) for hour in range(120)) + "]}"
RESULTS = {
    "error": '{"error": "The weather service is unavailable."}',
    "plain error": "Traceback: TimeoutError: no answer after 30 s",
    "empty": "",
    "long": _LONG_RESULT,
}
"""What a tool may answer besides a plain JSON object."""


def _asks(_api: Api) -> tuple[Ask, ...]:
    dependent = "Find the order A-17 and then call get_weather with its city."
    weather = (Message("user", "What is the weather in Lisbon?"),)
    asks = [
        Ask(
            "dependent",
            (Message("user", dependent),),
            (ORDER, WEATHER),
            max_tokens=REPLY_TOKENS,
            max_turns=_TURNS,
            tries=3,
        )
    ]
    asks += [
        Ask(
            name,
            weather,
            _failing(WEATHER, output),
            max_tokens=REPLY_TOKENS,
            max_turns=_TURNS,
            tries=_TRIES,
        )
        for name, output in RESULTS.items()
    ]
    return tuple(asks)


BENCH = Bench("tools.loop", _asks)


@BENCH.probe(
    "tools.loop.goes_on",
    uses=("dependent", *RESULTS),
    severity="error",
    summary="A conversation goes on after any result of a tool.",
    why="Tools fail, answer at length or not at all; agents must not break down over it.",
    source=GUIDE,
)
def _goes_on(answers: Answers) -> Iterator[Trial]:
    seen = [view for name in ("dependent", *RESULTS) for view in _with_results(answers, name)]
    if not seen:
        raise NotVerifiableError("No conversation came to the result of a tool.")
    for view in seen:
        yield failure(view, "a conversation with the result of a tool")


@BENCH.probe(
    "tools.loop.answers",
    uses=RESULTS,
    severity="warning",
    summary="The model answers after the result of a tool, in most cases.",
    why="A model that never answers does not see results, or does not see that they are such.",
    source=GUIDE,
    required=_REQUIRED,
)
def _answers(answers: Answers) -> Iterator[Trial]:
    seen = [view for name in RESULTS for view in _with_results(answers, name)]
    if not seen:
        raise NotVerifiableError("No conversation came to the result of a tool.")
    for view in seen:
        last = view.turns[-1]
        said = last.reply.text if last.reply else ""
        message = "The conversation ended without an answer."
        yield None if said else Problem(last, message, "an answer", "no text")


@BENCH.probe(
    "tools.loop.dependent",
    uses=["dependent"],
    severity="warning",
    summary="A second call is made with what the first one gave, in most cases.",
    why="gpt-oss plans calls in its CoT; without CoT and results in the prompt it cannot.",
    source=RAW_COT,
    modes=("streaming", "non-streaming"),
    required=_REQUIRED,
)
def _dependent(answers: Answers) -> Iterator[Trial]:
    seen = [view for view in answers.all("dependent") if _first_call(view)]
    if not seen:
        raise NotVerifiableError("The model did not make the first of two calls.")
    for view in seen:
        second = [found for found in calls(view) if found.call.name == WEATHER.name]
        if any(ORDER_PLACE in found.call.arguments for found in second):
            yield None
        else:
            message = "The second call was not made with the result of the first."
            got = second[-1].call.arguments if second else "no second call"
            yield Problem(view.turns[-1], message, f"a call with {ORDER_PLACE}", got)


def _first_call(view: ParsedRollout) -> Call | None:
    return next((found for found in calls(view) if found.call.name == ORDER.name), None)


def _with_results(answers: Answers, name: str) -> Sequence[ParsedRollout]:
    """The rollouts in which a call was answered."""
    return [view for view in answers.all(name) if len(view.turns) > 1]
