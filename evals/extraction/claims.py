"""Claims: the places of a text that give an answer, and how explicit each of them is.

What an answer looks like depends on the eval (`Reader`). How an answer is announced does not: in a
box, after a label ("Answer:", also as a heading, a table row or a JSON member), in a sentence ("the
answer is"), or on a line of its own.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

from evals.extraction.found import Found
from evals.extraction.lines import BOX_CLOSE, BOX_OPEN, Line
from evals.extraction.words import (
    ALTERNATIVE,
    ANSWER,
    CONCLUDES,
    IS,
    LABEL_ONLY,
    NOT,
    SUPPOSES,
    pattern,
)


class Rank(IntEnum):
    """How explicit a claim is."""

    REMARK = 0
    ALONE = 1
    CONCLUSION = 2
    SENTENCE = 3
    LABEL = 4
    BOX = 5


@dataclass(frozen=True, order=True)
class Claim:
    """An answer at a place (number of the line, position in it).

    `found` is None if the place announces several alternatives as the answer.
    """

    line: int
    at: int
    end: int
    rank: Rank
    found: Found | None


Conclusion = tuple[int, int, Rank, Found]
"""The number of a line, a position in it, how explicit it is, and the answer."""


class Reader(Protocol):
    """The recognition of answers in one eval."""

    def short(self, line: str) -> str:
        """The line with answers in their shortest form."""
        ...

    def boxed(self, content: str) -> Found | None:
        """The answer in a box."""
        ...

    def stated(self, text: str) -> Found | None:
        """The answer at the start of a text that follows "Answer:" or "the answer is"."""
        ...

    def whole(self, line: str) -> Found | None:
        """The answer of a line that contains nothing else."""
        ...

    def concluded(self, lines: Sequence[Line]) -> Iterator[Conclusion]:
        """The answers with which a text concludes."""
        ...


_QUOTES = r"[\s\"'”’“‘*_]*"
_QUALIFIED = (
    r"(?:\s*\([^()]{0,40}\))?"
    r"(?:\s+(?:to|for|of|here|you|we|der|des|von|del?)\b[^.:;?!]{0,60}?)?"
    r"(?:,[^,.:;?!]{0,60},)?"
)
_LABEL = pattern(
    rf"(?:^|(?<=[.;:!?)\]}}。{BOX_CLOSE}])|(?<=[–—→✅]))[^\w{BOX_OPEN}]*"
    r"(?:(?:\d+[.)]|the|my|our|your|so|hence|thus|therefore|final|step)[\s:]+)*"
    rf"(?:{ANSWER}|{LABEL_ONLY}|final[_ -]?answer){_QUALIFIED}"
    rf"{_QUOTES}(?:[:=→⇒–—ঃ]|-(?!\w)|=>)+{_QUOTES}"
)
_LETTER_A = re.compile(r"\W*A\W*")
_HEADING = pattern(
    r"[^\w⟦]*(?:(?:\d+[.)]|the|my|our|your|step \d+[.:)]?)\s+)*"
    rf"(?:{ANSWER}|results?|solution|conclusion){_QUALIFIED}"
    r"(?:[^\w⟦+−≤≥≈~√∛∜±∓≠¬∑∏∫<>-]|(?<=[=-])>|(?<=:)-(?=\s)|[+−-](?!\s?\d))*"
)
_ANSWER_IS = pattern(rf"(?<![A-Za-z0-9À-ɏа-я-]){ANSWER}{_QUALIFIED}[\s,]*{IS}")
_AS_ANSWER = pattern(
    rf"\b(?:as|gives|makes|for|is|yields)\s+(?:(?:the|my|our)\s+){ANSWER}(?:\s+of)?\b\s*"
)
_BOXED = re.compile(rf"{BOX_OPEN}([^{BOX_OPEN}{BOX_CLOSE}]*){BOX_CLOSE}")
_ENDS = re.compile(r"(?<!e\.g)(?<!i\.e)[.!?;][\"'”’)]*(?=\s|$|[^\x00-\u2fff])|。")
_CLAUSE = re.compile(
    r",(?!\d)|、|\b(?:but|so|hence|thus|therefore|aber|mais|pero|mas|ma|но)\b|[—–]\s"
)
_BUT = pattern(r"\b(?:but|however|aber|mais|pero|mas|ma|но)\b")
_IF = pattern(
    r"\b(?:if|whether|suppos\w+|assum\w+|unless|had|were|wenn|falls|si|se|если)\b|如果|假设|若"
)
_HENCE = pattern(r",\s*(?:and\s+)?(?:hence|thus|therefore|so)\b")
_NOT = pattern(NOT)
_SUPPOSES = pattern(SUPPOSES)
_ALTERNATIVE = pattern(ALTERNATIVE)
_CONDITION = pattern(
    r"[^.!;?,]{0,40}?(?:,\s*(?=if\b(?! i\b)|unless|only))?\b(?:if|unless|under|would|only (?:in|for"
    r"|if|when)|wenn"
    r"|(?:you|one|we|students?|people)['’]d"
    r"|was (?:my|our|the|an?) (?:initial|first|naive|wrong))\b"
)
_MISTAKEN = pattern(
    r"\b(?:al)?though (?:that|this|it|the \w+) (?:is|seems) (?:mistaken|wrong|incorrect)\b"
)
_DENIED = pattern(
    r"[\s$)\]\"”’*]*(?:(?:is|was|ist|war|est|es|é|è)\s+(?:\w+ly\s+)?(?:not|wrong|incorrect|invalid"
    r"|impossible|too\s|nicht|falsch|pas)|(?:is|was|does|did|ca|could|wo)n['’]t"
    r"|(?:does|did|can|could|will) ?not|fails?|ne|no|não|non|не)\b(?!-)"
    r"|[\s$)\]]*(?:是|也|并|都)?(?:不|错)|[\s$)\]]*(?:は|が|은|는|이|가)[^,。]{0,12}(?:ない|ません|않|아니|아닙|틀)"
)
"""Text after a box that denies its content."""
_INDEFINITE = pattern(
    r"\b(?:an?|one|another) (?:possible|potential|plausible|tempting|common|typical|naive) \Z"
)
_HEDGED = re.compile(
    r"(?:\W*\b(?:so|thus|hence|therefore|final|finally|most likely|probably|likely|presumably"
    r"|clearly|overall"
    r"|i (?:believe|think|guess|would say|will say)|i['’]d say|my (?:best )?guess is|it['’]s|it is"
    r"|that['’]s|that is"
    r"|i(?:['’]m| am) (?:\w+ ){0,2}(?:sure|confident|certain)(?: that)?|wahrscheinlich|probablement"
    r"|probablemente|provavelmente|probabilmente|наверное|вероятно)\b[\s,:]*)*"
    r"(.*?)(?:,\s+(?:i (?:believe|think|guess|would say)|(?:al)?though\b.*|most likely"
    r"|probably))?[\s.,!]*",
    re.IGNORECASE | re.DOTALL,
)
"""An answer between words that express the writer's confidence."""
_REMARK = pattern(
    r"[^\w(]*(?:note|\((?=\w+ \S+ \S+)|remark|references?|sources?|for comparison|quick (?:check"
    r"|sanity)|check|verification|sanity check|confidence|i(?:['’]m| am) (?:\w+ )?confident"
    r"|let me know|i hope"
    r"|feel free|hope this|if you (?:have|would|want|need))\b"
)
_PART = pattern(
    r"\b(?:part|case|step|lemma|sub\w+|first|second|third"
    r"|(?:simplified|simpler|easier|similar|related|analogous) (?:problem|question|version))\b"
)
_CONCLUDES = pattern(CONCLUDES)


def claims(lines: Sequence[Line], reader: Reader) -> list[Claim]:
    """All claims of a text in order."""
    found: list[Claim] = []
    for number, line in enumerate(lines):
        found += _in_boxes(number, line, reader)
        found += _after_labels(number, lines, reader)
        found += _in_sentences(number, line, reader)
    found += [
        Claim(number, at, at, rank, each)
        for number, at, rank, each in reader.concluded(lines)
        if not _CONDITION.match(lines[number].text, at)
        and not _MISTAKEN.search(lines[number].text, at)
    ]
    found += _alone(lines, reader)
    return sorted(found, key=lambda claim: (claim.line, claim.at, claim.rank))


def sentence(line: str, at: int) -> tuple[int, int]:
    """The start and end of the sentence around a position."""
    start = end = 0
    for stop in _ENDS.finditer(line):
        if stop.end() > at:
            end = stop.end()
            break
        start = stop.end()
    return start, end or len(line)


def asserts(line: str, at: int) -> bool:
    """Whether the sentence asserts what begins at a position: no question, no "if", no "not"."""
    start, end = sentence(line, at)
    before = line[start:at]
    clause = _CLAUSE.split(before)[-1]
    supposed = before if _IF.search(before) else _HENCE.split(before)[-1]
    return not (
        line[:end].endswith("?")
        or _SUPPOSES.search(_BUT.split(supposed)[-1])
        or _NOT.search(clause)
    )


def concludes(line: str) -> bool:
    """Whether a line has a word such as "therefore"."""
    return _CONCLUDES.search(line) is not None


def conclusion(line: str) -> str:
    """The line from its last word such as "therefore" on if that has a digit, else the line."""
    parts = [line[each.start() :] for each in _CONCLUDES.finditer(line)]
    return parts[-1] if parts and re.search(r"\d", parts[-1]) else line


def headed(lines: Sequence[Line], number: int) -> bool:
    """Whether the previous line is a heading such as "Final answer"."""
    return number > 0 and _HEADING.fullmatch(lines[number - 1].text) is not None


def last_line(lines: Sequence[Line]) -> tuple[int, Line]:
    """The last line and its number, without remarks after the answer."""
    number = len(lines) - 1
    while number > 0 and _REMARK.match(lines[number].text):
        number -= 1
    return number, lines[number]


def last_sentence(line: str) -> tuple[int, int]:
    """The start and end of a line's last sentence, without remarks after the answer."""
    start, end = sentence(line, len(line) - 1)
    while start > 0 and _REMARK.match(line, start):
        start, end = sentence(line, start - 1)
    return start, end


def _unhedged(said: str) -> str:
    """A sentence without words that express the writer's confidence."""
    hedged = _HEDGED.fullmatch(said)
    return hedged[1] if hedged else said


def _claim(
    number: int, line: str, at: int, stated: int, rank: Rank, found: Found | None
) -> Claim | None:
    """A claim, if the answer after `stated` is asserted and not denied afterwards."""
    start = sentence(line, at)[0]
    end = sentence(line, stated)[1]
    if found is None:
        return None
    if _ALTERNATIVE.search(line[start:stated]):
        return Claim(number, at, stated, rank, None)
    after = line[stated:end]
    doubted = _CONDITION.match(after) or _MISTAKEN.search(after)
    if doubted or _PART.search(line[at:stated]) or not asserts(line, at):
        return None
    return Claim(number, at, stated, rank, found)


def _in_boxes(number: int, line: Line, reader: Reader) -> Iterator[Claim]:
    for box in _BOXED.finditer(line.text):
        found = None if _DENIED.match(line.text, box.end()) else reader.boxed(box[1])
        claim = _claim(number, line.text, box.start(), box.end(), Rank.BOX, found)
        if claim:
            yield claim


def _after_labels(number: int, lines: Sequence[Line], reader: Reader) -> Iterator[Claim]:
    line = lines[number].text
    if _HEADING.fullmatch(line):
        below = lines[number + 1].text if number + 1 < len(lines) else ""
        found = reader.whole(below) or reader.stated(below)
        if claim := _claim(number + 1, below, 0, 0, Rank.LABEL, found):
            yield claim
        return
    heading = _HEADING.match(line)
    if heading and (found := reader.whole(line[heading.end() :])):
        yield Claim(number, 0, len(line), Rank.LABEL, found)
        return
    for label in _LABEL.finditer(line):
        if _LETTER_A.fullmatch(label[0]) and (lines[number].row or _listed(lines)):
            continue
        stated = line[label.end() :].replace(BOX_OPEN, "").replace(BOX_CLOSE, " ").strip()
        start = label.end() - len(label[0].lstrip(" .;:"))
        claim = _claim(number, line, start, label.end(), Rank.LABEL, reader.stated(stated))
        if claim:
            yield claim


def _listed(lines: Sequence[Line]) -> bool:
    """Whether a line begins with "B:", so that "A:" is an entry of a list and no label."""
    return any(line.text.startswith("B:") for line in lines)


def _in_sentences(number: int, line: Line, reader: Reader) -> Iterator[Claim]:
    for stating in (_ANSWER_IS, _AS_ANSWER):
        for match in stating.finditer(line.text):
            if _INDEFINITE.search(line.text, 0, match.start()):
                continue
            stated = line.text[match.end() :].replace(BOX_OPEN, "").replace(BOX_CLOSE, " ")
            found = reader.stated(stated)
            claim = _claim(number, line.text, match.start(), match.end(), Rank.SENTENCE, found)
            if claim:
                yield claim


def _alone(lines: Sequence[Line], reader: Reader) -> Iterator[Claim]:
    """The claims of the first and the last line, if they contain nothing but an answer."""
    for number in {0, last_line(lines)[0]}:
        line, said = lines[number], lines[number].text
        neighbour = lines[number - 1 if number else 1] if len(lines) > 1 else Line("", False)
        if line.row and number and line.strong and not neighbour.strong:
            said = said.rsplit(": ", 1)[-1]
        elif line.row:
            continue
        start, end = last_sentence(said)
        found = reader.whole(said) or reader.whole(_unhedged(said[start if number else 0 : end]))
        if found and not _BOXED.fullmatch(said):
            other = reader.whole(neighbour.text)
            if other is None or other.answer == found.answer or _LABEL.match(neighbour.text):
                rank = Rank.ALONE if number else Rank.SENTENCE
                yield Claim(number, 0, len(line.text), rank, found)
