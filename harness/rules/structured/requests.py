"""The requests with a format of the answer, and those without one that show what it changes."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from harness.api.items import Message
from harness.records.conditions import Api
from harness.records.replies import Wanted
from harness.rules.evidence.offers import ORDER, answer_format, closed
from harness.rules.probe import GARBLED, ProbeGroup, ProbeRequest
from harness.rules.rule import STRUCTURED

_HARBOURS = ["Brest", "Dover", "La Rochelle"]
_NAMED = (Message("user", "Give a JSON object whose harbour is Brest."),)
_NAMED_LATER = (
    *_NAMED,
    Message("assistant", '{"harbour": "Brest"}'),
    Message("user", "Now give one whose harbour is Dover."),
)
_FREE = (
    Message("developer", "The code word is orchid596."),
    Message("user", "What is the code word?"),
)
_EITHER = (
    Message("developer", "The code word is orchid596. Answer in a sentence or in JSON."),
    Message("user", "What is the code word?"),
)
"""Providers reject a JSON format without a schema if no message mentions JSON."""
_ABROAD = "Łódź"
_NAMED_ABROAD = (Message("user", f"Give a JSON object whose harbour is {_ABROAD}."),)
_HARBOURS_ABROAD = closed(
    {"harbour": {"type": ["string", "null"], "enum": [_ABROAD, "Málaga", None]}}
)
_UNION = closed(
    {
        "harbour": {
            "anyOf": [
                {"type": "integer", "minimum": 1, "maximum": 40},
                {"anyOf": [{"type": "null"}, {"type": "string", "enum": ["Brest", "Dover"]}]},
            ]
        }
    }
)
"""A union within a union, with a bounded number."""


def _told(answer: str) -> tuple[Message]:
    """A prompt that no model misunderstands."""
    return (Message("user", f"Answer with this JSON object: {answer}"),)


_TOLD = _told('{"code_word": "orchid596"}')
_HARBOUR = {"type": "string", "enum": _HARBOURS}
_DEFINED = {"$defs": {"Harbour": _HARBOUR}}
_REFERENCE = {"$ref": "#/$defs/Harbour"}
_FIVE = [*_HARBOURS, "Cork", "Bilbao"]
_DISTINCT = {
    "type": "array",
    "items": _REFERENCE,
    "minItems": len(_FIVE),
    "maxItems": len(_FIVE),
    "uniqueItems": True,
}
"""Even a model that draws at random repeats one of five in 24 of 25 answers (1 - 5!/5^5)."""
FEWEST_REPLIES = 2
FEWEST_OTHERS = 3
"""Replies that show that a format has no effect; with fewer, the model may slip. Of several
choices, all but the first."""


def _object(api: Api) -> dict[str, Any]:
    either = {"type": "json_object"}
    return {"response_format": either} if api == "chat" else {"text": {"format": either}}


GROUP = ProbeGroup("structured", STRUCTURED, needs="json_schema", component="structured")
_REFUSABLE = GARBLED | {"request.refused"}
_PROVOKES = _REFUSABLE | {"answer.json"}


def _of(schema: Mapping[str, Any]) -> Callable[[Api], Mapping[str, Any]]:
    return partial(answer_format, schema=schema)


_of_harbour = _of(closed({"harbour": {"type": "string", "enum": _HARBOURS}}))
_of_text = _of(closed({"verdict_text": {"type": "string"}}))
_request = partial(ProbeRequest, provokes=_REFUSABLE)
NAMED = GROUP.send(_request("named", _NAMED, tries=5, options_of=_of_harbour))
NAMED_LATER = GROUP.send(_request("named later", _NAMED_LATER, tries=3, options_of=_of_harbour))
FREE = GROUP.send(_request("free", _FREE, tries=2, options_of=_of_text))
FREE_STREAMED = GROUP.send(_request("free streamed", _FREE, options_of=_of_text))
UNION = GROUP.send(_request("union", _NAMED, tries=2, options_of=_of(_UNION)))
CONTRADICTED: dict[str, str] = {}
"""By request, a keyword that some grammars ignore. The user asks for an answer that violates
nothing else of the schema: a model that the keyword does not constrain writes that answer; under a
grammar that has it, no model can."""


def _contradicted(
    name: str, keyword: str, prompt: tuple[Message, ...], schema: Mapping[str, Any]
) -> ProbeRequest:
    CONTRADICTED[name] = keyword
    return GROUP.send(ProbeRequest(name, prompt, options_of=_of(schema), provokes=_PROVOKES))


PATTERN = _contradicted(
    "pattern",
    "a pattern with a lookahead",
    _NAMED,
    closed({"harbour": {"type": "string", "pattern": "^(?=D)[A-Z]{5}-[0-9]{3}$"}}),
)
ANY_OF = _contradicted(
    "anyOf",
    "anyOf with lists of required members",
    _told('{"berth": 12}'),
    closed({"berth": {"type": "integer"}, "harbour": _HARBOUR, "open": {"type": "boolean"}})
    | {"required": ["berth"], "anyOf": [{"required": ["harbour"]}, {"required": ["open"]}]},
)
UNIQUE_ITEMS = _contradicted(
    "uniqueItems",
    "uniqueItems",
    _told('{"harbours": ["Brest", "Brest", "Brest", "Brest", "Brest"]}'),
    closed({"harbours": _DISTINCT}) | {"$defs": {"Harbour": {"type": "string", "enum": _FIVE}}},
)
REFERENCES = _contradicted(
    "references",
    "a $ref",
    _told('{"harbour": "Lisbon"}'),
    closed({"harbour": _REFERENCE}) | _DEFINED,
)
WITHOUT = GROUP.send(ProbeRequest("without", _FREE))
_abroad = partial(ProbeRequest, turns=_NAMED_ABROAD, temperature=0.0, wanted=Wanted(text=_ABROAD))
ABROAD = GROUP.send(
    _abroad(
        "abroad",
        tries=2,
        options_of=_of(_HARBOURS_ABROAD | {"required": []}),
        provokes=_REFUSABLE,
    )
)
ABROAD_WITHOUT = GROUP.send(_abroad("abroad without"))
FREE_WITH_TOOL = GROUP.send(
    _request("free with a tool", _FREE, (ORDER,), tries=2, options_of=_of_text)
)
TOOL_WITHOUT_SCHEMA = GROUP.send(ProbeRequest("tool without a schema", _FREE, (ORDER,)))
_as_object = partial(ProbeRequest, turns=_EITHER, tries=2, options_of=_object, provokes=_PROVOKES)
OBJECT = GROUP.send(_as_object("object"))
OBJECT_TOLD = GROUP.send(_as_object("object told", turns=_TOLD))
WITHOUT_OBJECT = GROUP.send(ProbeRequest("without object", _EITHER))
OBJECT_STREAMED = GROUP.send(_as_object("object streamed", tries=FEWEST_OTHERS))
OBJECT_WITH_TOOL = GROUP.send(_as_object("object with a tool", tools=(ORDER,), tries=FEWEST_OTHERS))
CHOICES = GROUP.send(
    ProbeRequest(
        "choices",
        _FREE,
        options_of=_of_text,
        options={"n": FEWEST_OTHERS + 1},
        provokes=_PROVOKES,
    )
)
