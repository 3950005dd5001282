"""The handwritten requests: valid, and separate from test prompts."""

import hashlib
import json
import re
from functools import cache
from itertools import product, zip_longest
from pathlib import Path

import pytest
from separation import HeldOut

from harmony.conversation import FunctionTool, User
from training.data import phrasings
from training.data.catalogue import OTHER_TOOLS, SMOKE_TOOLS
from training.data.held_out import CallExpected, held_out, user_texts
from training.data.relatives import FAMILIES
from training.data.requests import whole_requests

ROOT = Path(__file__).parents[2]
PUBLIC_CASES = Path(__file__).parent / "data" / "public_cases.txt"
FILLERS = {
    "t": ("service", "system", "server", "API"),
    "k": ("line", "bar", "scatter", "animal", "colour"),
    "n": ("code word", "secret", "password", "codeword"),
    "b": ("square brackets", "round brackets", "double quotes", "parentheses", "asterisks"),
    "u": ("",), "e": ("",), "j": (" ",),
}  # fmt: skip
LOOKUP = FunctionTool(
    "lookup",
    "",
    {
        "type": "object",
        "properties": {"name": {"type": "string"}, "deep": {"type": "boolean"}},
        "required": ["name"],
    },
)


@cache
def hashed(word):
    return hashlib.sha256(word.encode()).hexdigest()[:8]


def hashed_words(text):
    return " ".join(map(hashed, re.findall(r"\w+", text.lower())))


def filled(parts):
    """The texts that a line becomes with each choice of fillers."""
    for values in product(*(FILLERS.get(slot, ("zzyzx",)) for slot in parts.slots)):
        yield "".join(map("".join, zip_longest(parts.said, values, fillvalue="")))


def every_text():
    for parts in phrasings.fragments():
        yield from filled(parts)
    for tool in SMOKE_TOOLS:
        yield from (request.text for request in whole_requests(tool.name))


def test_no_line_is_close_to_a_test_prompt():
    cases = (ROOT / "harness/data/cases.jsonl").read_text(encoding="utf-8").splitlines()
    kept = HeldOut([*user_texts(), *(json.loads(case)["input"] for case in cases)])
    public = HeldOut(PUBLIC_CASES.read_text(encoding="utf-8").splitlines())
    texts = list(every_text())
    assert len(texts) > 5000
    assert [text for text in texts if kept.is_close(text)] == []
    assert [text for text in texts if public.is_close(hashed_words(text))] == []


def strings(arguments):
    """All strings in arguments."""
    if isinstance(arguments, dict):
        return [text for value in arguments.values() for text in strings(value)]
    if isinstance(arguments, list):
        return [text for value in arguments for text in strings(value)]
    return [str(arguments)]


def frame(text, arguments):
    """A request without its values, or an empty text if hardly a word remains."""
    for value in sorted(strings(arguments), key=len, reverse=True):
        text = text.replace(value, " ")
    return text if len(re.findall(r"\w+", text)) > 2 else ""


@pytest.fixture(scope="module")
def frames():
    """The requests of the cases and held-out prompts for smoke tools, without their values."""
    lines = (ROOT / "harness/data/cases.jsonl").read_text(encoding="utf-8").splitlines()
    cases = [json.loads(line) for line in lines]
    found = [frame(case["input"], json.loads(case["expected_arguments"])) for case in cases]
    found += [
        frame(prompt.conversation.items[-1].text, prompt.expect.arguments)
        for prompt in held_out()
        if isinstance(prompt.expect, CallExpected) and prompt.conversation.tools == SMOKE_TOOLS
    ]
    return HeldOut(found)


@pytest.mark.parametrize("name", [tool.name for tool in SMOKE_TOOLS])
def test_no_smoke_request_is_a_test_prompt_with_other_values(name, frames):
    said = [re.sub(r"\{\w+\}", " ", line) for line in phrasings.lines(name)]
    said += [frame(request.text, request.arguments) for request in whole_requests(name)]
    assert [text for text in said if frames.is_close(text) and frame(text, {})] == []


def test_no_request_for_a_known_tool_filled_with_test_values_is_a_test_prompt():
    asks = {one.tool.name: [ask.text for ask in one.asks] for one in phrasings.known_tools()}
    checked = 0
    for prompt in held_out():
        texts = asks.get(getattr(prompt.expect, "name", ""), ())
        said = [turn.text for turn in prompt.conversation.items if isinstance(turn, User)][-1]
        for text in texts:
            for name, value in prompt.expect.arguments.items():
                text = text.replace(f"{{{name}}}", str(value))
            assert not HeldOut([said]).is_close(text)
            checked += 1
    assert checked > 300


@pytest.mark.parametrize("name", [*phrasings.FILES])
def test_every_file_has_many_phrasings(name):
    assert len(phrasings.lines(name)) >= (8 if name.startswith(("order", "manner")) else 50)


def test_there_are_many_handwritten_tools_and_none_is_tested():
    names = [one.tool.name for one in phrasings.tools()]
    assert len(names) > 100
    assert len(set(names)) == len(names)
    asked_for = {prompt.expect.name for prompt in held_out() if hasattr(prompt.expect, "name")}
    known = {tool.name for tool in (*SMOKE_TOOLS, *OTHER_TOOLS)}
    assert not set(names) & (asked_for | known)
    assert {one.tool.name for one in phrasings.known_tools()} == {t.name for t in OTHER_TOOLS}


def test_second_wishes_are_for_existing_tools():
    assert phrasings.second_wishes().keys() <= FAMILIES.keys() | {t.name for t in OTHER_TOOLS}


def test_members_belong_to_one_kind():
    members = [member for kind in phrasings.kinds() for member in kind.members]
    assert len(set(members)) == len(members)


@pytest.mark.parametrize(
    ("name", "text"),
    [("get_weather", "rain?"), ("canary_told", "{n} is {v}, {x}"), ("sums_boxed", "use {a}")],
)
def test_a_line_with_other_slots_is_rejected(name, text):
    with pytest.raises(ValueError, match=rf"{name}\.txt has slots"):
        phrasings.checked(name, f"\n{text}\n")


def test_lines_are_stripped_and_deduplicated():
    assert phrasings.checked("order_shout", " {v}!\n\n{v}!\nBig {v}\n") == ("{v}!", "Big {v}")


@pytest.mark.parametrize(
    "ask",
    [
        "Look something up",
        "Look up {name} and {other}",
        {"text": "Look up {name}", "values": {"name": "x"}},
        {"text": "Look up {name}", "values": {"deep": "yes"}},
    ],
)
def test_a_request_that_does_not_fit_its_tool_is_rejected(ask):
    with pytest.raises(ValueError, match="lookup"):
        phrasings.written_tool(LOOKUP, [ask])


def test_a_request_may_imply_arguments():
    tool = phrasings.written_tool(LOOKUP, [{"text": "Dig for {name}", "values": {"deep": True}}])
    assert tool.asks[0].values == {"deep": True}
