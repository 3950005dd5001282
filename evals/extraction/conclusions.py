"""Reads the answer of a last sentence that commits to it without a label."""

import re
from collections.abc import Sequence

from evals.extraction.labels import LABEL, SENTENCE
from evals.extraction.readers import AnswerReader, up_to
from evals.extraction.sentences import (
    DENIES,
    END,
    HEDGES,
    NOT_OTHERS,
    REASON,
    SUPPOSES,
)
from evals.extraction.withdrawals import TAKES_BACK

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
