"""Long texts: their secrets, the places of questions, and skipped positions."""

from itertools import islice
from random import Random

import pytest

from harmony.vocabulary import harmony_encoding
from training.data import Example, Group, Shares, groups, mix
from training.data.held_out.haystacks import DEPTHS, haystacks
from training.data.long_contexts import REACH, skips
from training.data.long_texts import long_text
from training.data.spans import encode
from training.packing import pack


@pytest.fixture(scope="module")
def scenes():
    rng = Random(5)
    drawn = (mix.scene_tasks(rng, mix.Shares(0.1), (150, 900)) for _ in range(200))
    return [(scene, tasks) for scene, tasks in drawn if scene.is_long]


def test_a_long_text_contains_its_secrets_and_ends_with_a_stop():
    rng = Random(2)
    lengths = []
    for _ in range(40):
        said = long_text(rng, 150, 2000)
        assert all(one.value in said.text for one in said.secrets)
        assert said.text[-1] in ".!?"
        names = [one.name for one in said.secrets]
        assert len(set(names)) == len(names) > 0
        lengths.append(len(encode(said.text)))
    assert min(lengths) < 400 < 1200 < max(lengths) < 4000


def test_prompts_with_an_opening_are_tokenized_as_their_text(scenes):
    opened = 0
    for scene, tasks in scenes:
        group = mix.encoded(scene, tasks)
        for example in group.examples:
            text = harmony_encoding().decode(group.prefix + example.prompt)
            assert encode(text) == group.prefix + example.prompt
            opened += scene.open_turn and text.count("<|start|>user") == 1
    assert opened > 20


def test_secrets_and_ordinary_tasks_follow_a_long_text(scenes):
    skills = {task.skill for _, tasks in scenes for task in tasks}
    assert {"secret in long text", "canary unknown", "call smoke"} <= skills


def test_skipped_positions_stay_within_the_context():
    rng = Random(1)
    drawn = [skips(rng, 500) for _ in range(200)]
    assert all(500 + sum(count for _, count in one) <= REACH for one in drawn)
    assert max(sum(count for _, count in one) for one in drawn) > 8000
    assert skips(rng, REACH) == ()
    assert any(group.skips for group in islice(groups(3, Shares(copy=0.1), (150, 300)), 60))


def test_a_packed_prefix_skips_positions():
    example = Example("x", (7, 8), (9,))
    batch = pack(Group((1, 2, 3, 4), (example,), skips=((1, 10), (3, 5))))
    assert batch.positions[:5].tolist() == [0, 11, 12, 18, 19]
    assert batch.positions[batch.cut : batch.cut + 2].tolist() == [19, 20]


@pytest.mark.parametrize("length", [512, 2048])
def test_held_out_haystacks_have_their_length_and_word(length):
    prompts = list(haystacks(length))
    assert len(prompts) == len(DEPTHS)
    for prompt in prompts:
        assert length <= len(prompt.tokens) < length * 1.1 + 60
        assert prompt.expect.text in prompt.conversation.items[0].text
    words = {prompt.expect.text for prompt in prompts}
    assert len(words) == len(prompts)
