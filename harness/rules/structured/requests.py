"""The requests with a format of the answer, and those without one that show what it changes."""

from collections.abc import Mapping
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
CONTRADICTED: Mapping[str, tuple[str, tuple[Message, ...], dict[str, Any]]] = {
    "pattern": (
        "a pattern with a lookahead",
        _NAMED,
        closed({"harbour": {"type": "string", "pattern": "^(?=D)[A-Z]{5}-[0-9]{3}$"}}),
    ),
    "anyOf": (
        "anyOf with lists of required members",
        _told('{"berth": 12}'),
        closed({"berth": {"type": "integer"}, "harbour": _HARBOUR, "open": {"type": "boolean"}})
        | {"required": ["berth"], "anyOf": [{"required": ["harbour"]}, {"required": ["open"]}]},
    ),
    "uniqueItems": (
        "uniqueItems",
        _told('{"harbours": ["Brest", "Brest", "Brest", "Brest", "Brest"]}'),
        closed({"harbours": _DISTINCT}) | {"$defs": {"Harbour": {"type": "string", "enum": _FIVE}}},
    ),
    "references": (
        "a $ref",
        _told('{"harbour": "Lisbon"}'),
        closed({"harbour": _REFERENCE}) | _DEFINED,
    ),
}
"""By request: a keyword that some grammars ignore, a prompt for an answer that violates nothing
else of the schema, and the schema. A model that the keyword does not constrain writes that answer;
under a grammar that has it, no model can."""
FEWEST_REPLIES = 2
FEWEST_OTHERS = 3
"""Replies that show that a format has no effect; with fewer, the model may slip. Of several
choices, all but the first."""


def _object(api: Api) -> dict[str, Any]:
    either = {"type": "json_object"}
    return {"response_format": either} if api == "chat" else {"text": {"format": either}}


def _requests(api: Api) -> tuple[ProbeRequest, ...]:
    refusable = GARBLED | {"request.refused"}
    provokes = refusable | {"answer.json"}
    named, free = (
        answer_format(api, closed({member: {"type": "string"} | kind}))
        for member, kind in (("harbour", {"enum": _HARBOURS}), ("verdict_text", {}))
    )
    beside = partial(
        ProbeRequest, turns=_EITHER, tries=FEWEST_OTHERS, options=_object(api), provokes=provokes
    )
    return (
        ProbeRequest("named", _NAMED, tries=5, options=named, provokes=refusable),
        ProbeRequest("named later", _NAMED_LATER, tries=3, options=named, provokes=refusable),
        ProbeRequest("free", _FREE, tries=2, options=free, provokes=refusable),
        ProbeRequest("free streamed", _FREE, options=free, provokes=refusable),
        ProbeRequest(
            "union", _NAMED, tries=2, options=answer_format(api, _UNION), provokes=refusable
        ),
        *(
            ProbeRequest(name, prompt, options=answer_format(api, schema), provokes=provokes)
            for name, (_, prompt, schema) in CONTRADICTED.items()
        ),
        ProbeRequest("without", _FREE),
        ProbeRequest(
            "abroad",
            _NAMED_ABROAD,
            tries=2,
            temperature=0.0,
            options=answer_format(api, _HARBOURS_ABROAD | {"required": []}),
            provokes=refusable,
            wanted=Wanted(text=_ABROAD),
        ),
        ProbeRequest("abroad without", _NAMED_ABROAD, temperature=0.0, wanted=Wanted(text=_ABROAD)),
        ProbeRequest(
            "free with a tool", _FREE, (ORDER,), tries=2, options=free, provokes=refusable
        ),
        ProbeRequest("tool without a schema", _FREE, (ORDER,)),
        ProbeRequest("object", _EITHER, tries=2, options=_object(api), provokes=provokes),
        ProbeRequest("object told", _TOLD, tries=2, options=_object(api), provokes=provokes),
        ProbeRequest("without object", _EITHER),
        beside("object streamed"),
        beside("object with a tool", tools=(ORDER,)),
        ProbeRequest("choices", _FREE, options=free | {"n": FEWEST_OTHERS + 1}, provokes=provokes),
    )


GROUP = ProbeGroup(
    "structured", STRUCTURED, generated=_requests, needs="json_schema", component="structured"
)
