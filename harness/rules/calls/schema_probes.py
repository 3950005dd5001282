"""Unusual but valid function definitions: accepted, echoed unchanged, and still callable."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib import resources
from typing import Any

from pydantic import TypeAdapter

from harness.api import DIALECTS
from harness.api.items import Message, Reply, Tool
from harness.records.conditions import Api
from harness.rules.account.json_text import parsed_object
from harness.rules.evidence.offers import STATUS, TOOLS, WEATHER
from harness.rules.evidence.refusals import failure, first_replies
from harness.rules.missing import required
from harness.rules.probe import MAY_BE_REFUSED, ProbeGroup, ProbeRequest, ProbeResponses, Trials
from harness.rules.rule import FUNCTION_CALLING, RESPONSES, Problem

_WEATHER = (Message("user", "What is the weather in Lisbon?"),)
_MANY = 40


@dataclass(frozen=True)
class Definition:
    """One function definition, its special feature as an object, and an issue or page about it."""

    feature: str
    parameters: Mapping[str, Any]
    source: str = "https://json-schema.org/draft/2020-12/json-schema-validation"

    @property
    def tool(self) -> Tool:
        """The weather tool with this definition."""
        return Tool(WEATHER.name, WEATHER.description, self.parameters, WEATHER.output)


DEFINITIONS = TypeAdapter(dict[str, Definition]).validate_json(
    (resources.files("harness") / "data" / "function_definitions.json").read_bytes()
)
"""Variants of the weather tool that have broken chat templates, parsers or grammars.

All but those without properties require a location.
"""


def _many() -> tuple[Tool, ...]:
    """Forty tools that include the six shipped ones, the weather tool last."""
    others = [
        Tool(f"archive_{number}", f"Read shelf {number} of the archive.", STATUS.parameters, "{}")
        for number in range(_MANY - len(TOOLS))
    ]
    shipped = [tool for tool in TOOLS if tool is not WEATHER]
    return (*others, *shipped, WEATHER)


def _requests(api: Api) -> tuple[ProbeRequest, ...]:
    properties = WEATHER.parameters["properties"]
    closed = {**WEATHER.parameters, "required": list(properties), "additionalProperties": False}
    strict = DIALECTS[api].offered((replace(WEATHER, parameters=closed),))
    for tool in strict["tools"]:
        tool.get("function", tool)["strict"] = True
    return (
        *(
            ProbeRequest(name, _WEATHER, (definition.tool, STATUS))
            for name, definition in DEFINITIONS.items()
        ),
        ProbeRequest("many tools", _WEATHER, _many()),
        ProbeRequest("strict", _WEATHER, options=strict, provokes=MAY_BE_REFUSED),
    )


GROUP = ProbeGroup(
    "tools.schemas", _requests, FUNCTION_CALLING, suite="full", family="calls", component="tools"
)


def _accepted(name: str, feature: str, responses: ProbeResponses) -> Trials:
    return (failure(rollout, feature) for rollout in responses.all(name))


for _name, _definition in DEFINITIONS.items():
    GROUP.probe(
        f"tools.schema.{_name}",
        (_name,),
        source=_definition.source,
        component="refusals",
        text=f"A function with {_definition.feature} is accepted. Tool definitions come from "
        "programs that their users cannot change.",
    )(partial(_accepted, _name, f"a function with {_definition.feature}"))


GROUP.probe(
    "tools.schema.many",
    ("many tools",),
    text=f"A request may offer {_MANY} tools. Agents offer this many; OpenAI's API accepts 128.",
    component="refusals",
)(partial(_accepted, "many tools", f"{_MANY} tools"))


@GROUP.probe(
    "tools.schema.callable",
    (*DEFINITIONS, "many tools", "strict"),
    severity="warning",
    tolerated=0.2,
    component="model",
    witness=True,
)
def _callable(responses: ProbeResponses) -> Trials:
    """In most cases, the model calls functions with unusual schemas with a JSON object.

    If the model never does, the server renders the schemas incorrectly.
    """
    rollouts = responses.all(*DEFINITIONS, "many tools", "strict")
    replies = (answer for answer in first_replies(rollouts) if answer[1].calls or answer[1].text)
    for exchange, reply in required(replies, "no_schema_reply"):
        called = [call for call in reply.calls if call.name == WEATHER.name]
        if called and parsed_object(called[0].arguments) is not None:
            yield None
        else:
            message = "The reply does not call the function with a JSON object."
            got = reply.calls[0].arguments if reply.calls else reply.text
            yield Problem(exchange, message, f"a call of {WEATHER.name}", got)


@GROUP.probe(
    "tools.schema.echo",
    DEFINITIONS,
    severity="warning",
    source=RESPONSES,
    apis=("responses",),
    component="options",
)
def _echo(responses: ProbeResponses) -> Trials:
    """A response repeats the functions of its request unchanged.

    The copy shows how the server interpreted the functions; few clients read it.
    """
    found = (
        (definition, exchange, reply)
        for name, definition in DEFINITIONS.items()
        for exchange, reply in first_replies(responses.all(name))
        if reply.raw.get("tools")
    )
    for definition, exchange, reply in required(found, "no_function_echo"):
        echo = _parameters(reply, WEATHER.name)
        if echo is not None and _contains(echo, definition.parameters):
            yield None
        else:
            message = f"The response has a changed copy of a function with {definition.feature}."
            expected = str(dict(definition.parameters))
            yield Problem(exchange, message, expected, str(echo), "$.tools")


def _parameters(reply: Reply, name: str) -> object:
    tools = reply.raw["tools"]
    for tool in tools if isinstance(tools, list) else ():
        if isinstance(tool, dict) and tool.get("name") == name:
            return tool.get("parameters")
    return None


def _contains(echo: object, sent: object) -> bool:
    """Whether the echo contains everything that was sent; it may contain more."""
    if isinstance(sent, Mapping):
        return isinstance(echo, Mapping) and all(
            key in echo and _contains(echo[key], value) for key, value in sent.items()
        )
    if isinstance(sent, Sequence) and not isinstance(sent, str):
        if not isinstance(echo, list) or len(echo) != len(sent):
            return False
        return all(_contains(one, other) for one, other in zip(echo, sent, strict=True))
    return echo == sent
