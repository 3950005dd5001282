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

from evals.extraction.boxes import box_statements
from evals.extraction.clauses import BESIDE, HENCE, IF_ASKED, NOT_BUT, last_line
from evals.extraction.conclusions import conclusion, ends_with_list
from evals.extraction.doubt import DENIES, HEDGES, denies_or_doubts
from evals.extraction.emphasis import emphasised_answer
from evals.extraction.labels import label_statements
from evals.extraction.plain_text import BOX_CLOSE, plain_lines
from evals.extraction.readers import AnswerReader, Statement
from evals.extraction.withdrawals import TAKES_BACK, not_taken_back

_SUM = re.compile(rf"{BOX_CLOSE}.*\+.*=")
"""A sum after a box, such as "the probability is 3/4, so m+n = 7"."""
_RESULT = re.compile(r"[-+*/·×].*=")
"""An equation that computes its right side."""


def stated_answer(text: str, reader: AnswerReader) -> str | None:
    """Return the answer that a final answer states, None without one or with more than one."""
    lines = [IF_ASKED.sub("", NOT_BUT.sub("", line)) for line in plain_lines(text)]
    statements = [
        *box_statements(lines, reader),
        *label_statements(lines, reader),
        *_short_lines(lines, reader),
    ]
    concluded = _after_boxes(lines, statements, reader)
    if concluded:
        summed = statements[-1].answer is None and _SUM.search(lines[-1])
        return concluded if reader.asks_for_letter or summed else None
    if not statements:
        if ends_with_list(lines):
            return None
        concluded = conclusion(lines[last_line(lines)], reader) if lines else None
        return concluded or emphasised_answer(text, reader)
    kept = not_taken_back(
        sorted(statements, key=lambda statement: (statement.line, statement.at)), lines, reader
    )
    if not kept:
        return conclusion(lines[-1], reader) if reader.asks_for_letter else None
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
    if concluded is None and reader.asks_for_letter:
        concluded = reader.whole(HENCE.split(tail)[-1].strip(" .,"))
    return concluded if concluded not in {None, statements[-1].answer} else None


def _short_lines(lines: Sequence[str], reader: AnswerReader) -> Iterator[Statement]:
    """Yield the answer of the first and of the last line, if the line contains nothing else.

    Two such lines in succession with different answers are a list, which has no answer.
    """
    if len(lines) == 1 and (answer := _before_remark(lines[0], reader)):
        yield Statement(0, 0, answer)
    for at in {0, last_line(lines)} if lines else ():
        neighbour = lines[at - 1 if at else min(1, len(lines) - 1)]
        answer = reader.whole(lines[at])
        alone = len(lines) == 1 and re.match(r"[A-Za-z]\w?\s*=", lines[at])
        if (
            answer
            and (at or alone or "=" not in lines[at])
            and not denies_or_doubts(lines[at], reader)
        ):
            listed = reader.whole(neighbour) not in {None, answer}
            listed = listed and not (_RESULT.search(lines[at]) and not _RESULT.search(neighbour))
            yield Statement(at, 0, None if listed else answer)


def _before_remark(line: str, reader: AnswerReader) -> str | None:
    """Return the answer that a text of one line begins with, before a dash and a remark on it."""
    head, dash, remark = line.partition(" – ") if " – " in line else line.partition(" — ")
    answer = reader.whole(head) if dash else None
    if answer is None or denies_or_doubts(head, reader) or reader.names_other(remark, answer):
        return None
    kept = not DENIES.search(BESIDE.split(remark)[0]) and not TAKES_BACK.search(remark)
    return answer if kept and not HEDGES.match(remark) else None
