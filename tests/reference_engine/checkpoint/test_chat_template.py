"""The chat template of the small checkpoint renders every kind of schema as openai-harmony does."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jinja2 import Environment

from harmony.conversation import Conversation, FunctionTool, User
from harmony.render import render_prompt
from harmony.vocabulary import harmony_encoding
from reference_engine.small import SMALL_CHECKPOINT

templates = pytest.importorskip("transformers.utils.chat_template_utils")
TEMPLATE = (SMALL_CHECKPOINT.parent / "chat_template.jinja").read_text(encoding="utf-8")

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


def in_template(schema: Any, description: str = "Do it.") -> str:
    function = {"name": "f", "description": description, "parameters": schema}
    rendered, _ = templates.render_jinja_template(
        conversations=[[{"role": "user", "content": "q"}]],
        tools=[{"type": "function", "function": function}],
        chat_template=TEMPLATE,
        add_generation_prompt=True,
    )
    return str(rendered[0])


def in_harmony(schema: Any, description: str = "Do it.") -> str:
    conversation = Conversation((User("q"),), (FunctionTool("f", description, schema),))
    return str(harmony_encoding().decode(render_prompt(conversation)))


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_of_schema_is_rendered_as_harmony_does(kind: str) -> None:
    assert in_template(KINDS[kind]) == in_harmony(KINDS[kind])


@pytest.mark.parametrize("text", ["", "a\n", "a\nb", "a\r\nb\r\n", "\n", "\n\na", "a\r", "\r\n"])
def test_the_lines_of_a_description_are_those_of_harmony(text: str) -> None:
    assert in_template({}, text) == in_harmony({}, text)


def test_an_engine_that_escapes_json_for_html_renders_the_same() -> None:
    """As minijinja and Jinja2 without transformers do."""
    written = {"<b>": "&'", "a": "\\\\u003c \\"}
    schema = obj(a={"type": "object", "default": written})
    function = {"name": "f", "parameters": schema}
    template = Environment(trim_blocks=True, lstrip_blocks=True).from_string(TEMPLATE)
    rendered = template.render(
        messages=[{"role": "user", "content": "q"}], tools=[function], add_generation_prompt=True
    )
    assert rendered == in_harmony(schema, "")


TEXTS = st.sampled_from(["", "x", "null", 'say "hi"', "東京 <b>&", "two\nlines"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.sampled_from([0.5, 1.0]) | TEXTS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXTS, inner, max_size=2),
    max_leaves=3,
)
TYPES = st.sampled_from(["string", "number", "integer", "boolean", "null", "array", "object"])


def schemas(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Schemas with any combination of keywords, some of the wrong type."""
    return st.fixed_dictionaries(
        {},
        optional={
            "type": TYPES | st.lists(TYPES, max_size=2) | st.integers(0, 1),
            "title": TEXTS | st.none(),
            "description": TEXTS | st.integers(0, 1),
            "default": VALUES,
            "enum": st.lists(TEXTS | st.none(), max_size=3) | st.none(),
            "examples": st.lists(TEXTS | st.integers(0, 1), max_size=2) | TEXTS,
            "nullable": st.booleans() | st.integers(0, 1),
            "required": st.lists(st.sampled_from(["a", "items"]), max_size=2) | st.none(),
            "properties": st.dictionaries(
                st.sampled_from(["a", "items", "type"]), inner, max_size=2
            )
            | st.lists(st.none(), max_size=1),
            "items": inner,
            "oneOf": st.lists(inner, max_size=2) | st.none(),
            "anyOf": st.lists(inner, max_size=1),
        },
    )


@settings(max_examples=60)
@given(st.recursive(schemas(st.booleans() | st.none()), schemas, max_leaves=4))
def test_any_schema_is_rendered_as_harmony_does(schema: Any) -> None:
    given_ = {"type": "object", "properties": {"p": schema}}
    assert in_template(schema) == in_harmony(schema)
    assert in_template(given_) == in_harmony(given_)
