r"""The choice in the answer to a four-choice question.

It is one of the letters A to D, alone or before the text of its choice (`C) the text`), or the text
of exactly one choice. Two letters ("A or B") are not an answer.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from evals.extraction.plain_text import undress
from evals.extraction.statements import stated_answer

_NOUN = r"(?:(?:the\s+)?(?:option|choice|letter|answer:?|вариант|选项|選択肢)\s*)?"
_OPEN, _CLOSE = r"[\s\"'“‘<(\[{*_]*", r"[\s\"'”’>)\]}*_.!。]*"
_ONLY = re.compile(rf"{_OPEN}{_NOUN}{_OPEN}([A-D])(?:选项|選項|項|项)?{_CLOSE}", re.IGNORECASE)
_FIRST = re.compile(
    rf"{_OPEN}(?i:{_NOUN}){_OPEN}([A-D])[)\]}}*_]*[.:)]?(?![\w+^=/'’-])\s*[:.,–—-]*\s*(?P<rest>.*)"
)
_OTHER = re.compile(
    r"[)\]}*_]*\s*(?:\b(?:and|or|und|oder|et|ou|y|o|e|и|или)\b|[和或/,&→])\W*(?:option )?\(?[A-D]\b"
    r"(?! (?:is|has|was|does)\b)"
)
"""A second letter after the first."""
_REASON = re.compile(r"(?:because|since|as|due|weil|da|car|porque|perché|потому)\b", re.IGNORECASE)
_LETTER = r"\(?(?-i:([A-D]))\)?"
_HENCE = r"(?:.*[,;:] |(?:hence|thus|therefore|so),? )?"
_CONCLUDED = re.compile(
    r"(?:(?:.*\b(?:hence|thus|therefore|so|i\.e\.|namely|which is|that is|corresponds? to"
    r"|match(?:es)?|consistent with|described by|leaves|only)\b.*?)?\W*(?:answer )?"
    rf"(?:option|choice)\s+{_LETTER}"
    rf"|(?:hence|thus|therefore|so|⇒|→)[\s,]*\(?{_LETTER}"
    r"|.*\b(?:i|we)(?:['’]ll| will| would|['’]d| therefore)? (?:choose|select|pick|answer|say"
    rf"|go (?:with|for))\s+(?:option |choice )?{_LETTER}"
    rf"|{_HENCE}(?:it['’]s|it is|it (?:must|has to) be) (?:option )?{_LETTER}"
    rf"|{_HENCE}(?:only )?(?:option |choice |answer )?{_LETTER} (?:is|must be|is therefore)"
    r" (?:the )?(?:only )?(?:correct|right|best|true)(?: (?:one|answer|choice|option))?"
    r"(?: here)?)\W*",
    re.IGNORECASE,
)
"""A sentence that chooses an option, or that calls one correct."""
_MENTION = re.compile(r"(?<![\w^+=/'’-])[A-D](?![\w^+=/'’-])")
_SHORT = 3
"""Choices with texts of this length occur in sentences by chance."""
_SPELLING = dict.fromkeys((0x2010, 0x2011, 0x2012, 0x2212), 0x2D)
_FRACTION = re.compile(r"\\[dtc]?frac\s*\{([^{}]*)\}\s*\{((?:[^{}]|\{[^{}]*\})*)\}")
_LONGEST = 1000


def letter_answer(text: str, choices: Sequence[str]) -> str | None:
    """Return the letter that a text gives as its answer; `choices` are the texts of A to D."""
    return stated_answer(text, _Choices(tuple(map(undress, choices))))


@dataclass(frozen=True)
class _Choices:
    """An `AnswerReader` of the letters of four choices with these texts."""

    texts: tuple[str, ...]

    def boxed(self, content: str) -> str | None:
        return self.stated(content)

    def stated(self, text: str) -> str | None:
        text = text[:_LONGEST]
        if answer := self.whole(text):
            return answer
        first = _FIRST.match(text)
        if not first or _OTHER.match(text, first.end(1)):
            return None
        named = self._by_text(re.split(r"[.;!](?:\s|$)", first["rest"])[0])
        after = text[first.end(1) :].strip()
        explained = not after or not after[0].isalnum() or _REASON.match(after)
        return first[1] if named == first[1] or (explained and not named) else None

    def whole(self, line: str) -> str | None:
        if only := _ONLY.fullmatch(line):
            return only[1].upper()
        first = _FIRST.fullmatch(line)
        if first and self._by_text(first["rest"]) == first[1]:
            return first[1]
        return self._by_text(line)

    def concluded(self, sentence: str) -> str | None:
        named = set(_MENTION.findall(sentence)) | {
            letter
            for letter, text in zip("ABCD", self.texts, strict=True)
            if len(text) > _SHORT and text in sentence
        }
        concluded = _CONCLUDED.fullmatch(re.sub(r"\s\([^()]{2,}\)", "", sentence))
        return named.pop() if concluded and len(named) == 1 else None

    def without_choices(self, sentence: str) -> str:
        for text in self.texts:
            sentence = sentence.replace(text, "") if len(text) > _SHORT else sentence
        return sentence

    def _by_text(self, text: str) -> str | None:
        """Return the letter of the only choice with this text."""
        wanted = _folded(text)
        pairs = zip("ABCD", self.texts, strict=True)
        equal = [letter for letter, each in pairs if _folded(each) == wanted]
        return equal[0] if wanted and len(equal) == 1 else None


def _folded(text: str) -> str:
    """Return the text of a choice in the form in which texts are compared."""
    bare = unicodedata.normalize("NFKC", undress(text)).translate(_SPELLING).casefold()
    bare = re.sub(r"^(?:the |an? )+", "", " ".join(bare.split()).strip(" .*_:!()\"'"))
    bare = _FRACTION.sub(r"\1/\2", bare).replace("√", "sqrt")
    return re.sub(r"[\s{}\\]", "", bare)
