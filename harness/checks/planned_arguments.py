"""Arguments of calls, compared with the same arguments as the CoT states them.

gpt-oss often writes the JSON of a call into its CoT before it makes the call. If the server changes
the arguments on their way to the client, the two differ in a way that models hardly produce.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import NamedTuple

from harness.checks.base import Family
from harness.checks.json_text import objects_in, parsed_object
from harness.checks.subjects import every_choice
from harness.findings import FUNCTION_CALLING, Problem
from harness.parsing.rollout import ParsedExchange, ParsedRollout

family = Family("tools", FUNCTION_CALLING)

_EMPTY = ("", "null", "None")


class Planned(NamedTuple):
    """The arguments of a call, and an object of the CoT with the same keys."""

    exchange: ParsedExchange
    name: str
    made: dict[str, object]
    planned: dict[str, object]


def planned_calls(parsed: ParsedRollout) -> Iterator[Planned]:
    """The calls of which the CoT states the arguments; the last such statement counts."""
    for exchange, reply in every_choice(parsed):
        stated = list(objects_in(reply.reasoning)) if reply.calls else []
        for call in reply.calls:
            made = parsed_object(call.arguments)
            if not made:
                continue
            same = [each for each in stated if each.keys() == made.keys()]
            if same:
                yield Planned(exchange, call.name, made, same[-1])


@family.check("calls.arguments.retyped", planned_calls, tolerated=0.05)
def _retyped(found: Planned) -> Iterator[Problem]:
    """Numbers, booleans and null in arguments are not turned into strings.

    The CoT states the arguments with their types. Tools that check types reject such a call.
    """
    pairs = [(found.planned[key], value) for key, value in found.made.items()]
    others = all(planned == made for planned, made in pairs if not _is_retyped(planned, made))
    wrong = [made for planned, made in pairs if _is_retyped(planned, made)]
    if wrong and others:
        message = f"The arguments of {found.name} have strings where the CoT has other values."
        expected = json.dumps(found.planned, ensure_ascii=False)
        yield Problem(found.exchange, message, expected, json.dumps(found.made, ensure_ascii=False))


def _is_retyped(planned: object, made: object) -> bool:
    if isinstance(planned, str) or not isinstance(made, str):
        return False
    if planned is None:
        return made in _EMPTY
    texts = (json.dumps(planned), str(planned))
    return not isinstance(planned, list | dict) and made in texts
