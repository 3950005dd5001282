r"""Which choice a text is: the one with the same text, or with the same value.

Typography, the spelling of formulas and units that can be converted do not count: `$\tfrac12$` is
the choice "It is 50 %".
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import takewhile
from string import ascii_uppercase

from evals.extraction.folded import folded
from evals.extraction.quantities import Quantity, difference, read_quantity
from evals.extraction.readers import up_to

_LETTERED = re.compile(r"\W*(?:option\s+)?\(?[A-D][).:]")
"""A letter before the text of its choice."""
_ABOUT = re.compile(r"(?i)^\W*(?:about|approximately|around|roughly|nearly)\s+")
_SIDES = re.compile(r"=|≈|\\(?:approx|simeq|sim)(?![A-Za-z])")
_KIND = re.compile(
    r"(?i)(?<=\w)\s+(?:gate|operator|method|process|effect|mechanism|reaction|technique|pathway|law"
    r"|theorem|principle|model|equation|rule|test)\W*$"
)
"""A noun for the kind of thing after a name, which a choice may leave out."""
_BOTH_SIGNS = re.compile(r"(?:±|\\pm(?![A-Za-z]))\s*")
_LONGEST_VALUE = 100
_ROUNDING = Fraction(1, 10**9)  # relative
_BEFORE_VALUE = re.compile(r"^[^=≈]*(?:=|≈|\\approx(?![A-Za-z])|\bis\b)\s*")
"""What stands before the value of a choice, as in "its efficiency is 50 %"."""
_SUBSCRIPT = re.compile(r"(?<=\w)_(?:\{[^{}]*\}|\w)\s*$")


@dataclass(frozen=True)
class ChoiceTexts:
    """The texts of the choices A, B and so on."""

    texts: tuple[str, ...]

    @property
    def last(self) -> str:
        """The letter of the last choice."""
        return ascii_uppercase[len(self.texts) - 1]

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """The letters with their texts."""
        return list(zip(ascii_uppercase, self.texts, strict=False))

    def by_text(self, text: str) -> str | None:
        """Return the letter of the only choice with this text or value."""
        letters = self.by_spelling(text)
        if not letters and not up_to(self.last, _LETTERED).match(text):
            letters = {letter for side in self._sides(text) for letter in self._of_value(side)}
        return letters.pop() if len(letters) == 1 else None

    def by_spelling(self, text: str) -> set[str]:
        """Return the letters of the choices with this text, or with a side of this equation."""
        named = [self._equal(folded(side)) for side in self._sides(text)]
        letters = {letter for equal in named for letter in equal}
        if not letters and _SUBSCRIPT.search(text) and not any("_" in each for each in self.texts):
            letters = set(self._equal(folded(_SUBSCRIPT.sub("", text))))
        if not letters and _BOTH_SIGNS.search(text):
            signed = (_BOTH_SIGNS.sub(sign, text) for sign in ("", "-"))
            letters = {letter for side in signed for letter in self._equal(folded(side))}
        if not letters and (kind := _KIND.search(text)):
            letters = set(self._equal(folded(text[: kind.start()])))
        return letters

    def _sides(self, text: str) -> Sequence[str]:
        """Return a text, and the sides of an equation."""
        split = _SIDES.search(text) and not up_to(self.last, _LETTERED).match(text)
        return [text, *_SIDES.split(text)] if split else [text]

    def _equal(self, wanted: str) -> list[str]:
        """Return the letters of the choices with a folded text."""
        return [letter for letter, text in self._folded if wanted and text == wanted]

    @cached_property
    def _folded(self) -> Sequence[tuple[str, str]]:
        """The letters with the folded texts."""
        return [(letter, folded(text)) for letter, text in self.pairs]

    def _of_value(self, text: str) -> list[str]:
        """Return the letters of the choices with the value of a quantity."""
        if len(text) > _LONGEST_VALUE:
            return []
        found = read_quantity(_ABOUT.sub("", _BEFORE_VALUE.sub("", text)))
        if found is None:
            return []
        pairs = zip(ascii_uppercase, self._quantities, strict=False)
        return [letter for letter, each in pairs if each and _equal_values(found, each)]

    @cached_property
    def _quantities(self) -> Sequence[Quantity | None]:
        """The quantities of the choices; None for one that is none."""
        words = [text.split() for text in self.texts]
        alike = (len(set(place)) == 1 for place in zip(*words, strict=False))
        common = sum(1 for _ in takewhile(bool, alike))  # as in "pH 7", "pH 9"
        bare = (" ".join(each[common:]) for each in words)
        return [read_quantity(_BEFORE_VALUE.sub("", text)) for text in bare]


def _equal_values(one: Quantity, other: Quantity) -> bool:
    apart = difference(one, other)
    return apart is not None and apart <= _ROUNDING * abs(other.number)
