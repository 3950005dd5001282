"""Schemas as client libraries generate them: valid, with arguments that fit."""

import json
from dataclasses import replace
from random import Random

import jsonschema
import pytest

from harmony.conversation import Conversation, FunctionTool, User
from harmony.render import render_prompt
from harmony.vocabulary import harmony_encoding
from training.data.calls import OTHER_OFFERS, SMOKE_OFFERS
from training.data.client_schemas import Client, client, generated
from training.data.invented_tools import synthetic
from training.data.spans import plain, to_json
from training.data.task import Ask

TOOL = FunctionTool(
    "get_weather",
    "Current weather.",
    {
        "type": "object",
        "properties": {
            "city": {"type": "string", "description": "Where"},
            "unit": {"type": "string", "enum": ["celsius", "kelvin"], "default": "celsius"},
            "days": {"type": "integer"},
        },
        "required": ["city"],
    },
)


def asker(_rng, _tool):
    return Ask("Weather in Rome", {"city": "Rome"})


def test_arguments_fit_every_schema():
    rng = Random(4)
    for _ in range(30):
        offers = [*SMOKE_OFFERS, *OTHER_OFFERS, *(synthetic(rng) for _ in range(4))]
        style = client(rng)
        for offer in offers:
            pair = offer if isinstance(offer, tuple) else (offer.tool, offer.asker)
            tool, ask = generated(rng, style, *pair)
            arguments = json.loads(plain(to_json(ask(rng, tool).arguments)))
            jsonschema.validate(arguments, tool.parameters)


@pytest.mark.parametrize(
    ("style", "said", "arguments"),
    [
        (Client(titles=True), "// City\n//\n// Where\ncity: string,", {"city": "Rome"}),
        (Client(references=True), 'unit?: any, // default: "celsius"', {"city": "Rome"}),
        (
            Client(strict=True),
            "days: any,",
            {"city": "Rome", "unit": "celsius", "days": None},
        ),
        (
            Client(strict=True, null_types=True),
            "days: number | null,",
            {"city": "Rome", "unit": "celsius", "days": None},
        ),
    ],
)
def test_the_model_sees_a_schema_as_harmony_renders_it(style, said, arguments):
    tool, ask = generated(Random(1), replace(style, nested=False), TOOL, asker)
    prompt = render_prompt(Conversation((User("x"),), (tool,)))
    assert said in harmony_encoding().decode(prompt)
    assert json.loads(plain(to_json(ask(Random(1), tool).arguments))) == arguments


def test_parameters_may_be_wrapped_in_an_object():
    found = [generated(Random(seed), Client(nested=True), TOOL, asker) for seed in range(30)]
    nested = [ask(Random(1), tool).arguments for tool, ask in found]
    assert any(isinstance(value, dict) for one in nested for value in one.values())
    assert any(one == {"city": "Rome"} for one in nested)
