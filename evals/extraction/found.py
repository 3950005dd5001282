"""The answer that an extractor found, and the note that replaces a withheld text."""

import re
from dataclasses import dataclass
from hashlib import sha256

_NOTE = re.compile(
    r"\[withheld: \d+ characters, sha256 [0-9a-f]{64}; "
    r"answer ([A-D]|none|unclear); by OpenAI's script ([A-D]|none)\]\Z"
)


@dataclass(frozen=True)
class Found:
    """An answer that a text declares.

    `answer` is in canonical form: an integer in decimal, or one of the letters A to D. It is None
    if the declared answer is not a possible one, such as a fraction where the question asks for an
    integer. `quote` is the part of the text that declares it.
    """

    answer: str | None
    quote: str


def withheld(text: str) -> str:
    """A placeholder with the length and the hash of a text."""
    digest = sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return f"[withheld: {len(text)} characters, sha256 {digest}]"


def note(text: str, found: Found | None, theirs: str | None) -> str:
    """A placeholder with the answers that this package and OpenAI's script found in the text."""
    answer = "none" if found is None else found.answer or "unclear"
    letter = theirs if theirs in {"A", "B", "C", "D"} else "none"
    return withheld(text).removesuffix("]") + f"; answer {answer}; by OpenAI's script {letter}]"


def noted_letters(text: str) -> tuple[Found | None, str | None]:
    """The two answers in a `note` at the end of a text; None for an answer that was not found."""
    noted = _NOTE.search(text)
    if noted is None:
        return None, None
    answer, theirs = noted.groups()
    found = Found(None if answer == "unclear" else answer, noted[0])
    return None if answer == "none" else found, None if theirs == "none" else theirs
