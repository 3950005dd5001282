r"""The choice in the answer to a multiple-choice question.

It is one of the letters from A on, alone or before the text of its choice (`C) the text`), or the
text of exactly one choice. Two letters ("A or B") are not an answer.
"""

import re
from collections.abc import Sequence
from string import ascii_uppercase

from evals.extraction.folded import folded
from evals.extraction.plain_text import without_markup
from evals.extraction.readers import AnswerReader, up_to
from evals.extraction.sentences import denied
from evals.extraction.statements import stated_answer

_NOUN = (
    r"(?:it(?: i|['’])s\s+)?"
    r"(?:(?:the\s+)?(?:option|choice|letter|answer:?|opción|letra|选项|選択肢)\s*)?"
)
_OPEN, _CLOSE = r"[\s\"'“‘<(\[{*_]*", r"[\s\"'”’>)\]}*_.!。]*"
_ONLY = re.compile(rf"(?i){_OPEN}{_NOUN}{_OPEN}([A-D])(?:选项|選項|項|项|です|だ|입니다)?{_CLOSE}")
_FIRST = re.compile(
    rf"{_OPEN}(?i:{_NOUN}){_OPEN}([A-D])[)\]}}*_]*[.:)]?(?![\w+^=/'’-])\s*[:.,–—-]*\s*(?P<rest>.*)"
)
_OTHER = re.compile(
    r"[)\]}*_]*\s*(?:\b(?:and|or|y|o)\b|[和或/,&→]|\\(?:to|rightarrow)\b|[–-](?=[A-D]\b))"
    r"\W*(?:option )?\(?[A-D]\b(?! (?:is|has|was|does)\b)"
)
"""A second letter after the first."""
_REMARK = re.compile(r"\s[–—(-]|[;!]\s|\.\s|,\s(?=because|since|as\b|due|which|i\.e\.)")
"""The beginning of a remark after an answer."""
_REASON = re.compile(r"(?:because|since|as|due|porque|is (?:right|correct|true))\b", re.IGNORECASE)
_L = r"\(?(?-i:[A-D])\)?"
_HENCE = (
    r"(?:hence|thus|therefore|consequently|so|(?:most )?(?:likely|probably)|i\.e\.|namely"
    r"|por lo tanto|所以|因此|故|=>|[∴→⇒])"
)
_OPTION = r"(?:option|choice|answer|opción|选项)"
_CORRECT = r"(?:the )?(?:only )?(?:correct|right|best|true|answer|consistent|one)\b"
_SUITS = r"(?:remains|is left|gives|satisfies|agrees|matches|fits|works)\b"
_CHOOSES = re.compile(
    rf"(?i)(?:\W*(?:{_HENCE}\W*)*(?:it is\s+)?(?:{_OPTION}\s+)?"
    rf"|.*\b(?:correct|choice|pick|selection|match|only|nearest|closest|{_OPTION})\b.*\b(?:is|be)\s+"
    rf"|.*\b(?:{_HENCE}|which|that|this|it|result|match\w*|corresponds?|described|agrees)\b.*\b{_OPTION}\s+"
    r"|.*\b(?:which|this|it)(?:['’]s| is| must be| corresponds to| matches)(?: probably)?\s+"
    rf"|.*\b(?:closest to|points to|(?:shown|listed) (?:in|as)|(?:is|are|must be) {_HENCE})\W*"
    r"|.*(?:\b(?:choose|select|pick|go(?:ing)? (?:with|for)|say|answer|elijo|leav(?:es|ing)"
    rf"|left with)\s+(?:la )?|[选選答]择?\s*))(?:{_OPTION}\s*)?{_L}(?:\s+it is)?\W*$"
    rf"|(?:.*\W)?{_L} (?:(?:is|must be|has to be)\b.*(?:{_CORRECT}|\bmeasure)"
    r"|(?:remains|fits|matches|agrees|satisfies)(?:\W*$| .*\b(?:the|our|this|all|every|both)\b))"
    rf"|.*\b(?:only (?:{_OPTION} )?{_L} {_SUITS}|makes {_L} {_CORRECT})"
)
"""A clause that chooses an option by its letter."""
_CONCLUDES = re.compile(rf"(?i)\b{_HENCE}\b|{_CORRECT}|\bmatch")
_BUT = re.compile(r"(?i)\W*(?:but|and)\b[^.;!?]*")
_MENTION = re.compile(
    r"(?<![A-Za-zÀ-ɏ0-9_^+=/'’-])(?<![Vv]itamin )(?<![Hh]epatitis )(?<![Tt]ype )"
    r"(?!A (?!and|or|is|it is|has|must|fits|gives|agrees|matches|remains|satisfies|works)[a-z])"
    r"[A-D](?![A-Za-zÀ-ɏ0-9_^+=/'’-]| = -?\d)"
)
"""A letter that is no part of a word, a name or a formula."""
_ASIDE = re.compile(r"\s\([^()]*(?:option|choice)\s+\(?[A-D]\b[^()]*\)")
"""A remark on an option in parentheses."""
_LAST = re.compile(
    r"(?P<text>.*?)[\s,;:–—→⇒-]+\(?(?:(?:option|choice|answer)\s+)?\(?(?P<letter>[A-D])\)*\W*"
)
"""The text of a choice before its letter."""
_SHORT = 3
"""Choices with texts of up to this length occur in sentences by chance."""
_ALONE = re.compile(r"(?<![\w'’-])[A-D](?![\w^'’-])")
_NEARLY = re.compile(
    r"(?:≈|\\approx(?![A-Za-z])|(?i:\b(?:about|approximately|around|roughly|nearly)\b))"
    r"\s*\[?[-+]?\d[\d.,]*"
)
"""A rounded value of a choice."""
_LONGEST = 1000  # characters
_LETTERED = re.compile(r"\W*(?:option\s+)?\(?[A-D][).:]")
"""A letter before the text of its choice."""
_SIDES = re.compile(r"=|≈|\\(?:approx|simeq|sim)(?![A-Za-z])")


def letter_answer(text: str, choices: Sequence[str]) -> str | None:
    """Return the letter that a text gives as its answer; `choices` are the texts of A and so on."""
    return stated_answer(text, _Letters([*map(without_markup, choices)]))


class _Letters(AnswerReader):
    """The letters of the choices with these texts."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.texts = texts
        self.last = ascii_uppercase[len(texts) - 1]
        self.pairs = list(zip(ascii_uppercase, texts, strict=False))
        self._folded = [(letter, folded(text)) for letter, text in self.pairs]

    def of(self, pattern: re.Pattern[str]) -> re.Pattern[str]:
        return up_to(self.last, pattern)

    def by_text(self, text: str) -> str | None:
        """Return the letter of the only choice with this text, or with a side of this equation."""
        split = _SIDES.search(text) and not self.of(_LETTERED).match(text)
        sides = {folded(side) for side in [text, *(_SIDES.split(text) if split else ())]} - {""}
        letters = {letter for letter, choice in self._folded if choice in sides}
        return letters.pop() if len(letters) == 1 else None

    def stated(self, text: str) -> str | None:
        text = text[:_LONGEST]
        if answer := self.whole(text):
            return answer
        if remark := _REMARK.search(text):
            answer = self.whole(text[: remark.start()])
            if answer and not self.names_other(text[remark.end() :], answer):
                return answer
        if answer := self._lettered_text(_REMARK.split(text)[0]):
            return answer
        first = self.of(_FIRST).match(text)
        if not first or self.of(_OTHER).match(text, first.end(1)):
            return None
        named = self.by_text(re.split(r"[.;!](?:\s|$)", first["rest"])[0])
        after = text[first.end(1) :].strip()
        but = _BUT.match(after)
        if but and self.names_other(but[0], first[1]) and not denied(but[0]):
            return None
        explained = not after or not after[0].isalnum() or _REASON.match(after)
        return first[1] if named == first[1] or (explained and not named) else None

    def whole(self, line: str) -> str | None:
        if only := self.of(_ONLY).fullmatch(line):
            return only[1].upper()
        if named := self._lettered_text(line):
            return named
        last = self.of(_LAST).fullmatch(line)
        if last and self.by_text(last["text"]) == last["letter"]:
            return last["letter"]
        return self.by_text(line)

    def _lettered_text(self, line: str) -> str | None:
        """Return the letter before the text of the same choice: `C) text`, `(c) text`, `C/text`."""
        first = self.of(_FIRST).fullmatch(line)
        if first and self.by_text(first["rest"]) == first[1]:
            return first[1]
        return None

    def concluded(self, sentence: str, claims: Sequence[str]) -> str | None:
        bare = [self.of(_ASIDE).sub("", claim) for claim in claims]
        quoted = {
            letter
            for letter, text in self.pairs
            if len(text) > _SHORT and any(text in c or text in c[:1].lower() + c[1:] for c in bare)
        }
        named = quoted.union(*map(self.of(_MENTION).findall, bare))
        chosen = any(map(self.of(_CHOOSES).match, bare))
        chosen = chosen or bool(quoted and _CONCLUDES.search(sentence))
        last = self.of(_LAST).fullmatch(bare[-1])
        chosen = chosen or bool(last and quoted == {last["letter"]})
        return named.pop() if chosen and len(named) == 1 else None

    def without_choices(self, sentence: str) -> str:
        sentence = _NEARLY.sub("", self.of(_ASIDE).sub("", sentence))
        for text in self.texts:
            if len(text) > _SHORT:
                sentence = re.sub(re.escape(text), "", sentence, flags=re.IGNORECASE)
        return sentence

    def names_other(self, remark: str, answer: str) -> bool:
        quoted = {
            letter
            for letter, text in self.pairs
            if text and re.search(rf"(?<![\w.]){re.escape(text)}(?![\w.]*\w)", remark)
        }
        named = self.by_text(remark)
        return not quoted.union(self.of(_ALONE).findall(remark), named or ()) <= {answer}
