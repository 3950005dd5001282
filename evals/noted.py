"""Placeholders for withheld answers, with the letters that were extracted before withholding."""

import re
from hashlib import sha256

_LETTERS = ("A", "B", "C", "D")
_NOTE = re.compile(
    r"\[withheld: \d+ characters, sha256 [0-9a-f]{64}; "
    r"answer ([A-D]|none|unclear); by OpenAI's script ([A-D]|none)\]\Z"
)


def withheld(text: str) -> str:
    """Return a placeholder with the length and the hash of a text."""
    digest = sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return f"[withheld: {len(text)} characters, sha256 {digest}]"


def note(text: str, answer: str | None, theirs: str | None) -> str:
    """Return a placeholder with the answers that we and OpenAI's script find in the text."""
    letter = theirs if theirs in _LETTERS else "none"
    added = f"; answer {answer or 'none'}; by OpenAI's script {letter}]"
    return withheld(text).removesuffix("]") + added


def noted_letters(text: str) -> tuple[str | None, str | None]:
    """Return the answers of a `note` at the end of a text; None for an answer that is missing."""
    noted = _NOTE.search(text)
    letters = noted.groups() if noted else (None, None)
    ours, theirs = (letter if letter in _LETTERS else None for letter in letters)
    return ours, theirs
