"""Numbers with a unit."""

from fractions import Fraction

import pytest

from evals.own.numbers import read_number
from evals.own.quantities import difference, read_quantity


def equal(one, other):
    found, wanted = read_quantity(one), read_quantity(other)
    assert wanted is not None, other
    apart = None if found is None else difference(found, wanted)
    return apart is not None and apart <= Fraction(1, 10**9) * abs(wanted.number)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("3 500 m", "3.5 km"),
        (r"80\ \text{cm}", "0.8 m"),
        (r"\sqrt{0.64}\ \mathrm{m}", "0.8 m"),
        ("0.036 kW", "36 W"),
        ("36 J/s", "36 W"),
        (r"9.81\ \text{m}\,\text{s}^{-2}", "9.81 m/s^2"),
        (r"1.5 \times 10^{-3} mol/L", "1.5 mM"),
        ("36 km/h", "10 m/s"),
        ("2 km per minute", "120 km/h"),
        ("10 square metres", "10 m²"),
        ("€100.00", "100 euros"),
        ("100 EUR", "100 euros"),
        ("77 degrees", "77 °F"),
        (r"77\,^\circ\mathrm{F}", "77 degrees Fahrenheit"),
        (r"1.4\,M_\odot", "1.4 solar masses"),
        ("8 hours", "8 h"),
        (r"4\ \Omega", "4 ohms"),
        ("3.5", "3.5 km"),
        ("42 %", "0.42"),
        (r"\tfrac12", "50 %"),
        ("12.5", "12.5%"),
        ("2 thousand", "2000"),
        (".5 m", "0.5 m"),
        ("5 lbs", "5 pounds"),
        ("2 hrs", "120 min"),
    ],
)
def test_equal_quantities(one, other):
    assert equal(one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("3.5 m", "3.5 km"),
        ("36 J", "36 W"),
        ("36 N", "36 W"),
        ("-373 K", "373 K"),
        ("100 °C", "373 K"),
        ("100 dollars", "100 euros"),
        ("9.81 m/s", "9.81 m/s^2"),
        ("1 %", "0.1"),
        ("5 mm", "5 Mm"),
        ("3 apples", "3 m"),
        ("3 m or 4 m", "3 m"),
        ("5 pi", "5"),
        ("x m", "5 m"),
    ],
)
def test_different_quantities(one, other):
    assert not equal(one, other)


def test_a_number_beyond_a_float_is_no_quantity():
    assert read_quantity("1e400 m") is None
    assert read_quantity(r"4 \times 10^{999} m") is None


@pytest.mark.parametrize("digits", ["9" * 5000, "9,999" + ",999" * 1500, "0." + "3" * 5000])
@pytest.mark.parametrize("text", ["{}", "The answer is {}.", r"Answer: \boxed{{{}}} m"])
def test_endless_digits_are_no_number(text, digits):
    assert read_quantity(text.format(digits)) is None
    assert read_number(text.format(digits)) is None


def test_a_quantity_is_written_with_its_unit():
    assert str(read_quantity(r"$0.036\ \mathrm{kW}$")) == "0.036 kW"
    assert str(read_quantity("1,234")) == "1234"
