"""Texts of known length, with distinct lines and a code word."""

LINES, TOKENS = 7, 85  # any seven consecutive lines have 85 tokens of the o200k vocabulary


PLACES = ("harbour", "library", "mill", "chapel", "depot", "tower", "orchard", "bridge")


_COLOURS = ("red", "green", "amber", "white", "violet", "black", "silver")


_STATES = ("open", "closed", "leaking", "under repair", "empty", "sold", "flooded")


_NAMES = ("maple", "tern", "quartz", "linden", "ember", "harrow", "pewter", "sorrel", "thimble")


_OTHER_NAMES = ("walnut", "saffron", "juniper")


_SIMILAR = ("door code of the mill", "name of the chapel", "ticket number of the tower")


_SIMILAR_EVERY = 40  # lines from one value that resembles the code word to the next


def word(number: int) -> str:
    """Return the code word with this number; all of the first 1,000 differ."""
    return f"{_NAMES[number % len(_NAMES)]}{2000 + 7 * number}"


def code_word_sentence(code_word: str) -> str:
    """Return the sentence that gives a code word."""
    return f"The code word is {code_word}.\n"


def line(at: int) -> str:
    """Return the line of a report with this number; all of 12,600 consecutive ones differ."""
    colour, place, state = _COLOURS[at % 7], PLACES[at * 3 % 8], _STATES[at * 5 % 7]
    return f"{100 + 37 * at % 900}: the {colour} {place} is {state} since {1 + at * 11 % 28} May."


def lines_of(tokens: int) -> int:
    """Return the lines of a text of about this many tokens."""
    return max(tokens * LINES // TOKENS, 1)


def behind(boundary: int) -> int:
    """Return the tokens of a document before a code word just behind this position of the prompt.

    Blocks of a KV cache, chunks of a prefill and windows of attention begin at multiples of powers
    of two. Harmony has 53 tokens before the document, and a server's date adds about ten: the word
    is 10 to 40 tokens behind the boundary.
    """
    return boundary - 36


def document(tokens: int, code_word: str | None = None, depth: float = 0.0, first: int = 0) -> str:
    """About `tokens` tokens of text from line `first` on, with a code word at this share."""
    count = lines_of(tokens)
    lines = [f"{_similar(at) or line(at)}\n" for at in range(first, first + count)]
    if code_word is not None:
        lines.insert(round(depth * count), code_word_sentence(code_word))
    return "".join(lines)


def _similar(at: int) -> str | None:
    """A line with a value that resembles a code word, at every `_SIMILAR_EVERY`-th place."""
    if at % _SIMILAR_EVERY != _SIMILAR_EVERY // 2:
        return None
    value = f"{_OTHER_NAMES[at % 3]}{2000 + 7 * at % 5000}"
    return f"The {_SIMILAR[at % len(_SIMILAR)]} is {value}."
