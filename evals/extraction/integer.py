r"""The integer in the answer to an AIME question.

`evals.extraction.decision` weighs the claims; this module recognizes integers such as
`\dfrac{140}{2}`, `1,234`, `70^\circ`, `70 ways` and `m+n=70`. An answer that is not an integer
(`\frac{1}{2}`, `70.5`) is found, but is not a possible answer.
"""

import re
from collections.abc import Iterator, Sequence

from evals.extraction.claims import (
    Conclusion,
    Rank,
    asserts,
    concludes,
    conclusion,
    headed,
    last_line,
    last_sentence,
)
from evals.extraction.decision import answer
from evals.extraction.found import Found
from evals.extraction.lines import BOX_CLOSE, BOX_OPEN, Line
from evals.extraction.tex import undress
from evals.extraction.words import (
    ANSWER,
    CHOOSES,
    CONCEDES,
    LABEL_ONLY,
    NOT,
    QUANTITY,
    RIGHT,
    SUPPOSES,
    pattern,
)

_DEGREES = re.compile(
    r"\s*(?:\^\s*\{?\s*\\circ\s*\}?|\\degree(?:s)?(?![A-Za-z])|°|\\?%|[€£¥]|_\s*\{?10\}?)"
)
_MODULO = re.compile(r"\(?\s*\\?[pb]?mod(?:ulo)?\s*[{(]?\s*(\d+)\s*[)}]?\s*\)?\s*$")
_EQUALS = re.compile(r"=|\\equiv(?![A-Za-z])|≡")
_RESULT = re.compile(r"[-+*/].*=")
_FRACTION = re.compile(r"([+−-]?)\s*\\[dtc]?frac\s*\{\s*(\d{1,40})\s*\}\s*\{\s*(\d{1,40})\s*\}")
_NUMBER = re.compile(
    r"(?P<sign>[+−-]?)\s?"
    r"(?P<whole>\d{1,3}(?:,\d{3}){1,12}|\d{1,3}(?: \d{3}){1,12}|\d{1,40})"
    r"(?:[.,]0{1,40}(?!\d)|\.(?!\d)|\s?/\s?(?P<divisor>\d{1,40}))?"
)
# A word before the number, and a unit after it: words, or symbols such as cm and cm^2. A single
# letter is treated as a variable unless it is a common unit.
_WORDS = pattern(
    r"(?!.*\b(?:not|least|most|about|than|over|under)\b)[^\W\d_][^\W\d_ ]*(?: [^\W\d_]+)*\s*[:=]?"
)
_UNIT = pattern(
    r"(?!.*\b(?:or|and|to|not|is|was|seems|looks|appears|too|failed|fails?|works|would|could|might"
    r"|may|should|has|does|bis|oder|ou|o|или|if|but|more|less|different)\b|.*(?:ない|ません|아니|아닙|不))"
    r"(?:(?:[^\W\d_]{2,20}|(?-i:[mgshLJNWVK通個种度€£¥]))\.?"
    r"(?: ?\^ ?\{?[23]\}?|[²³])?(?:[ /-]|$)){1,5}"
)
_EXPONENTS = "⁰¹²³⁴⁵⁶⁷⁸⁹ⁿ⁺⁻"
_SENTENCE_END = re.compile(
    r"[.;](?=\s|[)\"'”’✓]*$)|!(?=\s*(?:$|[A-Z]))|。|,(?=\s)|\s[(—–]|[\"”],"
    r"|\s(?=(?:because|since|as|for|which|where|by|after|when|under|weil|denn|car|porque|perché)\b"
    r"|and\b[^.;]{0,80}(?:\b(?:is|are|equals)\b|=))|—(?=[a-z])"
)
_MORE = pattern(r"\s*(?:and\s+|or\s+)?(?:\d|[a-z]\s*=)")
_OR_ELSE = pattern(r"\s\([^()]*\)\s*(?:/|,|or\b|and\b|oder\b)\s*\(?\d")
_INTRODUCTION = pattern(
    r"(?:(?:there (?:are|is|exist)|it(?:['’]s| is)|exactly|es gibt|es sind|hay|existen|il y a|há"
    r"|ci sono|всего)\s+)+(?:exactly |genau |exactement |exactamente )?"
    r"|[^\W\d][^\d.]{0,60}?\b(?:i\.e\.|that is|namely),?\s+"
)
_COPULA = pattern(
    rf"{CHOOSES}|=|\b(?:i\.e\.|namely),?|\b(?:is|are"
    r"|equals|equal to|be|gives|get|obtain|yields|totals"
    r"|total(?= \d)"
    r"|(?:total|number|end up with|arrive at|comes? to)(?: of)?(?= \d)|ist|becomes"
    r"|beträgt|vaut|wynosi"
    r"|sind|lautet|est|sont|es|son|é|è|равн[оа]|равен|находим|получаем)\b|[是为為は]|(?<!\d):"
)
_I_THINK = pattern(r",\s+i (?:believe|think|guess|would say)[\s.!]*$")
_EXTREME = r"(?:(?:larg|small|great|high|low)est|least|m(?:ax|in)im(?:um|al))(?: possible)?"
_CALLED = pattern(
    r"(?<![\w.,^/\\=+-])(\d{1,40})(?![\d^/])\W{0,4}"
    r"(?:(?<=,\s)(?=the\s)"
    r"|(?<=\s)(?:is|that['’]s|(?:and )?(?:this|that) is|which is)\s(?:indeed\s)?)"
    rf"(?:(?:the|my|our)\s+{ANSWER}|the {_EXTREME} {QUANTITY}|{RIGHT})(?![^\W_])"
)
"""A number that is called the answer, or correct: "104 is correct"."""
_RESULT_IS = pattern(
    r"^\W*(?:[^\W\d][^,\d]{0,40},\s*)?(?:(?:\w+\s+){0,2}?it\s+(?:is|equals)|(?:the|its|their|die|der|das|la|le|les|el|o|a|il"
    r"|lo)?\s*(?:\w+\s+){0,2}?"
    rf"{QUANTITY})\b"
)
_COLON = re.compile(r"(?:\w+[ ,]+){4}\w+:\s*\d+$")
_RESTRICTED = pattern(
    r"\b(?:(?<!up )with|for|where|bei|für|let|take|given|part|step|case"
    r"|(?:simplified|simpler|easier|similar|related|analogous) (?:problem|question|version))\b"
)
_STATEMENT = pattern(
    rf"[^:]*(?:{CHOOSES}|=|\b(?:is|are|equals?|gives?|get|obtain|find|have|yields?|forces?|implies|ist|beträgt|получаем|erhalten)\b"
    r"|\b(?:up with|at|to)\b(?= \d))[^:,]*"
)
_LEADING = pattern(
    rf"\W*(?:{CONCEDES}|since|as|because|using|by|given|from|after|with|\w+ing)\b.*[,:]\s"
)
_SECOND_EQUATION = re.compile(r"=[^=]*(?:[,;]|\band\b)[^=]*=")
_TWO_VALUES = pattern(
    r"(?:(?:\b(?:is|are)|=)\s*\W?|^\W*)\d[^.,;=]{0,60}\b(?:and|und|et|y)\b"
    r"(?![^=]{0,60}\b(?:sum|total|answer|result)\b)[^.,;=\d+*/·×-]{0,60}?(?:\b(?:is|are)|=)\W*\d+\W*$"
    r"|=\s*\d+\s*,\s*[a-z]\s*=\s*\d+\W*$"
)
"""Two values side by side, as in "x = 62 and y = 41"."""
_CHOOSES = pattern(CHOOSES)
_NO_ANSWER = pattern(rf"(?:{NOT})[^.;!?]*{ANSWER}|{ANSWER}[^.;!?]*(?:{NOT})")
_SUPPOSES = pattern(SUPPOSES)
_ASIDE = pattern(
    r"(?:,?\s(?:and|which)\s(?:(?:it|this)\s)?(?:is|are)\s)?"
    r"\b(?:attained|achieved|reached|(?<=,\s)where|when|since|because|as(?! (?:the|my|our)\b)"
    r"|obtained)\b"
)
_ASIDES = pattern(r"(?<=[\w)}])\s\((?!or\b|[^()]*mod)(?=[^()]*(?:=|[^\W\d_]{3}))[^()]*\)")
_BUT = pattern(r"\b(?:but|sondern|aber|mais|pero|mas|ma|но)\b")
_VAGUE = pattern(
    r"\b(?:at (?:least|most)|(?:more|less|fewer|greater|larger|smaller) than|about|approximately"
    r"|around|roughly|between|up to|not|isn['’]t|cannot|except|contradiction|case|step"
    r"|\d[- ]digits?|digit|type|kind|first|second|third|divisible|multiple|bound|intermediate"
    r"|partial|candidates?|(?:counter)?examples?|attempt|guess"
    r"|method|approach|or so|so far|but|incomplete|remain|remains|remaining)\b|[<>≤≥≠≈?]"
    r"|divided by \d+\W*$"
    r"|\\(?:le|ge|neq|approx)|ません|ない|不是|아니|아닙"
)
_NO_INTEGER = pattern(
    r"(?:cannot|can['’]t|could not|not (?:determin|possible|enough|solv|defin)|un(?:known|clear"
    r"|determined|defined|able)|indeterminate|none\b|no (?:solution|answer|such)|n/?a\b|impossible"
    r"|insufficient|null\b|infin)"
)
_EXPRESSION = re.compile(
    r"(?=[^\n]{0,60}$)(?=.*[\d\\^=+])[^\s.,;:!?]+(?:\s*[-+*/=,^]\s*[^\s]+)*\.?"
)
_SMALL = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
    *("eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen"),
    "nineteen",
)
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_NUMERALS = {word: value for value, word in enumerate(_SMALL)} | {
    word: 10 * value for value, word in enumerate(_TENS, start=2)
}
_SPELLED = pattern(rf"\b(?:(?:{'|'.join(_NUMERALS)}|hundred|thousand|and)[- ])+\(\W*(\d+)\W*\)")
_ORNAMENT = re.compile(r"[✓✔✅☑\U0001F300-\U0001FAFF]")
_GIVEN = pattern(
    r"(?:let|suppose|if|where|with|consider|set|given|assume|step|case|no)\b|\d+[.)]\s"
)
_LONGEST_ALONE = 100
_LONGEST_STATED = 200
_LABELLED = pattern(
    rf"(?:[^\W\d_]+ ){{0,3}}?(?:{QUANTITY}|{ANSWER}|{LABEL_ONLY}"
    rf"|conclude)(?: [^\W\d_]+){{0,3}}\s*:\s*(.+)"
    r"|[^\W\d_]+(?:_\s*\{?\s*\w+\s*\}?)?\s*=\s*(.+)|=\s*(.+)"
)
_PROSE = re.compile(r"(?<!\\)\b[^\W\d_]{3,}.*=")
_BRACKETS = str.maketrans("", "", BOX_OPEN + BOX_CLOSE)


def integer_answer(text: str) -> Found | None:
    """The integer that `text` gives as its answer; None if there is no answer, or more than one."""
    return answer(text, _Integers())


def read_integer(tex: str, *, words: bool = True) -> int | None:
    r"""`tex` as an integer, whatever its notation; None if it is not exactly one integer.

    Supports wrappers (`\text{}`), signs, thousands separators (`1,234`, `1{,}234`, `1\,234`),
    degrees, percent signs, units, a zero fraction (`70.0`), fractions that are integers
    (`\dfrac{140}{2}`), remainders (`70 \pmod{1000}`) and equations: the right side of `m+n=70`,
    the left side of `70=m+n`.
    """
    bare = undress(tex)
    if _TWO_VALUES.search(bare):
        return None
    sides = [_side(side, words) for side in reversed(_EQUALS.split(bare))]
    return next((value for value in sides if value is not None), None)


class _Integers:
    """An `evals.extraction.claims.Reader` of integers."""

    def short(self, line: str) -> str:
        """The line with "7" for "seven (7)", without ornaments."""
        return _SPELLED.sub(r"\1", _ORNAMENT.sub("", line)).strip()

    def boxed(self, content: str) -> Found | None:
        """An integer; for a list only the result, as in `m=3, n=67, m+n=70`."""
        if not re.search(r"[\d\\^=+]", content):
            return Found(None, content) if _NO_INTEGER.match(content.strip()) else None
        parts = re.split(r",(?!\d{3}(?!\d))", content)
        single = len(parts) == 1 or _RESULT.search(parts[-1])
        return _found(read_integer(parts[-1]) if single else None, content)

    def stated(self, text: str) -> Found | None:
        """The first clause, if it is an integer, perhaps with a unit."""
        stated = _INTRODUCTION.sub("", text.strip()[:_LONGEST_STATED], count=1)
        end = _SENTENCE_END.search(stated)
        if end and _OR_ELSE.match(stated, end.start()):
            return Found(None, stated)
        if end and stated[end.start()] == "," and _MORE.match(stated, end.end()):
            last = stated.rstrip(" .").rsplit(",", 1)[-1]
            return _found(read_integer(last) if _RESULT.search(last) else None, stated)
        stated = stated[: end.start()] if end else stated
        value = _numeral(stated)
        if value is None:
            value = read_integer(_stripped(stated), words=False)
        if value is not None or _NO_INTEGER.match(stated) or _EXPRESSION.fullmatch(stated):
            return _found(value, stated)
        return None

    def whole(self, line: str) -> Found | None:
        """A line that is an integer, an equation, or "Total: 70"."""
        bare = _without_asides(line.translate(_BRACKETS)).strip(" .;!→{}()[]「」『』\"'")
        if (value := _numeral(bare)) is not None:
            return _found(value, line)
        if (
            len(bare) > _LONGEST_ALONE
            or re.search("[,;] ", bare)
            or _GIVEN.match(bare)
            or _VAGUE.search(bare)
        ):
            return None
        labelled = _LABELLED.fullmatch(bare)
        if not labelled and _PROSE.search(bare):
            return None
        value = read_integer(labelled[labelled.lastindex or 0] if labelled else bare, words=False)
        return None if value is None else _found(value, line)

    def concluded(self, lines: Sequence[Line]) -> Iterator[Conclusion]:
        """The integer of a last sentence that concludes, is in bold, or has a heading."""
        for number, line in enumerate(lines):
            for called in _CALLED.finditer(line.text):
                if asserts(line.text, called.start(1)):
                    yield (
                        number,
                        called.start(1),
                        Rank.CONCLUSION,
                        _found(int(called[1]), called[0]),
                    )
        number, line = last_line(lines)
        start, end = last_sentence(line.text)
        text = _without_asides(line.text[start:end].translate(_BRACKETS))
        text = _I_THINK.sub("", text)
        but = _BUT.split(text)[-1]
        text = but if re.search(r"\d", but) else text
        before_aside = _ASIDE.split(text)[0]
        last = (before_aside if re.search(r"\d", before_aside) else text).strip(" .,;!$")
        main = conclusion(last)
        tail = _INTRODUCTION.sub("", _COPULA.split(main)[-1].strip(), count=1)
        value = read_integer(tail, words=False)
        supposed = _SUPPOSES.search(line.text[:start])
        result = value is not None and not supposed
        result = result and any(each.search(last) for each in (_RESULT_IS, _COLON, _CHOOSES))
        if line.text.endswith(",") or line.row or _VAGUE.search(main) or _TWO_VALUES.search(last):
            return
        before = self.whole(lines[number - 1].text) if number else None
        listed = before and before.answer != str(value) and not _RESULT.search(last)
        cued = line.strong or concludes(last) or headed(lines, number) or result
        remark = value is not None and not (supposed or listed) and _is_plain(last)
        if not cued and (not remark or _NO_ANSWER.search(line.text[:end])):
            return
        numbers = re.findall(r"(?:(?<![\w)}])[−-]\s?)?\d+(?:[.,/]\d+)*", main)
        if value is None and len(set(numbers)) == 1:
            value = read_integer(numbers[0])
        if value is not None:
            at = line.text.rfind(numbers[-1])
            if asserts(line.text, at):
                rank = Rank.CONCLUSION if cued else Rank.REMARK
                yield number, at, rank, _found(value, last)


def _is_plain(text: str) -> bool:
    """Whether a sentence ends with its only equation and has no negation or supposition."""
    main = _LEADING.sub("", text)
    one = _STATEMENT.fullmatch(main.rsplit(": ", 1)[-1]) and not _SECOND_EQUATION.search(main)
    return bool(one) and not any(each.search(main) for each in (_RESTRICTED, _SUPPOSES))


def _without_asides(text: str) -> str:
    """The sentence without parentheses, except those around a number: "7 (for n = 2)"."""
    return _ASIDES.sub("", text)


def _numeral(text: str) -> int | None:
    """A number below 1000 in English words."""
    value, *words = 0, *text.strip(" .!").casefold().replace("-", " ").split()
    for word in words:
        if word == "hundred" and 0 < value < 10:
            value *= 100
        elif word in _NUMERALS and (value % 100 == 0 or (value % 10 == 0 and _NUMERALS[word] < 10)):
            value += _NUMERALS[word]
        elif word != "and":
            return None
    return value if words else None


def _stripped(stated: str) -> str:
    """An answer without the quotes and brackets of JSON, HTML and the like."""
    bare = stated.strip("\"'“”[], ✓✔✅")
    if bare.startswith("<") and bare.endswith(">"):
        bare = bare[1:-1]
    return bare if "{" in bare else bare.rstrip("}")


def _found(value: int | None, quote: str) -> Found:
    return Found(None if value is None else str(value), quote)


def _side(side: str, words: bool) -> int | None:
    """One side of an equation as an integer."""
    side = _DEGREES.sub(" ", side)
    modulus = _MODULO.search(side)
    if modulus:
        value = _side(side[: modulus.start()], words)
        return value if value is None or int(modulus[1]) == 0 else value % int(modulus[1])
    side = side.strip(" ().")
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
    unit = after.strip()
    return not unit or (unit[0] not in _EXPONENTS and _UNIT.fullmatch(unit) is not None)


def _quotient(sign: str, dividend: str, divisor: str) -> int | None:
    if int(divisor) == 0 or int(dividend) % int(divisor):
        return None
    value = int(dividend) // int(divisor)
    return -value if sign in {"-", "−"} else value
