"""Answers that were written for this project and labelled by hand, read in both directions.

Each file of tests/evals/answers has entries of a line `== LABEL` and a text. A line `@` gives the
four choices for the entries after it. The label is the answer that the text as a whole gives to a
reader who does not know the question. `-` is no answer: none is given, it is denied, supposed or
taken back, or there are two.
"""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.extraction import openai_script
from evals.extraction.integer import integer_answer
from evals.extraction.labels import _ANSWER, _LABEL_ONLY, STEMS
from evals.extraction.letter import letter_answer

ANSWERS = Path(__file__).parent / "answers"


def labelled(name):
    """Return (label, text, choices) of the entries of a file."""
    entries, choices = [], ()
    for line in (ANSWERS / name).read_text(encoding="utf-8").splitlines():
        if line.startswith("@ "):
            choices = tuple(line[2:].split(" | "))
        elif line.startswith("== "):
            entries.append((line[3:], [], choices))
        else:
            entries[-1][1].append(line)
    return [("\n".join(text), label, choices) for label, text, choices in entries]


def read(text, choices):
    return letter_answer(text, choices) if choices else integer_answer(text)


def read_by_openai(text, choices):
    return openai_script.letter(text) if choices else str(openai_script.integer(text))


@pytest.mark.parametrize("name", ["integer.txt", "letter.txt"])
def test_no_wrong_answer_is_credited(name):
    found = [(text, label, read(text, choices)) for text, label, choices in labelled(name)]
    assert [each for each in found if each[2] not in {None, each[1]}] == []


@pytest.mark.parametrize("name", ["integer.txt", "letter.txt"])
def test_answers_in_common_forms_are_read(name):
    answers = [each for each in labelled(name) if each[1] != "-"]
    agreed = [label for text, label, choices in answers if read(text, choices) == label]
    assert len(agreed) >= 0.91 * len(answers)


@pytest.mark.parametrize("name", ["integer.txt", "letter.txt"])
def test_openais_script_credits_answers_that_the_texts_do_not_give(name):
    wrong = [
        text
        for text, label, choices in labelled(name)
        if label == "-" and read_by_openai(text, choices) not in {"None", ""}
    ]
    assert len(wrong) > 40


@given(st.from_regex(re.compile(f"(?i){_ANSWER}|{_LABEL_ONLY}|correct|right"), fullmatch=True))
def test_every_label_has_a_stem_without_which_no_label_is_sought(label):
    assert any(stem in label.casefold() for stem in STEMS)
