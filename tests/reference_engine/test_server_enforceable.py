"""What strict mode accepts conforms to the schema, in the judgement of the harness."""

import json
import random

import numpy as np
import pytest
import schemas
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harmony.vocabulary import harmony_encoding, token_bytes
from harness.api.json_schema import text_misfit
from reference_engine.server.grammar import _matcher, rules_for

_LONGEST = 60  # tokens of a document
_JSON = [harmony_encoding().encode(text)[0] for text in '"{}[],:0125-.eEaTZ\\'] + [
    harmony_encoding().encode(text)[0] for text in ("true", "null", '":', '"}', ',"', "u", "00")
]


def accepts(schema, text, *, strict=True):
    """Whether a document may be written under a schema."""
    matcher = _matcher(rules_for(schema, strict=strict))
    for token in harmony_encoding().encode(text):
        if matcher.try_consume_tokens([token]) != 1:
            return False
    return matcher.is_accepting()


def document(matcher, chance):
    """A document that the grammar accepts, from random tokens; None if it has not ended."""
    written = b""
    for _ in range(_LONGEST):
        if matcher.is_accepting() and chance.random() < 0.5:
            return written
        bits = np.frombuffer(matcher.compute_bitmask(), dtype=np.uint8)
        allowed = np.flatnonzero(np.unpackbits(bits, bitorder="little")[: len(token_bytes())])
        if not len(allowed):
            break
        usual = [token for token in _JSON if token in allowed]
        picked = usual if usual and chance.random() < 0.8 else allowed
        token = int(chance.choice(picked))
        if matcher.try_consume_tokens([token]) != 1:
            break
        written += token_bytes()[token]
    return written if matcher.is_accepting() else None


def disagreement(chance):
    """A generated schema with a document that strict mode accepts and that violates it."""
    made = chance.choice((schemas.closed, schemas.closed, schemas.closed, schemas.parameters))(
        chance
    )
    if not isinstance(made, dict):
        return None
    schema = json.loads(json.dumps(made).replace(r"\ud800", r"\ufffd"))
    try:
        rules = rules_for(schema, strict=True)
    except ValueError:
        return None
    written = document(_matcher(rules), chance)
    try:
        text = written.decode() if written is not None else None
    except UnicodeDecodeError:
        return None
    problem = text and text_misfit(text, schema, strict=True)
    return (problem, text, schema) if problem else None


@given(st.integers(min_value=0, max_value=10**9))
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
def test_what_strict_mode_accepts_conforms(seed):
    assert disagreement(random.Random(seed)) is None


CLOSED = {"type": "object", "properties": {"a": {"type": "integer"}}}
EITHER = {
    "type": "object",
    "properties": {"berth": {"type": "integer"}, "open": {"type": "boolean"}},
    "anyOf": [{"required": ["open"]}],
}


@pytest.mark.parametrize(
    ("schema", "accepted", "refused"),
    [
        (
            {"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1},
            "5",
            "9223372036854775808",
        ),
        ({"type": "integer", "maximum": 2**53 + 1}, "5", str(2**53 + 2)),
        (
            {"type": "number", "minimum": -3.4028234663852886e38, "maximum": 3.4028234663852886e38},
            "5.5",
            "1e39",
        ),
        ({"type": "array", "items": {"type": "integer"}, "uniqueItems": False}, "[1, 1]", "[a]"),
        ({"type": "string", "format": "date"}, '"2024-02-29"', '"2026-02-29"'),
        ({"type": "string", "format": "date"}, '"2000-02-29"', '"1900-02-29"'),
        (
            {"type": "string", "format": "date-time"},
            '"2026-04-30T10:00:00Z"',
            '"2026-04-31T10:00:00Z"',
        ),
        ({"type": "string", "format": "time"}, '"23:59:59.5+01:00"', '"10:00:60Z"'),
        ({"type": "string", "pattern": "^a.$"}, '"ab"', '"a\u2028"'),
        ({"type": "string", "pattern": r"^a[\s.]$"}, '"a."', '"a\u0085"'),
        (CLOSED, '{"a":1}', r'{"a":1,"\u0061":"x"}'),
        (CLOSED, '{"a":1}', '{"a":1,"b":2}'),
        (EITHER, '{"berth":12,"open":true}', '{"berth":12}'),
        ({"$ref": "#/$defs/port", "$defs": {"port": {"enum": ["Brest"]}}}, '"Brest"', '"Lisbon"'),
    ],
)
def test_strict_mode_enforces(schema, accepted, refused):
    assert accepts(schema, accepted)
    assert not accepts(schema, refused)


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ({"enum": [2**53 + 1]}, "not exact as a float64"),
        ({"const": {"id": [2**53 + 1]}}, "not exact as a float64"),
        ({"type": "integer", "minimum": 2**53 + 1}, "excludes all numbers"),
        ({"type": "string", "pattern": "^(?=D)[A-Z]+$"}, "look-around"),
        ({"type": "string", "pattern": r"^[^\S]$"}, "brackets"),
        ({"type": "array", "items": {"type": "null"}, "uniqueItems": True}, "uniqueItems"),
        ({"allOf": [{"additionalProperties": {}}], "enum": []}, "no values"),
        ({}, "strict mode requires"),
        ({"type": "array"}, "strict mode requires"),
        (CLOSED | {"additionalProperties": True}, "strict mode requires"),
        (CLOSED | {"patternProperties": {"^b": {"type": "null"}}}, "strict mode requires"),
        ({"anyOf": [CLOSED, {"type": "array", "items": {}}]}, "strict mode requires"),
        ({"$ref": "#/$defs/any", "$defs": {"any": {}}}, "strict mode requires"),
    ],
)
def test_strict_mode_refuses_what_it_cannot_enforce(schema, reason):
    with pytest.raises(ValueError, match=reason):
        rules_for(schema, strict=True)


@pytest.mark.parametrize(
    ("schema", "document"),
    [
        ({"enum": [2**53 + 1]}, str(2**53 + 1)),
        ({"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1}, str(2**63 - 1)),
        ({"type": "number", "maximum": 3.4028234663852886e38}, "1e38"),
        ({"type": "string", "pattern": "^(?=D)[A-Z]+$"}, '"Dover"'),
        ({"type": "object", "properties": {"a": {"uniqueItems": False}}}, '{"a":[1,1],"b":2}'),
    ],
)
def test_without_strict_mode_such_parts_are_left_out(schema, document):
    assert accepts(schema, document, strict=False)
