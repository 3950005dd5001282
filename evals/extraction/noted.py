"""What stands in a bundle in place of an answer that may quote a gated question."""

from __future__ import annotations

import re
from hashlib import sha256

from evals.extraction.found import Found

_NOTE = re.compile(
    r"\[withheld: \d+ characters, sha256 [0-9a-f]{64}; "
    r"answer ([A-D]|none|unclear); by OpenAI's script ([A-D]|none)\]\Z"
)


def withheld(text: str) -> str:
    """How much text stood here, and its hash: nothing of what it said."""
    digest = sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return f"[withheld: {len(text)} characters, sha256 {digest}]"


def note(text: str, found: Found | None, theirs: str | None) -> str:
    """The same with the answer that was found in the text, and the one OpenAI's script found."""
    answer = "none" if found is None else found.answer or "unclear"
    letter = theirs if theirs in {"A", "B", "C", "D"} else "none"
    return withheld(text).removesuffix("]") + f"; answer {answer}; by OpenAI's script {letter}]"


def noted_letters(text: str) -> tuple[Found | None, str | None]:
    """The letters of a `note` at the end of a text; None where there was none."""
    said = _NOTE.search(text)
    if said is None:
        return None, None
    answer, theirs = said.groups()
    found = Found(None if answer == "unclear" else answer, said[0])
    return None if answer == "none" else found, None if theirs == "none" else theirs
