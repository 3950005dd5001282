"""Schemas that people send: what arguments and answers are judged by, and what judges nothing."""

import json
import random

import pytest
import schemas
from examined import details, findings
from replies import Reply
from written import chat

from harness.api.parsed_rollout import parse_rollout
from harness.rules.measured import measured_score
from harness.traffic.conversations import read_traffic

DRAFT7 = "http://json-schema.org/draft-07/schema#"


def reported(parameters, arguments, *, strict=True, kind=findings):
    """What is found of a call of a function with these parameters."""
    function = {"name": "set_price", "parameters": parameters, "strict": strict}
    tools = {"tools": [{"type": "function", "function": function}]}
    return kind(chat({}, Reply(call=("set_price", arguments)), tools))


def answered(schema, text, *, strict=True):
    wanted = {"name": "price", "schema": schema, "strict": strict}
    body = {"response_format": {"type": "json_schema", "json_schema": wanted}, "tools": None}
    return findings(chat({}, Reply(text=text), body))


def closed(**properties):
    return {"type": "object", "properties": properties, "additionalProperties": False}


PAIR = {"type": "array", "items": [{"type": "number"}, {"type": "string"}]}


@pytest.mark.parametrize(
    ("schema", "fits", "violates"),
    [
        (closed(price={"type": "number", "multipleOf": 0.01}), {"price": 4.35}, {"price": 4.355}),
        (closed(a={"minimum": 0, "exclusiveMinimum": True}), {"a": 0.5}, {"a": 0}),
        ({"$schema": DRAFT7} | closed(a=PAIR), {"a": [1, "b"]}, {"a": ["b", 1]}),
        (closed(a={"type": "string", "format": "date"}), {"a": "2024-02-29"}, {"a": "2026-02-29"}),
        (closed(a={"pattern": "("}, b={"type": "null"}), {"a": "?", "b": None}, {"b": 1}),
    ],
)
def test_strict_arguments_and_answers_are_judged_as_the_schema_means_it(schema, fits, violates):
    assert reported(schema, json.dumps(fits)) <= {"request.schema"}
    assert answered(schema, json.dumps(fits)) <= {"request.schema"}
    assert "calls.arguments.strict" in reported(schema, json.dumps(violates))
    assert "answer.json" in answered(schema, json.dumps(violates))


def test_formats_are_judged_in_strict_mode_only():
    schema = closed(day={"type": "string", "format": "date"})
    assert answered(schema, '{"day": "tomorrow"}') == {"answer.json"}
    assert answered(schema, '{"day": "tomorrow"}', strict=False) == set()


def test_arguments_with_a_key_twice_are_an_error():
    schema = closed(a={"type": "integer"})
    assert reported(schema, '{"a": 1, "\\u0061": 2}') == {"calls.arguments.strict"}


@pytest.mark.parametrize("parameters", [{"type": "object", "properties": []}, {"properties": None}])
def test_members_that_a_serializer_left_unset_are_no_finding(parameters):
    assert reported(parameters, "{}") == set()
    assert answered(parameters, "{}") == set()


@pytest.mark.parametrize(
    ("parameters", "got"),
    [
        ({"multipleOf": 0}, "$.multipleOf: 0"),
        ({"$ref": "http://127.0.0.1:9/schema.json"}, "http://127.0.0.1:9/schema.json"),
        (closed(a={"pattern": "(?P<year>a)"}), "(?P<year>a)"),
    ],
)
def test_a_schema_that_judges_nothing_is_named(parameters, got):
    [found] = reported(parameters, '{"a": "b"}', kind=details)
    assert (found.id, found.severity) == ("request.schema", "info")
    assert "set_price" in found.message
    assert got in found.evidence.got


def test_generated_schemas_raise_no_error(tmp_path):
    file = tmp_path / "traffic.jsonl"
    made = (schemas.recorded(random.Random(n), ("chat", "responses")[n % 2]) for n in range(60))
    file.write_text("".join(f"{line}\n" for line in made), "utf-8")
    rollouts = read_traffic([file]).rollouts
    assert len(rollouts) > 50
    for recorded in rollouts:
        assert not measured_score(parse_rollout(recorded), {"outcome": "answered"}).broken
