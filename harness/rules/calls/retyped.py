"""Types of argument values, compared with the CoT or with the tool's schema.

gpt-oss often writes the JSON of a call into its CoT before it makes the call. If the server changes
the arguments on their way to the client, the two differ in a way that models rarely produce. The
same is true of arguments that conform to the schema only if quotes around numbers and booleans are
removed.
"""

import json
from collections.abc import Iterator
from typing import NamedTuple

from harness.api.parsed_rollout import ParsedExchange, ParsedRollout
from harness.rules.check import Family
from harness.rules.evidence.json_text import mapped, misfit, objects_in, parsed_object, parsed_value
from harness.rules.evidence.subjects import every_choice
from harness.rules.rule import FUNCTION_CALLING, Problem

family = Family("calls", FUNCTION_CALLING, component="calls")

_EMPTY = ("", "null", "None")
_MISTAKES = 0.01  # a model rarely changes types between its plan, or the schema, and the call


class Planned(NamedTuple):
    """The arguments of a call as made, and as planned."""

    exchange: ParsedExchange
    name: str
    made: dict[str, object]
    planned: dict[str, object]
    in_cot: bool


def planned_calls(parsed: ParsedRollout) -> Iterator[Planned]:
    """The calls with values that are not texts, or should not be by their last CoT or schema."""
    for exchange, reply in every_choice(parsed):
        stated = list(objects_in(reply.reasoning)) if reply.calls else []
        for call in reply.calls:
            made = parsed_object(call.arguments)
            if not made:
                continue
            same = [plan for plan in stated if plan.keys() == made.keys()]
            tool = exchange.request.functions.get(call.name)
            properties = tool.parameters.get("properties") if tool else None
            schemas = properties if isinstance(properties, dict) else {}
            plain = {name: _fitting(value, schemas.get(name)) for name, value in made.items()}
            planned = same[-1] if same else made
            if not same and tool and misfit(made, tool.parameters):
                planned = made if misfit(plain, tool.parameters) else plain
            if not all(isinstance(value, str) for value in (*plain.values(), *planned.values())):
                yield Planned(exchange, call.name, made, planned, bool(same))


@family.check("calls.arguments.retyped", planned_calls, tolerated=_MISTAKES)
def _retyped(found: Planned) -> Iterator[Problem]:
    """Values in arguments are not turned into strings, nor lists of one entry into the entry.

    The CoT or the schema of the function shows the correct types. Tools that check types reject a
    changed call.
    """
    pairs = [(found.planned[key], value) for key, value in found.made.items()]
    others = all(planned == made for planned, made in pairs if not _is_retyped(planned, made))
    wrong = [made for planned, made in pairs if _is_retyped(planned, made)]
    if wrong and others:
        source = "its CoT" if found.in_cot else "its schema"
        message = f"Values in the arguments of {found.name} have other types than in {source}."
        expected = json.dumps(found.planned, ensure_ascii=False)
        yield Problem(found.exchange, message, expected, json.dumps(found.made, ensure_ascii=False))


def _fitting(value: object, schema: object) -> object:
    """Return the value without quotes, as a list of one entry if the schema requires a list."""
    plain = mapped(value, _unquoted)
    listed = isinstance(schema, dict) and schema.get("type") == "array"
    return [plain] if listed and plain and not isinstance(plain, list) else plain


def _unquoted(text: str) -> object:
    """A text that is a JSON number, boolean, list or object as this value."""
    inner = parsed_value(text)
    return inner if isinstance(inner, int | float | list | dict) else text


def _is_retyped(planned: object, made: object) -> bool:
    if isinstance(planned, list) and isinstance(made, list):
        return planned != made and planned == mapped(made, _unquoted)
    if planned == [made]:
        return True
    if isinstance(planned, str) or not isinstance(made, str):
        return False
    if planned is None:
        return made in _EMPTY
    return parsed_value(made) == planned or made == str(planned)
