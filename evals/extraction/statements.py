"""Finds the places of a text that state an answer, and decides whether they agree.

An answer is stated in a box, after a label ("Answer:", also as a heading), in a sentence ("the
answer is"), or by a last line that contains nothing else. `AnswerReader` recognizes the answer at
such a place. The rules prefer a missed answer to a wrong credit:

1. A sentence that denies, supposes or asks something states nothing.
2. If the writer takes something back, everything before it is ignored.
3. All remaining places must agree; a box without an answer before them is an intermediate result.
4. Without such a place, the last sentence counts if it commits: what it denies is left out, and a
   condition, a question, a comparison or a doubt voids it.

The phrases are English, with the plain forms of other languages.
"""

import re
from collections.abc import Iterator, Sequence

from evals.extraction.labels import LABEL, SENTENCE, label_statements
from evals.extraction.plain_text import BOX_CLOSE, BOX_OPEN, plain_lines
from evals.extraction.readers import AnswerReader, Statement, up_to
from evals.extraction.sentences import (
    DENIES,
    END,
    HEDGES,
    HENCE,
    IF_ASKED,
    NOT_BUT,
    NOT_OTHERS,
    REASON,
    SUPPOSES,
    asserts,
    denies_or_doubts,
)
from evals.extraction.withdrawals import TAKES_BACK, not_taken_back

_BOXED = re.compile(rf"{BOX_OPEN}([^{BOX_OPEN}{BOX_CLOSE}]*){BOX_CLOSE}")
_SUM = re.compile(rf"{BOX_CLOSE}.*\+.*=")
"""A sum after a box, such as "the probability is 3/4, so m+n = 7"."""
_RESULT = re.compile(r"[-+*/·×].*=")
"""An equation that computes its right side."""
_NAMED = re.compile(r"[A-Za-z]\w?\s*=")


def stated_answer(text: str, reader: AnswerReader) -> str | None:
    """Return the answer that a final answer states, None without one or with more than one."""
    lines = [IF_ASKED.sub("", NOT_BUT.sub("", line)) for line in plain_lines(text)]
    statements = [
        *_boxes(lines, reader),
        *label_statements(lines, reader),
        *_short_lines(lines, reader),
    ]
    if other := _after_boxes(lines, statements, reader):
        return other if _SUM.search(lines[-1]) and not statements[-1].answer else None
    if not statements:
        if ends_with_list(lines):
            return None
        return conclusion(lines[-1], reader) if lines else None
    kept = not_taken_back(
        sorted(statements, key=lambda statement: (statement.line, statement.at)), lines, reader
    )
    answers = {
        statement.answer
        for place, statement in enumerate(kept)
        if statement.answer or not statement.box or place == len(kept) - 1
    }
    return answers.pop() if len(answers) == 1 else None


def _after_boxes(
    lines: Sequence[str], statements: Sequence[Statement], reader: AnswerReader
) -> str | None:
    """Return another answer that the last line concludes after its box; None without one."""
    if not statements or not all(stated.box for stated in statements):
        return None
    tail = lines[-1].rpartition(BOX_CLOSE)[2]
    if len(tail) == len(lines[-1]) or not HENCE.search(tail):
        return None
    concluded = conclusion(tail.strip(), reader)
    return concluded if concluded not in {None, statements[-1].answer} else None


def _short_lines(lines: Sequence[str], reader: AnswerReader) -> Iterator[Statement]:
    """Yield the answer of the first and of the last line, if the line contains nothing else.

    Two such lines in succession with different answers are a list, which has no answer.
    """
    for at in {0, len(lines) - 1} if lines else ():
        neighbour = lines[at - 1 if at else min(1, len(lines) - 1)]
        answer = reader.whole(lines[at])
        only = at or "=" not in lines[0] or (len(lines) == 1 and _NAMED.match(lines[0]))
        if answer and only and not denies_or_doubts(lines[at], reader):
            listed = reader.whole(neighbour) not in {None, answer}
            computed = _RESULT.search(lines[at]) and not _RESULT.search(neighbour)
            yield Statement(at, 0, answer if computed or not listed else None)


def _boxes(lines: Sequence[str], reader: AnswerReader) -> Iterator[Statement]:
    """Yield the boxes that the lines assert, also those without an answer."""
    for number, line in enumerate(lines):
        for box in _asserted_boxes(line, reader) if BOX_OPEN in line else ():
            yield Statement(number, box.start(), reader.boxed(box[1]), box=True)


def _asserted_boxes(line: str, reader: AnswerReader) -> Iterator[re.Match[str]]:
    """Yield the boxes of a line that it asserts.

    Equal boxes are one: "or", "if" and the like between them state no other answer.
    """
    boxes = [*_BOXED.finditer(line)]
    equal = len({box[1] for box in boxes}) == 1
    between = (boxes[0].end(), boxes[-1].start()) if equal else (0, 0)
    if DENIES.search(line, *between) or TAKES_BACK.search(line, *between):
        equal = False
    for box in boxes[:1] if equal else boxes:
        last = boxes[-1] if equal else box
        if asserts(line[: box.end()] + line[last.end() :], *box.span(), reader):
            yield last


_UNFINISHED = re.compile(
    r":\s*$|\b(?:is|are|was|were|has|have|would|must|the|an?|of|to|in|for|with|by|and|or|that|than"
    r"|because|since|if|so|thus|hence|therefore)\s*$"
)
"""The end of a text that is cut before what it announces."""
_PARTICULAR = re.compile(r"(?i)\b(?:for|with) [a-z]\s?=\s?\d")
"""A sentence on a single case."""
_VALUE = re.compile(r"\b(?:\d[\d.,]*|[A-Za-z])\b")
_CASE = re.compile(r"\W*(?:for|in|at|under|with|when)\b.*[,:]\W*(?:\d[\d.,]*|[a-z])\W*$")
"""A sentence that gives a value for a case."""
_DONE = " ✓✔✅☑"
"""Marks at the end of a text."""
_LETTERS = re.compile(r"\b([A-D]), (?=(?:and )?(?!I\b)[A-D]\b)")
_CLAUSE = re.compile(
    r"[;:]\s+|,\s+(?![^()\[\]{}]*[)\]}])|\s[—–-]\s|\s*[→⇒]\s*|\s+but\s+"
    r"|\s+and\s+(?=(?:hence|thus|therefore|so|consequently)\b)"
)


def ends_with_list(lines: Sequence[str]) -> bool:
    """Return whether the last two sentences differ only in values, or give those of two cases.

    Examples are "x = 1. y = 2." and "In water, B; in hexane, C."
    """
    sentences = [part for line in lines for part in END.split(line) if part.strip()]
    one, other = (each.casefold().split() for each in ("", "", *sentences)[-2:])
    heads = [" ".join(words).partition(": ")[::2] for words in (one, other)]
    masked = [_VALUE.sub("#", head if said else f"{head}{said}") for head, said in heads]
    cases = all(_CASE.match(" ".join(words)) for words in (one, other))
    return one != other and (cases or masked[0] == masked[1] != "#")


def conclusion(line: str, reader: AnswerReader) -> str | None:
    """Return the answer of the last sentence of a text without any statement."""
    if _UNFINISHED.search(line) or _PARTICULAR.search(line):
        return None
    line = line.rstrip(_DONE)
    start = max((stop.end() for stop in END.finditer(line, 0, len(line) - 1)), default=0)
    alone = up_to(reader.last, NOT_OTHERS).sub("", line[start:])
    sentence = REASON.split(alone)[0].strip(" –—-,;:.")
    bare = reader.without_choices(sentence)
    labels = [match.end() for pattern in (LABEL, SENTENCE) for match in pattern.finditer(sentence)]
    unread = any(not DENIES.search(sentence[end:]) for end in labels)
    if unread or TAKES_BACK.search(sentence) or SUPPOSES.search(line) or HEDGES.search(bare):
        return None
    clauses = _CLAUSE.split(up_to(reader.last, _LETTERS).sub(r"\1 and ", sentence))
    claims = [clause for clause in clauses if not DENIES.search(reader.without_choices(clause))]
    return reader.concluded(sentence, claims) if claims and claims[-1] == clauses[-1] else None
