r"""The integer in the answer to an AIME question.

It may be written as `\dfrac{140}{2}`, `1,234`, `2^{10}`, `5 thousand`, `seventy`, `70^\circ`,
`70 ways` or `m+n=70`.
"""

import re
from collections.abc import Sequence
from fractions import Fraction

from evals.extraction.arithmetic import evaluated
from evals.extraction.doubt import doubted
from evals.extraction.number_words import changes_number, in_words, sized, stated_numbers
from evals.extraction.plain_text import without_markup
from evals.extraction.readers import FOUR
from evals.extraction.statements import stated_answer

_DEGREES = re.compile(r"\s*(?:\^\s*\{?\s*\\circ\s*\}?|\\degrees?(?![A-Za-z])|°|\\?%|[€£¥])")
_MODULO = re.compile(r"\(?\s*\\?[pb]?mod(?:ulo)?\s*[{(]?\s*(\d+)\s*[)}]?\s*\)?\s*$")
_EQUALS = re.compile(r"=|\\equiv(?![A-Za-z])|≡")
_NUMBER = re.compile(
    r"(?P<sign>[+-]?)\s?"
    r"(?P<whole>\d{1,3}(?:,\d{3}){1,12}|\d{1,3}(?: \d{3}){1,12}|\d{1,40})"
    r"(?:\.0{1,40}(?!\d)|\s?/\s?(?P<divisor>\d{1,40}))?"
)
_UNIT = re.compile(
    r"(?i)(?!.*[⁰¹⁴-⁹ⁿ]|^[²³]|(?:st|nd|rd|th)\b|.*\b(?:and|to|is|was|seems|looks|works|should|has|does|plus|minus|times"
    r"|ist|sind|war|und|oder|est|sont|et|ou|es|son|è|sono|é|são|и|или|это)\b)"
    r"(?:(?:[^\W\d_]{2,20}|[mgsLK]|(?<=/)h)\.?(?: ?\^ ?\{?[23]\}?|[²³])?(?:[ /-]|$)){1,4}"
)
"""Words, or symbols such as cm and cm^2. Other single letters are variables."""
_CLAUSE = re.compile(
    r"(?i)[.;](?=\s|$)|!(?=\s+[A-Z]|$)|。|,(?=\s)|\s[(–]|—"
    r"|\s(?:because|since|as|for|where|porque)\b"
)
_OR_ELSE = re.compile(
    r"[,;]\s*(?:and\s+)?(?:\d|[a-z]\s*=)|\s\([^()]*\)\s*[/,]\s*\(?\d", re.IGNORECASE
)
"""A second value after the first clause: "70, 71" or "70 (for n = 2) / 71"."""
_LIST = re.compile(r",(?!\d{3}(?!\d))")
_SEVERAL = re.compile(r"=.*(?:\band\b|[,;]\s).*=|\)\s*/")
_PROSE = re.compile(r"(?<![\\A-Za-z])[^\W\d_]{3,}.*(?:=|\\equiv(?![A-Za-z])|≡)")
_SUM = re.compile(r"[-+*/·].*=")
_COMMITS = re.compile(
    r"(?i)\b(?:total|sum|remainder|requested|required|desired|so|thus|hence|therefore|consequently"
    r"|giv(?:es|ing)|get|obtain|makes|yields|conclude|altogether|report|follows|number|area|value"
    r"|result|product|count|answer|integer|digits?|smallest|largest|greatest|least|luego"
    r"|por (?:lo )?tanto)\b|\bi\.e\.|^\W*it(?:['’]s| is)\W+\d+\W*$|所以|因此|故|∴"
    r"|(?:[-+*/·×]|\\cdot|\\times).*="
)
"""What a sentence has that states a result: a conclusion, a computation, or what was asked."""
_VALUE = re.compile(
    r"(?i)(?:.*(?:\b(?:is|are|equals|get|obtain|report|gives|giving|makes|yields|total|(?:total|value|sum)"
    r" of|es)\b|(?<!\d)(?<!\d\s):|[=为是∴]))?"
    r"(?:\s+(?:therefore|thus|hence|exactly|only|indeed|simply|just))*\s*([^:=]*)"
)
"""A clause that ends with a value."""
_WORDS = re.compile(
    r"(?!\b(?:have|that|now|then|the|finally|total)\b)(?<![\\A-Za-z])[^\W\d_]{3,}|\d[a-z]\b"
)
"""Words, or a coefficient, on the left side of an equation that therefore states something else."""
_ITEMS = re.compile(r"\b(?:get|obtain|gives?|giving|makes|yields)\s+\d+\s+[a-z]", re.IGNORECASE)
"""A count of something that need not be what was asked."""
_POINT = re.compile(r"(?<![\w.])\.\d")
"""The beginning of a decimal fraction such as `.5`."""
_BARE = re.compile(r"\W*\d+\W*$")
"""A number without words; after another number it is a member of a list."""
_IN_WORDS = re.compile(r"(?:\(?[^\W\d_]+[:)]*\s+)+(\d[\d,]*)(?:\s+[^\W\d_]{2,}){0,4}\.?")
"""A number in a box among words; a letter beside it could be a variable."""
_OPERATION = re.compile(r"[-+*/^!·×]|\\(?:[dtc]?frac|binom|sqrt|times|cdot)")
_COUNTED = re.compile(r"\s*(\S.*[\d})!])\s+([^\W\d_].*?)[ .]*")
"""An expression and the words for what it counts."""
_LONGEST = 200


def integer_answer(text: str) -> str | None:
    """Return the integer that a text gives as its answer; None without one or with several."""
    return stated_answer(text, _Integers())


def read_integer(tex: str) -> int | None:
    r"""Return TeX as an integer, None if it is not exactly one.

    Of an equation, the right side is read (`m+n=70`), or the left one (`70=m+n`).
    """
    bare = without_markup(tex)
    if _SEVERAL.search(bare) or _POINT.search(bare):
        return None
    *others, last = _EQUALS.split(bare)
    value = _side(last)
    plain = (_side(side) for side in reversed(others) if not _OPERATION.search(side.strip(" +-")))
    return value if value is not None else next((side for side in plain if side is not None), None)


class _Integers:
    """An `AnswerReader` of integers."""

    last = FOUR
    asks_for_letter = False
    knows_units = False

    def boxed(self, content: str) -> str | None:
        *others, last = _LIST.split(content.rstrip(" ,"))
        if (words := _IN_WORDS.fullmatch(content.strip())) and not doubted(content):
            return _text(read_integer(content.strip()[words.start(1) :]))
        return None if others and not _SUM.search(last) else _text(read_integer(last))

    def stated(self, text: str) -> str | None:
        stated = _unwrapped(text[:_LONGEST], " \"'“”{}[]<>*✓✔✅")
        end = _CLAUSE.search(stated)
        if end and _OR_ELSE.match(stated, end.start()):
            return None
        clause = stated[: end.start()] if end else stated
        return None if _PROSE.search(clause) else _text(read_integer(clause))

    def whole(self, line: str) -> str | None:
        bare = _unwrapped(line, " .;!{}()[]\"'✓✔✅")
        if len(bare) > _LONGEST or _POINT.search(line) or _LIST.search(bare) or _PROSE.search(bare):
            return None
        if (words := in_words(bare)) and sized(bare, words[1])[1] < len(bare):
            return None  # "two cases remain" is no answer
        return _text(read_integer(bare))

    def concluded(self, sentence: str, claims: Sequence[str]) -> str | None:
        claim = claims[-1].strip(" .")
        value = _VALUE.fullmatch(claim)
        if (
            not value
            or not _COMMITS.search(sentence)
            or _SEVERAL.search(claim)
            or _ITEMS.search(claim)
            or (_BARE.fullmatch(claim) and _BARE.search(" ".join(claims[-2:-1])))
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


def _unwrapped(text: str, ends: str) -> str:
    """Return a text without these characters at its ends, but with braces and brackets in pairs."""
    bare = text.strip(ends)
    for opening, closing in ("{}", "()"):
        missing = bare.count(opening) - bare.count(closing)
        if missing > 0 and text[text.find(bare) + len(bare) :].count(closing) >= missing:
            bare += closing * missing
    return bare


def _text(value: int | None) -> str | None:
    return None if value is None else str(value)


def _side(side: str) -> int | None:
    """Return one side of an equation as an integer."""
    side = _DEGREES.sub(" ", side)
    modulus = _MODULO.search(side)
    if modulus:
        value = _side(side[: modulus.start()])
        return value if value is None or int(modulus[1]) == 0 else value % int(modulus[1])
    counted = _COUNTED.fullmatch(side)
    if counted and _OPERATION.search(counted[1].strip(" +-")) and _is_unit(counted[2]):
        side = counted[1]
    exact = evaluated(side.strip(" ."))
    if exact is not None:
        return _whole(exact)
    side = side.strip(" ().")
    number, words = _NUMBER.match(side), in_words(side)
    if number:
        factor, end = sized(side, number.end())
        divisor = int(number["divisor"] or 1)
        if divisor == 0:
            return None
        size = Fraction(int(re.sub("[, ]", "", number["whole"])) * factor, divisor)
        exact = -size if number["sign"] == "-" else size
    elif words:
        factor, end = sized(side, words[1])
        exact = words[0] * factor
    else:
        return None
    unit = side[end:].strip(" ()")
    return _whole(exact) if not unit or _is_unit(unit) else None


def _is_unit(words: str) -> bool:
    return _UNIT.fullmatch(words) is not None and not changes_number(words)


def _whole(value: Fraction) -> int | None:
    return value.numerator if value.denominator == 1 else None
