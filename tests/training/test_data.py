"""The synthetic conversations: valid, reproducible, and separate from test prompts."""

import hashlib
import json
import re
from collections import Counter
from itertools import islice
from pathlib import Path
from random import Random

import jsonschema
import openai_harmony as oh
import pytest
from separation import HeldOut

from harmony.conversation import Answer, BuiltinCall, Call, Conversation, Developer, User
from harmony.render import render_prompt
from harmony.vocabulary import harmony_encoding
from training.data import Shares, documents, groups, mix
from training.data.catalogue import SMOKE_TOOLS
from training.data.held_out import (
    Boxed,
    BuiltinExpected,
    CallExpected,
    Contains,
    Exact,
    JsonObject,
    Letter,
    NoCall,
    held_out,
    user_texts,
)
from training.data.spans import PromptText, complete, copy, encode, marked, plain, to_json, units
from training.data.wording import CANONICAL, completion

ROOT = Path(__file__).parents[2]
PUBLIC_CASES = Path(__file__).parent / "data" / "public_cases.txt"
"""The prompts of openai/gpt-oss, compatibility-test/cases.jsonl, a hash for each word."""
REPLY_SKILLS = {
    "answer after two calls", "answer from built-in tool", "answer from result", "browser.find",
    "browser.open", "browser.search", "call new", "call one new",
    "call one relative", "call other", "call relative", "call smoke", "canary in developer message",
    "canary in earlier turn", "canary in thought", "canary unknown", "choice", "copy",
    "first of two calls", "forced call", "grader", "no call", "no tool", "output order", "python",
    "second call", "secret in long text", "sum",
}  # fmt: skip


@pytest.fixture(scope="module")
def scenes():
    rng = Random(21)
    return [mix.scene_tasks(rng, mix.Shares(0.1)) for _ in range(250)]


@pytest.fixture(scope="module")
def examples(scenes):
    """(scene, task, prefix, example) of every scene."""
    found = []
    for scene, tasks in scenes:
        group = mix.encoded(scene, tasks)
        found += [(scene, t, group.prefix, e) for t, e in zip(tasks, group.examples, strict=True)]
    return found


def test_groups_are_determined_by_the_seed():
    first, again, other = (list(islice(groups(seed, Shares(copy=0.2)), 5)) for seed in (7, 7, 8))
    assert first == again
    assert first != other


def test_the_share_of_copying_is_a_parameter():
    assert {e.skill for g in islice(groups(1, Shares(copy=1.0)), 5) for e in g.examples} == {"copy"}
    skills = [e.skill for g in islice(groups(1, Shares(copy=0.0)), 40) for e in g.examples]
    assert "copy" not in skills


def test_every_skill_occurs(examples):
    assert {example.skill for *_, example in examples} >= REPLY_SKILLS


def test_completions_parse_and_meet_the_task(examples):
    encoding = harmony_encoding()
    for _, task, _, example in examples:
        begun = encoding.decode(example.prompt).rpartition("<|start|>assistant")[2]
        text = begun + encoding.decode(example.completion)
        tokens = encoding.encode(text, allowed_special="all")
        last = encoding.parse_messages_from_completion_tokens(tokens, oh.Role.ASSISTANT)[-1]
        said = last.content[0].text
        match task.reply[-1]:
            case Call(name, arguments):
                assert (last.recipient, said) == (f"functions.{name}", plain(arguments))
                assert example.completion[-1] == encode("<|call|>")[0]
            case Answer(wanted):
                assert (last.channel, said) == ("final", plain(wanted))
                assert example.completion[-1] == encode("<|return|>")[0]
            case BuiltinCall(name, content):
                assert (last.channel, last.recipient, said) == ("analysis", name, plain(content))
                assert example.completion[-1] == encode("<|call|>")[0]


def test_arguments_follow_the_schema(examples):
    for scene, task, _, _ in examples:
        last = task.reply[-1]
        if isinstance(last, Call):
            schemas = {tool.name: tool.parameters for tool in scene.setting.tools}
            jsonschema.validate(json.loads(plain(last.arguments)), schemas[last.name])


def test_canonical_prompts_are_what_the_engine_renders(examples):
    checked = 0
    for scene, task, prefix, example in examples:
        if scene.style != CANONICAL or task.prefill or scene.opening or scene.setting.builtin:
            continue
        setting = scene.setting
        leading = (Developer(setting.instructions),) if setting.instructions else ()
        turns = [type(t)(*map(plain, vars(t).values())) for t in (*leading, *task.turns)]
        conversation = Conversation(
            tuple(turns), setting.tools, setting.effort, current_date=setting.current_date
        )
        assert list(prefix + example.prompt) == render_prompt(conversation)
        checked += 1
    assert checked > 1000


def test_one_line_markdown_has_one_line_and_documents_are_copied_whole():
    rng = Random(3)
    for _ in range(300):
        line, page = documents.document(rng, one_line=True), documents.document(rng)
        assert "\n" not in line
        assert page.strip()
        ids = complete(to_json({"m": copy(page)}), PromptText(units(encode(f"Convert\n\n{page}"))))
        assert json.loads(harmony_encoding().decode(ids)) == {"m": page}


def test_tool_names_are_unique_within_a_scene(scenes):
    for scene, _ in scenes:
        names = [tool.name for tool in scene.setting.tools]
        assert len(set(names)) == len(names)


def test_smoke_calls_are_the_largest_part_of_the_groups_without_long_texts(examples):
    skills = Counter(example.skill for scene, *_, example in examples if not scene.is_long)
    assert skills.most_common(1)[0][0] == "call smoke"


def test_prompts_and_completions_have_bounded_sizes(examples):
    usual = [(prefix, example) for scene, _, prefix, example in examples if not scene.is_long]
    prompts = [len(prefix) + len(example.prompt) for prefix, example in usual]
    completions = [len(example.completion) for *_, example in examples]
    assert sum(size < 800 for size in prompts) > 0.9 * len(prompts)
    assert sum(size < 120 for size in completions) > 0.97 * len(completions)


def test_thoughts_grow_with_effort(scenes):
    lengths: dict[str, list[int]] = {"low": [], "medium": [], "high": []}
    for scene, tasks in scenes:
        thoughts = [task.reply[0].text for task in tasks if len(task.reply) == 2]
        lengths[scene.setting.effort] += [len(encode(plain(thought))) for thought in thoughts]
    low, medium, high = (sum(sizes) / len(sizes) for sizes in lengths.values())
    assert low * 2 < medium
    assert medium * 2 < high


def test_copied_texts_occur_in_the_prompt(examples):
    decode = harmony_encoding().decode
    for _, task, prefix, example in examples:
        seen = decode(prefix) + decode(example.prompt)
        for value in marked(completion(task.reply)):
            assert value in seen


def test_a_secret_of_the_developer_is_never_denied(scenes):
    told = [(scene, tasks) for scene, tasks in scenes if scene.secret]
    assert len(told) > 10
    for scene, tasks in told:
        assert scene.secret.value in scene.setting.instructions
        assert not any(task.skill == "canary unknown" for task in tasks)


@pytest.mark.parametrize(
    ("prompt", "marked", "tokens"),
    [
        ("weather in Lisbon?", f'"{copy("Lisbon")}"', ['"', "Lis", "bon", '"']),
        ("weather in Lisbon?", f"in {copy('Lisbon')}", ["in", " Lisbon"]),
        ('say "Lisbon"', f"in {copy('Lisbon')}.", ["in", " Lis", "bon", "."]),
        ("nothing", copy("Lisbon"), ["Lis", "bon"]),
        ("12 and 2", f"{copy('2')}!", ["2", "!"]),
    ],
)
def test_copies_use_the_tokens_of_the_prompt(prompt, marked, tokens):
    ids = complete(marked, PromptText(units(encode(prompt))))
    assert [harmony_encoding().decode([i]) for i in ids] == tokens


def test_smoke_tools_are_those_of_the_harness():
    theirs = json.loads((ROOT / "harness/data/tools.json").read_text(encoding="utf-8"))
    ours = [(tool.name, tool.description, tool.parameters) for tool in SMOKE_TOOLS]
    assert ours == [(tool["name"], tool["description"], tool["parameters"]) for tool in theirs]


def test_training_texts_are_not_close_to_any_test_prompt(scenes):
    cases = (ROOT / "harness/data/cases.jsonl").read_text(encoding="utf-8").splitlines()
    kept = HeldOut([*user_texts(), *(json.loads(case)["input"] for case in cases)])
    rng = Random(99)
    more = [task for _ in range(250) for task in mix.scene_tasks(rng, mix.Shares(0.1))[1]]
    tasks = [task for _, tasks in scenes for task in tasks] + more
    texts = {turn.text for task in tasks for turn in task.turns if isinstance(turn, User)}
    assert len(texts) > 3500
    assert [text for text in texts if kept.is_close(text)] == []
    public = HeldOut(PUBLIC_CASES.read_text(encoding="utf-8").splitlines())
    assert [text for text in texts if public.is_close(hashed_words(text))] == []


def hashed_words(text):
    words = re.findall(r"\w+", text.lower())
    return " ".join(hashlib.sha256(word.encode()).hexdigest()[:8] for word in words)


@pytest.mark.parametrize(
    ("prompt", "close"),
    [
        ("Is the moon up right now?", True),
        ("is the  MOON up, right now", True),
        ("Is the sun up right now?", True),
        ("Tell me whether the moon has risen.", False),
        ("", False),
    ],
)
def test_close_prompts_are_detected(prompt, close):
    assert HeldOut(["Is the moon up right now?"]).is_close(prompt) is close


def test_held_out_prompts_render_and_cover_every_skill():
    prompts = list(held_out())
    for prompt in prompts:
        assert 40 < len(prompt.tokens) < 1200
    skills = [prompt.skill for prompt in prompts]
    for skill in ("canary in thought", "canary in developer message", "canary in earlier turn",
                  "canary unknown", "no call", "second call", "sum", "choice", "grader",
                  "output order", "answer from result", "client schema"):  # fmt: skip
        assert skills.count(skill) >= 20
    assert sum(prompt.conversation.tools == SMOKE_TOOLS for prompt in prompts) > 100
    assert sum(bool(prompt.conversation.builtin) for prompt in prompts) > 30


def test_held_out_prompts_for_a_built_in_tool_expect_its_call():
    names = ("browser.search", "browser.open", "browser.find", "python")
    prompts = [prompt for prompt in held_out() if prompt.skill in names]
    assert {prompt.skill for prompt in prompts} == set(names)
    for prompt in prompts:
        assert isinstance(prompt.expect, BuiltinExpected)
        assert prompt.expect.name == prompt.skill


def test_held_out_calls_follow_their_schema():
    calls = [prompt for prompt in held_out() if isinstance(prompt.expect, CallExpected)]
    assert len(calls) > 800
    for prompt in calls:
        schemas = {tool.name: tool.parameters for tool in prompt.conversation.tools}
        jsonschema.validate(prompt.expect.arguments, schemas[prompt.expect.name])


@pytest.mark.parametrize(
    ("expect", "right", "wrong"),
    [
        (CallExpected("f", {"a": 1}), Call("f", '{"a":1}'), Call("f", '{"a": 2}')),
        (CallExpected("f", {}), Call("f", "{}"), Call("g", "{}")),
        (CallExpected("f", {}), Call("f", "{}"), Call("f", "{")),
        (Contains("b"), Answer("abc"), Answer("xyz")),
        (Exact("b"), Answer("b"), Answer("b.")),
        (NoCall(), Answer("no"), Call("f", "{}")),
        (JsonObject(frozenset("ab"), {"a": 1}), Answer('{"a":1,"b":2}'), Answer('{"a":1}')),
        (JsonObject(frozenset("a"), {}), Answer('{"a":1}'), Answer("a: 1")),
        (Boxed(7), Answer(r"\boxed{3} \boxed{7}"), Answer(r"\boxed{7} \boxed{3}")),
        (Letter("B"), Answer("Answer: B"), Answer("B")),
        (BuiltinExpected("python", "1+1", whole=True), Call("python", "1+1"), Call("python", "1")),
        (BuiltinExpected("browser.find", "a"), Call("browser.find", "ab"), Call("python", "ab")),
    ],
)
def test_expectations_accept_right_and_reject_wrong_replies(expect, right, wrong):
    assert expect.met(right)
    assert not expect.met(wrong)
    assert not expect.met(None)
