"""The chat template of the small checkpoint renders every kind of schema as openai-harmony does."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jinja2 import Environment
from schema_kinds import KINDS, obj

from harmony.conversation import Conversation, FunctionTool, User
from harmony.render import render_prompt
from harmony.vocabulary import harmony_encoding
from reference_engine.small import SMALL_CHECKPOINT

templates = pytest.importorskip("transformers.utils.chat_template_utils")
TEMPLATE = (SMALL_CHECKPOINT.parent / "chat_template.jinja").read_text(encoding="utf-8")


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
