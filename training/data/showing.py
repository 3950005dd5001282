"""Quotation marks and other signs around a text."""

from random import Random

Pairs = tuple[tuple[str, str], ...]
"""Pairs of signs: one before the text and one after it."""

QUOTES: Pairs = (
    ('"', '"'), ('"', '"'), ('"', '"'), ("'", "'"), ("'", "'"), ("`", "`"), ("“", "”"), ("‘", "’"),
    ("«", "»"), ("„", "“"), ("「", "」"),
)  # fmt: skip
FENCES: Pairs = (
    ("```\n", "\n```"), ("```\n", "\n```"), ("~~~\n", "\n~~~"), ("<text>\n", "\n</text>"),
    ('"""\n', '\n"""'), ("<<<\n", "\n>>>"), ("--- begin ---\n", "\n--- end ---"), ("[[", "]]"),
    ("<input>\n", "\n</input>"), ("<doc>\n", "\n</doc>"), ("BEGIN\n", "\nEND"), ('"', '"'),
    ('"', '"'), ("“", "”"), ("'", "'"),
)  # fmt: skip


def between(rng: Random, text: str, pairs: Pairs) -> str:
    """The text between two signs that do not occur in it or merge with it."""
    clear = [
        (left, right)
        for left, right in pairs
        if not (left.strip() in text or right.strip() in text)
        and left[-1] != text[0]
        and right[0] != text[-1]
    ]
    left, right = rng.choice(clear or [("<<", ">>")])
    return f"{left}{text}{right}"
