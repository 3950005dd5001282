"""Finds the places of a text that state an answer, and decides whether they agree.

An answer is stated in a box, after a label ("Answer:", also as a heading), in a sentence ("the
answer is"), or by a last line that contains nothing else. `AnswerReader` recognizes the answer at
such a place. The rules prefer a missed answer to a wrong credit:

1. A sentence that denies, supposes or asks something states nothing.
2. If the writer takes something back, everything before it is ignored.
3. All remaining places must agree; a last line counts only if nothing else does.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from evals.extraction.phrases import (
    DOUBT,
    END,
    HEADING,
    HENCE,
    LABEL,
    NOT_OTHERS,
    REASON,
    REMARK,
    SENTENCE,
    SUPPOSES,
    TAKES_BACK,
    UNDECIDED,
)
from evals.extraction.plain_text import BOX_CLOSE, BOX_OPEN, plain_lines


class AnswerReader(Protocol):
    """The recognition of the answers of one eval. Every method returns None without an answer."""

    def boxed(self, content: str) -> str | None:
        """Return the answer in a box."""
        ...

    def stated(self, text: str) -> str | None:
        """Return the answer at the beginning of a text that follows a label."""
        ...

    def whole(self, line: str) -> str | None:
        """Return the answer of a line that contains nothing else."""
        ...

    def concluded(self, sentence: str) -> str | None:
        """Return the answer of a last sentence that chooses it in other words."""
        ...

    def without_choices(self, sentence: str) -> str:
        """Return a sentence without the texts of choices."""
        ...


@dataclass(frozen=True)
class _Statement:
    line: int
    at: int
    answer: str | None


_BOXED = re.compile(rf"{BOX_OPEN}([^{BOX_OPEN}{BOX_CLOSE}]*){BOX_CLOSE}")
_BRACKETS = str.maketrans("", "", BOX_OPEN + BOX_CLOSE)
_RESULT = re.compile(r"[-+*/·×].*=")
"""An equation that computes its right side."""


def stated_answer(text: str, reader: AnswerReader) -> str | None:
    """Return the answer that a final answer states, None without one or with more than one."""
    lines = plain_lines(text)
    found = [*_statements(lines, reader), *_short_lines(lines, reader)]
    if not found and lines:
        return _conclusion(lines[_last(lines)], reader)
    kept = _not_taken_back(sorted(found, key=lambda each: (each.line, each.at)), lines)
    answers = {each.answer for each in kept}
    return answers.pop() if len(answers) == 1 else None


def _not_taken_back(found: Sequence[_Statement], lines: Sequence[str]) -> Sequence[_Statement]:
    """Return the statements after the last place where the writer takes back an earlier one."""
    gone = [
        (number, match.start())
        for number, line in enumerate(lines)
        for match in TAKES_BACK.finditer(line)
        if found and (number, match.start()) > (found[0].line, found[0].at)
    ]
    return [each for each in found if not gone or (each.line, each.at) > gone[-1]]


def _statements(lines: Sequence[str], reader: AnswerReader) -> Iterator[_Statement]:
    for number, line in enumerate(lines):
        for box in _BOXED.finditer(line):
            if _asserts(line, box.start(), box.end(), reader):
                yield _Statement(number, box.start(), reader.boxed(box[1]))
        if HEADING.fullmatch(line) and number + 1 < len(lines):
            below = lines[number + 1]
            answer = reader.whole(below.translate(_BRACKETS)) or reader.stated(below)
            if answer and _asserts(below, 0, 0, reader):
                yield _Statement(number + 1, 0, answer)
            continue
        for stating in (LABEL, SENTENCE):
            for match in stating.finditer(line):
                said = line[match.end() :].translate(_BRACKETS)
                answer = reader.stated(said)
                if UNDECIDED.match(said):
                    yield _Statement(number, match.start(), None)
                elif answer and _asserts(line, match.start(), match.end(), reader):
                    yield _Statement(number, match.start(), answer)


def _short_lines(lines: Sequence[str], reader: AnswerReader) -> Iterator[_Statement]:
    """Yield the answer of the first and of the last line, if the line contains nothing else.

    Two such lines in succession with different answers are a list, which has no answer.
    """
    for at in {0, _last(lines)} if lines else ():
        neighbour = lines[at - 1 if at else min(1, len(lines) - 1)]
        answer = reader.whole(lines[at])
        if answer and (at or "=" not in lines[at]) and not _doubted(lines[at], reader):
            listed = reader.whole(neighbour) not in {None, answer}
            listed = listed and not (_RESULT.search(lines[at]) and not _RESULT.search(neighbour))
            yield _Statement(at, 0, None if listed else answer)


def _conclusion(line: str, reader: AnswerReader) -> str | None:
    """Return the answer of the last sentence of a text without any statement."""
    start = max((stop.end() for stop in END.finditer(line, 0, len(line) - 1)), default=0)
    sentence = line[start:].strip()
    taken_back = TAKES_BACK.search(sentence) or SUPPOSES.search(line)
    return None if taken_back or _doubted(sentence, reader) else reader.concluded(sentence)


def _last(lines: Sequence[str]) -> int:
    """Return the number of the last line that is no remark."""
    return max((at for at, line in enumerate(lines) if not REMARK.match(line)), default=0)


def _asserts(line: str, start: int, end: int, reader: AnswerReader) -> bool:
    """Return whether the sentence around a statement asserts it."""
    begin = max((stop.end() for stop in END.finditer(line, 0, start)), default=0)
    stop = END.search(line, end)
    before = line[begin:start]
    if not SUPPOSES.search(before):
        before = HENCE.split(before)[-1]
    after = REASON.split(line[end : stop.end() if stop else len(line)])[0]
    return not _doubted(before + line[start:end] + after, reader)


def _doubted(sentence: str, reader: AnswerReader) -> bool:
    said = NOT_OTHERS.sub("", reader.without_choices(sentence))
    return any(pattern.search(said) for pattern in (DOUBT, SUPPOSES))
