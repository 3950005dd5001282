"""Sentences that give a choice without an explicit "the answer is": "I choose C", "Hence option C".

A sentence gives a choice if it is about the answer and asserts something about exactly one choice.
Reasons and concessions ("because A is …", "although A …") are not assertions, and clauses with a
negation are denials. The module also reads lists in which one choice is called correct, and texts
that begin with a choice.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence

from evals.extraction.claims import Conclusion, Rank, last_line, last_sentence, sentence
from evals.extraction.found import Found
from evals.extraction.lines import BOX_CLOSE, BOX_OPEN, Line
from evals.extraction.tex import undress
from evals.extraction.words import (
    ANSWER,
    CHOOSES,
    CONCEDES,
    CONCLUDES,
    FITS,
    GOOD,
    IS,
    NOT,
    OPTION,
    REASON,
    RIGHT,
    SUPPOSES,
    pattern,
)

_OR = r"(?:\b(?:or|and|oder|und|ou|et|o|y|e|или|и)\b|[/,&]|和|或|と|か|또는)"
SECOND = pattern(
    rf"[\s)\]*_,]*(?:{_OR}|\()\s*(?:or\s+)?(?:{OPTION}\s+)?[(\[*_]*(?-i:[A-Da-d])\b"
    r"(?!\s*[<>]|[)\]*_]*\s+(?:is|are|was|were|has|does|can|cannot)\b)"
)
"""A second choice after the first."""
DENIED = pattern(
    r"[)\]*_]*\s+(?:is|was|ist|est|es|é|è)(?:n['’]t|\s+(?:not|incorrect|wrong|false|nicht"
    r"|falsch))\b"
    r"|[)\]*_]*\s*(?:ではな|ではあり|じゃな|不|错|(?:이|가)?\s*아니|(?:이|가)?\s*아닙)"
)
"""A denial after a choice."""

_MENTION = re.compile(
    r"(?<![^\W\d_A-Z一-鿿ぁ-ヿ가-힣])(?<![A-Za-z0-9\\^_–=+/-])([(\[「『（【]?)(?<![A-Za-z0-9][(\[])([A-D])"
    r"(?![A-Za-z0-9À-ɏ\u0300-\u036f_^+=/'’]|[-–—]\w)[)\]」』）】]?"
)
"""One of the letters A to D as a separate word."""
_FUNCTION_WORDS = (
    r"(?:is|are|be|was|has|does|can|must|would|will|should|means|gives|remains|corresponds|matches"
    r"|agrees|fits|works|satisfies|describes|seems|looks|stays|only|alone|just|exactly|likely"
    r"|probably|definitely|clearly|simply|obviously|it['’]s|that['’]s|to|with|for|on|at|in|by|and"
    r"|or"
    r"|nor|but|as|after|when|if|under|from|because|since|due|than|rather|instead|not|neither|either"
    r"|both|say|pick|choose"
    r"|choosing|select|therefore|thus|hence|so|then|leaves|leaving|which|that|here|best|i['’]d"
    r"|ist|sind|está|son|sono|lautet|die|der|das|den|und|oder|nur|weil|est|la|le|el|il|lo|et|ou|es"
    r"|y|o|é|è|e|a|to|het|de"
    r"|is|en|jest|je|är|er|ni|elijo|escolho|scelgo|choisis|wähle|nehme)"
)
_BEFORE = pattern(
    rf"(?:^\s*|[^\w\s]\s*|[^\x00-ɏ\s]\s?|(?<![^\W_])(?:{_FUNCTION_WORDS}|{OPTION}|{ANSWER}"
    rf"|{CHOOSES}"
    rf"|{FITS}|{GOOD})\s+)\Z"
)
_THING = pattern(rf"\s+(?!{_FUNCTION_WORDS}\b|seçene|şık|{FITS}|{GOOD})(?-i:[a-zà-ɏ])")
"""A word after which the letter before it is an article ("A quick estimate") or an adjective."""
_CLAUSE = pattern(
    r"(?:,(?!\d)\s*+|、(?!\s?[A-D](?![A-Za-z])))(?!(?:dass|daß|that|que|che|что)\b|(?:(?:and|or|nor|und|oder|y|o|e|et"
    r"|ou)\s+)?[(\[]?[A-D]\b[)\]]?(?:,|\s+(?:and|or|nor|are)\b))"
    r"|[;:→⇒]\s+|\s[—–]\s|\b(?=(?:but|aber|mais|pero|mas|so|hence|thus|therefore)\b)"
)
_CUT = pattern(rf"\s\(?(?:{REASON})(?![^\W_])|,?因为")
_HENCE = pattern(r",\s*(?:and )?(?:so|hence|thus|therefore)\b(?! (?:is|are|does|do)\b)")
_CONCEDES = pattern(rf"\W*{CONCEDES}(?![^\W_])[^,]*,")
_YET = pattern(r"\W*(?:but|however|yet|although|though|aber|mais|pero|mas|ma|но)\b")
_PREDICATE = (
    rf"{RIGHT}(?!\s+(?!{_FUNCTION_WORDS}\b|one\b|{OPTION}|{ANSWER})[a-z])(?![A-Za-zÀ-ɏа-я])"
)
_SAYS = pattern(
    rf"(?<![A-Za-z0-9À-ɏа-я])(?:{ANSWER}(?![A-Za-zÀ-ɏа-я])|{_PREDICATE}|{CHOOSES}|\bthe one\b"
    rf"|(?<!one )(?<!another ){OPTION}\b[^,;:]{0, 60}?\b(?:is|ist|est|es|é"
    rf"|è)\s+\(?(?-i:[A-D])\)?\W*$|{OPTION}\s+\(?(?-i:[A-D])\)?\s+{FITS})"
)
_FITS = pattern(rf"{CONCLUDES}|{FITS}|[→⇒➜]")
_OPTION_LAST = pattern(rf"\b(?!alternative\s){OPTION}\s+\(?[A-D]\)?\W*$")
_CHOOSES = pattern(CHOOSES)
_SOLE = pattern(rf"\bonly\s+(?:{OPTION}\s+)?\W*\Z")
_OF_SOMETHING = pattern(
    r"(?<!\bit )(?<!\bwhich )(?<!\bthis )(?<!\bthat )(?<!\bmust )(?<!\bto )"
    r"\b(?:is|are|was|be|ist|est|es|é"
    r"|è)\s+(?:the |an? )?\Z"
)
"""A copula, as in "X is C"; it gives a choice only if X is the answer."""
_NO_CHOICE = pattern(
    r"\b(?:let us|let['’]s|turn to|consider|look at|check|examine|discuss|next|recall|compare|(?:re"
    r"|let me )\w*consider|let me (?!pick|choose|say|go)"
    r"|unlike|whereas|student|candidate|an? (?:common|tempting|possible) answer)|\?\W*$"
    r"|\bso (?:is|are|does|do)\b"
)
_NOT = pattern(NOT)
_SUPPOSES = pattern(SUPPOSES)
_ALL = pattern(rf"\W*(?:{OPTION}\s+)?\W*[A-D]\W*")
_BY_TEXT = re.compile(r"\balternative ([A-D])\b")
_LETTER_NAMED = re.compile(r"\w \(?(?:[B-D]|A(?! [a-z]))\b")
_STATES = pattern(
    rf"(?:[=≈→:]|{IS}|\b(?:gives|yields|affords|produces|forms))\s*"
    r"(?:(?:about|approximately|roughly|the|an?)\s+)*[+]?\Z"
)
_LISTED = pattern(
    rf"\W*(?:{OPTION}\s+)?[(\[]?([A-D])(?:(?:[)\].:–—-]|\s[–—-])+|(?=\s?[✓✔✅✗✘❌✕]))\s*(.*)"
)
_NEXT_LISTED = re.compile(r"\s(?=\([B-D]\)\s)|[,;→]\s*(?=[B-D]\s?[✓✔✅✗✘❌✕])")
_YES = pattern(r"[✓✔✅]|\b(?:correct|right|true|yes|fits|matches|consistent)\b")
_NO = pattern(rf"[✗✘❌✕]|\b(?:too (?:\w+)|requires?|would|needs?)\b|{NOT}")
_OPENING = re.compile(
    r"(?:[Oo]ption )?"
    r"(?:([A-D])(?:[.):]\s+[A-Z](?!o,)|(?:\s\([^()]*\))?[.):,]*\s+(?:because|since)\b)"
    r"|\(?([A-D])\)?\s[–—]\s\w)"
)
_MARKED = re.compile(r"(?<![A-Za-z])[A-D][.):]\s")
_SPELLING = dict.fromkeys((0x2010, 0x2011, 0x2012, 0x2212), 0x2D) | {0x2044: 0x2F}
_EXPONENT = re.compile(r"[\^_]\s*(?=[{\w-])|(?<=[\w^]){|(?<=\w)}")
_FRACTION = re.compile(r"\\[dtc]?frac\s*(?:\{([^{}]*)\}|(\w))\s*(?:\{([^{}]*)\}|(\w))")
_ROOT = re.compile(r"\\sqrt\s*(?:\{(\w+)\}|(\w))")
_OPERATOR = re.compile(r"\s*([×·/])\s*")
_SYMBOLS = {
    "times": "×",
    "cdot": "·",
    "mu": "μ",
    "alpha": "α",
    "beta": "β",
    "gamma": "γ",
    "pi": "π",
    "Delta": "Δ",
}
_SYMBOL = re.compile(rf"\\({'|'.join(_SYMBOLS)})(?![A-Za-z])")
_LONGEST_SENTENCE = 600
_BRACKETS = str.maketrans("", "", BOX_OPEN + BOX_CLOSE)


def conclusions(lines: Sequence[Line]) -> Iterator[Conclusion]:
    """The choices with which a text of at least one line concludes."""
    yield from _opening(lines)
    yield from _listed(lines)
    last, line = last_line(lines)
    final, _ = last_sentence(line.text)
    for number, each in enumerate(lines[: last + 1]):
        start = 0
        while start < len(each.text):
            _, end = sentence(each.text, start)
            if end <= start:
                break
            text = each.text[start:end][:_LONGEST_SENTENCE].translate(_BRACKETS)
            at_the_end = number == last and start == final
            letter = _asserted(text, last=at_the_end, alone=start > 0)
            if letter:
                yield number, start + letter.start(2), Rank.CONCLUSION, Found(letter[2], text)
            elif number == last and (named := _named(text)):
                yield number, start + named.start(1), Rank.REMARK, Found(named[1], text)
            start = end


def plain(text: str) -> str:
    """A text with normalized hyphens, spaces, exponents and indices."""
    bare = unicodedata.normalize("NFKC", undress(text)).translate(_SPELLING)
    bare = _ROOT.sub(r"√\1\2", bare)
    bare = _FRACTION.sub(lambda m: f"{m[1] or m[2]}/{m[3] or m[4]}", bare)
    bare = _EXPONENT.sub("", _SYMBOL.sub(lambda match: _SYMBOLS[match[1]], bare))
    return " ".join(_OPERATOR.sub(r"\1", bare).split())


def folded(text: str) -> str:
    """A choice's text in the form in which texts are compared."""
    bare = plain(text).strip(" .*_:!").casefold()
    return re.sub(r"^(?:(?:it|this) is |the |an? )+", "", bare)


def _opening(lines: Sequence[Line]) -> Iterator[Conclusion]:
    """The letter at the start of a text, as in "C. Because …", unless it begins a list."""
    first = _OPENING.match(lines[0].text)
    listed = any(_LISTED.fullmatch(line.text) for line in lines[1:])
    if first and not listed and len(_MARKED.findall(lines[0].text)) < 2:
        yield 0, 0, Rank.CONCLUSION, Found(_letter(first), lines[0].text)


def _listed(lines: Sequence[Line]) -> Iterator[Conclusion]:
    """The only choice that a list of choices calls correct, if the list also judges another one."""
    judged: dict[str, tuple[int, bool]] = {}
    for number, line in enumerate(lines):
        for part in _NEXT_LISTED.split(line.text):
            match = _LISTED.fullmatch(part)
            if match and (_YES.search(match[2]) or _NO.search(match[2])):
                judged[match[1].upper()] = (number, _NO.search(match[2]) is None)
    good = [(number, letter) for letter, (number, is_good) in judged.items() if is_good]
    if len(good) == 1 and len(judged) > 1:
        number, letter = good[0]
        yield number, 0, Rank.CONCLUSION, Found(letter, lines[number].text)


def _asserted(text: str, *, last: bool, alone: bool) -> re.Match[str] | None:
    """The only choice that a sentence about the answer asserts something about.

    In the last sentence (`last`), it is enough that the choice fits, or follows from what precedes.
    With `alone`, which means after other sentences, the choice may also be the whole sentence.
    """
    main = _without_reasons(text)
    if _NO_CHOICE.search(main):
        return None
    found: list[re.Match[str]] = []
    mentions = list(_mentions(main))
    says = fits = ends = supposed = denied = False
    for at, stop in _clauses(main):
        clause = main[at:stop]
        mentioned = [each for each in mentions if at <= each.start() < stop]
        sole = [each for each in mentioned if _SOLE.search(main, 0, each.start())]
        yet = _YET.match(clause) is not None
        supposed = (supposed and not yet) or _SUPPOSES.search(clause) is not None
        denied = (denied and clause.startswith(":")) or _NOT.search(clause) is not None
        if supposed or denied:
            found = [] if clause.startswith(":") and not mentioned else found
        elif found and yet and not (mentioned and _CHOOSES.search(clause)):
            return None
        else:
            says = says or _SAYS.search(clause) is not None
            fits = fits or (bool(mentioned) and _FITS.search(clause) is not None)
            fits = fits or (at > 0 and _ALL.fullmatch(clause) is not None)
            ends = _OPTION_LAST.search(clause) is not None
            found = sole or ([] if yet else found) + mentioned
    if len({each[2] for each in found}) != 1:
        return None
    whole = _ALL.fullmatch(main)
    if says and not whole:
        return found[-1]
    enough = last and (alone if whole else fits or ends)
    return found[-1] if enough and not _OF_SOMETHING.search(main, 0, found[-1].start()) else None


def _named(text: str) -> re.Match[str] | None:
    """The only choice whose text a sentence states as what something is."""
    main = _without_reasons(text)
    rest = _BY_TEXT.sub("", main)
    if _NO_CHOICE.search(main) or any(_mentions(rest)) or _LETTER_NAMED.search(rest):
        return None
    found = [
        each
        for at, stop in _clauses(main)
        for each in _BY_TEXT.finditer(main, at, stop)
        if not any(doubt.search(main, at, stop) for doubt in (_NOT, _SUPPOSES))
        and _STATES.search(main, 0, each.start())
        and not any(after.match(main, each.end()) for after in (_THING, SECOND))
    ]
    return found[-1] if len({each[1] for each in found}) == 1 else None


def _without_reasons(text: str) -> str:
    """The sentence with concessions before it and reasons after it blanked; keeps positions."""
    conceded = _CONCEDES.match(text)
    begin = conceded.end() if conceded else 0
    cut = _CUT.search(text, begin + 1)
    if cut is None:
        return " " * begin + text[begin:]
    hence = _HENCE.search(text, cut.end())
    rest = hence.start() if hence else len(text)
    return " " * begin + text[begin : cut.start()] + " " * (rest - cut.start()) + text[rest:]


def _clauses(main: str) -> Iterator[tuple[int, int]]:
    at = 0
    for each in _CLAUSE.finditer(main):
        yield at, each.start()
        at = each.start()
    yield at, len(main)


def _mentions(text: str) -> Iterator[re.Match[str]]:
    for each in _MENTION.finditer(text):
        thing = not each[1] and _THING.match(text, each.end())
        if not thing and _BEFORE.search(text, max(0, each.start() - 40), each.start()):
            yield each


def _letter(match: re.Match[str]) -> str:
    return next(group for group in match.groups() if group)
