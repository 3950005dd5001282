"""Text helpers: terminal output, percentages, strict JSON, repetitions, and lists of names."""

import difflib
import json
from collections.abc import Sequence
from typing import NoReturn

# A text runs away if it ends with repetitions of one piece: longest piece, fewest repetitions, and
# shortest total length, in characters.
_LONGEST_PIECE, _FEWEST_TIMES, _SHORTEST_RUN = 300, 6, 400


def plain(text: str, kept: str = "\n\t") -> str:
    """The text with all characters escaped that are not printable, except those that are kept."""
    return "".join(
        char
        if char.isprintable() or char in kept
        else char.encode("unicode_escape").decode("ascii")
        for char in text
    )


def percentage(share: float, digits: int = 1) -> str:
    """A share in percent, with the sign: `97.8 %`."""
    return f"{share:.{digits}%}".replace("%", " %")


def strict_json(text: str) -> object:
    """The value of a JSON text, without NaN and Infinity. Raises ValueError."""
    try:
        value: object = _DECODER.decode(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    return value


def shared_beginning(one: Sequence[object], other: Sequence[object]) -> int:
    """How many items two sequences have in common at their beginning."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(one), len(other)))


def repeated_piece(text: str) -> str | None:
    """The piece that a text repeats at its end; None if it repeats nothing."""
    end = text.rstrip()
    if len(end) < _SHORTEST_RUN:
        return None
    for size in range(1, min(_LONGEST_PIECE, len(end) // _FEWEST_TIMES) + 1):
        piece = end[-size:]
        times = max(_FEWEST_TIMES, -(-_SHORTEST_RUN // size))
        if piece.strip() and end.endswith(piece * times):
            return piece
    return None


def first_few(names: Sequence[str], most: int, separator: str = ", ") -> str:
    """The first names, and how many more there are: `a, b and 3 more`."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return separator.join(names[:most]) + more


def suggestion(name: str, known: Sequence[str], otherwise: str | None = None) -> str:
    """`did you mean 'that'?`, or another hint, by default the list of names."""
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if near:
        return f"did you mean {near[0]!r}?"
    return otherwise or f"choose from {', '.join(known)}"


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a JSON value")


_DECODER = json.JSONDecoder(parse_constant=_refuse)
