"""The value of arithmetic expressions."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.extraction.arithmetic import evaluated


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("100+20+4", 124),
        ("2^6-1", 63),
        ("2^{10}", 1024),
        ("-2^2", -4),
        ("6!", 720),
        ("3!^2", 36),
        (r"\binom{12}{7}", 792),
        (r"\sqrt{7056}", 84),
        ("√1764", 42),
        (r"\sqrt{0.64}", Fraction(4, 5)),
        (r"\frac{924}{7}", 132),
        (r"\frac95", Fraction(9, 5)),
        (r"\frac{9\cdot 8}{2}", 36),
        (r"4\times10^2", 400),
        ("10^{-2}", Fraction(1, 100)),
        ("1,234+1", 1235),
        ("(1+2)*(3+4)", 21),
        ("12 ÷ 4", 3),
        ("4.2e1", 42),
    ],
)
def test_an_expression_has_its_exact_value(text, value):
    assert evaluated(text) == value


@pytest.mark.parametrize(
    "text",
    [
        "", "x+1", "2(3+4)", "2x", r"\sqrt{2}", r"2\pi", "1/0", r"\frac{1}{0}", "0^{-1}", "5.5!",
        r"\binom{3}{4}", "(3", "3)", "3+", "7 0", "12-7", "70!", "2^999", "9" * 41, "(" * 300,
        r"\sqrt{-4}", "1,23", "3 1/2", "7_0", "4//2", "[3]",
    ],
)  # fmt: skip
def test_other_texts_have_none(text):
    assert evaluated(text) is None


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(1, 10**6))
def test_sums_products_and_quotients(one, two, three):
    assert evaluated(f"{one} + {two}*{three}") == one + two * three
    assert evaluated(rf"\frac{{{one}}}{{{three}}}") == Fraction(one, three)
    assert evaluated(rf"\sqrt{{{one * one}}}") == one
