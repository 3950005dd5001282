"""Numbers, booleans, null, empty strings and lists in tool-call arguments keep their JSON types.

Schema-valid arguments can still differ from what the model wrote. As in
`harness.probes.tools.arguments`, a difference counts only if the server is likely to have made it.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial

from harness.api.base import Tool
from harness.checks.json_text import parsed_object
from harness.checks.subjects import Call
from harness.findings import FUNCTION_CALLING, Problem
from harness.probes.base import ProbeGroup, ProbeResponses, TrialResult, Trials
from harness.probes.evidence import Author, ExtraTokens, author, named_calls, proven
from harness.probes.refusals import required
from harness.probes.tools.offers import offered, schema
from harness.records.conditions import MODES

_MISSING = object()
_NO = ("no", "off", "0")  # what servers that convert booleans to text make of false
# One reply can have the tokens of the intended call by chance, as when a key is in the call twice.
_FEWEST_CHANGED = 2


@dataclass(frozen=True)
class Typed:
    """An argument that a call must contain: its function, its JSON value, and the prompt."""

    name: str
    description: str
    parameter: Mapping[str, object]
    value: float | bool | str | list[str] | None
    prompt: str

    @property
    def tool(self) -> Tool:
        """The function, whose only parameter has the second part of its name."""
        parameters = schema({self.key: self.parameter})
        return Tool(self.name, self.description, parameters, '{"done": true}')

    @property
    def key(self) -> str:
        """The name of the parameter."""
        return self.name.partition("_")[2]

    def is_value_of(self, call: Call) -> bool:
        """Whether a call has this value, and no other argument."""
        return parsed_object(call.call.arguments) == {self.key: self.value}

    def is_changed_to(self, got: object) -> bool:
        """Whether a value is what servers make of this one: text, a default, or nothing."""
        as_text = json.dumps(self.value)
        others = [as_text, f'"{as_text}"', str(self.value), None, "", 0, 1, _MISSING]
        return any(type(got) is type(each) and got == each for each in others)

    def is_misfit(self, got: object) -> bool:
        """Whether a value is this one as a text or without its list, against the schema."""
        if isinstance(self.value, list):
            return got in self.value
        as_text = (json.dumps(self.value), *(_NO if self.value is False else ()))
        text = got.lower().replace(",", ".") if isinstance(got, str) else None
        return _kind(self.value) is not None and text in as_text

    def is_other(self, got: object) -> bool:
        """Whether a value is another number, or the opposite boolean."""
        return _kind(got) is not None and _kind(got) == _kind(self.value)


def _kind(value: object) -> str | None:
    if isinstance(value, bool):
        return "boolean"
    return "number" if isinstance(value, int | float) else None


VALUES: Mapping[str, Typed] = {
    "number": Typed("set_volume", "Set the volume.", {"type": "number", "description": "Volume"},
                    0.5, "Set the volume to 0.5."),
    "boolean": Typed("set_repeat", "Switch repetition on or off.",
                     {"type": "boolean", "description": "Whether to repeat"},
                     False, "Call set_repeat with repeat false."),
    "null": Typed("set_label", "Set the label, or remove it with null.",
                  {"type": ["string", "null"], "description": "New label"},
                  None, "Remove the label: call set_label with label null."),
    "empty string": Typed("set_label", "Set the label. It may be empty.",
                          {"type": "string", "description": "New label"},
                          "", 'Call set_label with an empty string as label: "".'),
    "list": Typed("set_columns", "Set the columns to show.",
                  {"type": "array", "items": {"type": "string"}, "description": "All columns"},
                  ["id"], "Show only the column id."),
}  # fmt: skip


RELIABLE = frozenset({"number"})
"""Values that models write as requested. Nor do they repeatedly write another number, the opposite
boolean, or a text where the schema allows only a boolean. Otherwise tokens must show what the model
wrote."""

_REQUESTS = tuple(offered(name, typed.prompt, (typed.tool,)) for name, typed in VALUES.items())
GROUP = ProbeGroup("tools.types", lambda _api: _REQUESTS, FUNCTION_CALLING, modes=MODES)


def _judge(name: str, responses: ProbeResponses) -> Trials:
    reason = "The model did not write the value into a tool call."
    found = list(_values(name, responses))
    if name not in RELIABLE and sum(who == "server" for _, who in found) < _FEWEST_CHANGED:
        found = [each for each in found if each[1] != "server"]
    yield from required(proven(found), reason)


def _values(name: str, responses: ProbeResponses) -> Iterator[tuple[TrialResult, Author]]:
    typed = VALUES[name]
    made = named_calls(responses, *VALUES)
    tokens = ExtraTokens.of((call, VALUES[each].is_value_of(call)) for each, call in made)
    for _, found in named_calls(responses, name):
        values = parsed_object(found.call.arguments)
        key, got = next(iter((values or {}).items()), (typed.key, _MISSING))
        if values is None or len(values) > 1 or (key != typed.key and not typed.is_misfit(got)):
            continue  # A server does not rename arguments: the model wrote another name.
        right = {key: typed.value}
        if type(got) is type(typed.value) and got == typed.value:
            yield None, "unknown"
        elif (other := typed.is_other(got) or typed.is_misfit(got)) or typed.is_changed_to(got):
            written = (json.dumps(right, separators=each) for each in (None, (",", ":")))
            intended = [replace(found.call, arguments=each) for each in written]
            who = author(found, intended, tokens)
            if who == "unknown" and not (name in RELIABLE or other):
                continue
            message = "An argument of a tool call has another value than requested."
            problem = Problem(found.exchange, message, json.dumps(right), found.call.arguments)
            yield problem, who


for _name in VALUES:
    GROUP.probe(
        f"tools.arguments.{_name.replace(' ', '_')}",
        (_name,),
        text=f"An argument keeps its JSON type and value: {_name}. A value of another type may fit "
        "the schema and still do something else.",
    )(partial(_judge, _name))
