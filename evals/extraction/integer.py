r"""The integer in the answer to an AIME question.

It may be written as `\dfrac{140}{2}`, `1,234`, `2^{10}`, `5 thousand`, `70^\circ`, `70 ways` or
`m+n=70`.
"""

import re
from collections.abc import Sequence

from evals.extraction.number_words import changes_number, sized, stated_numbers
from evals.extraction.plain_text import without_markup
from evals.extraction.statements import FOUR, doubted, stated_answer

_DEGREES = re.compile(r"\s*(?:\^\s*\{?\s*\\circ\s*\}?|\\degrees?(?![A-Za-z])|°|\\?%|[€£¥])")
_MODULO = re.compile(r"\(?\s*\\?[pb]?mod(?:ulo)?\s*[{(]?\s*(\d+)\s*[)}]?\s*\)?\s*$")
_EQUALS = re.compile(r"=|\\equiv(?![A-Za-z])|≡")
_FRACTION = re.compile(r"([+-]?)\s*\\[dtc]?frac\s*\{\s*(\d{1,40})\s*\}\s*\{\s*(\d{1,40})\s*\}")
_POWER = re.compile(
    r"(?:(\d{1,20})\s*(?:\\times|\\cdot|[×·*])\s*)?(\d{1,6})\s*\^\s*\{?\s*(\d{1,2})\s*\}?"
)
_NUMBER = re.compile(
    r"(?P<sign>[+-]?)\s?"
    r"(?P<whole>\d{1,3}(?:,\d{3}){1,12}|\d{1,3}(?: \d{3}){1,12}|\d{1,40})"
    r"(?:\.0{1,40}(?!\d)|\s?/\s?(?P<divisor>\d{1,40}))?"
)
_UNIT = re.compile(
    r"(?i)(?!.*[⁰¹⁴-⁹ⁿ]|^[²³]|.*\b(?:and|to|is|was|seems|looks|works|should|has|does|plus|minus|times)\b)"
    r"(?:(?:[^\W\d_]{2,20}|[mgsLK])\.?(?: ?\^ ?\{?[23]\}?|[²³])?(?:[ /-]|$)){1,4}"
)
"""Words, or symbols such as cm and cm^2. Other single letters are variables."""
_CLAUSE = re.compile(
    r"(?i)[.;](?=\s|$)|!(?=\s+[A-Z]|$)|。|,(?=\s)|\s[(–]|—"
    r"|\s(?:because|since|as|for|where|porque)\b"
)
_OR_ELSE = re.compile(r",\s*(?:and\s+)?(?:\d|[a-z]\s*=)|\s\([^()]*\)\s*[/,]\s*\(?\d", re.IGNORECASE)
"""A second value after the first clause: "70, 71" or "70 (for n = 2) / 71"."""
_LIST = re.compile(r",(?!\d{3}(?!\d))")
_SEVERAL = re.compile(r"=.*(?:\band\b|[,;]\s).*=|\)\s*/")
_PROSE = re.compile(r"(?<![\\A-Za-z])[^\W\d_]{3,}.*(?:=|\\equiv(?![A-Za-z])|≡)")
_SUM = re.compile(r"[-+*/·].*=")
_COMMITS = re.compile(
    r"(?i)\b(?:total|sum|remainder|requested|required|desired|so|thus|hence|therefore|consequently"
    r"|giv(?:es|ing)|get|obtain|makes|yields|conclude|altogether|report|follows|number|area|value"
    r"|result|product|count|answer|luego|por (?:lo )?tanto)\b"
    r"|所以|因此|故|∴|[-+*/·×].*="
)
"""What a sentence has that states a result: a conclusion, a computation, or what was asked."""
_VALUE = re.compile(
    r"(?i)(?:.*(?:\b(?:is|are|equals|get|obtain|report|gives|giving|makes|yields|total|(?:total|value|sum)"
    r" of|es)\b|(?<!\d)(?<!\d\s):|[=为是∴]))?"
    r"(?:\s+(?:therefore|thus|hence|exactly|only))*\s*([^:=]*)"
)
"""A clause that ends with a value."""
_WORDS = re.compile(
    r"(?!\b(?:have|that|now|then|the|finally|total)\b)(?<![\\A-Za-z])[^\W\d_]{3,}|\d[a-z]\b"
)
"""Words, or a coefficient, on the left side of an equation that therefore states something else."""
_ITEMS = re.compile(r"\b(?:get|obtain|gives?|giving|makes|yields)\s+\d+\s+[a-z]", re.IGNORECASE)
"""A count of something that need not be what was asked."""
_FILLERS = re.compile(r"(?:(?:exactly|just|simply|precisely|indeed)\s+)+", re.IGNORECASE)
_IN_WORDS = re.compile(r"(?:[^\W\d_]+:?\s+)+(\d[\d,]*)(?:\s+[^\W\d_]{2,}){0,4}\.?")
"""A number in a box among words; a letter beside it could be a variable."""
_LONGEST = 200


def integer_answer(text: str) -> str | None:
    """Return the integer that a text gives as its answer; None without one or with several."""
    return stated_answer(text, _Integers())


def read_integer(tex: str) -> int | None:
    r"""Return TeX as an integer, None if it is not exactly one.

    Of an equation, the right side is read (`m+n=70`), or the left one (`70=m+n`).
    """
    bare = without_markup(tex)
    if _SEVERAL.search(bare):
        return None
    if power := _POWER.fullmatch(bare.strip(" .")):
        value: int = int(power[1] or 1) * int(power[2]) ** int(power[3])
        return value
    sides = [_side(side) for side in reversed(_EQUALS.split(bare))]
    return next((value for value in sides if value is not None), None)


class _Integers:
    """An `AnswerReader` of integers."""

    last = FOUR

    def boxed(self, content: str) -> str | None:
        *others, last = _LIST.split(content)
        if (words := _IN_WORDS.fullmatch(content.strip())) and not doubted(content):
            return _text(read_integer(content.strip()[words.start(1) :]))
        return None if others and not _SUM.search(last) else _text(read_integer(last))

    def stated(self, text: str) -> str | None:
        stated = text[:_LONGEST].strip(" \"'“”{}[]<>*✓✔✅")
        stated = _FILLERS.sub("", stated, count=1) if _FILLERS.match(stated) else stated
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

    def concluded(self, sentence: str, claims: Sequence[str]) -> str | None:
        claim = claims[-1].strip(" .")
        value = _VALUE.fullmatch(claim)
        if (
            not value
            or not _COMMITS.search(sentence)
            or _SEVERAL.search(claim)
            or _ITEMS.search(claim)
        ):
            return None
        left, equals, _ = claim[: value.start(1)].rpartition("=")
        if equals and _WORDS.search(_COMMITS.split(f"{left}=")[-1]):
            return None
        return _text(read_integer(value[1]))

    def without_choices(self, sentence: str) -> str:
        return sentence

    def names_other(self, remark: str, answer: str) -> bool:
        return any(number != answer for number in stated_numbers(remark))


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
    factor, end = sized(side, number.end())
    unit = side[end:].strip(" ()")
    if unit and (not _UNIT.fullmatch(unit) or changes_number(unit)):
        return None
    whole = int(re.sub("[, ]", "", number["whole"])) * factor
    return _quotient(number["sign"], str(whole), number["divisor"] or "1")


def _quotient(sign: str, dividend: str, divisor: str) -> int | None:
    if int(divisor) == 0 or int(dividend) % int(divisor):
        return None
    value = int(dividend) // int(divisor)
    return -value if sign == "-" else value
