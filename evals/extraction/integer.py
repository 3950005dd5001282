r"""The integer that the answer to an AIME question declares.

Rules, in this order:

1. A box (`\boxed`, `\framebox`, `\fbox`) declares the answer, for the prompt asks for one. Of
   several the last counts that holds a digit or an expression; an empty or merely verbal box is
   passed over. A last box that is not an integer (`\frac{1}{2}`) is an answer, and a wrong one.
2. Without a box, the last statement in words: "Final answer: 70", "the answer is 70".
3. Without either, a last line that is nothing but an integer set off as a formula or in bold, or
   a text that is nothing but an integer.

No number is ever taken because it happens to stand last.
"""

from __future__ import annotations

import re

from evals.extraction.found import Found
from evals.extraction.keywords import FOREIGN_WORDS
from evals.extraction.tex import boxes, undress

_DEGREES = re.compile(r"\s*(?:\^\s*\{?\s*\\circ\s*\}?|\\degree(?:s)?(?![A-Za-z])|°|\\?%)")
_MODULO = re.compile(r"\(?\s*\\?[pb]?mod(?:ulo)?\s*[{(]?\s*\d+\s*[)}]?\s*\)?\s*$")
_EQUALS = re.compile(r"=|\\equiv(?![A-Za-z])|≡")
_RESULT = re.compile(r"[-+*/].*=")
_FRACTION = re.compile(r"([+−-]?)\s*\\[dtc]?frac\s*\{\s*(\d{1,40})\s*\}\s*\{\s*(\d{1,40})\s*\}")
_NUMBER = re.compile(
    r"(?P<sign>[+−-]?)\s?"
    r"(?P<whole>\d{1,3}(?:,\d{3}){1,12}|\d{1,3}(?: \d{3}){1,12}|\d{1,40})"
    r"(?:\.0{0,40}|\s?/\s?(?P<divisor>\d{1,40}))?"
)
# A word before the number, and a unit after it: words, or symbols such as cm and cm^2. A single
# letter is taken for a variable unless it is a common unit.
_WORDS = re.compile(r"(?!.*\bnot\b)[A-Za-z][A-Za-z ]*[:=]?", re.IGNORECASE)
_UNIT = re.compile(
    r"(?:(?:[a-z]{2,20}|[mgshLJNWVK])\.?(?: ?\^ ?\{?[23]\}?|[²³])?(?:[ /-]|$))+", re.IGNORECASE
)
_STATEMENT = re.compile(
    r"(?:\banswer\b[\s*_}]*(?:[:：=→]|\bis\b|\bequals\b)"
    rf"|(?:{'|'.join(map(re.escape, FOREIGN_WORDS))})[\s*_}}]*[:：])"
    r"[\s*_]*(?:(?:therefore|thus|simply|equal to)\b)?[ \t]*:?",
    re.IGNORECASE,
)
_LINE = re.compile(r"[^\n]{0,300}")
_LONGEST_ALONE = 100
_MOST_PLACES = 300
_SENTENCE_END = re.compile(r"[.!;](?=\s|[*_$\\)]*$)|,(?=\s)|\s[(—–]")
_SET_OFF = re.compile(r"(?:\*\*|__|\$\$?|\\\(|\\\[)[^\n]*(?:\*\*|__|\$\$?|\\\)|\\\])\.?")


def integer_answer(text: str) -> Found | None:
    """The integer that `text` declares as its answer, as the module says; None if it does not."""
    return _boxed(text) or _stated(text) or _alone(text)


def read_integer(tex: str, *, words: bool = True) -> int | None:
    r"""`tex` as an integer, whatever it is dressed in; None if it is not one integer.

    Understood are wrappers (`\text{}`), signs, thousands separators (`1,234`, `1{,}234`,
    `1\,234`), degrees, per cent, units, a zero fraction (`70.0`), fractions that are integers
    (`\dfrac{140}{2}`), remainders (`70 \pmod{1000}`) and equations: of `m+n=70` the right side,
    of `70=m+n` the left.
    """
    bare = undress(tex)
    sides = [_side(side, words) for side in reversed(_EQUALS.split(bare))]
    return next((value for value in sides if value is not None), None)


def _boxed(text: str) -> Found | None:
    for box in reversed(tuple(boxes(text))[-_MOST_PLACES:]):
        bare = undress(box.content)
        if re.search(r"[\d\\^=+]", bare):
            return _found(_read_box(bare), text[box.start : box.end])
    return None


def _stated(text: str) -> Found | None:
    for match in reversed(tuple(_STATEMENT.finditer(text))[-_MOST_PLACES:]):
        line = _LINE.match(text, match.end())
        rest = line[0] if line else ""
        end = _SENTENCE_END.search(rest)
        stated = rest[: end.start()] if end else rest
        value = read_integer(stated, words=False)
        if value is not None:
            return _found(value, match[0] + stated)
    return None


def _alone(text: str) -> Found | None:
    whole = text.strip()
    last = whole.rsplit("\n", 1)[-1].strip()
    if len(last) > _LONGEST_ALONE or (last != whole and not _SET_OFF.fullmatch(last)):
        return None
    value = read_integer(last.removesuffix("."), words=False)
    return None if value is None else _found(value, last)


def _found(value: int | None, quote: str) -> Found:
    return Found(None if value is None else str(value), quote)


def _read_box(bare: str) -> int | None:
    """The integer in a box; of a list only the result, as in `m=3, n=67, m+n=70`."""
    parts = re.split(r",(?!\d{3}(?!\d))", bare)
    if len(parts) > 1 and not _RESULT.search(parts[-1]):
        return None
    return read_integer(parts[-1])


def _side(side: str, words: bool) -> int | None:
    """One side of an equation as an integer."""
    side = _MODULO.sub("", _DEGREES.sub(" ", side)).strip(" ().")
    fraction = _FRACTION.fullmatch(side)
    if fraction:
        return _quotient(fraction[1], fraction[2], fraction[3])
    match = _NUMBER.search(side)
    if not match or not _is_unit(side[match.end() :]):
        return None
    before = side[: match.start()].strip()
    if before and (not words or match["sign"] or not _WORDS.fullmatch(before)):
        return None
    whole = re.sub(r"[, ]", "", match["whole"])
    return _quotient(match["sign"], whole, match["divisor"] or "1")


def _is_unit(after: str) -> bool:
    return not after.strip() or _UNIT.fullmatch(after.strip()) is not None


def _quotient(sign: str, dividend: str, divisor: str) -> int | None:
    if int(divisor) == 0 or int(dividend) % int(divisor):
        return None
    value = int(dividend) // int(divisor)
    return -value if sign in {"-", "−"} else value
