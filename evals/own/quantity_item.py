"""Numbers with a unit: an `AnswerReader` of quantities, and the question that asks for one."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from evals.answer_eval import Item, Order
from evals.extraction.statements import stated_answer
from evals.own.numbers import ABOUT, EQUALS, ValueReader, rounding, tolerance_of
from evals.own.quantities import (
    Quantity,
    difference,
    read_quantity,
    read_unit,
    without_parentheses,
)
from evals.prompts import fill

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
