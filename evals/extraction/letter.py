r"""The choice in the answer to a multiple-choice question.

It is one of the letters from A on, alone or before the text of its choice (`C) the text`), or the
text of exactly one choice. Two letters ("A or B") are not an answer.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from string import ascii_uppercase

from evals.extraction.plain_text import without_markup
from evals.extraction.statements import stated_answer, up_to

_NOUN = (
    r"(?:it(?: i|['’])s\s+)?(?:(?:the\s+)?(?:option|choice|letter|answer:?|opción|选项|選択肢)\s*)?"
)
_OPEN, _CLOSE = r"[\s\"'“‘<(\[{*_]*", r"[\s\"'”’>)\]}*_.!。]*"
_ONLY = re.compile(rf"(?i){_OPEN}{_NOUN}{_OPEN}([A-D])(?:选项|選項|項|项|です|だ)?{_CLOSE}")
_FIRST = re.compile(
    rf"{_OPEN}(?i:{_NOUN}){_OPEN}([A-D])[)\]}}*_]*[.:)]?(?![\w+^=/'’-])\s*[:.,–—-]*\s*(?P<rest>.*)"
)
_OTHER = re.compile(
    r"[)\]}*_]*\s*(?:\b(?:and|or|y|o)\b|[和或/,&→])\W*(?:option )?\(?[A-D]\b"
    r"(?! (?:is|has|was|does)\b)"
)
"""A second letter after the first."""
_REASON = re.compile(r"(?:because|since|as|due|porque)\b", re.IGNORECASE)
_L = r"\(?(?-i:[A-D])\)?"
_HENCE = (
    r"(?:hence|thus|therefore|consequently|so|i\.e\.|namely|por lo tanto|所以|因此|故|=>|[∴→⇒])"
)
_OPTION = r"(?:option|choice|answer|opción|选项)"
_CORRECT = r"(?:the )?(?:only )?(?:correct|right|best|true|answer|consistent|one)\b"
_CHOOSES = re.compile(
    rf"(?i)\W*(?:{_HENCE}\W*)*(?:{_OPTION}\s+)?{_L}(?:\s+it is)?\W*$"
    rf"|.*\b(?:{_HENCE}|which|that|it|result|match\w*|corresponds? to|described by|agrees with)\b.*"
    rf"\b{_OPTION}\s+{_L}"
    rf"|.*\b(?:choose|select|pick|go(?:ing)? with|go for|say|answer|elijo|it['’]s|leav(?:es|ing)"
    rf"|left with)\s+(?:(?:la )?{_OPTION}\s+)?{_L}\W*$|.*[选選答]\s*(?:{_OPTION}\s*)?{_L}"
    rf"|(?:.*\W)?{_L} (?:is|must be|has to be|remains|fits|matches|agrees)(?: therefore| thus)?"
    rf"(?: {_CORRECT}|.*\bmeasure|\W*$)|.*\bonly (?:{_OPTION} )?{_L} (?:remains|satisfies|agrees"
    rf"|matches|fits|works)\b|.*\bmakes {_L} {_CORRECT}"
    rf"|.*\b(?:correct|choice|pick|selection|match|{_OPTION})\b.*\b(?:is|be)"
    rf" (?:{_OPTION} )?{_L}(?:\W*$| (?=\d))"
)
"""A clause that chooses an option by its letter."""
_CONCLUDES = re.compile(rf"(?i)\b{_HENCE}\b|{_CORRECT}|\bmatch")
_MENTION = re.compile(
    r"(?<![A-Za-zÀ-ɏ0-9_^+=/'’-])(?!A (?!and|or|is|has|must|fits|agrees|matches|remains)[a-z])"
    r"[A-D](?![A-Za-zÀ-ɏ0-9_^+=/'’-])"
)
_ASIDE = re.compile(r"\s\([^()]*(?:option|choice)\s+\(?[A-D]\b[^()]*\)")
"""A remark on an option in parentheses."""
_LAST = re.compile(
    r"(?P<text>.*?)[\s,;:–—→⇒-]+\(?(?:(?:option|choice|answer)\s+)?\(?(?P<letter>[A-D])\)*\W*"
)
"""The text of a choice before its letter."""
_MARKED = re.compile(r"^[^\w\n]*\(?([A-D])\b[^\n✓✔✅☑✗✘❌]*([✓✔✅☑✗✘❌])", re.MULTILINE)
_SHORT = 3
"""Choices with texts of this length occur in sentences by chance."""
_SPELLING = dict.fromkeys((0x2010, 0x2011, 0x2012, 0x2212), 0x2D)
_FRACTION = re.compile(r"\\[dtc]?frac\s*\{([^{}]*)\}\s*\{((?:[^{}]|\{[^{}]*\})*)\}")
_RAISED = re.compile(r"(?<=[\w)])[⁺⁻]?[⁰¹²³⁴-⁹]+")
_TIMES = re.compile(r"\\(?:times|cdot)(?![A-Za-z])|(?<=\d)\s*[·⋅*x]\s*(?=10\b|10\^)")
_LETTERED = re.compile(r"\W*(?:option\s+)?\(?[A-D][).:]")
_ALONE = re.compile(r"(?<![\w'’-])[A-D](?![\w^'’-])")
_NEARLY = re.compile(r"(?:≈|\\approx(?![A-Za-z]))\s*\[?[-+]?\d[\d.,]*")
"""A rounded value of a choice."""
_SIDES = re.compile(r"=|≈|\\(?:approx|simeq|sim)(?![A-Za-z])")
_LONGEST = 1000


def letter_answer(text: str, choices: Sequence[str]) -> str | None:
    """Return the letter that a text gives as its answer; `choices` are the texts of A and so on."""
    reader = _Choices(tuple(map(without_markup, choices)))
    return stated_answer(text, reader) or _only_marked(text, reader)


def _only_marked(text: str, choices: "_Choices") -> str | None:
    """Return the only option with a check mark in a list of options where others have crosses."""
    marks = dict(choices.of(_MARKED).findall(text))
    checked = [letter for letter, mark in marks.items() if mark in "✓✔✅☑"]
    return checked[0] if len(checked) == 1 < len(marks) else None


@dataclass(frozen=True)
class _Choices:
    """An `AnswerReader` of the letters of choices with these texts."""

    texts: tuple[str, ...]

    @property
    def last(self) -> str:
        return ascii_uppercase[len(self.texts) - 1]

    def of(self, pattern: re.Pattern[str]) -> re.Pattern[str]:
        return up_to(self.last, pattern)

    def boxed(self, content: str) -> str | None:
        return self.stated(content)

    def stated(self, text: str) -> str | None:
        text = text[:_LONGEST]
        if answer := self.whole(text):
            return answer
        first = self.of(_FIRST).match(text)
        if not first or self.of(_OTHER).match(text, first.end(1)):
            return None
        named = self._by_text(re.split(r"[.;!](?:\s|$)", first["rest"])[0])
        after = text[first.end(1) :].strip()
        explained = not after or not after[0].isalnum() or _REASON.match(after)
        return first[1] if named == first[1] or (explained and not named) else None

    def whole(self, line: str) -> str | None:
        if only := self.of(_ONLY).fullmatch(line):
            return only[1].upper()
        first = self.of(_FIRST).fullmatch(line)
        if first and self._by_text(first["rest"]) == first[1]:
            return first[1]
        last = self.of(_LAST).fullmatch(line)
        if last and self._by_text(last["text"]) == last["letter"]:
            return last["letter"]
        return self._by_text(line)

    def concluded(self, sentence: str, claims: Sequence[str]) -> str | None:
        bare = [self.of(_ASIDE).sub("", claim) for claim in claims]
        texts = zip(ascii_uppercase, self.texts, strict=False)
        quoted = {
            letter for letter, text in texts if len(text) > _SHORT and any(text in c for c in bare)
        }
        named = quoted.union(*map(self.of(_MENTION).findall, bare))
        chosen = any(map(self.of(_CHOOSES).match, bare)) or (quoted and _CONCLUDES.search(sentence))
        return named.pop() if chosen and len(named) == 1 else None

    def without_choices(self, sentence: str) -> str:
        sentence = _NEARLY.sub("", self.of(_ASIDE).sub("", sentence))
        for text in self.texts:
            sentence = sentence.replace(text, "") if len(text) > _SHORT else sentence
        return sentence

    def names_other(self, remark: str, answer: str) -> bool:
        texts = zip(ascii_uppercase, self.texts, strict=False)
        quoted = {
            letter
            for letter, text in texts
            if text and re.search(rf"(?<![\w.]){re.escape(text)}(?![\w.]*\w)", remark)
        }
        return not quoted.union(self.of(_ALONE).findall(remark)) <= {answer}

    def _by_text(self, text: str) -> str | None:
        """Return the letter of the only choice with this text, or with a side of this equation."""
        sides = [text]
        if _SIDES.search(text) and not self.of(_LETTERED).match(text):
            sides += _SIDES.split(text)
        named = [self._equal(_folded(side)) for side in sides]
        letters = {letter for equal in named for letter in equal}
        return letters.pop() if len(letters) == 1 else None

    def _equal(self, wanted: str) -> list[str]:
        """Return the letters of the choices with a folded text."""
        pairs = zip(ascii_uppercase, self.texts, strict=False)
        return [letter for letter, choice in pairs if wanted and _folded(choice) == wanted]


def _folded(text: str) -> str:
    """Return the text of a choice in the form in which texts are compared."""
    bare = _TIMES.sub("×", _RAISED.sub(lambda raised: f"^{raised[0]}", without_markup(text)))
    bare = unicodedata.normalize("NFKC", bare).translate(_SPELLING).casefold()
    bare = re.sub(r"^(?:the |an? )+", "", " ".join(bare.split()).strip(" .*_:!()\"'"))
    bare = _FRACTION.sub(r"\1/\2", bare).replace("√", "sqrt")
    return re.sub(r"[\s{}\\]", "", bare)
