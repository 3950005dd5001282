"""Finds the labels, headings and sentences that state an answer, such as "Answer:"."""

import re
from collections.abc import Iterator, Sequence

from evals.extraction.plain_text import BOX_CLOSE, BOX_OPEN
from evals.extraction.readers import AnswerReader, Statement, up_to
from evals.extraction.sentences import NOT_OTHERS, asserts

_WORD = (
    r"(?:answers?|ans|response|respuesta|resultado|réponse|antwort|resposta|risposta|ответ"
    r"|(?:end)?ergebnis|antwoord|odpowiedź|उत्तर|정답|答案|答え|回答|解答|正解|答"
    r"|(?:best|educated) guess)"
)
_GOOD = (
    r"(?:final[ea]?|correct[aeo]?|right|best|proper|selected|chosen|required|requested|desired|asked"
    r"|sought|buscad[ao]|pedid[ao]|corretta|correta|bonne|richtige|korrekte|正确的?|最终的?|最終的な)"
)
_THING = (
    r"(?:option|choice|letter|one|count|result|sum|total|number|value|remainder|area|probability|opción"
    r"|número|suma|选项)"
)
_ANSWER = (
    rf"(?:(?:{_GOOD}\s*)*{_WORD}(?:\s*(?:option|choice|letter|key))?(?:\s+{_GOOD})?"
    rf"|{_GOOD}\s*{_THING}|{_THING}\s+{_GOOD})(?![A-Za-zÀ-ɏ])"
)
_LABEL_ONLY = r"(?:final|total|results?|solution|conclusion|choice|option|selection|correct)"
LABEL = re.compile(
    r"(?i)(?:^|(?<=[.;!?。)⟧]\s)|(?<=[{,]\s\")|(?<=[{,]\"))[^\w⟦]*"
    r"(?:(?:\d+[.)]|the|my|our|so|hence|thus|therefore|final_?)\s*)*"
    rf"(?:{_ANSWER}|{_LABEL_ONLY})(?:\s*\([^()]{{0,40}}\))?"
    r"[\s\"'*_]*(?:[:=→⇒–—]|-(?!\w)|=>)+"
)
"""A label at the start of a line or sentence, or of a member of a JSON object."""
_BARE_LABEL = re.compile(rf"^\W*(?:the |my )?{_ANSWER}[\s*_.]+(?=[\W\d]*\d|\W*[A-D]\b)", re.I)
"""A label without a colon, which begins a line with nothing but an answer."""
_HEADING = re.compile(rf"\W*(?:\d+[.)]\s+)?(?:the|my)?\s*{_ANSWER}[\s:.*_]*", re.IGNORECASE)
SENTENCE = re.compile(
    rf"(?i)(?<![A-Za-zÀ-ɏ-]){_ANSWER}(?:\s+(?:to|of)\b[^.:;?!,]{{0,60}}?)?[\s,]*"
    r"(?:(?:is|es|est|ist|lautet|[éè]|(?:would|must|should|has to|turns out to) be)(?![^\W_])"
    r"|应该?是|应为|[是为選选はが은]|—|–|:)"
    r"(?:[\s,]+(?:therefore|thus|hence|then|clearly|indeed|simply|exactly|(?:most )?likely|probably"
    r"|also|equal to|por (?:lo )?tanto|portanto|donc|daher|quindi)\b)*[\s,]*:?\s*"
    r"(?:la\s+|a\s+(?=letra))?"
)
"""The beginning of a sentence such as "the answer is"."""
_NAMED = re.compile(
    r"(?i)(?:(?:^|(?<=[.,;:!?]\s))\W*(?:(?:so|thus|hence|therefore|clearly),?\s)?"
    r"(?P<subject>[^.,;:!?⟦⟧]{1,30}?)\s+is\s+(?:(?:thus|therefore)\s)?"
    r"|\b(?:get|obtain|have|leaves?|gives?|yields?|choose|select|pick)\s+"
    r"(?P<object>[^.,;:!?⟦⟧]{1,30}?)\s+as\s+)"
    rf"(?:(?:the|our|my)\s+{_ANSWER}|(?<=is )(?:correct|right))"
    r"(?=\s*(?:[.,;!:)]|$)|\s(?:because|since|here|too|as well)\b)"
)
"""A clause such as "B is the correct answer" or "this leaves B as the answer"."""
_UNDECIDED = re.compile(
    r"(?i)\W*(?:un(?:clear|known|decided|determined)|cannot|none|neither|n/?a|null)\b"
)
"""What follows a label if there is no answer."""
STEMS = (
    *("ans", "respon", "respuesta", "resultado", "répon", "antwo", "resposta", "risposta", "ответ"),
    *("ergebnis", "odpowiedź", "उत्तर", "정답", "答", "正解", "guess", "final", "corre", "right"),
    *("best", "proper", "select", "chosen", "requ", "desired", "asked", "sought", "buscad"),
    *("pedid", "bonne", "richtige", "korrekte", "正确", "最终", "最終", "total", "result"),
    *("solution", "conclusion", "choice", "option"),
)
"""One of these is in every line with a label, a heading or such a sentence, casefolded: they are
found in a tenth of the time."""
_BRACKETS = str.maketrans("", "", BOX_OPEN + BOX_CLOSE)


def label_statements(lines: Sequence[str], reader: AnswerReader) -> Iterator[Statement]:
    """Yield what follows the labels of the lines, and what stands below headings."""
    for number, line in enumerate(lines):
        folded = line.casefold()
        if not any(stem in folded for stem in STEMS):
            continue
        if number + 1 == len(lines) or not _HEADING.fullmatch(line):
            for at, answer in _labelled(line, reader):
                yield Statement(number, at, answer)
            continue
        below = lines[number + 1]
        answer = reader.whole(below.translate(_BRACKETS)) or reader.stated(below)
        if answer and asserts(below, 0, 0, reader):
            yield Statement(number + 1, 0, answer)


def _labelled(line: str, reader: AnswerReader) -> Iterator[tuple[int, str | None]]:
    """Yield the place of each label of a line, and the answer after it; None if it is undecided."""
    for label in (LABEL, SENTENCE, _BARE_LABEL):
        read = reader.whole if label is _BARE_LABEL else reader.stated
        for match in up_to(reader.last, label).finditer(line):
            said = up_to(reader.last, NOT_OTHERS).sub("", line[match.end() :].translate(_BRACKETS))
            answer = read(said)
            if _UNDECIDED.match(said):
                yield match.start(), None
            elif answer and asserts(line, match.start(), match.end(), reader):
                yield match.start(), answer
    for clause in _NAMED.finditer(line):
        answer = reader.whole(clause["subject"] or clause["object"])
        if answer and asserts(line, clause.start(), clause.end(), reader):
            yield clause.start(), answer
