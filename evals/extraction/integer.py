r"""The integer in the answer to an AIME question.

It may be written as `\dfrac{140}{2}`, `1,234`, `2^{10}`, `5 thousand`, `70^\circ`, `70 ways` or
`m+n=70`.
"""

import re
from collections.abc import Sequence

from evals.extraction.arithmetic import changes_number, evaluated, sized, stated_numbers
from evals.extraction.plain_text import without_markup
from evals.extraction.readers import AnswerReader
from evals.extraction.sentences import doubted
from evals.extraction.statements import stated_answer

_DEGREES = re.compile(r"\s*(?:\^\s*\{?\s*\\circ\s*\}?|\\degrees?(?![A-Za-z])|°|\\?%|[€£¥])")
_MODULO = re.compile(r"\(?\s*\\?[pb]?mod(?:ulo)?\s*[{(]?\s*(\d+)\s*[)}]?\s*\)?\s*$")
_EQUALS = re.compile(r"=|\\equiv(?![A-Za-z])|≡")
_ENDS = re.compile(r"$| |(?<=[\d)])(?=[^\W\d_])")
"""The places where a number can end."""
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
_SEVERAL = re.compile(r"=.*(?:\band\b|[,;]\s).*=|\)\s*/")
_PROSE = re.compile(r"(?<![\\A-Za-z])[^\W\d_]{3,}.*(?:=|\\equiv(?![A-Za-z])|≡)")
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
_BARE = re.compile(r"\W*\d+\W*$")
"""A number without words; after another number it is a member of a list."""
_IN_WORDS = re.compile(r"(?:\(?[^\W\d_]+[:)]*\s+)+(\d[\d,]*)(?:\s+[^\W\d_]{2,}){0,4}\.?")
"""A number in a box among words; a letter beside it could be a variable."""
_OPERATION = re.compile(r"[-+*/^!·×]|\\(?:[dtc]?frac|binom|sqrt|times|cdot)")
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
    *others, last = _EQUALS.split(bare)
    value = _side(last)
    plain = (_side(side) for side in reversed(others) if not _OPERATION.search(side.strip(" +-")))
    return value if value is not None else next((side for side in plain if side is not None), None)


class _Integers(AnswerReader):
    def boxed(self, content: str) -> str | None:
        if (words := _IN_WORDS.fullmatch(content.strip())) and not doubted(content):
            return _text(read_integer(content.strip()[words.start(1) :]))
        return _text(read_integer(content.rstrip(" ,")))

    def stated(self, text: str) -> str | None:
        stated = text[:_LONGEST].strip(" \"'“”[]<>*✓✔✅")
        end = _CLAUSE.search(stated)
        if end and _OR_ELSE.match(stated, end.start()):
            return None
        clause = stated[: end.start()] if end else stated
        return None if _PROSE.search(clause) else _text(read_integer(clause))

    def whole(self, line: str) -> str | None:
        bare = line.strip(" ;![]\"'✓✔✅")
        if len(bare) > _LONGEST or _PROSE.search(bare):
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
            or (_BARE.fullmatch(claim) and _BARE.search(" ".join(claims[-2:-1])))
        ):
            return None
        left, equals, _ = claim[: value.start(1)].rpartition("=")
        if equals and _WORDS.search(_COMMITS.split(f"{left}=")[-1]):
            return None
        return _text(read_integer(value[1]))

    def names_other(self, remark: str, answer: str) -> bool:
        return any(number != answer for number in stated_numbers(remark))


def _text(value: int | None) -> str | None:
    return None if value is None else str(value)


def _side(side: str) -> int | None:
    """Return one side of an equation as an integer: the longest expression, and a unit."""
    side = _DEGREES.sub(" ", side).strip().rstrip(".")
    modulus = _MODULO.search(side)
    if modulus:
        value = _side(side[: modulus.start()])
        return value if value is None or int(modulus[1]) == 0 else value % int(modulus[1])
    for end in reversed([place.start() for place in _ENDS.finditer(side)]):
        exact = evaluated(side[:end])
        if exact is None:
            continue
        factor, at = sized(side, end)
        unit, exact = side[at:].strip(" ()."), exact * factor
        known = not unit or (_UNIT.fullmatch(unit) and not changes_number(unit))
        return exact.numerator if known and exact.denominator == 1 else None
    return None
