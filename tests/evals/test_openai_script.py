"""Extraction as in OpenAI's eval script, where its results differ from ours."""

import time

import pytest

from evals.extraction import openai_script
from evals.extraction.integer import integer_answer
from evals.extraction.letter import letter_answer


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r"\boxed{70}", 70),
        (r"\boxed{070}", 70),
        (r"\framebox{70}", 70),
        (r"\boxed{5} \boxed{70}", 70),
        (r"\boxed{3, 67}", 67),
        ("Final answer: 70", 70),
        ("so we get 509", 509),
        ("1.\n2.\n3.", 3),
        # an empty box is passed over, and with none left the last digits count
        (r"\boxed{70} \boxed{}", 70),
        (r"\boxed{} after 12", 12),
        # answers that the script reads wrongly
        (r"\boxed{\text{70}}", None),
        (r"\boxed{70^\circ}", None),
        (r"\boxed{m+n=70}", None),
        (r"\boxed{1,234}", 234),
        (r"\boxed{70.0}", None),
        (r"\boxed{7_0}", 70),
        ("", None),
        ("no number", None),
        (rf"\boxed{{{'9' * 5000}}}", None),
    ],
)
def test_integers(text, expected):
    assert openai_script.integer(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Answer: C", "C"),
        ("**Answer:** c", "C"),
        ("*Answers –* B", "B"),
        ("**Answer: C**", "C"),
        ("the answer (d) it is", "D"),
        ("Option B is incorrect.", "B"),
        (r"so $\boxed{\text{(C) } 2.08}$", "C"),
        (r"\boxed{\text{Because}}", "B"),
        (r"\boxed{70} \textbf{x D y}", "D"),
        (r"\boxed{70} \boxed{x D} \boxed{C", "D"),
        ("it is (B) of course", "B"),
        ("it is **D** of course", "D"),
        ("it is **D) four** of course", "D"),
        ("x\n  Carbon", "C"),
        # statements outrank mere letters, and the first of a kind counts
        ("(A) one\nAnswer: B", "B"),
        ("Answer: A … Answer: B", "A"),
        ("Answer: A. Option B is incorrect", "A"),
        ("Answer: Because of that", "B"),
        ("Answer: carbon", "C"),
        # no answer is the first character
        ("The answer is unclear.", "T"),
        ("**x", "x"),
        ("", ""),
    ],
)
def test_letters(text, expected):
    assert openai_script.letter(text) == expected


LENGTH = 20_000


@pytest.mark.parametrize(
    "piece",
    ["\\boxed{", "\\boxed{A", "Answer", "Answer\n", "Answer: C ", "answer is 3 ", "\n", " ", "*",
     "_", "{", "(A) ", "1 ", "7", "1,234,", "\\text{", "**A)x", "$", "Antwort "],
)  # fmt: skip
def test_a_looping_answer_is_read_in_time(piece):
    text = (piece * LENGTH)[:LENGTH]
    begun = time.process_time()
    for each in (text, f"{text}}}", f"Answer{text}x"):
        openai_script.integer(each)
        openai_script.letter(each)
        integer_answer(each)
        letter_answer(each, ("one", "two", "three", "four"))
    assert time.process_time() - begun < 5
