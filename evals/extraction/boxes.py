"""Finds the boxes that state an answer."""

import re
from collections.abc import Iterator, Sequence

from evals.extraction.doubt import DENIES, asserts
from evals.extraction.plain_text import BOX_CLOSE, BOX_OPEN
from evals.extraction.quantities import read_unit
from evals.extraction.readers import AnswerReader, Statement
from evals.extraction.withdrawals import TAKES_BACK

BOXED = re.compile(rf"{BOX_OPEN}([^{BOX_OPEN}{BOX_CLOSE}]*){BOX_CLOSE}")
_WORD_BESIDE = re.compile(r"\s?(?!in\s+\w)((?:\\%|[^\s.,;:!?()⟦])(?:[^\s.,;:!?()⟦]|\.(?=\d))*)")
"""A word directly after a box, which may be a unit; `in` before another word is no inch."""


def box_statements(lines: Sequence[str], reader: AnswerReader) -> Iterator[Statement]:
    """Yield the boxes that the lines assert, also those without an answer."""
    for number, line in enumerate(lines):
        for box in _asserted_boxes(line, reader):
            answer = reader.boxed(content_with_unit(line, box, reader))
            yield Statement(number, box.start(), answer, box=True)


def _asserted_boxes(line: str, reader: AnswerReader) -> Iterator[re.Match[str]]:
    """Yield the boxes of a line that it asserts.

    Equal boxes are one: "or", "if" and the like between them state no other answer. The words of
    a choice do not count as doubt, as in "not planar".
    """
    boxes = [*BOXED.finditer(line)]
    equal = len({box[1] for box in boxes}) == 1
    between = (boxes[0].end(), boxes[-1].start()) if equal else (0, 0)
    if DENIES.search(line, *between) or TAKES_BACK.search(line, *between):
        equal = False
    for box in boxes[:1] if equal else boxes:
        last = boxes[-1] if equal else box
        chosen = reader.asks_for_letter and reader.whole(box[1])
        inside = f"{BOX_OPEN}{BOX_CLOSE}" if chosen else box[0]
        said = line[: box.start()] + inside + line[last.end() :]
        if asserts(said, box.start(), box.start() + len(inside), reader):
            yield last


def content_with_unit(line: str, box: re.Match[str], reader: AnswerReader) -> str:
    """Return the text in a box, with the unit beside it if the reader knows units."""
    beside = _WORD_BESIDE.match(line, box.end())
    if reader.knows_units and beside and read_unit(beside[1]):
        return f"{box[1]} {beside[1]}"
    return box[1]
