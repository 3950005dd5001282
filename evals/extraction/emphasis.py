"""Reads the only answer that a last line emphasises."""

import re
from itertools import pairwise

from evals.extraction.boxes import BOXED, content_with_unit
from evals.extraction.clauses import BESIDE, END, HENCE, NEXT, NOT_BUT, last_line
from evals.extraction.doubt import asserts
from evals.extraction.plain_text import lines_with_emphasis
from evals.extraction.readers import AnswerReader
from evals.extraction.withdrawals import TAKES_BACK

_AT_END = re.compile(
    r"(?:\s(?!(?:must|should|can|could|are|is|was|were|will|would|have|has|had|does?|needs?)\b)"
    r"[^\W\d_]+){0,4}(?:\s*(?:[.,;:!?)✓✔✅☑]|$)|\s+[(–—-])|\s+is (?:the|my|our)\b"
)
"""The end of the clause of an emphasised answer, after at most four words that are no verb."""
_NOT_THESE = re.compile(
    r"(?i)(?<=⟧),?\s(?:and\s)?(?:not|rather than|instead of)\s+[^,.;]{1,40}(?=[.;!]|$)"
)
"""What is denied after an emphasised answer, as in "**Ottawa**, not Toronto"."""
_AND = re.compile(r"(?i)\W*\b(?:and|or|und|oder|et|ou|y|o|e)\b(?:\s+\w+){0,2}\W*")
"""A conjunction between members of a list."""
_ORDERS = re.compile(
    r"(?i)\W*(?:use|using|take|let|set|try|put|consider|run|enter|is|are|does|do|did|can|was|how|what"
    r"|which|who|where|why|when)\b"
)
"""The beginning of a request, a definition or a question."""
_AFTER_MEMBER = re.compile(r"\d\s?[,;]\s?$")
"""What stands before the last member of a list of numbers."""
_CONTRASTS = re.compile(r"(?i)[^.;!?]*,\s(?:but|yet|however)\b")
"""The rest of a sentence that denies a value and then states another one."""
_GOES_ON = re.compile(r"[^.;:!?()–—]*,\s")
"""A clause after which the sentence goes on."""
_FRONTED = re.compile(
    r"(?i)\W*(?:besides|apart|aside|except|in addition|of|among|after|from|with|for|since|because"
    r"|when|once|while|although)\b[^,;:]*$"
)
"""A subordinate clause at the beginning of a sentence, such as "besides 12, ..."."""


def emphasised_answer(text: str, reader: AnswerReader) -> str | None:
    """Return the only answer that the last line of a text emphasises, at the end of a clause."""
    lines = lines_with_emphasis(text)
    if not lines:
        return None
    line = lines[last_line(lines)]
    line = _NOT_THESE.sub("", NEXT.sub("", NOT_BUT.sub("", line)))
    boxes = [*BOXED.finditer(line)]
    if any(_are_list(line, *pair, reader) for pair in pairwise(boxes)):
        return None
    answers = set()
    for box in boxes:
        answer = reader.whole(content_with_unit(line, box, reader))
        if not answer or not _is_stated(line, box, answer, reader):
            continue
        after = line[box.end() :]
        if _GOES_ON.match(after) and reader.names_other(END.split(after)[0], answer):
            return None  # a list of answers
        answers.add(answer)
    return answers.pop() if len(answers) == 1 and not TAKES_BACK.search(line) else None


def _is_stated(line: str, box: re.Match[str], answer: str, reader: AnswerReader) -> bool:
    """Return whether an emphasised answer ends a clause that asserts it and names no other."""
    after = line[box.end() :]
    if not _AT_END.match(after) or not asserts(line, *box.span(), reader):
        return False
    start = max((stop.end() for stop in END.finditer(line, 0, box.start())), default=0)
    listed = _AFTER_MEMBER.search(line, 0, box.start())
    if listed or _ORDERS.match(line, start, box.start()) or _CONTRASTS.match(after):
        return False
    if _GOES_ON.match(after) and _FRONTED.match(line, start, box.start()):
        return False
    beside = [BESIDE.split(after)[0], *HENCE.split(after)[1:], *END.split(after)[1:]]
    return not any(reader.names_other(said, answer) for said in beside)


def _are_list(line: str, one: re.Match[str], other: re.Match[str], reader: AnswerReader) -> bool:
    """Return whether two emphasised answers are members of a list."""
    answers = reader.whole(one[1]), reader.whole(other[1])
    joined = _AND.fullmatch(line, one.end(), other.start())
    return bool(joined) and None not in answers and answers[0] != answers[1]
