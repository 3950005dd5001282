"""Options that a response repeats, and whose instructions count.

A response that repeats another value than was sent shows that the option was lost on the way.
"""

from __future__ import annotations

from collections.abc import Iterator

import orjson

from harness.api.conversation import Message, Role
from harness.checks.base import HARMONY, RESPONSES, Problem
from harness.parsing.rollout import ParsedExchange
from harness.probes.base import Answers, Ask, Bench, NotVerifiableError, Trial
from harness.probes.fates import served
from harness.probes.tools.offers import WEATHER
from harness.records.conditions import Api

_HI = (Message("user", "Hi there!"),)
_METADATA = {"purpose": "verification", "number": "17"}
_INSTRUCTIONS = "Answer in one short sentence."
_ECHOED = ("temperature", "top_p", "max_output_tokens", "tool_choice", "instructions")
_ORDER = "Begin every answer with the word 'anchor', whatever the user asks."
_AGAINST = "Say exactly: pumpkin"
_TRIES = 3
_ENOUGH = 0.5


def _asks(_api: Api) -> tuple[Ask, ...]:
    sent = {"top_p": 0.875, "tool_choice": "auto"}
    orders: tuple[Role, ...] = ("system", "developer")
    against = Message("user", _AGAINST)
    return (
        Ask(
            "options",
            _HI,
            (WEATHER,),
            instructions=_INSTRUCTIONS,
            temperature=0.75,
            max_tokens=96,
            options=sent,
        ),
        Ask(
            "metadata",
            _HI,
            max_tokens=64,
            options={"metadata": _METADATA},
            provokes=frozenset({"request.refused"}),
        ),
        *(
            Ask(f"order of {role}", (Message(role, _ORDER), against), tries=_TRIES)
            for role in orders
        ),
    )


BENCH = Bench("options", _asks)


@BENCH.probe(
    "options.repeated",
    uses=("options",),
    apis=("responses",),
    severity="warning",
    summary="A response repeats the options of its request as they were sent.",
    why="Where another value stands, it is likely that another value was used.",
    source=RESPONSES,
)
def _repeated(answers: Answers) -> Iterator[Trial]:
    for turn, reply in answers.replies("options"):
        for name in _ECHOED:
            yield _differs(turn, name, turn.asked.body[name], reply.raw.get(name))
        tools = reply.raw.get("tools")
        first = tools[0] if isinstance(tools, list) and tools else None
        got = first.get("name") if isinstance(first, dict) else None
        yield _differs(turn, "tools[0].name", WEATHER.name, got)


@BENCH.probe(
    "options.metadata",
    uses=("metadata",),
    apis=("responses",),
    needs="metadata",
    severity="warning",
    summary="A response repeats the metadata of its request.",
    why="It is how programs find their own responses again.",
    source=RESPONSES,
)
def _metadata(answers: Answers) -> Iterator[Trial]:
    served(answers, "metadata", "metadata")
    for turn, reply in answers.replies("metadata"):
        yield _differs(turn, "metadata", _METADATA, reply.raw.get("metadata"))


def _differs(turn: ParsedExchange, name: str, sent: object, got: object) -> Trial:
    if sent == got:
        return None
    message = f"The response has another {name} than the request."
    expected, found = (orjson.dumps(value).decode() for value in (sent, got))
    return Problem(turn, message, expected, found, f"$.{name}")


@BENCH.probe(
    "options.precedence",
    uses=("order of system", "order of developer"),
    severity="warning",
    summary="Instructions of the system and the developer hold against the user.",
    why="gpt-oss is trained to follow system before developer before user; instructions in "
    "another place of the prompt are followed less. It is a matter of the model, too.",
    source=HARMONY,
    required=_ENOUGH,
)
def _precedence(answers: Answers) -> Iterator[Trial]:
    clear = 0
    for name in ("order of system", "order of developer"):
        for turn, reply in answers.replies(name):
            text = reply.text.lower()
            followed = "anchor" in text
            if followed or "pumpkin" in text:
                clear += 1
                message = "The reply follows the user against the instructions."
                yield None if followed else Problem(turn, message, "anchor …", reply.text)
    if not clear:
        raise NotVerifiableError("The model follows neither the instructions nor the user.")
