"""Numbers in words."""

from fractions import Fraction

import pytest

from evals.extraction.number_words import in_words


@pytest.mark.parametrize(
    ("text", "value", "rest"),
    [
        ("fourteen", 14, ""),
        ("Thirty-six", 36, ""),
        ("ninety nine", 99, ""),
        ("two hundred thirty-seven", 237, ""),
        ("three hundred and two digits", 302, " digits"),
        ("two thousand and five", 2005, ""),
        ("five thousand two hundred", 5200, ""),
        ("a hundred", 100, ""),
        ("zero", 0, ""),
        ("One half.", Fraction(1, 2), "."),
        ("three quarters", Fraction(3, 4), ""),
        ("two thirds of it", Fraction(2, 3), " of it"),
    ],
)
def test_a_number_is_read_with_its_end(text, value, rest):
    found = in_words(text)
    assert found is not None
    assert (found[0], text[found[1] :]) == (value, rest)


@pytest.mark.parametrize("text", ["", "half", "sevenfold", "four-sided", "oneself", "tenth", "and"])
def test_other_words_are_no_number(text):
    assert in_words(text) is None
