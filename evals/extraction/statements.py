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

from evals.extraction.conclusions import conclusion, ends_with_list
from evals.extraction.labels import label_statements
from evals.extraction.plain_text import BOX_CLOSE, BOX_OPEN, plain_lines
from evals.extraction.readers import AnswerReader, Statement
from evals.extraction.sentences import (
    DENIES,
    HENCE,
    IF_ASKED,
    NOT_BUT,
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
        for box in _asserted_boxes(line, reader):
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
