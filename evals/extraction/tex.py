r"""TeX and Markdown in answers: find boxes, and remove formatting around a number or letter."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

_SPACES = re.compile(r"\\(?:quad|qquad|,|;|:|>|\s)|[~\s\u200b\u2060\ufeff]")
_NOTHING = re.compile(
    r"\\!|\\(?:left|right|displaystyle|textstyle|bigl?|bigr?|Bigl?|Bigr?|m?strut|mathstrut)(?![A-Za-z])"
    r"|\\(?:bf|rm|it|sf|small|normalsize|large|Large|LARGE|huge|Huge)(?![A-Za-z])"
    r"|\\(?:hspace|[hv]?phantom|color|textcolor)\*?\s*\{[^{}]*\}"
    r"|\\(?:blacksquare|square|Box|qed|qedhere|checkmark)(?![A-Za-z])|\\[()\[\]]|\\?\$|\*\*|__|`"
)
_COMMA = re.compile(r"(?:\\text)?\{,\}")
_WRAPPER = re.compile(
    r"\\(?:text(?:bf|it|rm|sf|tt|normal)?|math(?:bf|it|rm|sf|tt|normal)?|boldsymbol|bm|mbox|hbox"
    r"|boxed|framebox|fbox|operatorname|overline|underline|emph)\s*\{([^{}]*)\}"
)
_BRACED = re.compile(r"(?<![A-Za-z\\^_}])\{([^{}\\]*)\}")
_DEEPEST = 20
_BOX = re.compile(r"\\(?:boxed|framebox|fbox|bbox\s*\[[^\]{}]*\])\s*(?:\{|(\d+))")
_LONGEST = 1000
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)


def undress(tex: str) -> str:
    r"""`tex` without markup that only changes its appearance.

    `\text{70}`, `$70$`, `{70}` and `**70**` all become 70, `1\,234` becomes `1 234` and
    `1{,}234` becomes `1,234`. The content of a wrapper is separated by spaces.
    """
    text = _SPACES.sub(" ", _NOTHING.sub("", _COMMA.sub(",", tex)))
    for _ in range(_DEEPEST):
        bare = _BRACED.sub(r"\1", _WRAPPER.sub(r" \1 ", text))
        if bare == text:
            break
        text = bare
    return " ".join(text.split())


@dataclass(frozen=True)
class Box:
    """The content of a box, and the position of the whole box in the text."""

    content: str
    start: int
    end: int


def boxes(text: str) -> Iterator[Box]:
    r"""Every \boxed, \framebox and \fbox in the order of their starts, nested ones included.

    Boxes that are not closed or longer than any answer are skipped. In TeX, `\boxed 70` is a box
    around the 7; here, the box contains 70.
    """
    closing = _closing_braces(text)
    for match in _BOX.finditer(text):
        start = match.end()
        end = closing.get(start - 1)
        if match[1] is not None:
            yield Box(match[1], match.start(), start)
        elif end is not None and end - start <= _LONGEST:
            yield Box(text[start:end], match.start(), end + 1)


def _closing_braces(text: str) -> dict[int, int]:
    """The position of each closing brace by that of its opening brace; ignores escaped braces."""
    closed: dict[int, int] = {}
    open_braces: list[int] = []
    for match in _BRACE.finditer(text):
        if match[0] == "{":
            open_braces.append(match.start())
        elif match[0] == "}" and open_braces:
            closed[open_braces.pop()] = match.start()
    return closed
