"""Reading grades from replies of graders."""

import json
import re
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.grading.grades import parse_grade
from evals.grading.requests import GradingTask
from harness.api.items import Message

MET = '{"explanation": "It does.", "criteria_met": true}'
UNMET = '{"explanation": "It does not.", "criteria_met": false}'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (MET, True),
        (UNMET, False),
        (f"```json\n{MET}\n```", True),
        (f"```\n{UNMET}\n```\n", False),
        (f"Here is my grade:\n\n{MET}\nI hope this helps.", True),
        (f"The set {{1, 2}} aside: {MET}", True),
        (f'{{"example": 1}} {UNMET}', False),
        (f"{MET}\n{MET}", True),
        ('{"criteria_met": true}', True),
        ('{"explanation": ["a"], "criteria_met": false}', False),
        ('{"explanation": "two\nlines", "criteria_met": true}', True),
        ('{"explanation": "says \\"no\\" {twice}", "criteria_met": false, "x": {}}',
         False),
        ("", None),
        ("true", None),
        ("The criteria was met.", None),
        ("criteria_met: true", None),
        ('{"explanation": "It does."}', None),
        ('{"criteria_met": "true"}', None),
        ('{"criteria_met": 1}', None),
        ('{"criteria_met": null}', None),
        ('{"criteria_met": True}', None),
        ('{"explanation": "cut off", "criteria_met": tr', None),
        ('[true, "criteria_met"]', None),
        ('{"criteria_met": true, "criteria_met": false}', None),
        (f"{MET}\nOn second thought:\n{UNMET}", None),
        ('{"grade": {"criteria_met": true}}', None),
        (f"criteria_met is true. {MET}", True),
        ('{"explanation": "not {"criteria_met": true} as such", "criteria_met": false}', None),
        (f"The format is {MET}.\nMy grade: **criteria_met**: false", None),
        (MET + "{ " * 100 + UNMET, None),
        ("{" * 100_000, None),
        ('{"a":' * 50_000, None),
        ('{"criteria_met": true, "n": ' + "9" * 10_000 + "}", None),
    ],
)  # fmt: skip
def test_grades_are_read_from_replies(text: str, expected: bool | None) -> None:
    assert parse_grade(text) is expected


def test_grades_of_recorded_replies_are_read_correctly_or_missed() -> None:
    """Replies as graders write them, each labelled with the grade that a reader would read.

    The rules read 115 of 143 as labelled. The others are not the JSON that the prompt requires (a
    Python literal, an unescaped quotation mark, a text instead of a boolean, two objects).
    """
    replies = (Path(__file__).parent / "grader_replies.txt").read_text(encoding="utf-8")
    counts: Counter[str] = Counter()
    for label, text in re.findall(r"(?ms)^== (\S+)\n(.*?)(?=^== |\Z)", replies):
        grade = parse_grade(text)
        read = "-" if grade is None else str(grade).lower()
        counts["as labelled" if read == label else "missed" if read == "-" else text] += 1
    assert counts == {"as labelled": 115, "missed": 28}


@given(st.text())
def test_parsing_a_grade_accepts_any_text(text: str) -> None:
    assert parse_grade(text) is None or '"criteria_met"' in text


pieces = st.lists(
    st.sampled_from(
        [MET, UNMET, MET[:-1], "{", "}", "```json\n", '"criteria_met": true', "so ", "["]
    )
)


@given(pieces)
def test_a_grade_occurs_in_the_reply_and_is_not_contradicted(parts: list[str]) -> None:
    text = "".join(parts)
    grade = parse_grade(text)
    if grade is not None:
        assert (MET if grade else UNMET) in text or '"criteria_met": true' in text
        assert parse_grade(f"{text}\n{UNMET if grade else MET}") is None


@given(st.text(), st.booleans(), st.booleans())
def test_a_well_formed_grade_is_read_back(explanation: str, met: bool, fenced: bool) -> None:
    text = json.dumps({"explanation": explanation, "criteria_met": met})
    assert parse_grade(f"```json\n{text}\n```" if fenced else text) is met


def test_the_prompt_contains_conversation_answer_and_rubric_item() -> None:
    turns = [Message("user", "Hello?"), Message("assistant", "Yes?"), Message("user", "Help.")]
    task = GradingTask("a/1", tuple(turns), "Here {is} help.", "[-3] Refuses to help")
    prompt = task.messages[-1].text
    said = "user: Hello?\n\nassistant: Yes?\n\nuser: Help.\n\nassistant: Here {is} help.\n\n"
    assert said in prompt
    assert prompt.index(said) < prompt.index("[-3] Refuses to help")
    assert '"explanation"' in prompt
    assert '"criteria_met"' in prompt
