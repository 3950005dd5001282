"""Every kind of schema that parameters of tools may have, also wrong ones, by its name."""

from typing import Any

S = {"type": "string"}


def obj(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


KINDS: dict[str, Any] = {
    "empty": {},
    "no properties": {"type": "object"},
    "properties null": {"type": "object", "properties": None},
    "properties a list": {"type": "object", "properties": []},
    "true": obj(a=True),
    "false": obj(a=False),
    "null schema": obj(a=None),
    "no type": obj(a={}),
    "number as schema": obj(a=3),
    "string": obj(a=S),
    "number": obj(a={"type": "number"}),
    "integer": obj(a={"type": "integer"}),
    "boolean": obj(a={"type": "boolean"}),
    "null": obj(a={"type": "null"}),
    "unknown type": obj(a={"type": "date"}),
    "type a number": obj(a={"type": 5}),
    "type a mapping": obj(a={"type": {"a": 1}}),
    "array": obj(a={"type": "array"}),
    "array of strings": obj(a={"type": "array", "items": S}),
    "array of arrays": obj(
        a={"type": "array", "items": {"type": "array", "items": {"type": "integer"}}}
    ),
    "items null": obj(a={"type": "array", "items": None}),
    "items true": obj(a={"type": "array", "items": True}),
    "tuple": obj(a={"type": "array", "items": [S, S]}),
    "prefixItems": obj(a={"type": "array", "prefixItems": [S]}),
    "array of enums": obj(a={"type": "array", "items": {"type": "string", "enum": ["x", "y"]}}),
    "array of objects": obj(a={"type": "array", "items": obj(b=S)}),
    "described items": obj(a={"type": "array", "items": {**obj(b=S), "description": "An item"}}),
    "nullable array": obj(a={"type": "array", "items": S, "nullable": True}),
    "nullable items": obj(a={"type": "array", "items": {**S, "nullable": True}}),
    "enum": obj(a={"type": "string", "enum": ["x", "y"]}),
    "enum with null": obj(a={"type": "string", "enum": ["x", None, 3]}),
    "enum of null": obj(a={"type": "string", "enum": [None]}),
    "empty enum": obj(a={"type": "string", "enum": [], "default": "x"}),
    "enum of numbers": obj(a={"type": "integer", "enum": [1, 2]}),
    "enum of numbers with default": obj(a={"type": "integer", "enum": [1, 2], "default": 2}),
    "enum without type": obj(a={"enum": ["x"]}),
    "enum no list": obj(a={"type": "string", "enum": "xy"}),
    "enum with quotes": obj(a={"type": "string", "enum": ['"', "\\", "é", "<b>&'"]}),
    "const": obj(a={"const": "x"}),
    "types": obj(a={"type": ["string", "null"]}),
    "types with integer": obj(a={"type": ["integer", "boolean"]}),
    "one type": obj(a={"type": ["string"]}),
    "no types": obj(a={"type": []}),
    "types mixed": obj(a={"type": ["string", 3, "null"]}),
    "types with enum": obj(a={"type": ["string", "null"], "enum": ["a", None]}),
    "types nullable": obj(a={"type": ["string", "number"], "nullable": True}),
    "types object": obj(a={"type": ["object", "null"], "properties": {"b": S}}),
    "nullable": obj(a={**S, "nullable": True}),
    "nullable false": obj(a={**S, "nullable": False}),
    "nullable number": obj(a={**S, "nullable": 1}),
    "nullable any": obj(a={"nullable": True}),
    "nullable null": obj(a={"type": ["null"], "nullable": True}),
    "nullable enum": obj(a={"type": "string", "enum": ["null", "x"], "nullable": True}),
    "nullable object": obj(a={**obj(b=S), "nullable": True}),
    "default string": obj(a={**S, "default": "x"}),
    "default quotes": obj(a={**S, "default": 'say "hi"\n'}),
    "default empty": obj(a={**S, "default": ""}),
    "default number": obj(a={"type": "number", "default": 1.5}),
    "default zero": obj(a={"type": "integer", "default": 0}),
    "default whole float": obj(a={"type": "number", "default": 1.0}),
    "default false": obj(a={"type": "boolean", "default": False}),
    "default null": obj(a={**S, "default": None}),
    "default list": obj(a={"type": "array", "default": [1, "é", None, {"b": 2}]}),
    "default empty list": obj(a={"type": "array", "default": []}),
    "default object": obj(a={"type": "object", "default": {"z": 1, "a": [True]}}),
    "default empty object": obj(a={"type": "object", "default": {}}),
    "default of enum": obj(a={"type": "string", "enum": ["x"], "default": "x"}),
    "number default of enum": obj(a={"type": "string", "enum": ["x"], "default": 3}),
    "default list with enum": obj(a={"type": "string", "enum": ["x"], "default": ["x"]}),
    "default escaped": obj(a={"type": "object", "default": {"<b>": "&'\"\\"}}),
    "title": obj(a={**S, "title": "A"}),
    "title empty": obj(a={**S, "title": ""}),
    "title no text": obj(a={**S, "title": 3}),
    "title and description": obj(a={**S, "title": "A", "description": "What"}),
    "root title": {**obj(a=S), "title": "Root"},
    "description": obj(a={**S, "description": "What"}),
    "empty description": obj(a={**S, "description": ""}),
    "lines": obj(a={**S, "description": "One\nTwo\n"}),
    "description no text": obj(a={**S, "description": ["x"]}),
    "root description": {**obj(a=S), "description": "Root\nmore"},
    "examples": obj(a={**S, "examples": ["x", '"y"']}),
    "examples of others": obj(a={**S, "examples": [1, None, "z"]}),
    "no examples": obj(a={**S, "examples": []}),
    "examples no list": obj(a={**S, "examples": "xyz"}),
    "example": obj(a={**S, "example": "x"}),
    "nested": obj(a=obj(b=obj(c={**S, "description": "Deep"}))),
    "nested description": obj(a={**obj(b=S), "description": "Inner"}),
    "nested default": obj(a={**obj(b=S), "default": {"b": "x"}}),
    "required": {**obj(a=S, b=S), "required": ["b"]},
    "nested required": obj(a={**obj(b=S, c=S), "required": ["c"]}),
    "required no list": {**obj(a=S), "required": 3},
    "required text": {**obj(a=S), "required": "a"},
    "required null": {**obj(a=S), "required": None},
    "oneOf": obj(a={"oneOf": [S, {"type": "number"}]}),
    "oneOf described": obj(
        a={
            "description": "Either",
            "oneOf": [{**S, "description": "A"}, {"type": "number", "description": "B"}],
        }
    ),
    "oneOf same description": obj(
        a={
            "description": "A",
            "oneOf": [{**S, "description": "A"}, {"type": "number", "description": "B"}],
        }
    ),
    "oneOf repeated": obj(
        a={
            "description": "B",
            "oneOf": [{**S, "description": "A"}, {"type": "number", "description": "B"}],
        }
    ),
    "oneOf undescribed": obj(
        a={"oneOf": [{**S, "description": "A", "default": "x"}, {"type": "number", "default": 1}]}
    ),
    "oneOf default": obj(a={"default": "x", "oneOf": [S]}),
    "oneOf default of enum": obj(
        a={
            "default": "x",
            "enum": ["x"],
            "oneOf": [{"type": "string", "enum": ["x"], "default": "x"}],
        }
    ),
    "oneOf default list": obj(
        a={"default": [1, 2], "oneOf": [{"type": "array", "default": [1, {"a": 2}]}]}
    ),
    "oneOf nullable": obj(
        a={"oneOf": [{**S, "nullable": True}, {"type": ["null"], "nullable": True}]}
    ),
    "oneOf of objects": obj(a={"oneOf": [obj(b=S), {**obj(c=S), "description": "C"}]}),
    "oneOf empty": obj(a={"oneOf": []}),
    "oneOf no list": obj(a={"oneOf": "x", "description": "D", "default": 1}),
    "oneOf null": obj(a={"oneOf": None, "type": "string", "description": "D"}),
    "oneOf booleans": obj(a={"oneOf": [True, False]}),
    "oneOf title": obj(a={"title": "T", "examples": ["e"], "oneOf": [S]}),
    "oneOf empty description": obj(
        a={"description": "", "oneOf": [{**S, "description": ""}, {**S, "description": ""}]}
    ),
    "oneOf empty variant text": obj(
        a={"oneOf": [{**S, "description": ""}, {**S, "description": "", "default": 1}]}
    ),
    "root oneOf": {"oneOf": [obj(a=S), obj(b=S)]},
    "root oneOf with texts": {
        "oneOf": [
            {**obj(a=S), "description": "A", "default": "x"},
            {"type": "string", "enum": ["x"], "default": "x", "nullable": True},
            {**S, "default": [1]},
        ]
    },
    "items oneOf": obj(
        a={
            "type": "array",
            "items": {"oneOf": [{**S, "description": "A"}, {"type": "number", "default": 2}]},
        }
    ),
    "oneOf in oneOf": obj(a={"oneOf": [{"oneOf": [S, {"type": "number"}]}, S]}),
    "type beside oneOf": obj(a={"type": "string", "oneOf": [S]}),
    "anyOf": obj(a={"anyOf": [S, {"type": "null"}], "default": None}),
    "allOf": obj(a={"allOf": [S], "description": "All"}),
    "not": obj(a={"not": S}),
    "$ref": {**obj(a={"$ref": "#/$defs/x"}), "$defs": {"x": S}},
    "additionalProperties": {**obj(a=S), "additionalProperties": False},
    "map": obj(a={"type": "object", "additionalProperties": S}),
    "patternProperties": {"type": "object", "patternProperties": {"^x": S}},
    "bounds": obj(a={"type": "integer", "minimum": 1, "maximum": 3, "format": "int32"}),
    "format": obj(a={**S, "format": "date", "pattern": "^x"}),
    "deprecated": obj(a={**S, "deprecated": True, "readOnly": True}),
    "named as keywords": obj(
        items=S,
        type=S,
        properties=S,
        title=S,
        default={"type": "integer", "default": 1},
        required=S,
        description=S,
        get=S,
        keys=S,
        values=S,
        oneOf=S,
        enum=S,
    ),
    "odd names": obj(**{"a b": S, "é": S, "": S, "a-b": S, '"': S, "1": S}),
    "root string": S,
    "root array": {"type": "array", "items": S},
    "root types": {"type": ["object", "null"]},
    "root untyped": {"properties": {"a": S}},
}
