"""Long texts of known length: distinct lines, one code word, and values that resemble it."""

from __future__ import annotations

from collections.abc import Iterator

LINE_TOKENS = 12
"""Tokens of a line of the o200k vocabulary, whatever its number."""
QUESTION = "What is the code word?"
_COLOURS = ("red", "green", "amber", "white", "violet", "black", "silver")
_BOATS = ("ferry", "tug", "yacht", "launch", "ship", "boat", "canoe", "vessel")
_GOODS = ("coal", "timber", "salt", "grain", "copper", "wool", "cement", "sugar", "paper", "iron")
_PORTS = ("Lisbon", "Oslo", "Hamburg", "Dublin", "Naples", "Bergen", "Malta", "Athens", "Porto")
_NAMES = ("maple", "tern", "quartz", "linden", "ember", "harrow", "pewter", "sorrel", "thimble")
_OTHER_NAMES = ("walnut", "saffron", "juniper")
_SIMILAR = ("door code of the mill", "name of the chapel", "ticket number of the tower")
_SIMILAR_EVERY = 40
"""Lines from one value that resembles the code word to the next."""


def word(number: int) -> str:
    """The code word with this number; all of the first 1,000 differ."""
    return f"{_NAMES[number % len(_NAMES)]}{2000 + 7 * number}"


def code_word_sentence(code_word: str) -> str:
    """The sentence that gives a code word."""
    return f"The code word is {code_word}.\n"


def document(tokens: int, code_word: str | None = None, depth: float = 0.0, first: int = 0) -> str:
    """About `tokens` tokens of text with a code word at this share of its lines.

    Documents with another `first` share no line.
    """
    count = max(tokens // LINE_TOKENS, 1)
    lines = list(_lines(count, first))
    if code_word is not None:
        lines.insert(round(depth * count), code_word_sentence(code_word))
    return "".join(lines)


def _lines(count: int, first: int) -> Iterator[str]:
    for at in range(first, first + count):
        if at % _SIMILAR_EVERY == _SIMILAR_EVERY // 2:
            value = f"{_OTHER_NAMES[at % 3]}{2000 + 7 * at % 5000}"
            yield f"The {_SIMILAR[at % len(_SIMILAR)]} is {value}.\n"
        else:
            colour, boat = _COLOURS[at % 7], _BOATS[at * 3 % 8]
            goods, port = _GOODS[at * 3 % 10], _PORTS[at * 5 % 9]
            yield f"Log {at % 1000:03}: the {colour} {boat} brought {goods} from {port}.\n"


def filler(tokens: int) -> str:
    """A text of exactly this many tokens after a word: one word, repeated."""
    return " one" * tokens
