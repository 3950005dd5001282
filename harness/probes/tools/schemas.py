"""Hostile but valid function definitions: accepted, echoed unharmed, and still callable."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from harness.api.base import Reply, Tool
from harness.api.conversation import Message
from harness.checks.base import RESPONSES, Problem
from harness.checks.json_text import parsed_object
from harness.probes.base import Answers, Ask, Bench, NotVerifiableError, Trial
from harness.probes.fates import failure, first_replies, served
from harness.probes.tools.offers import (
    FUNCTION_CALLING,
    LANGUAGE,
    REPLY_TOKENS,
    STATUS,
    TOOLS,
    WEATHER,
)
from harness.probes.tools.schema_corpus import DEFINITIONS, Definition
from harness.records.conditions import Api

_WEATHER = (Message("user", "What is the weather in Lisbon?"),)
_LANGUAGE = (Message("user", 'Which language is this: "Der Zug kommt gleich"'),)
_MANY = 40
_REQUIRED = 0.5


def _many() -> tuple[Tool, ...]:
    """Forty tools, the six that ship among them, the weather's last."""
    others = [
        Tool(f"archive_{number}", f"Read shelf {number} of the archive.", STATUS.parameters, "{}")
        for number in range(_MANY - len(TOOLS))
    ]
    known = [tool for tool in TOOLS if tool is not WEATHER]
    return (*others, *known, WEATHER)


def _asks(api: Api) -> tuple[Ask, ...]:
    asks = [
        Ask(name, _WEATHER, (definition.tool, STATUS), max_tokens=REPLY_TOKENS)
        for name, definition in DEFINITIONS.items()
    ]
    asks.append(Ask("many tools", _WEATHER, _many(), max_tokens=REPLY_TOKENS))
    bare = {"name": STATUS.name, "description": STATUS.description}
    tools = [_wrapped(bare, api)]
    status = (Message("user", "Is the service up right now?"),)
    asks.append(Ask("bare", status, max_tokens=REPLY_TOKENS, options={"tools": tools}))
    strict = _strict(LANGUAGE)
    options = {"tools": [_wrapped(strict, api)]}
    refusable = frozenset({"request.refused"})
    asks.append(
        Ask("strict", _LANGUAGE, max_tokens=REPLY_TOKENS, options=options, provokes=refusable)
    )
    return tuple(asks)


def _wrapped(function: Mapping[str, Any], api: Api) -> dict[str, Any]:
    inner = {"function": dict(function)} if api == "chat" else dict(function)
    return {"type": "function"} | inner


def _strict(tool: Tool) -> dict[str, Any]:
    """The tool as strict mode wants it: closed, with every property required."""
    properties = tool.parameters["properties"]
    parameters = {
        "type": "object",
        "properties": {
            key: {name: value for name, value in each.items() if name != "default"}
            for key, each in properties.items()
        },
        "required": list(properties),
        "additionalProperties": False,
    }
    definition = {"name": tool.name, "description": tool.description, "strict": True}
    return definition | {"parameters": parameters}


BENCH = Bench("tools.schemas", _asks)


def _register(name: str, definition: Definition) -> None:
    @BENCH.probe(
        f"tools.schema.{name}",
        uses=[name],
        severity="error",
        summary=f"A function with {definition.feature} is accepted, and can be called.",
        why="Tool definitions come from programs that their users cannot change.",
        source=definition.source,
        level="full",
    )
    def judge(answers: Answers) -> Iterator[Trial]:
        for seen in answers.all(name):
            yield failure(seen, f"a function with {definition.feature}")


for _name, _definition in DEFINITIONS.items():
    _register(_name, _definition)


@BENCH.probe(
    "tools.schema.bare",
    uses=["bare"],
    severity="error",
    summary="A function without the key `parameters` is accepted.",
    why="The key is optional; the function takes no parameters then.",
    source=FUNCTION_CALLING,
    level="full",
)
def _bare(answers: Answers) -> Iterator[Trial]:
    for seen in answers.all("bare"):
        yield failure(seen, "a function without parameters")


@BENCH.probe(
    "tools.schema.strict",
    uses=["strict"],
    severity="error",
    summary="A strict function is accepted or refused with a reason.",
    why="strict is a promise; what becomes of the arguments, calls.arguments.strict tells.",
    source=f"{FUNCTION_CALLING}#strict-mode",
    level="full",
)
def _strict_function(answers: Answers) -> Iterator[Trial]:
    for seen in served(answers, "strict", "strict functions"):
        yield failure(seen, "a strict function")


@BENCH.probe(
    "tools.schema.many",
    uses=["many tools"],
    severity="error",
    summary=f"{_MANY} tools may be on offer at once.",
    why="Agents offer this many; OpenAI's API takes 128.",
    source=FUNCTION_CALLING,
    level="full",
)
def _many_tools(answers: Answers) -> Iterator[Trial]:
    for seen in answers.all("many tools"):
        yield failure(seen, f"{_MANY} tools")


@BENCH.probe(
    "tools.schema.callable",
    uses=(*DEFINITIONS, "many tools"),
    severity="warning",
    summary="Functions with unusual schemas still get called with a JSON object, in most cases.",
    why="The model should be able to; where it never does, the schemas were rendered wrongly.",
    source=FUNCTION_CALLING,
    level="full",
    required=_REQUIRED,
)
def _callable(answers: Answers) -> Iterator[Trial]:
    replies = [
        each
        for name in (*DEFINITIONS, "many tools")
        for each in first_replies(answers.all(name))
        if each[1].calls or each[1].text
    ]
    if not replies:
        raise NotVerifiableError("No reply came to any of the unusual schemas.")
    for turn, reply in replies:
        called = [call for call in reply.calls if call.name == WEATHER.name]
        if called and parsed_object(called[0].arguments) is not None:
            yield None
        else:
            message = "The function was not called, or with something else than a JSON object."
            got = reply.calls[0].arguments if reply.calls else reply.text
            yield Problem(turn, message, f"a call of {WEATHER.name}", got)


@BENCH.probe(
    "tools.schema.echo",
    uses=DEFINITIONS,
    severity="warning",
    summary="A response repeats the functions of its request as they were.",
    why="It shows what the server made of them; few clients read it.",
    source=RESPONSES,
    level="full",
    apis=("responses",),
)
def _echo(answers: Answers) -> Iterator[Trial]:
    seen = [
        (definition, turn, reply)
        for name, definition in DEFINITIONS.items()
        for turn, reply in first_replies(answers.all(name))
        if reply.raw.get("tools")
    ]
    if not seen:
        raise NotVerifiableError("No response repeats the functions of its request.")
    for definition, turn, reply in seen:
        echo = _parameters(reply, WEATHER.name)
        if echo is not None and _holds(echo, definition.parameters):
            yield None
        else:
            message = f"A function with {definition.feature} came back changed."
            yield Problem(turn, message, str(dict(definition.parameters)), str(echo), "$.tools")


def _parameters(reply: Reply, name: str) -> object:
    tools = reply.raw["tools"]
    for tool in tools if isinstance(tools, list) else ():
        if isinstance(tool, dict) and tool.get("name") == name:
            return tool.get("parameters")
    return None


def _holds(echo: object, sent: object) -> bool:
    """Whether everything that was sent is there, in its place; more may be."""
    if isinstance(sent, Mapping):
        return isinstance(echo, Mapping) and all(
            key in echo and _holds(echo[key], value) for key, value in sent.items()
        )
    if isinstance(sent, Sequence) and not isinstance(sent, str):
        if not isinstance(echo, list) or len(echo) != len(sent):
            return False
        return all(_holds(one, other) for one, other in zip(echo, sent, strict=True))
    return echo == sent
