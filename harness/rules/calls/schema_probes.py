"""Unusual but valid function definitions are accepted."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from importlib import resources
from typing import Any

from pydantic import TypeAdapter

from harness.api.items import Message, Tool
from harness.rules.evidence.offers import STATUS, TOOLS, WEATHER
from harness.rules.probe import ProbeGroup, ProbeRequest, Sent, Trials
from harness.rules.refusals import failure
from harness.rules.rule import FUNCTION_CALLING

_WEATHER = (Message("user", "What is the weather in Lisbon?"),)
_MANY = 40
_OTHERS = tuple(
    Tool(f"archive_{number}", f"Read shelf {number} of the archive.", STATUS.parameters, "{}")
    for number in range(_MANY - len(TOOLS))
)


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


GROUP = ProbeGroup(
    "tools.schemas", FUNCTION_CALLING, suite="full", family="calls", component="tools"
)


def _accepted(feature: str, asked: Sent) -> Trials:
    return (failure(rollout, feature) for rollout in asked.rollouts)


for _name, _definition in DEFINITIONS.items():
    GROUP.probe(
        f"tools.schema.{_name}",
        GROUP.send(ProbeRequest(_name, _WEATHER, (_definition.tool, STATUS))),
        source=_definition.source,
        component="refusals",
        text=f"A function with {_definition.feature} is accepted. Tool definitions come from "
        "programs that their users cannot change.",
    )(partial(_accepted, f"a function with {_definition.feature}"))


_WEATHER_LAST = (*(tool for tool in TOOLS if tool is not WEATHER), WEATHER)
GROUP.probe(
    "tools.schema.many",
    GROUP.send(ProbeRequest("many tools", _WEATHER, (*_OTHERS, *_WEATHER_LAST))),
    text=f"A request may offer {_MANY} tools. Agents offer this many; OpenAI's API accepts 128.",
    component="refusals",
)(partial(_accepted, f"{_MANY} tools"))
