"""Requests for the text tools: arguments occur in the request, and nothing is invented."""

import re
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmony.conversation import FunctionTool
from training.data import natural, places, showing, smoke_asks
from training.data.catalogue import COMPATIBILITY_TOOLS, SMOKE_TOOLS
from training.data.documents import emphasised
from training.data.spans import plain
from training.data.task import Ask, parameter_names

TEXT_TOOLS = [
    tool
    for tool in (*SMOKE_TOOLS, *COMPATIBILITY_TOOLS)
    if parameter_names(tool)[:1] in {(), ("location",), ("text",), ("markdown",)}
]
DRAWS = 1500
CELSIUS = re.compile(r"celsius|centigrade|°C|\bC\b", re.IGNORECASE)
FAHRENHEIT = re.compile(r"fahrenheit|°F|\bF\b", re.IGNORECASE)


def drawn(tool: FunctionTool) -> list[Ask]:
    rng = Random(11)
    return [smoke_asks.COMPOSED[tool.name](rng, tool) for _ in range(DRAWS)]


@pytest.mark.parametrize("tool", TEXT_TOOLS, ids=lambda tool: tool.name)
def test_arguments_occur_in_the_request_and_no_slot_is_left(tool):
    for ask in drawn(tool):
        rest = ask.text
        for name in parameter_names(tool)[:1]:
            value = plain(ask.arguments[name])
            assert value
            assert value in ask.text
            rest = rest.replace(value, "")
        assert not re.search(r"\{[a-zA-Z]\}", rest), ask.text


@pytest.mark.parametrize("tool", TEXT_TOOLS, ids=lambda tool: tool.name)
def test_requests_differ(tool):
    """Two words for a status can coincide; anything else is new in each draw."""
    least = 0.85 if tool.parameters["properties"] == {} else 0.99
    assert len({ask.text for ask in drawn(tool)}) > least * DRAWS


def test_a_unit_is_an_argument_exactly_if_the_request_names_it():
    for ask in drawn(SMOKE_TOOLS[1]):
        said = ask.text.replace(plain(ask.arguments["location"]), "")
        named = {
            unit
            for unit, form in (("celsius", CELSIUS), ("fahrenheit", FAHRENHEIT))
            if form.search(said)
        }
        assert named == ({ask.arguments["unit"]} if "unit" in ask.arguments else set()), ask.text


def test_a_tool_without_a_unit_parameter_gets_none():
    asks = drawn(COMPATIBILITY_TOOLS[0])
    assert all(ask.arguments.keys() == {"location"} for ask in asks)
    assert any("Fahrenheit" in ask.text for ask in asks)


def test_a_place_occurs_in_the_request_by_its_name():
    rng = Random(4)
    for _ in range(2000):
        said, place = places.spoken(rng)
        assert place in said
        assert not place.startswith(("the ", "zip", "postcode"))


def test_postal_codes_have_the_shapes_of_many_countries():
    rng = Random(8)
    codes = {re.sub("[A-Z]", "L", re.sub(r"\d", "0", places.postal_code(rng))) for _ in range(1500)}
    assert {"LL0 0LL", "L0L 0L0", "0000 LL", "00000-0000", "00000"} <= codes
    assert len(codes) > 15


@given(
    st.text(st.characters(exclude_characters="<>"), min_size=1), st.randoms(use_true_random=False)
)
def test_a_delimited_text_is_unambiguous(text, rng):
    shown = showing.between(rng, text, (*showing.QUOTES, *showing.FENCES))
    signs = {*showing.QUOTES, *showing.FENCES, ("<<", ">>")}
    assert any(
        shown == f"{left}{text}{right}" and left.strip() not in text and right.strip() not in text
        for left, right in signs
    )


def test_emphasis_keeps_the_order_of_words():
    rng = Random(2)
    for _ in range(500):
        seed = rng.random()
        words = natural.sentence(Random(seed)).split(" ")
        marked = emphasised(Random(seed))
        at = 0
        for word in words:
            bare = word.rstrip(".,:;!?")
            at = marked.index(bare, at) + len(bare)
        assert marked.count(" ") == len(words) - 1
