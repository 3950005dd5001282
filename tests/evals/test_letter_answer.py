"""The letter of the choice that an answer to a GPQA question states."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evals.extraction.letter import letter_answer

UNHURRIED = settings(suppress_health_check=[HealthCheck.too_slow])

CHOICES = ("the nucleus", "a banana", "The mitochondrion.", "both A and B")


def letter(text, choices=CHOICES):
    return letter_answer(text, choices)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # the answer line that the prompt requires, with common formatting
        ("Answer: C", "C"),
        ("Reasoning first.\n\nAnswer: D", "D"),
        ("answer: C.", "C"),
        ("ANSWER:C", "C"),
        ("Answer：C", "C"),
        ("Answer - C", "C"),
        ("Answer – B", "B"),
        ("Answer = B", "B"),
        ("**Answer:** C", "C"),
        ("**Answer: C**", "C"),
        ("**Answer**: C", "C"),
        ("*Answer:* **C**", "C"),
        ("__Answer:__ __B__", "B"),
        ("`Answer: D`", "D"),
        ("> Answer: D", "D"),
        ("### Answer: D", "D"),
        ("Final answer: (C)", "C"),
        ("Answer: [C]", "C"),
        ("Answer: 'C'", "C"),
        ("Answer: “C”", "C"),
        ("Answer: $C$", "C"),
        (r"Answer: \(C\)", "C"),
        (r"Answer: \[C\]", "C"),
        (r"Answer: \boxed{C}", "C"),
        (r"Answer: $\boxed{\text{C}}$", "C"),
        (r"Answer: \text{C}", "C"),
        (r"Answer: \textbf{(C)}", "C"),
        (r"\textbf{Answer:} C", "C"),
        (r"\textbf{Answer: C}", "C"),
        ("Answer:\nC", "C"),
        ("Answer:\n\n**C**", "C"),
        ("Answer: Option C", "C"),
        ("Answer: option (C)", "C"),
        ("Answer: the letter C", "C"),
        ("Answer: C) the mitochondrion", "C"),
        ("Answer: C. The rest is wrong.", "C"),
        ("Answer: C: it fits", "C"),
        ("Answer: C, since B is too small", "C"),
        ("Answer: C (the organelle)", "C"),
        ("Answer: C because of the membrane", "C"),
        ("Answer: A because of the membrane", "A"),
        ("Answer: C mitochondrion", "C"),
        ("Answers: B", "B"),
        ("## Answer\n\nC", "C"),
        ("**Final Answer**\n\n(C)", "C"),
        ("Answer C", "C"),
        ("Answer (C)", "C"),
        # sentences
        ("The answer is C.", "C"),
        ("The correct answer is **C**.", "C"),
        ("the answer is (d)", "D"),
        ("the answer is d.", "D"),
        ("The answer is: B", "B"),
        ("The answer is therefore B.", "B"),
        ("The answer is, therefore, B.", "B"),
        ("The answer would be B", "B"),
        ("The correct answer choice is B.", "B"),
        ("The answer to the question is B.", "B"),
        ("The answer is option B: a banana.", "B"),
        ("The correct option is **C**", "C"),
        ("The best choice is (A).", "A"),
        ("The right option: D", "D"),
        ("So the answer is $\\mathbf{D}$.", "D"),
        ("Answer: **(C) 45 m**", "C"),
        (r"Answer: \(\displaystyle \boxed{C}\)", "C"),
        (r"Answer: option \(\mathbf{C}\)", "C"),
        ("Answer: C, i.e. the third", "C"),
        ("Answer: C\n\n(Here C names the third option, not the element.)", "C"),
        ("Answer (C): the mitochondrion", "C"),
        ("Ans: C", "C"),
        ("Answer: it is C", "C"),
        ("Answer: \u200bC", "C"),
        ("Answer:\u00a0C", "C"),
        # boxes
        (r"\boxed{C}", "C"),
        (r"so we get $\boxed{\text{C}}$.", "C"),
        (r"\boxed{\textbf{(C)}}", "C"),
        (r"\boxed{\text{(C) } 2.08\times10^{-6}\,\mathrm{m}}", "C"),
        (r"\boxed{\text{Answer: } C}", "C"),
        (r"\boxed{d}", "D"),
        (r"\framebox{B}", "B"),
        (r"\boxed{\text{the mitochondrion}}", "C"),
        # verdicts
        ("Hence (C) is correct.", "C"),
        ("I choose B.", "B"),
        ("Thus option B.", "B"),
        ("So we have it. Hence **B**.", "B"),
        ("Final: B", "B"),
        ("I would go with option (D).", "D"),
        # a letter alone, at the end or as the whole text
        ("A", "A"),
        (" b ", "B"),
        ("(C)", "C"),
        ("**D**", "D"),
        ("C.", "C"),
        ("C)", "C"),
        ("[B]", "B"),
        ("$A$", "A"),
        ("Some thoughts.\n\n**C**", "C"),
        ("Some thoughts.\n(C)", "C"),
        ("C) The mitochondrion", "C"),
        ("(B) a banana", "B"),
        # the text of a choice
        ("Answer: the mitochondrion", "C"),
        ("Answer: **The nucleus**.", "A"),
        ("Answer: A banana", "B"),
        ("Answer: both A and B", "D"),
        ("The mitochondrion", "C"),
        ("The answer is the nucleus.", "A"),
    ],
)
def test_a_declared_answer_is_found(text, expected):
    assert letter(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Answer: A. Option B is incorrect.", "A"),
        ("Answer: A. Option B is incorrect, and (C) is not correct.", "A"),
        ("Answer: A\n\nOption B is wrong because it is a banana.", "A"),
        ("Answer: A, not B", "A"),
        ("Answer: A. The wrong answer is B.", "A"),
        ("Answer: A. An incorrect option: C", "A"),
        ("Answer: A. C is correct only for plants.", "A"),
        ("Answer: A … wait.\nAnswer: B", "B"),
        ("The answer is A? No. The correct option is D.", "D"),
        ("If the answer is A, X follows, which is false. The answer is not A. Answer: B", "B"),
        (r"Answer: A. In other words \boxed{A}.", "A"),
        ("(A) one\n(B) two\n(C) three\n(D) four\n\nAnswer: C", "C"),
    ],
)
def test_the_last_statement_that_names_a_choice_wins(text, expected):
    assert letter(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   \n",
        "The answer is unclear.",
        "Answer: A … Answer: B",
        "Answer: B\n\nNote that C is also correct.",
        "The answer is a matter of taste.",
        "Answer: Because of that, none.",
        "Answer: carbon",
        "Answer: a fruit",
        "Answer: A fruit of some kind",
        "Answer: D-glucose",
        "Answer: C=O",
        "Answer: B+ cells",
        "Answer: C_6H_{12}",
        "Answer: A or B",
        "Answer: (A) and (C)",
        "Answer: A/B",
        "Answer: A, B",
        "Answer: A & B",
        "Answer: A is wrong",
        "Answer (A) is wrong",
        "Answer: neither A nor B",
        "Answer: ABCD",
        "Answer: [A, B, C, D]",
        "So A and B are left.",
        "So Carbon it is.",
        "Answer: $LETTER",
        "Answer: E",
        "Answer: none of them",
        "The answer is not C.",
        "The answer is not a banana (B).",
        "The answer is a banana (B) or a nucleus (A)",
        "The answer is f(A) in general",
        "The answer isn't C.",
        "The answer cannot be C.",
        "The wrong answer is B.",
        "Option B is incorrect.",
        "(C) is not correct.",
        "Is C correct?",
        "Because the nucleus is large.",
        "(A) the nucleus\n(B) a banana\n(C) The mitochondrion.\n(D) both A and B",
        "A nucleus is an organelle.",
        "Consider a cell.\nDNA is in it.",
        r"\boxed{}",
        r"\boxed{\text{Because}}",
        r"\boxed{AB}",
        "Vitamin C",
        "Answer: A\nAnswer: unclear",
        r"First \boxed{A}, then \boxed{B}.",
        "I cannot answer this.",
        "Respuesta: Célula",
        "উত্তর: বায়ু",
    ],
)
def test_texts_without_an_answer_give_none(text):
    assert letter(text) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("答案：C", "C"),
        ("答案：C选项", "C"),
        ("答え：Ｂ", "B"),
    ],
)
def test_letters_of_other_scripts_are_recognized(text, expected):
    assert letter(text) == expected


def test_a_text_shared_by_two_choices_selects_neither():
    assert letter("Answer: ten", ("ten", "Ten", "six", "two")) is None


def test_a_letter_that_is_also_the_text_of_a_choice_is_read_as_a_letter():
    assert letter("Answer: C", ("C", "A", "D", "B")) == "C"


@UNHURRIED
@given(st.sampled_from("ABCD"), st.text(alphabet=" .,\n", max_size=5), st.text(max_size=40))
def test_the_last_answer_line_wins_unless_another_line_disagrees(answer, end, before):
    agrees = letter(before) in {None, answer}
    found = letter(f"{before}\nAnswer: {answer}{end}")
    assert found == answer if agrees else found in {None, answer}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Answer: √2", "C"),
        (r"Answer: $\frac{1}{\sqrt2}$", "B"),
        ("Answer: 2", "D"),
        ("Answer: √5", None),
        ("Answer: D — √2", None),
        ("Answer: D — 2", "D"),
    ],
)
def test_choices_that_are_formulas_are_told_apart(text, expected):
    assert letter(text, (r"\frac{1}{2}", r"\frac{1}{\sqrt{2}}", r"\sqrt{2}", "2")) == expected


SIX = ("argon", "neon", "krypton", "xenon", "radon", "helium")
NINE = (*SIX, "oxygen", "ozone", "nitrogen")


@pytest.mark.parametrize(
    ("text", "choices", "expected"),
    [
        ("Answer F", SIX, "F"),
        ("The answer is B (not F).", SIX, "B"),
        ("E, F and A are wrong, so the answer must be B, rather than option E.", SIX, "B"),
        ("The answer is B (not I).", NINE, "B"),
        ("Hence the match is E, I am not sure.", NINE, None),
        ("The answer is A (not F).", SIX[:2], None),
    ],
)
def test_sentences_about_more_or_fewer_than_four_choices(text, choices, expected):
    assert letter(text, choices) == expected


ACIDS = ("alanine", "glycine", "serine", "proline")


@pytest.mark.parametrize(
    ("text", "choices", "expected"),
    [
        ("A ❌\nB ❌\nC ✅\nD ❌", ACIDS, None),
        (r"\boxed{20}", ("2 km", "20 km", "200 m", "20 m"), None),
        (r"$\boxed{8}$ min", ("3 h", "6 h", "8 h", "12 h"), None),
        (r"\boxed{327\ ^\circ\text{C}}", ("300 K", "600 K", "327 K", "900 K"), None),
        (r"\boxed{.5}", ("5", "7", "2", "3"), None),
        (r"\boxed{B} in the list.", ACIDS, "B"),
        # typography
        (r"$\boxed{x=2\theta}$", ("x=θ/2", "x=θ", "x=2θ", "x=0"), "C"),
        (r"\boxed{\pm 3}", ("3", "-3", "9", "-9"), None),
        # verdicts on all options
        ("- A ✗\n- B ✓\n- C ✓\n- D ✗", ACIDS, None),
        ("(A) No\n(B) No\n(C) Yes\n(D) Yes", ACIDS, None),
        ("| A | wrong |\n| B | wrong |\n| C | right |\n| D | wrong |\n\nSo it is C.", ACIDS, "C"),
        ("Of B and C, the answer is the last one.", ACIDS, None),
        # remarks and doubts about one answer
        ("**Glycine** – it is the only achiral one.", ACIDS, "B"),
        ("Glycine – or maybe serine, I cannot tell.", ACIDS, None),
        ("**A)** glycine – the only one, so choice B is what I recommend.", ACIDS, None),
        ("My best guess is A, though I'm not fully certain.", ACIDS, "A"),
        ("I would only be guessing: B or D.", ACIDS, None),
        ("The answer is D: not really.", ACIDS, None),
        ("It is not (A), but (C).", ACIDS, "C"),
        ("Glycine is the answer.", ACIDS, "B"),
        ("Glycine cannot be the answer.", ACIDS, None),
        ("Die richtige Antwort ist nicht C, sondern D.", ACIDS, "D"),
        ("La réponse est **C** : la sérine n'a pas de cycle.", ACIDS, "C"),
        ("So the speed at point B is", ("3 m/s", "12 m/s", "48 m/s", "192 m/s"), None),
    ],
)
def test_what_a_careful_reader_reads(text, choices, expected):
    assert letter(text, choices) == expected
