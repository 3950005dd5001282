"""The note that replaces an answer in a bundle, because it may quote a gated question."""

from __future__ import annotations

import re
from hashlib import sha256

from evals.extraction.found import Found

_NOTE = re.compile(
    r"\[withheld: \d+ characters, sha256 [0-9a-f]{64}; "
    r"answer ([A-D]|none|unclear); by OpenAI's script ([A-D]|none)\]\Z"
)


def withheld(text: str) -> str:
    """A placeholder with the length and the hash of a text."""
    digest = sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return f"[withheld: {len(text)} characters, sha256 {digest}]"


def note(text: str, found: Found | None, theirs: str | None) -> str:
    """A placeholder with the answer found in the text, and the one that OpenAI's script found."""
    answer = "none" if found is None else found.answer or "unclear"
    letter = theirs if theirs in {"A", "B", "C", "D"} else "none"
    return withheld(text).removesuffix("]") + f"; answer {answer}; by OpenAI's script {letter}]"


def noted_letters(text: str) -> tuple[Found | None, str | None]:
    """The answers in a `note` at the end of a text; None for each one that was not found."""
    noted = _NOTE.search(text)
    if noted is None:
        return None, None
    answer, theirs = noted.groups()
    found = Found(None if answer == "unclear" else answer, noted[0])
    return None if answer == "none" else found, None if theirs == "none" else theirs
