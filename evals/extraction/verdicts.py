"""Sentences that end with a choice without the word "answer": "I choose C", "Hence option C".

Also lists in which one choice is called correct, and texts that begin with a choice.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from evals.extraction.claims import concludes, last_line, sentence
from evals.extraction.found import Found
from evals.extraction.lines import BOX_CLOSE, BOX_OPEN, Line
from evals.extraction.tex import undress
from evals.extraction.words import ANSWER, CONCLUDES, IS, NOT, OPTION, SUPPOSES

Conclusion = tuple[int, int, Found]
"""The number of a line, a position in it, and the choice that it concludes with."""

_C = (
    r"(?<![^\W\d_A-Z一-鿿ぁ-ヿ가-힣])(?<![A-Za-z0-9\\^_-])[(\[「『（【]?(?-i:([A-D]))"
    r"(?![A-Za-z0-9_^+=/'’-])[)\]」』）】]?"
)
"""A letter of ABCD that stands for itself."""
_THE_C = rf"(?:{OPTION}\s+)?{_C}"
_OR = r"(?:\b(?:or|and|oder|und|ou|et|o|y|e|или|и)\b|[/,&]|和|或|と|か|또는)"
SECOND = re.compile(
    rf"[\s)\]*_,]*(?:{_OR}|\()\s*(?:or\s+)?[(\[*_]*(?-i:[A-Da-d])\b"
    r"(?![)\]*_]*\s+(?:is|are|was|were|has|does|can|cannot)\b)",
    re.IGNORECASE,
)
"""A second choice after a first."""
_FIRST_OF_TWO = re.compile(rf"(?-i:[A-D])\)?\s*{_OR}\s*\(?$", re.IGNORECASE)
DENIED = re.compile(
    r"[)\]*_]*\s+(?:is|was|ist|est|es|é|è)(?:n['’]t|\s+(?:not|incorrect|wrong|false|nicht|falsch))\b"
    r"|[)\]*_]*\s*(?:ではな|ではあり|じゃな|不|错|(?:이|가)?\s*아니|(?:이|가)?\s*아닙)",
    re.IGNORECASE,
)
"""A denial after a choice."""
_GOOD = (
    r"(?:correct|right|best|true|(?:the|our|my) answer|the one|richtig\w*|korrekt\w*|correcte?s?"
    r"|juste|vraie?|correct[ao]s?|corret[ao]s?|corrett[ao]|giust[ao]|верн\w+|правильн\w+)"
    r"(?![^\W_])"
)
_IS_GOOD = (
    r",?\s+(?:(?:is|must be|has to be|fits|ist|est|es|é|è|—|является)\s+)?"
    rf"(?:(?!not\b|never\b|nicht\b|pas\b|no\b|only\b|half\b|part)\w+\s+){{0,2}}?{_GOOD}"
)
_IS_GOOD_IN_CJK = (
    r"\s*(?:项|選項|选项)?\s*(?:正确|正確|が(?:最も|最)?(?:正解|正し|適切|適当)|は正し"
    r"|[이가] (?:정답|옳|가장 적절))"
)
_I_CHOOSE = (
    r"(?:\b(?:I|we)(?:['’]d| would|['’]ll| will| am| have| must)? ?"
    r"(?:choose|chose|select|pick|answer|say|(?:go|going|went) (?:with|for)|opt for|settle on"
    r"|report|submit)"
    r"|\b(?:ich wähle|je choisis|elijo|escolho|scelgo|(?:я )?выбираю)(?:\s+\w+){0,1}?"
    r"|选择?|選擇?)"
)
_IT_MUST_BE = (
    r"\b(?:it (?:has to|must|can only) be|leaves|leaving|remains|left with|richtig ist"
    r"|(?:правильн|верн)\w+ (?:является|будет))(?:\s+only)?"
)
_WHICH_IS = (
    r"(?:\b(?:correspond\w*|match\w*|agree\w*|consistent|points?|leads?|equivalent|which is|that is"
    r"|this is|i\.e\.,?|namely|is exactly|entspricht)|→|⇒|=>|,(?=[^,.;]*[A-D]\)?[\s.,;!]*$))"
    r"\s*(?:exactly\s+)?(?:to|with)?\s*(?:the\s+)?(?:answer\s+)?"
)
_CHOSEN = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        _C + _IS_GOOD,
        _C + _IS_GOOD_IN_CJK,
        rf"{_C}\s+(?:die|the|la|our|my)\s+{ANSWER}(?![^\W_])",
        rf"{_C}\s+(?:remains|is left|it is|bleibt übrig|fits best|(?:best )?matches best)\b",
        rf"{ANSWER}\s+{_C}\s*है",
        rf"\({OPTION}\s+{_C}\)(?=,? (?:not|rather|instead)\b)",
        rf"{_C}[^.;]{{0,40}} as (?:the|my|our) {ANSWER}",
        rf"{OPTION}\s+{_C}\s+(?:corresponds|matches|agrees|fits|describes|is consistent)",
        rf"{_I_CHOOSE}\s*:?\s*(?:is\s+)?{_THE_C}",
        rf"{_IT_MUST_BE}\s+{_THE_C}",
        rf"{_WHICH_IS}(?:{OPTION}\s+|(?=\()){_C}",
        rf"\b(?:corresponds?|points?|leads?)\s+to\s+{_C}\s*(?:$|[.,;!])",
    )
)
_ENDS_WITH = re.compile(
    # "so: C", "the answer that fits is C", "I'm confident it's C", "pick C", "supports option C"
    rf"(?:{CONCLUDES}[\s,:]*(?:{OPTION}\s+)?"
    rf"|(?:{ANSWER}|{OPTION})\b.*?(?:{IS}|:\s*)(?:(?:la|el|die|a|o|{OPTION})\s+)?"
    rf"|\b(?:it(?:['’]s| is)|must be)\s+(?:{OPTION}\s+)?|[→⇒➜]\s*(?:{OPTION}\s+)?"
    rf"|\b(?:choose|choosing|pick|select|say|answer)\s+(?:{OPTION}\s+)?"
    r"|(?:\b(?:is|as|supports?|favou?rs?|confirms?|only|best|logic\w*|so|are|ist|est|es)\b|[—–→:])"
    rf".*?(?:{OPTION}|{ANSWER})\s+)"
    rf"{_C}[\s.!。)]*$",
    re.IGNORECASE,
)
_SUITS = re.compile(
    # "only C fits", "so C is the compound that …"
    rf"(?:(?:^|\bonly\s+){_THE_C}\s+(?:fits|matches|works|satisfies|agrees)|{CONCLUDES},?\s+{_THE_C}\s+is)\b",
    re.IGNORECASE,
)
_ALL = re.compile(rf"{_THE_C}[\s.!。)]*", re.IGNORECASE)
_IS_LAST = re.compile(rf"{IS}(?:the |an? )?$", re.IGNORECASE)
_NO_CHOICE = re.compile(
    rf"{NOT}|{SUPPOSES}|\b(?:let us|let['’]s|turn to|consider|look at|check|examine|discuss|next"
    r"|recall|compare|unlike|whereas|student|candidate)",
    re.IGNORECASE,
)
_LISTED = re.compile(
    rf"\W*(?:{OPTION}\s+)?[(\[]?([A-D])(?:(?:[)\].:–—-]|\s[–—-])+|(?=\s?[✓✔✅✗✘❌✕]))\s*(.*)",
    re.IGNORECASE,
)
_NEXT_LISTED = re.compile(r"\s(?=\([B-D]\)\s)|[,;]\s*(?=[B-D]\s?[✓✔✅✗✘❌✕])")
_YES = re.compile(r"[✓✔✅]|\b(?:correct|right|true|yes)\b", re.IGNORECASE)
_NO = re.compile(r"[✗✘❌✕]|\b(?:incorrect|wrong|false|no|not)\b", re.IGNORECASE)
_OPENING = re.compile(
    r"(?:option )?(?:([A-D])[.):]\s+(?:[A-Z]|because|since)(?!o,)|\(?([A-D])\)?\s[–—]\s\w)"
)
_MARKED = re.compile(r"(?<![A-Za-z])[A-D][.):]\s")
_BRACKETS = str.maketrans("", "", BOX_OPEN + BOX_CLOSE)


def conclusions(lines: Sequence[Line], choices: Sequence[str]) -> Iterator[Conclusion]:
    """The choices that a text of at least one line concludes with."""
    yield from _opening(lines)
    yield from _listed(lines)
    for number, line in enumerate(lines):
        for pattern in _CHOSEN:
            for match in pattern.finditer(line.text):
                before, after = line.text[: match.start()], line.text[match.end() :]
                several = _FIRST_OF_TWO.search(before) or SECOND.match(after)
                if not several and not DENIED.match(after):
                    yield number, match.start(), Found(_letter(match), match[0])
    number, line = last_line(lines)
    start, _ = sentence(line.text, len(line.text) - 1)
    last = line.text[start:].translate(_BRACKETS)
    arrow = last.rfind("⇒") + 1
    last = last[arrow:]
    if not _NO_CHOICE.search(last):
        found = _in_the_end(last, alone=start + arrow > 0) or _text_at_the_end(last, choices)
        if found:
            yield number, start, found


def folded(text: str) -> str:
    """A choice's text in the form in which texts are compared."""
    bare = " ".join(undress(text).split()).strip(" .*_:!").casefold()
    return re.sub(r"^(?:the|an?) ", "", bare)


def _opening(lines: Sequence[Line]) -> Iterator[Conclusion]:
    """The letter that a text begins with, "C. Because …", unless it begins a list."""
    first = _OPENING.match(lines[0].text)
    listed = any(_LISTED.fullmatch(line.text) for line in lines[1:])
    if first and not listed and len(_MARKED.findall(lines[0].text)) < 2:
        yield 0, 0, Found(_letter(first), lines[0].text)


def _listed(lines: Sequence[Line]) -> Iterator[Conclusion]:
    """The only choice that a list of choices calls correct, if it judges another one as well."""
    judged: dict[str, tuple[int, bool]] = {}
    for number, line in enumerate(lines):
        for part in _NEXT_LISTED.split(line.text):
            match = _LISTED.fullmatch(part)
            if match and (_YES.search(match[2]) or _NO.search(match[2])):
                judged[match[1].upper()] = (number, _NO.search(match[2]) is None)
    good = [(number, letter) for letter, (number, is_good) in judged.items() if is_good]
    if len(good) == 1 and len(judged) > 1:
        number, letter = good[0]
        yield number, 0, Found(letter, lines[number].text)


def _in_the_end(last: str, *, alone: bool) -> Found | None:
    """The only letter of a last sentence that comes to it, or is it: "The gas is helium. B"."""
    if len(set(re.findall(_C, last))) != 1:
        return None
    ends = _ENDS_WITH.search(last) or _SUITS.search(last)
    if alone and not ends:
        ends = _ALL.fullmatch(last.strip())
    return Found(_letter(ends), last) if ends else None


def _text_at_the_end(last: str, choices: Sequence[str]) -> Found | None:
    """The choice whose text ends a last sentence: "So the metal is calcium"."""
    said = folded(last)
    texts = [folded(choice) for choice in choices]
    named = [text for text in texts if text and re.search(rf"(?<!\w){re.escape(text)}(?!\w)", said)]
    if len(named) != 1 or not said.endswith(named[0]):
        return None
    stated = concludes(last) or _IS_LAST.search(said.removesuffix(named[0]))
    return Found("ABCD"[texts.index(named[0])], last) if stated else None


def _letter(match: re.Match[str]) -> str:
    return next(group for group in match.groups() if group)
