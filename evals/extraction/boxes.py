"""Finds the boxes that state an answer."""

import re
from collections.abc import Iterator, Sequence

from evals.extraction.doubt import DENIES, asserts
from evals.extraction.plain_text import BOX_CLOSE, BOX_OPEN
from evals.extraction.quantities import read_unit
from evals.extraction.readers import AnswerReader, Statement
from evals.extraction.withdrawals import TAKES_BACK

BOXED = re.compile(rf"{BOX_OPEN}([^{BOX_OPEN}{BOX_CLOSE}]*){BOX_CLOSE}")
_WORD_BESIDE = re.compile(r"\s?((?:\\%|[^\s.,;:!?()⟦])(?:[^\s.,;:!?()⟦]|\.(?=\d))*)")


def box_statements(lines: Sequence[str], reader: AnswerReader) -> Iterator[Statement]:
    """Yield the boxes that the lines assert, also those without an answer."""
    for number, line in enumerate(lines):
        for box in _asserted_boxes(line, reader):
            answer = reader.boxed(content(line, box, reader))
            yield Statement(number, box.start(), answer, box=True)


def _asserted_boxes(line: str, reader: AnswerReader) -> Iterator[re.Match[str]]:
    """Yield the boxes of a line that it asserts.

    Equal boxes are one: "or", "if" and the like between them state no other answer.
    """
    boxes = [*BOXED.finditer(line)]
    first, last = boxes[:1], boxes[-1:]
    for one, again in zip(first, last, strict=True):
        between = one.end(), again.start()
        denied_between = DENIES.search(line, *between) or TAKES_BACK.search(line, *between)
        cut = line[: one.end()] + line[again.end() :]
        if len({box[1] for box in boxes}) == 1 and not denied_between:
            boxes = []
            if asserts(cut, one.start(), one.end(), reader):
                yield again
    for box in boxes:
        if asserts(line, box.start(), box.end(), reader):
            yield box


def content(line: str, box: re.Match[str], reader: AnswerReader) -> str:
    """Return what is in a box, with a unit that stands beside it if the reader knows units."""
    beside = _WORD_BESIDE.match(line, box.end())
    if reader.knows_units and beside and read_unit(beside[1]):
        return f"{box[1]} {beside[1]}"
    return box[1]
