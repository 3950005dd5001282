"""Reimplementation of how OpenAI's eval script reads an answer from a text, with its quirks.

The behavior is that of `gpt_oss.evals` in openai/gpt-oss at commit 7b58334 (`aime_eval.py`,
`abcd_grader.py`). These functions only serve to compare figures; they do not affect outcomes.
"""

import re
from collections.abc import Callable

_BOX = re.compile(r"(?:boxed|framebox)\{([^}]*)\}")
_DIGITS = re.compile(r"\d+")


def integer(text: str) -> int | None:
    """Return the integer that OpenAI's script reads from the answer to an AIME question.

    It is the part after the last comma of the last non-empty box (up to its first closing brace),
    or without such a box the last run of digits. None if that is not an integer.
    """
    boxed = text[: text.rfind("}") + 1]
    boxes = [content.split(",")[-1] for content in _BOX.findall(boxed) if content]
    candidates = boxes or _DIGITS.findall(text) or [""]
    try:
        return int(candidates[-1].strip())
    except ValueError:
        return None


_L = r"([ABCD])"
_WRAP = r"(?:\*{1,2}|_{1,2})"
_INDENT = r"[^\S\n]*"
_ANSWER = r"\bAnswers?\b\s*(?:[:\-–]\s*)?"
_OPTION = r"\b(?:Option|Choice)\b\s*(?:[:\-–]\s*)?"
_BEFORE = r"(?<![A-Za-z0-9])"
_AFTER = r"(?![A-Za-z0-9])"


def _pattern(pattern: str, flags: int = 0) -> Callable[[str], str | None]:
    """Return the letter at the first match of `pattern`."""
    compiled = re.compile(pattern, flags)

    def find(text: str) -> str | None:
        match = compiled.search(text)
        return match[1].upper() if match else None

    return find


def _in_braces(command: str) -> Callable[[str], str | None]:
    """Return the first of the letters A to D in the braces of a TeX command."""
    compiled = re.compile(rf"\\{command}\{{([^}}]*)\}}")

    def find(text: str) -> str | None:
        contents = compiled.findall(text[: text.rfind("}") + 1])
        letters = (character for content in contents for character in content)
        return next((letter for letter in letters if letter in "ABCD"), None)

    return find


# In order of rank: the first pattern that matches anywhere decides.
_RANKED = (
    _pattern(rf"{_WRAP}Answers?\s*[:\-–]?{_WRAP}\s*{_L}\b", re.I),
    _pattern(rf"^{_INDENT}{_WRAP}?Answer:?{_WRAP}?\s*(?::\s*)?{_WRAP}?{_L}", re.I | re.M),
    _pattern(rf"{_ANSWER}\(\s*{_L}\s*\)", re.I),
    _pattern(rf"{_ANSWER}{_L}\b", re.I),
    _pattern(rf"{_OPTION}{_L}\b", re.I),
    _in_braces("boxed"),
    _pattern(rf"{_BEFORE}[(\[]\s*{_L}\s*[)\]]{_AFTER}"),
    _pattern(rf"{_BEFORE}{_WRAP}{_L}{_WRAP}{_AFTER}"),
    _in_braces("textbf"),
    _pattern(rf"{_BEFORE}{_WRAP}\s*{_L}\)[^*_\n]+?{_WRAP}{_AFTER}"),
    _pattern(rf"^{_INDENT}{_WRAP}?{_L}", re.M),
)


def letter(text: str) -> str:
    """Return the answer that OpenAI's script reads, usually one of the letters A to D.

    Patterns are tried by rank, each at its first match in the text. If none matches, the result is
    the first character of the text. (Two of the original's thirteen patterns are left out because a
    pattern of higher rank always matches where they do.)
    """
    letters = (find(text) for find in _RANKED)
    return next((letter for letter in letters if letter), text.removeprefix("**")[:1])
