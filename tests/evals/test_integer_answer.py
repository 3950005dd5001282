"""The integer that an answer to an AIME problem states."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evals.extraction.integer import integer_answer, read_integer

UNHURRIED = settings(suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("70", "70"),
        (" 70 ", "70"),
        ("070", "70"),
        ("007", "7"),
        ("000", "0"),
        ("70.", "70"),
        ("70.0", "70"),
        ("+70", "70"),
        ("-70", "-70"),
        ("−70", "-70"),
        # formatting
        (r"\text{70}", "70"),
        (r"\textbf{70}", "70"),
        (r"\mathbf{\text{70}}", "70"),
        (r"\boxed{70}", "70"),
        (r"\{70\}", "70"),
        (r"70 \text{ (minutes)}", "70"),
        ("{70}", "70"),
        ("{{70}}", "70"),
        ("$70$", "70"),
        (r"\(70\)", "70"),
        ("**70**", "70"),
        (r"\left(70\right)", "70"),
        (r"{\bf 70}", "70"),
        (r"\Large\textbf{70}", "70"),
        (r"\color{blue}{70}", "70"),
        (r"\textcolor{red}{70}", "70"),
        (r"\displaystyle 70", "70"),
        (r"\ 70\,", "70"),
        (r"\phantom{0}70", "70"),
        (r"\$70", "70"),
        # units and the like
        (r"70^\circ", "70"),
        (r"70^{\circ}", "70"),
        ("70°", "70"),
        (r"70\degree", "70"),
        (r"70\%", "70"),
        (r"70\text{ degrees}", "70"),
        (r"70\,\text{cm}", "70"),
        (r"70\text{ cm}^2", "70"),
        (r"70\,\mathrm{cm}^{2}", "70"),
        ("70 cm²", "70"),
        ("70 square units", "70"),
        (r"70\text{ m/s}", "70"),
        ("70 m", "70"),
        # thousands
        ("1,234", "1234"),
        ("1{,}234", "1234"),
        (r"1\,234", "1234"),
        (r"1\text{,}234", "1234"),
        (r"1,\!234", "1234"),
        ("12,345,678", "12345678"),
        # equations
        ("m+n=70", "70"),
        ("m + n = 070", "70"),
        ("x=70", "70"),
        ("70=m+n", "70"),
        (r"N \equiv 70 \pmod{1000}", "70"),
        (r"70 \pmod{1000}", "70"),
        ("70 mod 1000", "70"),
        (r"3+67=\mathbf{70}", "70"),
        # fractions that are integers
        (r"\dfrac{140}{2}", "70"),
        (r"\frac{70}{1}", "70"),
        ("140/2", "70"),
        (r"-\frac{140}{2}", "-70"),
    ],
)
def test_an_integer_in_a_box_is_the_answer(content, expected):
    assert integer_answer(rf"Thus $\boxed{{{content}}}$.") == expected
    assert integer_answer(rf"\framebox{{{content}}}") == expected


@pytest.mark.parametrize(
    "content",
    [
        r"\frac{141}{2}", "70.5", "70x", "70 x", "70+x", "x+1", "x-1", "2^{10}", r"70\pi",
        r"\sqrt{4900}", "70!", "3, 67", "(3, 67)", "7 0", "70 or 71", r"\frac{1}{0}", "x^2+1",
        r"x \le 70", r"70\sqrt{2}", "1.234", "12,34", r"\text{not } 70", "9" * 41, "70,71",
        "a=3, b=67", "70n", "70M", "2⁷⁰", r"a = 3 \text{ and } b = 67",
    ],
)  # fmt: skip
def test_a_box_without_an_integer_is_no_answer(content):
    assert integer_answer(rf"First \boxed{{5}}, in the end \boxed{{{content}}}") is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r"\boxed{5} and, finally, \boxed{70}", None),
        ("The remainder is 70. Note: 70 is not certain.", None),
        (r"\boxed{70}. Note that 2025 ≡ 5 (mod 10).", "70"),
        (r"\boxed{70}</answer>", "70"),
        (r"\boxed{5} and then \boxed{70}", None),
        (r"\boxed{70} and \boxed{}", None),
        (r"\boxed{70} \boxed{", "70"),
        (r"\boxed{70} \boxed{71", "70"),
        (r"\boxed{\boxed{70}}", "70"),
        (r"\boxed{70} is the answer, for 3 + 67 = 70. There are 99 ways.", "70"),
        (r"\boxed{70}. Final answer: 71", None),
        (r"\boxed 70", "70"),
        (r"\boxed {70}", "70"),
        (r"\fbox{70}", "70"),
        (r"\boxed{a\}b=70}", "70"),
        (r"\[\boxed{70}\]", "70"),
        ("\\boxed{\n70\n}", "70"),
    ],
)
def test_the_box_that_counts(text, expected):
    assert integer_answer(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Final answer: 70", "70"),
        ("**Final Answer:** 070", "70"),
        ("**Answer: 70**", "70"),
        ("Answer: $70$.", "70"),
        (r"The answer is \(70\).", "70"),
        ("The answer is therefore **70**.", "70"),
        ("The answer is 70, since 3 + 67 = 70.", "70"),
        ("The answer is 70 (for 3 + 67 = 70).", "70"),
        ("The answer is 3 + 67 = 70.", "70"),
        ("The answer is $m + n = 3 + 67 = 70$.", "70"),
        ("The answer is 1,234 miles.", "1234"),
        ("Answer: 70.0", "70"),
        ("The answer is 70.\nThere are 12 months.", "70"),
        ("答案：70", "70"),
        ("Answer:\n70", "70"),
        ("so we get 509", "509"),
        ("The sum is 70.", "70"),
        ("70", "70"),
        (" 070.\n", "70"),
        ("$70$", "70"),
        ("So we add.\n\n**70**", "70"),
        ("So we add.\n\n$$70$$", "70"),
    ],
)
def test_an_answer_in_a_sentence_is_read(text, expected):
    assert integer_answer(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "I do not know.",
        "The answer is not 70.",
        "The answer is unclear, 3 or 4.",
        "The answer is between 3 and 70.",
        "The answer is 70/3.",
        "The answer is about 70.",
        "Answer:",
        "The answer is 70 only when n=3.",
        "Total so far: 45",
        r"\boxed{70} (assuming that it is acute; otherwise \boxed{80})",
        "x = 3\n70",
        "1.\n2.\n3.",
        r"\boxed{}",
        r"\boxed{70",
        "boxed{70}",
        "70 71",
        "70 is prime? It is not.",
    ],
)
def test_numbers_that_are_not_stated_as_answers_are_ignored(text):
    assert integer_answer(text) is None


@UNHURRIED
@given(st.integers(0, 999), st.text(alphabet="abc \n$", max_size=20))
def test_a_padded_answer_in_a_box_is_read_back(number, after):
    assert integer_answer(rf"Let me see: 12. \boxed{{{number:03d}}} {after}") == str(number)
    assert read_integer(f"{number:,}") == number


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ("| product | 4900 |\n| root | **70** |", "70"),
        ("| product | **4900** |\n| root | **70** |", None),
        ("| root | **70** |\n| product | 4900 |", None),
        ("| root | 70 |", None),
    ],
)
def test_the_only_bold_number_of_a_table_is_its_answer_in_the_last_row(rows, expected):
    assert integer_answer(f"We compute:\n\n| step | value |\n|:--|--:|\n{rows}\n") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # an expression has its value
        (r"\[\boxed{\binom{16}{3}}\]", "560"),
        (r"so the area is $\boxed{\sqrt{14641}}$", "121"),
        (r"$\boxed{11^2-24}$", "97"),
        (r"$\boxed{11^2-24x}$", None),
        (r"$2\cdot\boxed{\sqrt{14641}}$", None),
        (r"\[\boxed{6!}\] i.e. $720$ ways.", "720"),
        ("Answer: $4^5$ colourings", "1024"),
        ("Answer: $6.4\\times10^{2}$", "640"),
        ("Score: 10-3", None),
        (r"$$2^{100}\equiv\boxed{376\pmod{1000}}$$", "376"),
        # words
        ("Two cases remain.\n\nIn the first one we get 31, in the second one 44.", None),
        ("One can check that it is periodic.", None),
        # an emphasised value at the end of a clause of the last line
        ("The last three digits are `807`.", "807"),
        ("**x = 64**", "64"),
        ("<b>x = 64</b>", "64"),
        ("Besides the **431** trivial ones, the circle meets the lattice in 12 points.", None),
        ("Hence $n$ divides **6** and also **10**.", None),
        ("**a = 62**, **b = 70**", None),
        ("I think **50** might be right, but I could not prove the bound.", None),
        ("An upper bound is **250**, but whether it is attained remains open.", None),
        ("Use `88` as the seed.", None),
        ("**3** cases must be considered; there was no room for the last one.", None),
        ("The sequence starts 1, 5, 22, **98**, …", None),
        ("The side lengths are **36**, 48 and 60.", None),
        ("Each team plays **15** games, giving a total of 120 games.", None),
        ("I was not able to exclude **98**.", None),
        ("The constant is **12**, but the final value is 30.", "30"),
        ("Is there a way to get **42** here", None),
        ("Die Antwort ist 10, nicht 11.", "10"),
        ("Running `75` iterations of the loop settles it.", None),
        ("Let **N = 361** denote the modulus. Working mod N we find 17 residues.", None),
        ("Someone claims the answer is **72**. This is false; a tiling has **71**.", None),
        # the end of a text
        (r"So $\frac{p}{q}=\frac{64}{49}$ and hence $p+q=113$.", "113"),
        ("a_7 = 21, i.e. we need the next one.", None),
        ("The sum is therefore **819**. ✔", "819"),
        ("The side is 14, i.e. the area is 196.", "196"),
        ("So the area, in square units, is:", None),
        # equal boxes
        (r"$$\boxed{504}\quad\text{or, if they are swapped, again } \boxed{504}.$$", "504"),
        (r"\boxed{66} — or, counting from the other side, \boxed{67}.", None),
        (r"\boxed{66} would be too many, so it is not \boxed{66}.", None),
        (r"$\boxed{8\,34}$", "834"),
        # other languages
        ("La réponse est donc $88$.", "88"),
        ("La réponse n'est pas 88.", None),
        ("Die gesuchte Antwort lautet 88.", "88"),
        (r"Der Wert \boxed{88} ist leider falsch.", None),
        ("A resposta final é 88.", "88"),
        ("La risposta non è 88, ma 89.", None),
        ("Antwort: 52 ist zu groß, also 51.", None),
        ("Ответ: 77", "77"),
        ("Ответ: не 77.", None),
    ],
)
def test_what_a_careful_reader_reads(text, expected):
    assert integer_answer(text) == expected
