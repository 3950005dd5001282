"""Composed tools and tools of agents: valid, with arguments that fit, and never those of tests."""

import json
import re
from random import Random

import jsonschema
import pytest

from training.data import mix
from training.data.agent_tools import coding, handoffs
from training.data.composed_tools import composed, suite
from training.data.held_out import held_out
from training.data.spans import marked, plain, to_json

MAKERS = {
    "composed": lambda rng: [composed(rng)],
    "suite": lambda rng: suite(rng, 4),
    "handoffs": lambda rng: handoffs(rng, 3),
    "coding": lambda rng: coding(rng, 3),
}


@pytest.mark.parametrize("maker", MAKERS.values(), ids=MAKERS)
def test_arguments_fit_the_schema_and_occur_in_the_request(maker):
    rng = Random(11)
    for _ in range(60):
        for tool, asker in maker(rng):
            assert re.fullmatch(r"[\w-]{1,64}", tool.name)
            ask = asker(rng, tool)
            written = to_json(ask.arguments)
            jsonschema.validate(json.loads(plain(written)), tool.parameters)
            assert all(value in ask.text for value in marked(written))


def test_a_request_for_a_tool_of_a_suite_names_the_action():
    rng = Random(12)
    for tool, asker in (pair for _ in range(20) for pair in suite(rng, 3)):
        text = asker(rng, tool).text.lower()
        assert any(verb in text for verb in asker.__self__.verbs)


def test_most_handoffs_have_no_arguments_and_all_have_a_description():
    rng = Random(13)
    pairs = [pair for _ in range(60) for pair in handoffs(rng, 3)]
    bare = [tool for tool, asker in pairs if asker(rng, tool).arguments == {}]
    assert 0.7 * len(pairs) < len(bare) < len(pairs)
    assert all(tool.description for tool, _ in pairs)
    assert sum(tool.name.startswith("transfer_to_") for tool, _ in pairs) > 0.3 * len(pairs)


def test_no_tool_is_held_out():
    tested = [
        tool for one in held_out() for tool in one.conversation.tools if one.skill[:6] == "client"
    ]
    names, texts = {tool.name for tool in tested}, {tool.description for tool in tested}
    rng = Random(14)
    tools = [tool for maker in MAKERS.values() for _ in range(150) for tool, _ in maker(rng)]
    assert not names & {tool.name for tool in tools}
    assert not texts & {tool.description for tool in tools}


def test_the_shares_of_groups_are_parameters():
    rng = Random(15)
    for _ in range(8):
        scene, _ = mix.scene_tasks(rng, mix.Shares(0.0, long=0.0, builtin=1.0))
        assert scene.setting.builtin
        scene, _ = mix.scene_tasks(rng, mix.Shares(0.0, long=0.0, builtin=0.0, client=1.0))
        assert scene.offers
        assert not scene.setting.builtin
