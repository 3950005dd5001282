r"""Plain lines of a final answer: without leaked CoT or markup, and with boxes as ⟦content⟧."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import yaml

from evals.extraction.tex import boxes, undress
from evals.extraction.words import pattern

BOX_OPEN, BOX_CLOSE = "⟦", "⟧"
_LONGEST_TEXT = 60_000
_LONGEST_LINE = 3_000
_MOST_LINES = 400

_FINAL = re.compile(r"<\|channel\|>final[^<]*<\|message\|>|assistantfinal")
_CHANNEL = re.compile(r"<\|channel\|>(?:analysis|commentary)")
_THOUGHT = r"(?:think|thinking|thought|thoughts|reasoning|scratchpad)"
_OPENS = pattern(rf"[<\[]{_THOUGHT}[>\]]")
_CLOSES = pattern(rf"[<\[]/{_THOUGHT}[>\]]")
_SPECIAL = re.compile(r"<\|[^<>|\s]+\|>")
_PROGRAM = re.compile(
    r"^[ \t]*```[ \t]*(?:python|py|c|cpp|c\+\+|java|javascript|js|rust|go|sage|matlab|mathematica)"
    r"\b[^\n]*\n.*?^[ \t]*```[ \t]*$",
    re.DOTALL | re.MULTILINE | re.IGNORECASE,
)
_FENCED = re.compile(
    r"^[ \t]*```(?:json|ya?ml)?[ \t]*\n(.*?)\n[ \t]*```[ \t]*$",
    re.DOTALL | re.MULTILINE | re.IGNORECASE,
)
_KEYS = (
    "final_answer",
    "final answer",
    "answer",
    "final",
    "result",
    "solution",
    "choice",
    "option",
    "letter",
    "value",
)
_STRUCK = pattern(r"~~[^~\n]+~~|<(del|s|strike)>[^<\n]*</\1>")
_SUFFIX = re.compile(r"(?<![\w.,])([*(]{0,3}(?:\d[\d.,]{0,20}|[A-D])[*)]{0,3})['’][dt][ıiuü]r\b")
"""The Turkish "is" after a number or letter."""
_TAGGED = re.compile(
    r"[<\[](final[_ -]?answer|answer|final|result)[>\]]\s*((?:(?!<\w).)*?)\s*[<\[]/\1[>\]]",
    re.DOTALL | re.IGNORECASE,
)
_HTML = pattern(r"</?(?:b|strong|em|i|u|p|br|span|div|font|code|center|mark|ins|h\d)\b[^<>]*>")
_ESCAPED = re.compile(r"\\\\(?=[()\[\]]|(?:boxed|text|[dt]?frac|mathbf)\b)")
_ENVIRONMENT = re.compile(r"\\(?:begin|end)\{[^{}]*\}|&(?=\s*=)|\\\\\s*$")
_ANSWER_ROW = pattern(r"\banswer\)?$")
_TICKS = "✓✔✅☑"
_RULE = re.compile(r"[\s|:=_*-]*\Z|```.*\Z")
_BLANK = re.compile(r"&(?:nbsp|thinsp|ensp|emsp|#160|#xa0);", re.IGNORECASE)
_CITED = re.compile(r"【[^【】\n]{0,60}†[^【】\n]{0,60}】")
"""A citation, as gpt-oss writes it: 【1†L4-L9】."""
_LINE_MARKS = re.compile(
    r"^(?:\s|>|#{1,6}(?=[\s\w])|[-*+•](?=\s)|[∎■□✓✔✅☑\U0001F000-\U0001FAFF])+|[\s∎■□\\]+$"
)
_EMPHASIS = re.compile(r"(?<![\w*])[*_]{1,3}(?=\S)|(?<=\S)[*_]{1,3}(?![\w*{])|`")
_STRONG = re.compile(r"\*\*|__|\\mathbf|\\textbf|\$\$|\\\[|<b>|<strong>")
_WIDE = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {
    **dict.fromkeys((0x3000, 0x202F, 0xA0), 0x20),
    **dict.fromkeys((0x2010, 0x2011), 0x2D),
    **dict.fromkeys(map(ord, "➜➡➔➝➞➤⟶⟹⇒"), 0x2192),
}
_INVISIBLE = dict.fromkeys((0x200B, 0x2060, 0xFEFF, 0xFE0F, 0x20E3, 0xAD))


@dataclass(frozen=True)
class Line:
    """A non-empty line."""

    text: str  # the line without markup
    strong: bool  # whether a part of it was in bold or a displayed formula
    row: bool = False  # whether it is a table row


def plain_lines(text: str) -> list[Line]:
    """The non-empty lines of a final answer; the middle of a long text is dropped."""
    found = list(_lines(_with_boxes(_marked_up(final_part(text)[-_LONGEST_TEXT:]))))
    return found if len(found) <= _MOST_LINES else found[:1] + found[1 - _MOST_LINES :]


def final_part(text: str) -> str:
    """The text without leaked CoT; empty if the text ends within the CoT."""
    final = list(_FINAL.finditer(text))
    if final:
        text = text[final[-1].end() :]
    elif _CHANNEL.search(text):
        return ""
    closed = list(_CLOSES.finditer(text))
    if closed:
        text = text[closed[-1].end() :]
    opened = _OPENS.search(text)
    return text[: opened.start()] if opened else text


def _marked_up(text: str) -> str:
    """The text with normalized characters and tags, without programs and struck-out words."""
    text = _CITED.sub("", _BLANK.sub(" ", text.translate(_WIDE | _INVISIBLE)))
    text = _SUFFIX.sub(r"= \1", text)
    text = _STRUCK.sub("", _PROGRAM.sub("", _SPECIAL.sub("", text)))
    text = _TAGGED.sub(lambda tag: f"\nAnswer: {' '.join(tag[2].split())}\n", text)
    return _ESCAPED.sub(lambda _: "\\", _data(text))


def _data(text: str) -> str:
    """The text with JSON, and YAML in a code fence, replaced by the member with the answer."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return _FENCED.sub(_fenced_data, text)
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    return _member(value) if isinstance(value, dict) else text


def _fenced_data(block: re.Match[str]) -> str:
    try:
        value = yaml.safe_load(block[1])
    except (yaml.YAMLError, ValueError, RecursionError):
        return block[0]
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    return _member(value) if isinstance(value, dict) else block[0]


def _member(value: dict[object, object]) -> str:
    """The member with the answer as a line; empty if there is none."""
    named = {str(key).casefold(): member for key, member in value.items()}
    answer = next((named[key] for key in _KEYS if key in named), None)
    if isinstance(answer, dict):
        return _member(answer)
    return f"Answer: {answer}" if isinstance(answer, str | int | float) else ""


def _with_boxes(text: str) -> str:
    parts, at = [], 0
    for box in boxes(text):
        if box.start >= at:
            content = " ".join(undress(box.content).split())
            parts += [text[at : box.start], BOX_OPEN, content, BOX_CLOSE]
            at = box.end
    return "".join([*parts, text[at:]])


def _lines(text: str) -> Iterator[Line]:
    header: Sequence[str] = ()
    for raw in text.split("\n"):
        if not raw.strip():
            header = ()
            continue
        cells = _cells(raw)
        if cells and not header:
            header = cells
        for plain in _row(cells, header) if cells else (_plain(raw),):
            if plain:
                yield Line(plain, bool(_STRONG.search(raw)), row=bool(cells))


def _plain(raw: str) -> str:
    if _RULE.match(raw):
        return ""
    bare = _ENVIRONMENT.sub(" ", _HTML.sub("", raw[-_LONGEST_LINE:]))
    return undress(_EMPHASIS.sub("", _LINE_MARKS.sub("", bare))).strip()


def _cells(raw: str) -> list[str]:
    """The cells of a table row; empty for other lines."""
    stripped = raw.strip()
    if not (stripped.startswith("|") and stripped.endswith("|") and stripped.count("|") > 2):
        return []
    cells = [cell.strip() for cell in stripped.strip("|").split("|")]
    return [
        (cell[:1] if cell[:1] in _TICKS else "") + (_plain(cell) or cell.strip("*_ "))
        for cell in cells
    ]


def _row(cells: Sequence[str], header: Sequence[str]) -> Iterator[str]:
    """A table row as a line: `first: second`, or the content of a row or column "answer"."""
    named = [name.casefold() for name in header]
    if cells is not header and len(cells) == len(header):
        for name in ("final answer", "correct answer", "answer"):
            if name in named:
                yield f"Answer: {cells[named.index(name)]}"
                return
    if len(cells) == 2 and _ANSWER_ROW.search(cells[0]):
        yield f"Answer: {cells[1]}"
    elif any(cells):
        yield ": ".join(cell for cell in cells if cell)
