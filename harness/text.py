"""Text helpers: terminal output, percentages, strict JSON, repetitions, and lists of names."""

import difflib
import json
import re
from collections import Counter
from collections.abc import Sequence
from typing import NoReturn

TERMS = (
    "A case asks for one tool call. A probe sends requests of its own and judges their replies "
    "together; a check judges single replies. An attempt is one try at a case, or at a request of "
    "a probe, under one condition: an API and a mode, streaming or not."
)
"""The words that a run is described in."""
# A text runs away if it ends with repetitions of one piece: longest piece, fewest repetitions, and
# shortest total length, in characters.
_LONGEST_PIECE, _FEWEST_REPEATS, _SHORTEST_RUN = 300, 6, 400
# It also does if its lines and sentences, of this number of words at least, are so many and so few
# different ones: a real CoT of 12,000 tokens had 72 different lines of 1,415.
_FEWEST_WORDS, _FEWEST_SENTENCES, _MOST_DIFFERENT = 3, 200, 0.08
_NOT_ABLE = r"(?:can['’]?t|cannot|can not|am unable to|['’]m unable to|am not able to)"
_REFUSAL = re.compile(
    rf"^(?:(?:i['’]m |i am )?(?:very )?sorry,? (?:but )?i {_NOT_ABLE}\b"
    rf"|i {_NOT_ABLE} (?:help|assist|comply|answer|provide|do that|discuss)\b"
    r"|(?:es )?tut mir leid,? (?:aber )?(?:da(?:bei|mit) )?(?:ich )?kann\b"
    r"|(?:je suis )?désolée?,? (?:mais )?je ne peux pas\b|lo siento,? (?:pero )?no puedo\b"
    r"|mi dispiace,? (?:ma )?non posso\b|(?:sinto muito|desculpe),? (?:mas )?não posso\b"
    r"|извините,? (?:но )?я не могу\b"
    r"|(?:很|非常)?(?:抱歉|对不起)[，,]?\s?(?:但)?我(?:无法|不能)|申し訳(?:あり|ござい)ません"
    r"|죄송(?:하지만|합니다))",
    re.I,
)
"""The words with which gpt-oss, other models and filters begin a refusal."""
PLACEHOLDER = r"[\[<{]{1,2}[A-Z]+(?:[_ ][A-Z0-9]+)*[\]>}]{1,2}"
"""A name in capitals, such as those with which filters replace words: `<LOCATION>`, `[NAME_1]`."""
FILTERED = (
    r"[\[<{](?:REDACTED|CENSORED|MASKED|FILTERED|PII|(?:EMAIL|PHONE|PERSON|CREDIT)_[A-Z]+)[\]>}]"
    r"|<(PERSON|LOCATION|DATE_TIME|US_SSN|IBAN_CODE)>(?![\s\S]*</\1>)"
)
"""The placeholders that filters are known to write, and models are not. Those of Presidio, which
the group has, are none if they are the tags of markup."""
_SENTENCE = re.compile(r"[^.!?\n]+[.!?\n]?")


def plain(text: str, kept: str = "\n\t") -> str:
    """The text with all characters escaped that are not printable, except those that are kept."""
    return "".join(
        char
        if char.isprintable() or char in kept
        else char.encode("unicode_escape").decode("ascii")
        for char in text
    )


def percentage(share: float, digits: int = 1) -> str:
    """A share in percent, with the sign: `97.8%`."""
    return f"{share:.{digits}%}"


def strict_json(text: str, decoder: json.JSONDecoder | None = None) -> object:
    """Return the value of a JSON text, without NaN and Infinity. Raises ValueError."""
    try:
        value: object = (decoder or _DECODER).decode(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    return value


def shared_beginning(one: Sequence[object], other: Sequence[object]) -> int:
    """How many items two sequences have in common at their beginning."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(one), len(other)))


def differ_in_space(one: str, other: str) -> bool:
    """Whether two texts differ, but only in white space."""
    return one != other and "".join(one.split()) == "".join(other.split())


def repeated_piece(text: str) -> str | None:
    """What a text repeats at its end, white space included; None if it repeats nothing.

    This is one piece, or the most frequent of a few sentences that it repeats in any order.
    """
    end = text.rstrip()
    if len(text) - len(end) >= _SHORTEST_RUN:
        return text[len(end) :][:_FEWEST_REPEATS]
    if len(end) < _SHORTEST_RUN:
        return None
    for size in range(1, min(_LONGEST_PIECE, len(end) // _FEWEST_REPEATS) + 1):
        piece = end[-size:]
        times = max(_FEWEST_REPEATS, -(-_SHORTEST_RUN // size))
        if piece.strip() and end.endswith(piece * times):
            return piece
    sentences = (sentence.strip() for sentence in _SENTENCE.findall(end))
    counted = Counter(sentence for sentence in sentences if len(sentence.split()) >= _FEWEST_WORDS)
    many = counted.total() >= _FEWEST_SENTENCES
    few = len(counted) <= _MOST_DIFFERENT * counted.total()
    return max(counted, key=counted.__getitem__) if many and few else None


def refusal_phrase(text: str) -> str:
    """Return the words with which a text refuses, and a space; '' if it does not refuse."""
    match = _REFUSAL.match(text.strip())
    return f"{match[0]} " if match else ""


def first_few(names: Sequence[str], most: int, separator: str = ", ") -> str:
    """Return the first names, and how many more there are: `a, b and 3 more`."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return separator.join(names[:most]) + more


def suggestion(name: str, known: Sequence[str], otherwise: str | None = None) -> str:
    """`did you mean 'that'?`, or another hint, by default the list of names."""
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if near:
        return f"did you mean {near[0]!r}?"
    return otherwise or f"choose from {', '.join(known)}"


def refuse_constant(constant: str) -> NoReturn:
    """Refuse NaN and Infinity, which only Python takes for JSON. Raises ValueError."""
    raise ValueError(f"{constant} is not a JSON value")


_DECODER = json.JSONDecoder(parse_constant=refuse_constant)
