"""AIME and GPQA: prompts, the order of choices, marks, and the recorded dataset."""

import json
import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sample_evals import load_eval

from evals.aime25 import AimeRow
from evals.answer_eval import ChoiceOrders, Mark
from evals.datasets import Loaded, text_id
from evals.gpqa import GpqaRow
from evals.registry import make_eval
from harness.api.items import Message
from harness.errors import ConfigurationError
from harness.records.runs import DatasetInfo

UNHURRIED = settings(suppress_health_check=[HealthCheck.too_slow])

AIME = load_eval("aime25")
GPQA = load_eval("gpqa")
BASIC = load_eval("basic")


def info(name, rows, **changes):
    return DatasetInfo(eval=name, source="here", rows=rows, sha256="0", **changes)


def aime(count=30, **changes):
    rows = tuple(AimeRow(question=f"q{n}", answer=n) for n in range(count))
    return make_eval(Loaded(rows, info("aime25", count, **changes)), 0)


def gpqa_row(question="Which?", **changes):
    row = {
        "Question": question,
        "Correct Answer": "right",
        "Incorrect Answer 1": "one",
        "Incorrect Answer 2": "two",
        "Incorrect Answer 3": "three",
    }
    return GpqaRow.model_validate(row | changes)


def gpqa(*rows, seed=0):
    return make_eval(Loaded(rows, info("gpqa", len(rows))), seed)


def prompt(put):
    (message,) = put.messages
    assert message.role == "user"
    return message.text


def test_published_problems_are_named_by_contest_and_number():
    names = [question.id for question in aime().questions]
    assert (names[0], names[14:16]) == ("I-01", ["I-15", "II-01"])
    assert names[-1] == "II-15"
    assert aime(3, sample=True).questions[2].id == "S-03"


def test_an_aime_prompt_is_the_problem_and_requests_a_boxed_answer():
    question = AIME.questions[0]
    text = prompt(AIME.prompt(question.id, 1))
    assert text.startswith(question.text)
    assert text.endswith("in \\boxed{}.")
    assert AIME.prompt(question.id, 1) == AIME.prompt(question.id, 16)


@pytest.mark.parametrize(
    ("text", "mark"),
    [
        (r"\boxed{7}", Mark("correct", "7", 1.0, 1.0)),
        (r"\boxed{007}", Mark("correct", "7", 1.0, 1.0)),
        (r"\boxed{\text{7}}", Mark("correct", "7", 0.0, 1.0)),
        (r"\boxed{m+n=7}", Mark("correct", "7", 0.0, 1.0)),
        (r"\boxed{8}", Mark("wrong", "8", 0.0)),
        (r"\boxed{\frac{7}{2}}", Mark("unread", None, 0.0)),
        ("there are 8 or 7", Mark("unread", None, 1.0)),
        ("", Mark("unread", None, 0.0)),
    ],
)
def test_aime_answers_are_marked(text, mark):
    assert aime().mark("I-08", 1, text) == mark


@pytest.mark.parametrize(
    ("answer", "expected"), [("70", 70), ("070", 70), (70, 70), (r"336^\circ", 336), (" 5 ", 5)]
)
def test_published_answers_are_read_as_integers(answer, expected):
    assert AimeRow.model_validate({"question": "q", "answer": answer}).answer == expected
    assert AimeRow.model_validate({"problem": "q", "answer": answer}).question == "q"


def test_choices_are_ordered_as_by_openais_script_with_seed_0():
    n, tries = 198, 8
    rng = random.Random(0)
    drawn = [rng.sample(range(4), 4) for _ in range(n * tries)]
    orders = ChoiceOrders(0, [4] * n)
    wanted = [(197, 8), (0, 1), (5, 3), (0, 8), (197, 1)]
    assert [orders.of(*each) for each in wanted] == [
        tuple(drawn[(number - 1) * n + place]) for place, number in wanted
    ]
    assert drawn[:3] == [[3, 1, 0, 2], [3, 1, 2, 0], [2, 3, 0, 1]]


@UNHURRIED
@given(st.integers(), st.integers(1, 50), st.data())
def test_the_order_of_choices_depends_only_on_seed_question_and_try(seed, n, data):
    pairs = st.tuples(st.integers(0, n - 1), st.integers(1, 5))
    wanted = data.draw(st.lists(pairs, min_size=1, max_size=10))
    together = ChoiceOrders(seed, [4] * n)
    for each in wanted:
        order = together.of(*each)
        assert sorted(order) == [0, 1, 2, 3]
        assert order == ChoiceOrders(seed, [4] * n).of(*each)


def test_a_gpqa_prompt_lists_the_choices_in_order_and_requests_an_answer_line():
    for question in GPQA.questions:
        seen = set()
        for number in range(1, 9):
            put = GPQA.prompt(question.id, number)
            item = GPQA.items[question.id]
            lines = prompt(put).removeprefix(f"{item.text}\n\n").split("\n")
            assert lines[:4] == [
                f"({letter}) {item.choices[index]}"
                for letter, index in zip("ABCD", put.order, strict=True)
            ]
            assert '"Answer: $LETTER"' in lines[-1]
            seen.add(put.order)
        assert len(seen) > 1


def test_the_correct_letter_follows_from_the_order():
    for question in GPQA.questions:
        for number in (1, 2):
            order = GPQA.prompt(question.id, number).order
            right = "ABCD"[order.index(0)]
            wrong = "ABCD"[order.index(1)]
            mark = GPQA.mark(question.id, number, f"Answer: {right}")
            assert mark == Mark("correct", right, 1.0, 1.0)
            assert GPQA.mark(question.id, number, f"Answer: {wrong}") == Mark("wrong", wrong, 0.0)
            assert GPQA.mark(question.id, number, "Unclear.") == Mark("unread", None, 0.0)


def test_scores_of_both_extractors_are_kept_where_they_differ():
    eval_ = gpqa(gpqa_row())
    order = eval_.prompt(eval_.questions[0].id, 1).order
    right, wrong = "ABCD"[order.index(0)], "ABCD"[order.index(1)]
    text = f"Answer: {wrong} … no.\nAnswer: {right}"
    assert eval_.mark(eval_.questions[0].id, 1, text) == Mark("correct", right, 0.0, 1.0)
    text = "Answer: right"
    assert eval_.mark(eval_.questions[0].id, 1, text).marking == "correct"


def test_questions_are_identified_by_record_id_or_else_by_text():
    named = gpqa_row(**{"Record ID": "rec06"})
    assert [question.id for question in gpqa(named, gpqa_row("What?")).questions] == [
        "rec06",
        text_id("What?"),
    ]
    with pytest.raises(ConfigurationError, match="twice"):
        gpqa(gpqa_row(), gpqa_row())


def test_a_different_seed_gives_a_different_order():
    rows = [gpqa_row(f"Which {n}?") for n in range(20)]
    one, other = gpqa(*rows), gpqa(*rows, seed=1)
    assert any(one.prompt(q.id, 1) != other.prompt(q.id, 1) for q in one.questions)


def test_basic_accepts_any_nonempty_answer():
    assert BASIC.prompt("greeting", 1).messages == (Message("user", "hi"),)
    assert BASIC.mark("greeting", 1, "Hello!") == Mark("correct", "Hello!", 1.0, 1.0)
    assert BASIC.mark("greeting", 1, "") == Mark("unread", None, 0.0)
    assert BASIC.mark("greeting", 1, "\n") == Mark("unread", None, 1.0)


def test_the_record_of_an_eval_does_not_contain_its_questions():
    assert "Which of these" not in json.dumps(GPQA.info.model_dump(mode="json"))
