"""Reimplementation of how OpenAI's eval script reads an answer from a text, with its quirks.

The behavior is that of `gpt_oss.evals` in openai/gpt-oss at commit 7b58334 (`aime_eval.py`,
`abcd_grader.py`). These functions only serve to compare figures; they do not affect outcomes.
"""

import re

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


# In order of rank: the first pattern that matches anywhere decides.
_BOXED = re.compile(rf"\\boxed\{{[^}}]*?{_L}[^}}]*\}}")
_BOLD = re.compile(rf"\\textbf\{{[^}}]*?{_L}[^}}]*\}}")
_RANKED = (
    re.compile(rf"{_WRAP}Answers?\s*[:\-–]?{_WRAP}\s*{_L}\b", re.I),
    re.compile(rf"^{_INDENT}{_WRAP}?Answer:?{_WRAP}?\s*(?::\s*)?{_WRAP}?{_L}", re.I | re.M),
    re.compile(rf"{_ANSWER}\(\s*{_L}\s*\)", re.I),
    re.compile(rf"{_ANSWER}{_L}\b", re.I),
    re.compile(rf"{_OPTION}{_L}\b", re.I),
    _BOXED,
    re.compile(rf"{_BEFORE}[(\[]\s*{_L}\s*[)\]]{_AFTER}"),
    re.compile(rf"{_BEFORE}{_WRAP}{_L}{_WRAP}{_AFTER}"),
    _BOLD,
    re.compile(rf"{_BEFORE}{_WRAP}\s*{_L}\)[^*_\n]+?{_WRAP}{_AFTER}"),
    re.compile(rf"^{_INDENT}{_WRAP}?{_L}", re.M),
)


def letter(text: str) -> str:
    """Return the answer that OpenAI's script reads, usually one of the letters A to D.

    Patterns are tried by rank, each at its first match in the text. If none matches, the result is
    the first character of the text. (Two of the original's thirteen patterns are left out because a
    pattern of higher rank always matches where they do.)
    """
    closed = text[: text.rfind("}") + 1]
    for pattern in _RANKED:
        if match := pattern.search(closed if pattern in {_BOXED, _BOLD} else text):
            return match[1].upper()
    return text.removeprefix("**")[:1]
