r"""The choice that the answer to a four-choice question declares.

Rules, in this order; in each the last place in the text that names a choice counts, so that a
model may change its mind:

1. An answer statement ("Answer: C", "the correct option is **C**", "Antwort: C") or a box
   (`\boxed{C}`). What follows must begin with a letter of ABCD, be the text of exactly one
   choice, or end with a letter in parentheses. So "Answer: A. Option B is incorrect" is A.
2. A verdict on a letter ("(C) is correct", "I choose C", "Hence C.").
3. The whole text, if it is nothing but a letter or a choice, or a last line that is a letter.

A lower-case letter counts only where it cannot be the article. Two letters ("A or B") are no
answer. No letter is ever taken because some word begins with it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

from evals.extraction.found import Found
from evals.extraction.keywords import FOREIGN_WORDS, LETTERS
from evals.extraction.tex import Box, boxes, undress

_GAP = r"[\s*_`}\])]*"
_ADVERB = (
    r"(?:therefore|thus|hence|clearly|indeed|simply|(?:most )?likely|probably|definitely|then"
    r"|actually|still|surely|certainly|obviously|of course)"
)
_SAYS = (
    rf"(?:[:：=–—→⇒-]|(?:is|are|was|(?:would|must|should|will|has to)(?: {_ADVERB})? be"
    r"|(?:appears|seems|turns out) to be|can only be)\b"
    rf"(?:[\s,]+{_ADVERB}\b)*[\s,]*:?)"
)
_ANSWER = r"\b(?:answers?|ans)(?:\s+(?:choice|option|letter))?\b"
_OPTION = r"\b(?:correct|right|best|final|chosen|my)\s+(?:option|choice|letter|statement)\b"
_OF_WHAT = r"(?:\s+(?:to|for|of|here)\b[^\n.:;?!]{0,60}?)?"
_STATEMENT = re.compile(
    rf"(?<!wrong )(?<!incorrect )(?:{_ANSWER}|{_OPTION}){_OF_WHAT}{_GAP}{_SAYS}"
    rf"|(?:{'|'.join(map(re.escape, FOREIGN_WORDS))}){_GAP}[:：ঃ]",
    re.IGNORECASE,
)
_HEADING = re.compile(
    rf"^[ \t#>*_\\{{]{{0,20}}(?:(?:final|correct|right|best)\s+)?{_ANSWER}[*_}}:]*[ \t]*",
    re.IGNORECASE | re.MULTILINE,
)
_VERDICT_BEFORE = re.compile(
    r"\b(?:I(?:['’]d|['’]ll| would| will)?|we) (?:choose|select|pick|go with|answer)\b", re.I
)
_CONCLUSION = re.compile(r"\b(?:so|thus|hence|therefore|final)\b[,:]?", re.IGNORECASE)
_VERDICT_AFTER = re.compile(
    r"(?<![A-Za-z0-9\\])[*_$(\[]{0,4}([A-D])[*_$)\]]{0,4}\s+(?:is|must be|would be)"
    rf"(?:\s+{_ADVERB})?\s+(?:(?:the\s+)?(?:only\s+)?(?:correct|right|best)\b|the answer\b)"
)
_LONGEST_LINE = 1000
_MOST_PLACES = 300
_NEXT_LINE = re.compile(rf"[\s*_`}}\])#>]*([^\n]{{0,{_LONGEST_LINE}}})")
_LETTER = r"[A-Da-dＡ-Ｄ](?![A-Za-z0-9À-ɏ\u0300-\u036f])|[أبجد](?![\u0620-\u06d3])|[অবডঢ](?![ঀ-ৣ])"
_LEAD = r"(?i:it(?:['’]s| is)\b|(?:the\s+)?(?:correct\s+)?(?:option|choice|letter|answer)\b[\s:]*)*"
_OPEN = r"[\s\"'“‘«「『【<(\[{（*_]*"
_CLOSE = r"[\s\"'”’»」』】>)\]}）*_.!:。]*"
_ONLY = re.compile(rf"{_LEAD}{_OPEN}({_LETTER}){_CLOSE}")
_FIRST = re.compile(rf"{_LEAD}({_OPEN})({_LETTER})")
_LETTERED = re.compile(r"[(\[]?([A-Da-d])[)\].:]\s*(.+)")
_IN_PARENTHESES = re.compile(
    r"(?i:(?!.*\bnot\b))[^()]*\((?i:(?:the\s+)?(?:option|choice|answer)\s*)?([A-D])\)(?:[.!]?$|[.,;]\s)"
)
# After a letter that is to be an answer there may not stand the rest of a formula or a compound,
# a second letter, or a denial.
_COMPOUND = re.compile(r"[-–=/'’]\w|_[\w{]|[+^]")
_SECOND = re.compile(
    r"[\s)\]*_]*(?:\bor\b|\band\b|[/,&])\s*[(\[*_]*[A-Da-d]\b"
    r"(?![)\]*_]*\s+(?:is|are|was|were|has|does|can))"
)
_DENIED = re.compile(r"[)\]*_]*\s+(?:is|was)(?:n['’]t|\s+(?:not|incorrect|wrong|false))\b")
_ARTICLE = re.compile(r"\s+(?!(?:because|since|as|for|due|given|which|is|with|by)\b)[a-z]")
_EXPLICIT_END = re.compile(r"\s*(?:$|[)\]}*_.:,])")

Reading = tuple[int, Callable[[], Found | None]]
"""The position of a possible answer, and a function that reads it."""


def letter_answer(text: str, choices: Sequence[str]) -> Found | None:
    """The letter that `text` declares as its answer; `choices` are the texts of A, B, C and D."""
    return _stated(text, choices) or _verdict(text) or _alone(text, choices)


def _stated(text: str, choices: Sequence[str]) -> Found | None:
    def choice(line: str) -> str | None:
        return read_choice(line, choices)

    return _last(
        [
            *_before_lines(text, _STATEMENT, choice),
            *_before_lines(text, _HEADING, _heading),
            *((each.start, partial(_boxed, text, each, choices)) for each in boxes(text)),
        ]
    )


def _heading(line: str) -> str | None:
    bare = undress(line)
    in_brackets = first_letter(bare) if line.startswith(("(", "[")) else None
    return only_letter(bare, upper=True) or in_brackets


def _boxed(text: str, box: Box, choices: Sequence[str]) -> Found | None:
    return _found(read_choice(box.content, choices), text[box.start : box.end])


def _verdict(text: str) -> Found | None:
    def conclusion(line: str) -> str | None:
        return only_letter(undress(line), upper=True)

    after = (
        (each.start(), partial(_found, each[1], each[0])) for each in _VERDICT_AFTER.finditer(text)
    )
    return _last(
        [
            *_before_lines(text, _VERDICT_BEFORE, lambda line: first_letter(undress(line))),
            *_before_lines(text, _CONCLUSION, conclusion),
            *after,
        ]
    )


def _alone(text: str, choices: Sequence[str]) -> Found | None:
    whole = text.strip()
    last = whole.rsplit("\n", 1)[-1].strip()
    letter = only_letter(undress(last[:_LONGEST_LINE]), upper=last != whole)
    if letter:
        return _found(letter, last)
    bare = undress(whole) if len(whole) <= _LONGEST_LINE else ""
    return _found(by_text(bare, choices) or lettered(bare, choices), whole)


def _before_lines(
    text: str, pattern: re.Pattern[str], read: Callable[[str], str | None]
) -> Iterator[Reading]:
    """Read the line that follows each match, or the next line that is not empty."""

    def found(match: re.Match[str]) -> Found | None:
        line = _NEXT_LINE.match(text, match.end())
        end, content = (line.end(), line[1]) if line else (match.end(), "")
        return _found(read(content), text[match.start() : end])

    return ((match.start(), partial(found, match)) for match in pattern.finditer(text))


def _found(letter: str | None, quote: str) -> Found | None:
    return Found(letter, quote.strip()) if letter else None


def _last(readings: Iterable[Reading]) -> Found | None:
    """What the last place that says something says, if it is among the last few hundred."""
    backwards = sorted(readings, key=lambda reading: reading[0], reverse=True)[:_MOST_PLACES]
    return next((found for _, read in backwards if (found := read())), None)


def read_choice(text: str, choices: Sequence[str]) -> str | None:
    """The letter of the choice that a declared answer names; None if it does not name exactly one.

    It is one of: a letter and nothing else; the text of exactly one choice; a letter and whatever
    follows; a text with the letter after it, as in "45 m (option C)".
    """
    bare = undress(text)
    return (
        only_letter(bare) or by_text(bare, choices) or first_letter(bare) or _in_parentheses(bare)
    )


def only_letter(bare: str, *, upper: bool = False) -> str | None:
    """The letter where there is nothing else; a small one does not count if `upper` is set."""
    only = _ONLY.fullmatch(bare)
    return LETTERS[only[1]] if only and (only[1].isupper() or not upper) else None


def by_text(bare: str, choices: Sequence[str]) -> str | None:
    """The letter of the only choice with this text."""
    folded = _folded(bare)
    texts = zip("ABCD", choices, strict=True)
    equal = [letter for letter, choice in texts if _folded(undress(choice)) == folded]
    return equal[0] if folded and len(equal) == 1 else None


def lettered(bare: str, choices: Sequence[str]) -> str | None:
    """The letter of a choice that is repeated with its own letter, such as "C) nitrogen"."""
    match = _LETTERED.fullmatch(bare)
    letter = by_text(match[2], choices) if match else None
    return letter if match and letter == match[1].upper() else None


def first_letter(bare: str) -> str | None:
    """The letter at the beginning, unless it is part of something else, one of two, or denied.

    A lower-case letter must be closed off, and a bare "A" must not be the article.
    """
    match = _FIRST.match(bare)
    if not match:
        return None
    opened, letter, rest = match[1].strip(), match[2], bare[match.end() :]
    if any(pattern.match(rest) for pattern in (_COMPOUND, _SECOND, _DENIED)):
        return None
    if letter.islower() and letter.isascii() and not _EXPLICIT_END.match(rest):
        return None
    if letter == "A" and not opened and _ARTICLE.match(rest):
        return None
    return LETTERS[letter]


def _in_parentheses(bare: str) -> str | None:
    match = _IN_PARENTHESES.match(bare)
    return match[1] if match else None


def _folded(text: str) -> str:
    return " ".join(text.split()).strip(" .*_").casefold()
