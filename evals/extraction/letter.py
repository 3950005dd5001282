r"""The choice in the answer to a four-choice question.

`evals.extraction.decision` weighs the claims; this module recognizes choices: one of the letters A
to D, alone or before the text of its choice (`C) the text`), or the text of exactly one choice. A
lower-case letter is accepted only where it cannot be the article. Two letters ("A or B") are not an
answer, and neither is a letter at the start of a word.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from evals.extraction.claims import Conclusion
from evals.extraction.decision import answer
from evals.extraction.found import Found
from evals.extraction.integer import integer_answer, read_integer
from evals.extraction.lines import BOX_CLOSE, BOX_OPEN, Line
from evals.extraction.verdicts import DENIED, SECOND, conclusions, folded, plain
from evals.extraction.words import LETTERS, OPTION, pattern

_LETTER = (
    r"[A-Da-dАВС](?![A-Za-z0-9À-ɏа-яА-Я\u0300-\u036f])|[أبجد](?![\u0620-\u06d3])|[অবডঢ](?![ঀ-৯ৣ])"
)
_LEAD = (
    r"(?i:(?:q(?:uestion)?\s*)?\d+[.):]\s+)?(?i:it(?:['’]s| is)\b"
    r"|(?:l['’]|(?:la|the|die|a|o|el|il|le)\s+)?(?:correct\s+)?"
    rf"(?:{OPTION}|answer|letter)\b[\s:]*|{OPTION}\s*)*"
)
_OPEN = r"[\s\"'“‘«「『【<(\[{*_→⇒∴=>]*"
_CLOSE = r"[\s\"'”’»」』】>)\]}*_.!。✓✅]*"
_ONLY = re.compile(rf"{_OPEN}{_LEAD}{_OPEN}({_LETTER}){_CLOSE}")
_FIRST = re.compile(rf"{_LEAD}({_OPEN})({_LETTER})")
_IN_PARENTHESES = re.compile(
    rf"(?i:(?!.*\bnot\b))[^()]*(?:\((?i:(?:the\s+)?(?:{OPTION}|answer)\s*)?([A-D])\)"
    rf"|,\s*(?i:{OPTION})\s+\(?([A-D])\)?)(?:[.!]?$|[.,;]\s)"
)
# Not an answer: a letter before the rest of a formula or compound, a second letter, or a denial.
_COMPOUND = re.compile(r"[-–=/'’]\w|_[\w{]|[+^]|\W*(?:→|⇒|[-=]>)")
_EXPLAINED = pattern(
    r"\s*(?:$|[^\w\s]|(?:because|since|as|for|due|given|which|is|with|by|in|weil|da|car|porque"
    r"|perché|потому)\b|이|입|가|は|で|と|だ|选|選|是|项)"
)
_NONE = pattern(
    r"(?:cannot|can['’]t|un(?:known|clear|determined|defined)|none\b|neither\b|no (?:answer|option"
    r"|choice)|n/?a\b|impossible|insufficient|null\b|not\b|[E-Z]\W*$)"
)
_PLACES = {"first": "A", "second": "B", "third": "C", "fourth": "D", "last": "D"}
_ORDINAL = pattern(rf"\b(?:the )?({'|'.join(_PLACES)}) (?:answer )?(?:{OPTION}|one)\b")
_BRACKETS = str.maketrans("", "", BOX_OPEN + BOX_CLOSE)
_LONGEST_CHOICE = 1000
_TOO_SHORT = re.compile(r"\d*|\w|i+v?")
"""Texts of choices that mean something else in many sentences."""
_ANY_LETTER = re.compile(r"(?<!\w)(?:[B-D]|A(?! [a-z]))(?!\w)")


def letter_answer(text: str, choices: Sequence[str]) -> Found | None:
    """The letter that `text` gives as its answer; `choices` are the texts of A, B, C and D."""
    found = answer(text, _Choices(tuple(choices)))
    numbers = [read_integer(choice, words=False) for choice in choices]
    if found or None in numbers or _ANY_LETTER.search(text):
        return found
    number = integer_answer(text)
    if number is None or number.answer is None or numbers.count(int(number.answer)) != 1:
        return None
    return replace(number, answer="ABCD"[numbers.index(int(number.answer))])


@dataclass(frozen=True)
class _Choices:
    """An `evals.extraction.claims.Reader` of the letters of four choices."""

    choices: tuple[str, ...]

    def short(self, line: str) -> str:
        """The line with "option C" for "C) nitrogen", "nitrogen (C)" and "the third option".

        A letter with the text of another choice becomes "option C or B".
        """
        line = _ORDINAL.sub(lambda match: f"option {_PLACES[match[1].casefold()]}", plain(line))
        texts = [folded(choice) for choice in self.choices]
        for own in (True, False):
            for letter, text in zip("ABCD", texts, strict=True):
                if text and text in line.lower() and (own or texts.count(text) == 1):
                    line = _named(line, letter, re.escape(text), own=own)
        for text, letter in sorted(zip(texts, "ABCD", strict=True), key=lambda t: -len(t[0])):
            if not _TOO_SHORT.fullmatch(text) and texts.count(text) == 1:
                named = rf"(?<![\w×·*/^.+-])(?:the |an? )?{re.escape(text)}(?![\w^-])"
                line = re.sub(named, f"alternative {letter}", line, flags=re.IGNORECASE)
        return line

    def boxed(self, content: str) -> Found | None:
        """Same as `stated`."""
        return self.stated(content)

    def stated(self, text: str) -> Found | None:
        """A letter and nothing else, the text of a choice, or a letter followed by other text."""
        stated = text.strip()
        line = stated[:_LONGEST_CHOICE]
        letter = (
            _only_letter(line)
            or self._by_text(line)
            or self._first_letter(line)
            or _in_parentheses(line)
        )
        if letter:
            return Found(letter, stated)
        return Found(None, stated) if _NONE.match(line) else None

    def whole(self, line: str) -> Found | None:
        """A line that is only a letter, or only the text of a choice."""
        bare = line.translate(_BRACKETS).strip()[:_LONGEST_CHOICE]
        letter = _only_letter(bare) or self._by_text(bare)
        return Found(letter, line) if letter else None

    def concluded(self, lines: Sequence[Line]) -> Iterator[Conclusion]:
        """Same as `evals.extraction.verdicts.conclusions`."""
        return conclusions(lines)

    def _by_text(self, bare: str) -> str | None:
        """The letter of the only choice with this text."""
        text = folded(bare)
        pairs = zip("ABCD", self.choices, strict=True)
        equal = [letter for letter, choice in pairs if folded(choice) == text]
        return equal[0] if text and len(equal) == 1 else None

    def _first_letter(self, bare: str) -> str | None:
        """The first letter, unless it is part of something else, one of two letters, or denied.

        A bare letter must be followed by nothing, a reason or the text of its choice: "B cells" is
        not an answer. A lower-case letter is rejected because it may be the article.
        """
        match = _FIRST.match(bare)
        if not match:
            return None
        opened, letter, rest = match[1].strip(), match[2], bare[match.end() :]
        if any(pattern.match(rest) for pattern in (_COMPOUND, SECOND, DENIED)):
            return None
        if letter.islower() and letter.isascii():
            return None
        named = LETTERS[letter]
        explained = opened or _EXPLAINED.match(rest) or self._by_text(rest) == named
        return named if explained else None


def _named(line: str, letter: str, text: str, *, own: bool) -> str:
    """The line with "option X" for a choice given by its letter, or by the `text` of `letter`."""
    letters = f"{letter}|{letter.lower()}(?=[)\\]])" if own else f"(?!{letter})[A-D]"
    named = rf"(?:{OPTION}\s*)?[(\[]?(?-i:({letters}))(?:,?\s*i\.e\.,?)?"
    text = rf"(?:the |an? )?{text}"
    ends = "" if own else r"(?=[\s)\].;,]*$)"
    aside = rf"\s*[(\[]{named}[)\]]|,\s*(?:i\.e\.,?\s*)?{OPTION}\s*{named}"
    closed = "[)\\].:,–—-]*" if own else "(?:(?:\\s*[)\\].:,–—-])+|\\s*(?=\\())"
    return re.sub(
        rf"(?<!\w)(?:{named}{closed}\s*\(?{text}(?:(?<=\w)\))?|{text}(?:{aside}))(?!\w){ends}",
        lambda match: (
            f"option {letter}" if own else f"option {letter} or {match[1] or match[2] or match[3]}"
        ),
        line,
        flags=re.IGNORECASE,
    )


def _only_letter(bare: str) -> str | None:
    only = _ONLY.fullmatch(bare)
    return LETTERS[only[1]] if only else None


def _in_parentheses(bare: str) -> str | None:
    match = _IN_PARENTHESES.match(bare)
    if not match or SECOND.match(bare, max(match.end(1), match.end(2))):
        return None
    return match[1] or match[2]
