"""Built-in tools: their declaration, calls that parse, and answers that cite shown lines."""

import ast
import json
import re
from random import Random

import pytest

from harmony.conversation import Answer, BuiltinCall, BuiltinResult, Conversation
from harmony.render import render_prompt
from harmony.vocabulary import harmony_encoding
from training.data import browser_pages, builtin_tasks, python_asks
from training.data.spans import encode, marked, plain
from training.data.task import Setting
from training.data.wording import history

_CITATION = re.compile(r"【(\d+)†L(\d+)】")


def test_calls_and_results_are_rendered_as_the_server_renders_them():
    turns = (
        BuiltinCall("browser.search", '{"query": "x"}'),
        BuiltinResult("browser.search", "[0]"),
    )
    prompt = harmony_encoding().decode(render_prompt(Conversation(turns)))
    assert prompt.endswith("".join(map(history, turns)) + "<|start|>assistant")


@pytest.mark.parametrize("builtin", [("browser",), ("python",), ("browser", "python")])
def test_tasks_call_offered_tools_and_cite_lines_that_were_shown(builtin):
    rng = Random(6)
    skills = set()
    for number in range(300):
        effort = ("low", "medium", "high")[number % 3]
        task = builtin_tasks.task(rng, Setting(effort=effort, builtin=builtin))
        skills.add(task.skill)
        last = task.reply[-1]
        if isinstance(last, BuiltinCall):
            assert last.name.split(".")[0] in builtin
            content = plain(last.content)
            assert ast.parse(content) if last.name == "python" else json.loads(content)
        if isinstance(last, Answer):
            shown = "\n".join(turn.output for turn in task.turns if isinstance(turn, BuiltinResult))
            for cursor, line in _CITATION.findall(last.text):
                assert f"[{cursor}]" in shown
                assert f"L{line}: " in shown
    assert "answer from built-in tool" in skills
    assert "no tool" in skills or len(builtin) == 2


def test_an_answer_repeats_the_fact_in_the_cited_line():
    rng = Random(8)
    checked = 0
    for _ in range(400):
        task = builtin_tasks.task(rng, Setting(effort="low", builtin=("browser",)))
        last = task.reply[-1]
        found = _CITATION.search(last.text) if isinstance(last, Answer) else None
        if found and re.match("The (?!page says)", plain(last.text)) and " of " in last.text:
            value = plain(last.text).rpartition(" is ")[2].partition("【")[0]
            page = [turn.output for turn in task.turns if isinstance(turn, BuiltinResult)][-1]
            cited = [line for line in page.splitlines() if line.startswith(f"L{found[2]}: ")]
            assert len(cited) == 1
            assert value in cited[0]
            checked += 1
    assert checked > 20
    assert encode("【")


def test_the_opened_result_is_about_the_question():
    rng = Random(9)
    links = set()
    for _ in range(300):
        shown, line = browser_pages.results(rng, 2, "q", "Zebra Farm", "A statement.")
        link = line - browser_pages.FIRST_RESULT
        lines = [row for row in shown.splitlines() if row.startswith(f"L{line}: ")]
        assert len(lines) == 1
        assert f"【{link}†" in lines[0]
        assert "Zebra Farm" in lines[0]
        assert lines[0].endswith("A statement.")
        links.add(link)
    assert links >= set(range(6))


@pytest.mark.parametrize("begins", [True, False])
def test_a_page_states_its_fact_on_the_numbered_line(begins):
    rng = Random(10)
    numbers = set()
    for _ in range(200):
        shown, line = browser_pages.page(rng, 1, "It is so.", begins=begins)
        assert f"\nL{line}: It is so." in shown
        numbers.add(line)
    assert len(numbers) > (2 if begins else 20)


def test_a_quotation_ends_with_its_line_number():
    shown = "[0] T (u)\n**viewing lines [7 - 9] of 20**\n\nL7: One.\nL8: Its age is 4.\nL9: Three."
    middle, last = (browser_pages.quotation(shown, *at) for at in (("age", 8), ("Three", 9)))
    assert plain(middle) == "age is 4.\nL9 is next, so it is L8"
    assert plain(last) == "Three.\nEnd of viewing lines [7 - 9], so it is L9"


def test_code_computes_the_requested_value():
    rng = Random(11)
    for _ in range(300):
        text, code = python_asks.computed(rng)
        assert ast.parse(plain(code))
        assert all(value in text for value in marked(code))
