r"""The integer in the answer to an AIME question.

It may be written as `\dfrac{140}{2}`, `1,234`, `70^\circ`, `70 ways` or `m+n=70`.
"""

import re

from evals.extraction.plain_text import undress
from evals.extraction.statements import stated_answer

_DEGREES = re.compile(r"\s*(?:\^\s*\{?\s*\\circ\s*\}?|\\degrees?(?![A-Za-z])|°|\\?%|[€£¥])")
_MODULO = re.compile(r"\(?\s*\\?[pb]?mod(?:ulo)?\s*[{(]?\s*(\d+)\s*[)}]?\s*\)?\s*$")
_EQUALS = re.compile(r"=|\\equiv(?![A-Za-z])|≡")
_FRACTION = re.compile(r"([+-]?)\s*\\[dtc]?frac\s*\{\s*(\d{1,40})\s*\}\s*\{\s*(\d{1,40})\s*\}")
_NUMBER = re.compile(
    r"(?P<sign>[+-]?)\s?"
    r"(?P<whole>\d{1,3}(?:,\d{3}){1,12}|\d{1,3}(?: \d{3}){1,12}|\d{1,40})"
    r"(?:\.0{1,40}(?!\d)|\s?/\s?(?P<divisor>\d{1,40}))?"
)
_UNIT = re.compile(
    r"(?!.*[⁰¹⁴-⁹ⁿ]|^[²³]|.*\b(?:and|to|is|was|seems|looks|works|should|has|does|plus|minus|times)\b)"
    r"(?:(?:[^\W\d_]{2,20}|[mgsLK])\.?(?: ?\^ ?\{?[23]\}?|[²³])?(?:[ /-]|$)){1,4}",
    re.IGNORECASE,
)
"""Words, or symbols such as cm and cm^2. A single letter that is no common unit is a variable."""
_CLAUSE = re.compile(
    r"[.;](?=\s|$)|!(?=\s+[A-Z]|$)|。|,(?=\s)|\s[(—–]"
    r"|\s(?:because|since|as|for|where|weil|denn|car|porque|perché)\b",
    re.IGNORECASE,
)
_OR_ELSE = re.compile(r",\s*(?:and\s+)?(?:\d|[a-z]\s*=)|\s\([^()]*\)\s*[/,]\s*\(?\d", re.IGNORECASE)
"""A second value after the first clause: "70, 71" or "70 (for n = 2) / 71"."""
_LIST = re.compile(r",(?!\d{3}(?!\d))")
_SEVERAL = re.compile(r"=.*(?:\band\b|[,;]\s).*=|\)\s*/")
_PROSE = re.compile(r"[^\W\d_]{3,}.*=")
_SUM = re.compile(r"[-+*/·].*=")
_CONCLUDED = re.compile(
    r"(?:.*\b(?:total|sum|remainder|requested|required|desired|so|thus|hence|therefore|consequently"
    r"|giving|altogether|we report|somit|also|daher|donc|luego|portanto|quindi|итак|значит)\b"
    r"|.*(?:所以|因此|故|∴)|(?:\w+ )?(?:number|area|value|result|product|answer)\b)"
    r".*(?:\b(?:is|are|equals|get|obtain|report|total(?: of)?|ist|est|es|é|è)\b"
    r"|(?<!\d)(?<!\d\s):|[=为是])\s*([^:=]*)\.?",
    re.IGNORECASE,
)
"""A sentence that ends with what was computed."""
_LONGEST = 200


def integer_answer(text: str) -> str | None:
    """Return the integer that a text gives as its answer; None without one or with several."""
    return stated_answer(text, _Integers())


def read_integer(tex: str) -> int | None:
    r"""Return TeX as an integer, None if it is not exactly one.

    Of an equation, the right side is read (`m+n=70`), or the left one (`70=m+n`).
    """
    bare = undress(tex)
    if _SEVERAL.search(bare):
        return None
    sides = [_side(side) for side in reversed(_EQUALS.split(bare))]
    return next((value for value in sides if value is not None), None)


class _Integers:
    """An `AnswerReader` of integers."""

    def boxed(self, content: str) -> str | None:
        *others, last = _LIST.split(content)
        return None if others and not _SUM.search(last) else _text(read_integer(last))

    def stated(self, text: str) -> str | None:
        stated = text[:_LONGEST].strip(" \"'“”{}[]<>*✓✔✅")
        end = _CLAUSE.search(stated)
        if end and _OR_ELSE.match(stated, end.start()):
            return None
        clause = stated[: end.start()] if end else stated
        return None if _PROSE.search(clause) else _text(read_integer(clause))

    def whole(self, line: str) -> str | None:
        bare = line.strip(" .;!{}()[]\"'")
        if len(bare) > _LONGEST or _LIST.search(bare) or _PROSE.search(bare):
            return None
        return _text(read_integer(bare))

    def concluded(self, sentence: str) -> str | None:
        concluded = _CONCLUDED.fullmatch(sentence)
        if not concluded or _SEVERAL.search(sentence):
            return None
        return _text(read_integer(concluded[1]))

    def without_choices(self, sentence: str) -> str:
        return sentence


def _text(value: int | None) -> str | None:
    return None if value is None else str(value)


def _side(side: str) -> int | None:
    """Return one side of an equation as an integer."""
    side = _DEGREES.sub(" ", side)
    modulus = _MODULO.search(side)
    if modulus:
        value = _side(side[: modulus.start()])
        return value if value is None or int(modulus[1]) == 0 else value % int(modulus[1])
    side = side.strip(" ().")
    fraction = _FRACTION.fullmatch(side)
    if fraction:
        return _quotient(fraction[1], fraction[2], fraction[3])
    number = _NUMBER.match(side)
    if not number:
        return None
    unit = side[number.end() :].strip()
    if unit and not _UNIT.fullmatch(unit):
        return None
    return _quotient(number["sign"], re.sub("[, ]", "", number["whole"]), number["divisor"] or "1")


def _quotient(sign: str, dividend: str, divisor: str) -> int | None:
    if int(divisor) == 0 or int(dividend) % int(divisor):
        return None
    value = int(dividend) // int(divisor)
    return -value if sign == "-" else value
