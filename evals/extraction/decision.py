"""Decides from the claims of a text what its answer is, if it has one.

The principles, in this order:

1. Claims that the writer takes back are ignored, and so is everything before them.
2. The most explicit claims decide, in this order: a box, a label, a sentence, a conclusion, a line
   of its own, a remark. A remark is a last sentence that states one value without a word such as
   "therefore".
3. These claims must agree. Different boxes agree if the last one gives the result of the others;
   otherwise a label after them decides. If other claims differ, the last one is used only if the
   writer says that it replaces the others.
4. The last claim in another line, and every label and sentence, must also agree with them.

A text whose claims do not agree has no answer and gets no credit, even if one of them is right.
"""

import re
from collections.abc import Sequence
from dataclasses import replace

from evals.extraction.claims import Claim, Rank, Reader, claims, concludes, sentence
from evals.extraction.found import Found
from evals.extraction.lines import BOX_CLOSE, BOX_OPEN, Line, plain_lines
from evals.extraction.words import CONTRAST, REVISES, TAKES_BACK, TAKES_BACK_AT_ONCE, pattern

_CONTRAST = pattern(CONTRAST)
_TAKES_BACK = pattern(TAKES_BACK)
_AT_ONCE = pattern(TAKES_BACK_AT_ONCE)
_REVISES = pattern(REVISES)
_RESULT = re.compile(rf"[^\s=][ ]*[-+*/·×][ ]*[^\s=][^=]*=[^=]*{BOX_OPEN}")
_TOTAL = pattern(
    r"\b(?:sum|total|product|difference|answer|result|asked|sought|requested|desired|required"
    r"|altogether)\b"
)
_ONLY_BOX = re.compile(rf"[\W_]*{BOX_OPEN}[^{BOX_CLOSE}]*{BOX_CLOSE}[\W_]*")

_Place = tuple[int, int]


def answer(text: str, reader: Reader) -> Found | None:
    """The answer of a final answer's text; None if there is no answer, or more than one."""
    lines = [replace(line, text=reader.short(_one_named(line.text))) for line in plain_lines(text)]
    if not lines:
        return None
    made = claims(lines, reader)
    gone = max(_taken_back(lines, made), default=(-1, -1))
    kept = [claim for claim in made if (claim.line, claim.at) > gone]
    return _agreed(_without_remarks(kept, lines), lines)


def _without_remarks(made: Sequence[Claim], lines: Sequence[Line]) -> Sequence[Claim]:
    """The announced claims, and a remark only if it changes the last of them."""
    announced = [claim for claim in made if claim.rank > Rank.REMARK]
    if not announced:
        return made
    last = announced[-1]
    return [
        claim
        for claim in made
        if claim.rank > Rank.REMARK or (claim > last and _revised(last, claim, lines))
    ]


def _one_named(line: str) -> str:
    """The line without what it mentions only to deny it: "isn't 7 but 8" becomes "is 8"."""
    return _CONTRAST.sub(" ", line).strip()


def _taken_back(lines: Sequence[Line], made: Sequence[Claim]) -> list[_Place]:
    """The places where the writer takes back an earlier claim."""
    if not made:
        return []
    found = _places(_TAKES_BACK, lines)
    for claim in made:
        line, at = _next_sentence(lines, claim)
        if line < len(lines) and _AT_ONCE.match(lines[line].text, at):
            found.append((line, at))
    first = min((claim.line, claim.at) for claim in made)
    return [place for place in found if place > first]


def _places(pattern: re.Pattern[str], lines: Sequence[Line]) -> list[_Place]:
    return [
        (number, match.start())
        for number, line in enumerate(lines)
        for match in pattern.finditer(line.text)
    ]


def _next_sentence(lines: Sequence[Line], claim: Claim) -> _Place:
    text = lines[claim.line].text
    end = sentence(text, claim.end)[1]
    return (claim.line, end) if text[end:].strip() else (claim.line + 1, 0)


def _agreed(made: Sequence[Claim], lines: Sequence[Line]) -> Found | None:
    made = [claim for claim in made if not _superseded(claim, made, lines)]
    if not made:
        return None
    highest = max(claim.rank for claim in made)
    deciding = [claim for claim in made if claim.rank == highest]
    found = deciding[-1].found
    if found is None or (_differ(deciding) and not _replaces(deciding, lines)):
        after = made[made.index(deciding[-1]) + 1 :]
        given = [claim for claim in after if claim.rank >= Rank.SENTENCE]
        return _agreed(given, lines) if highest == Rank.BOX else None
    other = [
        each
        for each in made
        if each.rank > Rank.CONCLUSION or not _same_sentence(each, deciding[-1], lines)
    ]
    last = (other or made)[-1]
    stated = [
        each
        for each in made
        if each.rank in {Rank.SENTENCE, Rank.LABEL} and not (each.found and not each.found.answer)
    ]
    against = [claim for claim in (*stated, deciding[-1]) if _differ([claim, last])]
    return last.found if all(_revised(claim, last, lines) for claim in against) else None


def _same_sentence(one: Claim, other: Claim, lines: Sequence[Line]) -> bool:
    return one.line == other.line and (
        sentence(lines[one.line].text, one.at) == sentence(lines[one.line].text, other.at)
    )


def _differ(made: Sequence[Claim]) -> bool:
    return len({(claim.found and claim.found.answer) or claim for claim in made}) > 1


def _replaces(made: Sequence[Claim], lines: Sequence[Line]) -> bool:
    """Whether the last of several claims of one rank replaces the others."""
    last = made[-1]
    before = [claim for claim in made if _differ([claim, last])][-1]
    if _revised(before, last, lines):
        return True
    line = lines[last.line].text
    if before.line == last.line:
        line = line[before.end : last.end]
    apart = _ONLY_BOX.fullmatch(line) and not _ONLY_BOX.fullmatch(lines[before.line].text)
    final = concludes(line) or _TOTAL.search(line) or _RESULT.search(line) or apart
    return last.rank == Rank.BOX and bool(final)


def _superseded(claim: Claim, made: Sequence[Claim], lines: Sequence[Line]) -> bool:
    """Whether a claim is not a possible answer, and a possible one follows from it."""
    if claim.found is None or claim.found.answer:
        return False
    return any(
        each.line > claim.line or (each.at > claim.at and concludes(_between(claim, each, lines)))
        for each in made
        if each.line >= claim.line and each.found and each.found.answer
    )


def _revised(before: Claim, after: Claim, lines: Sequence[Line]) -> bool:
    """Whether the text between two claims announces a change."""
    return _REVISES.search(_between(before, after, lines)) is not None


def _between(before: Claim, after: Claim, lines: Sequence[Line]) -> str:
    if before.line == after.line:
        return lines[after.line].text[before.end : after.at]
    parts = [lines[before.line].text[before.end :]]
    parts += [line.text for line in lines[before.line + 1 : after.line]]
    return "\n".join([*parts, lines[after.line].text[: after.at]])
