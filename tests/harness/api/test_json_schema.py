"""The validator of arguments, answers and tools files."""

import json
import time

import pytest

from harness.api.json_schema import conforms, misfit, text_misfit, validator_of

DRAFT4 = "http://json-schema.org/draft-04/schema#"
DRAFT7 = "http://json-schema.org/draft-07/schema#"
DRAFT2020 = "https://json-schema.org/draft/2020-12/schema"
PAIR = [{"type": "number"}, {"type": "string"}]


def closed(**properties):
    return {"type": "object", "properties": properties, "additionalProperties": False}


def nested(schema, levels):
    """A schema whose references double at each level."""
    definitions = {"d0": schema}
    for level in range(1, levels + 1):
        definitions[f"d{level}"] = {"anyOf": [{"$ref": f"#/$defs/d{level - 1}"}] * 2}
    return {"$defs": definitions, "$ref": f"#/$defs/d{levels}"}


@pytest.mark.parametrize(
    ("schema", "fits", "violates"),
    [
        # The draft that `$schema` names.
        ({"$schema": DRAFT7, "items": PAIR}, [1, "a"], ["a", 1]),
        ({"$schema": DRAFT4, "minimum": 1, "exclusiveMinimum": True}, 2, 1),
        ({"$schema": DRAFT4 + "#", "type": "integer"}, 1, 1.5),
        ({"$schema": DRAFT2020, "prefixItems": PAIR}, [1, "a"], ["a", 1]),
        (
            {"$schema": DRAFT7, "$ref": "#/definitions/a", "definitions": {"a": {"type": "null"}}},
            None,
            1,
        ),
        # Without it, the newest draft that has the spelling.
        ({"items": PAIR}, [1, "a"], ["a", 1]),
        ({"prefixItems": PAIR, "items": False}, [1, "a"], [1, "a", 2]),
        ({"dependencies": {"a": ["b"]}}, {"a": 1, "b": 1}, {"a": 1}),
        ({"$schema": "https://spec.openapis.org/oas/3.1/dialect/base", "type": "string"}, "", 1),
        ({"properties": {"a": {"$id": "#a", "type": "null"}}}, {"a": None}, {"a": 1}),
        # OpenAPI 3.0.
        ({"minimum": 1, "exclusiveMinimum": True, "enum": [1, 2]}, 2, 1),
        ({"maximum": 1, "exclusiveMaximum": False}, 1, 2),
        ({"type": "string", "nullable": True}, None, 1),
        ({"type": "string", "enum": ["a"], "nullable": True}, None, "b"),
        ({"type": "string", "nullable": False}, "", None),
        # Members that a serializer left unset.
        ({"type": "object", "properties": []}, {"a": 1}, 1),
        ({"type": "object", "properties": None, "required": None}, {}, 1),
        (closed(a={"properties": []}, b=None), {"a": 1, "b": 2}, {"c": 1}),
        # Decimals.
        ({"multipleOf": 0.01}, 19.99, 19.995),
        ({"multipleOf": 0.1}, 1.1, 1.15),
        ({"enum": [9007199254740993]}, 9007199254740993, 9007199254740992),
        ({"maximum": 9007199254740992}, 9007199254740992, 9007199254740993),
        ({"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1}, 2**63 - 1, 2**63),
        ({"type": "number", "maximum": 1e308}, 1e308, float("inf")),
        ({"type": "number"}, float("inf"), "a"),
        ({"type": "integer", "multipleOf": 3}, 3 * 10**400, 10**400),
        # Patterns of ECMA-262.
        ({"pattern": r"^\p{Lu}$"}, "É", "é"),
        ({"pattern": r"^(?<year>\d{4})-\k<year>$"}, "2026-2026", "2026-2027"),
        ({"pattern": r"^\d$"}, "1", "١"),
        ({"pattern": r"^(?=.*\d)\w+$"}, "a1", "é1"),
        ({"pattern": r"^a$"}, "a", "a\n"),
        ({"pattern": r"^[^]\u{1F600}\/$"}, "\n😀/", "😀/"),
        ({"pattern": r"^[\w-\.]+\_$"}, "a-._", "é_"),
        ({"pattern": r"^(a+)+$"}, "a" * 99, "a" * 99 + "b"),
        ({"patternProperties": {r"^\p{Lu}": {"type": "null"}}}, {"É": None}, {"É": 1}),
        # Texts that UTF-8 does not have.
        ({"enum": ["\ud800"]}, "\ud800", "a"),
        ({"maxLength": 1}, "\ud83d\ude00", "\ud83d\ud83d"),
        # References.
        ({"properties": {"child": {"$ref": "#"}}, "type": "object"}, {"child": {}}, {"child": 1}),
        ({"$schema": DRAFT7, "$ref": DRAFT7}, {"type": "string"}, {"type": 5}),
        # Annotations.
        ({"type": "string", "format": "date"}, "tomorrow", 1),
        ({"$schema": DRAFT7, "type": "string", "contentEncoding": "base64"}, "?", 1),
    ],
)
def test_values_are_judged_as_the_schema_means_it(schema, fits, violates):
    assert validator_of(schema).unusable is None
    assert misfit(fits, schema) is None
    assert conforms(fits, schema)
    assert misfit(violates, schema)


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ({"type": "String"}, "$.type"),
        ({"multipleOf": 0}, "$.multipleOf: 0 is less"),
        ({"properties": [1]}, "$.properties"),
        ({"properties": {"a b": 5}}, '$.properties["a b"]: 5'),
        ({"$schema": DRAFT2020, "items": PAIR}, "$.items"),
        ({"$schema": DRAFT2020, "exclusiveMinimum": True}, "$.exclusiveMinimum"),
        ({"$ref": "#/$defs/a"}, "does not exist"),
        ({"$ref": "http://127.0.0.1:9/schema.json"}, "disabled"),
        ({"$ref": "file:///etc/passwd"}, "disabled"),
        ({"$dynamicRef": "#nope"}, "does not exist"),
        ({"patternProperties": {"(": {}}}, "regex"),
        ({"patternProperties": {r"^(a|aa)+\1$": {}}}, "regex"),
        ({"required": ["a", "a"]}, "$.required"),
        ({"items": PAIR, "type": "String"}, "$.type"),
        ({"prefixItems": 5}, "$.prefixItems"),
        (nested({"type": "string"}, 40), "multiply"),
        (json.loads('{"not":' * 101 + "{}" + "}" * 101), "nested deeper"),
    ],
)
def test_a_schema_that_cannot_be_used_judges_nothing_and_says_why(schema, reason):
    assert reason in validator_of(schema).unusable
    assert misfit(5, schema) is None
    assert not conforms(5, schema)
    assert text_misfit('{"a": 1, "a": 2}', schema) is None


@pytest.mark.parametrize(
    "pattern", ["(", r"^(?P<year>\d{4})$", r"\Aa\Z", "(?i)a", "a{,3}", r"^[\p{IsGreek}]$", "a++"]
)
def test_a_pattern_of_another_language_is_left_out(pattern):
    schema = closed(code={"type": "string", "pattern": pattern}, count={"type": "integer"})
    assert validator_of(schema).left_out == (pattern,)
    assert misfit({"code": "?", "count": 1}, schema) is None
    assert not conforms({"code": "?", "count": 1}, schema)
    assert (
        misfit({"code": "?", "count": "many"}, schema) == '$.count: "many" is not of type "integer"'
    )


@pytest.mark.parametrize(
    "around",
    [
        {"not": {"pattern": "(?i)a"}},
        {"oneOf": [{"pattern": "(?i)a"}, {"minLength": 1}]},
        {"if": {"pattern": "(?i)a"}, "then": False},
    ],
)
def test_a_pattern_that_is_left_out_refuses_nothing(around):
    """Accepting every text for it would refuse values that conform."""
    assert misfit("b", around) is None


def test_a_pattern_that_takes_too_long_is_not_judged():
    """A backreference can take exponential time in any engine."""
    schema = {"pattern": r"^(a|aa)+\1$", "maxLength": 99}
    start = time.monotonic()
    assert misfit("a" * 60 + "b", schema) is None
    assert "longer than 99" in misfit("a" * 100 + "b", schema)
    assert misfit("a" * 60 + "b", {"not": schema}) is None
    assert time.monotonic() - start < 10


def test_circles_and_multiplying_references_end():
    start = time.monotonic()
    for schema in (
        {"$ref": "#"},
        {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"},
        {"anyOf": [{"properties": {"a": {"$ref": "#"}}}, {"properties": {"a": {"$ref": "#"}}}]},
        nested({"type": "string"}, 12),
    ):
        value = 5
        for _ in range(90):
            value = {"a": value}
            misfit(value, schema)
    assert time.monotonic() - start < 20
    assert misfit(5, nested({"type": "string"}, 6)) == (
        "$: 5 is not valid under any of the schemas listed in the 'anyOf' keyword"
    )
    assert misfit(5, nested({"type": "string"}, 10)) == "$: the value fits none of the alternatives"


@pytest.mark.parametrize("levels", [101, 900])
def test_a_value_that_is_nested_very_deeply_is_not_judged(levels):
    assert (
        text_misfit("[" * levels + "]" * levels, {"items": {"$ref": "#"}, "type": "array"}) is None
    )


@pytest.mark.parametrize(
    ("kind", "fits", "violates"),
    [
        ("date", "2024-02-29", "2026-02-29"),
        ("date-time", "2026-02-28T10:00:00.5+02:00", "2026-02-28 10:00"),
        ("time", "10:00:00Z", "24:00:00Z"),
        ("duration", "P1DT2H", "1 day"),
        ("email", "ann@example.com", "ann"),
        ("hostname", "example.com", "-example"),
        ("ipv4", "127.0.0.1", "256.0.0.1"),
        ("ipv6", "::1", "1::2::3"),
        ("uuid", "2eb8aa08-aa98-11ea-b4aa-73b441d16380", "2eb8aa08"),
        ("uri", "?", None),
        ("of my own", "?", None),
    ],
)
def test_formats_of_strict_mode_count_in_strict_mode(kind, fits, violates):
    schema = {"format": kind}
    assert misfit(fits, schema, strict=True) is None
    if violates is not None:
        assert misfit(violates, schema, strict=True)
        assert misfit(violates, schema) is None


def test_a_text_with_a_key_twice_violates_every_schema():
    assert text_misfit('{"a": 1, "\\u0061": 2}', {}) == '$: an object has the key "a" twice'
    assert text_misfit('[{"b": {"a": 1}, "a": 1}]', {}) is None


def test_a_text_is_judged_by_the_digits_that_it_has():
    assert text_misfit("1.00000000000000000001", {"maximum": 1})
    assert text_misfit("1e400", {"type": "integer", "maximum": 1e308})
    assert text_misfit("19.990", {"multipleOf": 0.01}) is None
    with pytest.raises(ValueError, match="NaN"):
        text_misfit("NaN", {})


def test_the_violation_nearest_to_the_root_is_named():
    schema = closed(a={"items": {"type": "string"}}, b={"type": "string"})
    assert misfit({"a": [1], "b": 2}, schema) == '$.b: 2 is not of type "string"'
    assert misfit({"a": [1]}, schema) == '$.a[0]: 1 is not of type "string"'
    assert len(misfit("x" * 9999, {"type": "integer"})) < 300
