"""The line of a JSON path in a JSON text that has a line for each member and element."""

import json
import re
from collections.abc import Sequence

_STEP = re.compile(r"\.(?P<name>[^.\[\]]+)|\[(?P<index>\d+)\]")


def line_of(text: str, path: str) -> int | None:
    """Return the line, from 0, that a path such as `$.choices[0].message` leads to.

    The text is that of `json.dumps` with an indent of one space. If it lacks what the path names,
    the line is that of the innermost part that it has; None if this is the whole text.
    """
    lines, at = text.split("\n"), 0
    for depth, step in enumerate(_STEP.finditer(path), 1):
        inside = _child(lines, at, depth, step["name"], int(step["index"] or 0))
        if inside is None:
            break
        at = inside
    return at or None


def _child(lines: Sequence[str], at: int, depth: int, name: str | None, index: int) -> int | None:
    """Return the line of a member, or of an element, of the value that begins in a line."""
    indent = " " * depth
    children = []
    for number in range(at + 1, len(lines)):
        if not lines[number].startswith(indent):
            break
        if lines[number][depth : depth + 1] not in (" ", "]", "}"):
            children.append(number)
    if name is None:
        return children[index] if index < len(children) else None
    begins = f"{indent}{json.dumps(name, ensure_ascii=False)}:"
    return next((number for number in children if lines[number].startswith(begins)), None)
