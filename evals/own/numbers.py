"""Numbers with a tolerance or a unit: an `AnswerReader` of each, and the questions that ask."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import isfinite

from evals.answer_eval import Item, Order
from evals.extraction.arithmetic import changes_number, stated_numbers
from evals.extraction.plain_text import without_markup
from evals.extraction.readers import AnswerReader
from evals.extraction.statements import stated_answer
from evals.own.quantities import (
    LARGEST,
    Quantity,
    difference,
    numbers_at_start,
    read_quantity,
    read_unit,
    without_parentheses,
)
from evals.prompts import fill

_PLAIN = re.compile(r"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|\d+/0*[1-9]\d*)")
_UNIT = re.compile(
    r"\s*(?:\\?%|°|[€$£¥])?\s*"
    r"(?:(?!(?:and|or|to|plus|minus|times|but)\b)(?:[^\W\d_]{2,20}|[mgsLKNJWVAhC])"
    r"(?:\^\{?-?\d\}?|[²³])?[ /·.-]*){0,4}\W*"
)
EQUALS = re.compile(r"=|≈|\\approx(?![A-Za-z])|\\equiv")
ABOUT = re.compile(
    r"\b(?:about|approximately|around|roughly|nearly|almost)(?=\s+[^\w\s]*\d)|≈|\\approx", re.I
)
APPROXIMATES = re.compile(r"≈|\\approx(?![A-Za-z])")
"""What stands between an exact value and a rounded one."""
_CLAUSE = re.compile(r"[.;](?=\s|$)|,(?=\s)|\s\(")
_VALUE = re.compile(
    r"(?i).*(?:\b(?:is|are|equals|gives?|get|obtain|makes?|yields?|takes?|lasts?|weighs?|costs?|pay"
    r"|measures?|covers?|needs?|(?:comes|amounts|adds up) to)\b|[=:≈])\s*([^=:≈]*)"
)
_PERCENT = re.compile(r"(?i)(?:%|\bper\s?cent)\W*$")
_SMALLEST = 1e-9  # relative; rounding errors of binary fractions


def is_number(text: str) -> bool:
    """Return whether a text is a finite number, such as `-3`, `2.50`, `6.02e23` or `1/3`."""
    return _PLAIN.fullmatch(text) is not None and isfinite(_value(text))


def _value(text: str) -> float:
    above, _, below = text.partition("/")
    return float(above) / float(below or 1)


def tolerance_of(text: str, answer: float) -> float | None:
    """Return an absolute tolerance, or a share such as `1%` of the answer; None for other texts."""
    share = text.strip().endswith("%")
    bare = text.strip().removesuffix("%").strip()
    if not is_number(bare) or _value(bare) < 0:
        return None
    return _value(bare) / 100 * abs(answer) if share else _value(bare)


def rounding(answer: str) -> float:
    """Return half a unit of the last digit of a number as it is written."""
    mantissa, _, power = answer.lower().partition("e")
    places = len(mantissa.partition(".")[2])
    return 0.5 * 10.0 ** (int(power or 0) - places) if places else 0.0


def read_number(text: str) -> float | None:
    """Return the number that a text consists of, with a unit or as the side of an equation."""
    bare = EQUALS.split(without_markup(text))[-1].replace("−", "-").strip(" []\"'*~$").rstrip(".")
    for number, rest in (*numbers_at_start(bare), *numbers_at_start(bare.strip(" ()"))):
        if abs(number) < LARGEST and _UNIT.fullmatch(rest) and not changes_number(rest):
            return float(number)
    return None


class ValueReader(AnswerReader):
    """What the readers of numbers and of quantities share."""

    def boxed(self, content: str) -> str | None:
        """Return the value in a box."""
        return self.whole(content)

    def stated(self, text: str) -> str | None:
        """Return the value that the first clause of a text consists of."""
        end = _CLAUSE.search(text)
        return self.whole(text[: end.start()] if end else text)

    def concluded(self, sentence: str, claims: Sequence[str]) -> str | None:
        """Return the value at the end of the last clause."""
        value = _VALUE.fullmatch(claims[-1].strip(" ."))
        return self.whole(value[1]) if value else None

    def without_choices(self, sentence: str) -> str:
        """Return the sentence without words for rounding, which do not express doubt."""
        return ABOUT.sub("", sentence)

    def names_other(self, remark: str, answer: str) -> bool:
        """Return whether a remark has another number than the answer."""
        said = float(answer.partition(" ")[0].rstrip("%"))
        return any(float(number) != said for number in stated_numbers(remark))


class _Numbers(ValueReader):
    """An `AnswerReader` of numbers, written as Python writes them."""

    def whole(self, line: str) -> str | None:
        exact, *_, last = *APPROXIMATES.split(line), line
        value = read_number(exact)
        value = read_number(ABOUT.sub("", last)) if value is None else value
        percent = "%" if _PERCENT.search(line) else ""
        return None if value is None else f"{value:.15g}{percent}"


@dataclass(frozen=True)
class DecimalItem(Item):
    """A question whose answer is a number; without a tolerance, one rounded as the answer is."""

    tolerance: str | None = None

    def asked(self, templates: Mapping[str, str], order: Order | None) -> str:
        """Return the question in its template."""
        return fill(templates["own_number"], question=self.text)

    def read(self, text: str, order: Order | None) -> str | None:
        """Return the number that a text gives."""
        return stated_answer(text, _Numbers())

    def right(self, answer: str, order: Order | None) -> bool:
        """Return whether a number is within the tolerance; a percentage may also be a share."""
        wanted = _value(self.answer)
        allowed = None if self.tolerance is None else tolerance_of(self.tolerance, wanted)
        if allowed is None:
            allowed = rounding(self.answer)
        found = float(answer.rstrip(" %"))
        readings = [found]
        if answer.endswith("%"):
            readings = [found / 100] if "/" in self.answer else [found, found / 100]
        return any(abs(one - wanted) <= allowed + _SMALLEST * abs(wanted) for one in readings)

    def described(self, order: Order | None) -> str:
        """Return the number with its tolerance."""
        return f"{self.answer} ± {self.tolerance}" if self.tolerance else self.answer


_GOLD = re.compile(r"[+-]?(?:(?:[€£¥$]|EUR|USD|GBP|JPY)\s*[\d.,]+|[\d.,]+(?:[eE][+-]?\d+)?\s*\D.*)")
_HOUR = re.compile(r"(?:1[0-2]|\d) ?pm")
"""A time of day, rather than picometres."""
_DIGITS = re.compile(r"[\d.,]+(?:[eE][+-]?\d+)?")
_DOLLARS = re.compile(r"\\\$\s?(?=\d)|(?<![\w$\\])\$(?=\d[\d,.]*(?![^$\n]*\$))")
_UNIT_BESIDE = re.compile(
    r"\}\s?(?!in\s+\w)((?:\\%|[^\s.,;:!?(){}$])(?:[^\s.,;:!?(){}$]|\.(?=\d))*)"
)
"""A word directly after a box, which may be its unit; `in` before another word is no inch."""
_ROUNDING = Fraction(1, 10**9)  # relative; rounding errors of units


def is_quantity(text: str) -> bool:
    """Return whether a text is a number with a known unit, such as `3.5 km` or `100 euros`."""
    if not _GOLD.fullmatch(text) or _HOUR.fullmatch(text):
        return False
    found = read_quantity(_in_words(text))
    return found is not None and found.unit is not None


class _Quantities(ValueReader):
    """An `AnswerReader` of quantities, written as a number and its unit."""

    def whole(self, line: str) -> str | None:
        bare = EQUALS.split(ABOUT.sub("", line))[-1].strip(" []\"'*~$")
        found = read_quantity(without_parentheses(bare))
        return None if found is None else str(found)


@dataclass(frozen=True)
class QuantityItem(Item):
    """A question whose answer is a number with a unit; an answer may have another unit of its kind.

    Without a tolerance, the number must be equal after rounding as in `DecimalItem`.
    """

    tolerance: str | None = None

    def asked(self, templates: Mapping[str, str], order: Order | None) -> str:
        """Return the question in its template."""
        return fill(templates["own_number"], question=self.text)

    def read(self, text: str, order: Order | None) -> str | None:
        """Return the quantity that a text gives."""
        return stated_answer(_UNIT_BESIDE.sub(_inside, _in_words(text)), _Quantities())

    def right(self, answer: str, order: Order | None) -> bool:
        """Return whether a quantity is within the tolerance, in the unit of the right answer."""
        wanted, found = _quantity(self.answer), _quantity(answer)
        apart = difference(found, wanted)
        number, tolerance = float(wanted.number), self.tolerance
        allowed = None if tolerance is None else tolerance_of(tolerance, number)
        if allowed is None:
            allowed = rounding(_DIGITS.findall(self.answer)[0])
        return apart is not None and apart <= Fraction(allowed) + _ROUNDING * abs(wanted.number)

    def described(self, order: Order | None) -> str:
        """Return the quantity with its tolerance."""
        return f"{self.answer} ± {self.tolerance}" if self.tolerance else self.answer


def _in_words(text: str) -> str:
    """Return a text with `USD` for the dollar signs that delimit no formula."""
    return _DOLLARS.sub("USD ", text)


def _inside(beside: re.Match[str]) -> str:
    """Return the end of a box with the unit after it inside the box."""
    return f" {beside[1]}}}" if read_unit(beside[1]) else beside[0]


def _quantity(text: str) -> Quantity:
    """Return a quantity. Raises ValueError for a text that is none."""
    found = read_quantity(_in_words(text))
    if found is None:
        raise ValueError(f"{text!r} is not a quantity")
    return found
