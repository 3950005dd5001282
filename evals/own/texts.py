"""Short texts: read from a label or a box, and equal after normalising, or of a pattern."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from evals.answer_eval import Item, Order
from evals.extraction.folded import folded
from evals.extraction.plain_text import BOX_CLOSE, BOX_OPEN, plain_lines
from evals.extraction.sentences import denied
from evals.extraction.withdrawals import TAKES_BACK
from evals.prompts import fill

_LABEL = re.compile(
    r"(?:^|[.!?]\s)\W*(?:(?:so|thus|hence|therefore|i (?:think|believe)(?: that)?),?\s)?"
    r"(?:the )?(?:final )?answer\s*(?:is\s*[:：]?\s|[:：])\s*(.+)$",
    re.I,
)
_BOX = re.compile(rf"{BOX_OPEN}([^{BOX_CLOSE}]*){BOX_CLOSE}")
_IT_IS = re.compile(r"(?i)^(?:it['’]s|it is|this is)\s+")
_NAMED = re.compile(r"[\w()'′]{1,8}\s*=\s*([^=,;]+)")
"""A short name and the one value that it equals."""
_LEADING = re.compile(
    r"(?P<name>[^,;:!?()–—]{1,60}?)(?:\s[–—(]|[.;!]\s|,\s(?=(?:with|a|an|the|which|who|whose|because"
    r"|since|as|where|one|just|also)\b))(?P<remark>[^?]*)"
)
"""A name with a remark after it, such as "Saturn, with more than 140 moons"."""
_RELATIVE = re.compile(r"(?:with|an?|the|which|who|whose|where)\b")
_VOIDS = re.compile(
    r"(?i)\b(?:wrong|incorrect|false|mistak\w+|not (?:right|correct|true|the|it))\b"
)
_DOUBTS = re.compile(
    r"(?i)\b(?:may|might|could|maybe|perhaps|possibly|(?:not|un)\s?(?:sure|certain))\b"
)
_ALTERNATIVE = re.compile(r"(?i)\W*(?:and|or|and/or|maybe|perhaps|possibly)\b")
_BESIDE = re.compile(r"[,;:.](?:\s|$)")
_LONGEST, _LONGEST_NAME = 300, 5  # characters, words


def short_text(text: str) -> str | None:
    """Return what a final text gives as its answer; None without one or with several.

    It is what follows a label or is in a box; all of them must be equal. Without either, it is a
    name on the only line, without a remark after it; a longer text is not read.
    """
    lines = plain_lines(text)
    labels = [label[1] for line in lines if (label := _LABEL.search(line))]
    boxes = [box for line in lines if not _LABEL.search(line) for box in _BOX.findall(line)]
    texts = labels or boxes or [_IT_IS.sub("", line) for line in lines if len(lines) == 1]
    bare = [_name(_BOX.sub(r"\1", text)).strip(" \"'“”‘’`") for text in texts]
    same = len(set(map(folded, bare))) == 1
    if not same or not 0 < len(bare[-1]) <= _LONGEST:
        return None
    short = len(bare[-1].split()) <= _LONGEST_NAME
    return bare[-1].rstrip(".") if labels or boxes or short else None


def _name(text: str) -> str:
    """Return the name that a text begins with before a remark on it; other texts unchanged."""
    leading = _LEADING.fullmatch(text)
    if not leading or len(leading["name"].split()) > _LONGEST_NAME:
        return text
    remark = leading["remark"]
    beside = _BESIDE.split(remark)[0]
    void = _VOIDS.search(beside) if _RELATIVE.match(beside) else denied(beside)
    if (
        void
        or _DOUBTS.search(remark)
        or denied(leading["name"])
        or _ALTERNATIVE.match(remark)
        or TAKES_BACK.search(remark)
    ):
        return text
    return leading["name"]


@dataclass(frozen=True)
class TextItem(Item):
    """A question whose answer is a short text, or one that a regular expression matches whole."""

    pattern: str | None = None

    def asked(self, templates: Mapping[str, str], order: Order | None) -> str:
        """Return the question in its template."""
        return fill(templates["own_text"], question=self.text)

    def read(self, text: str, order: Order | None) -> str | None:
        """Return the short text that a final text gives."""
        return short_text(text)

    def key(self, order: Order | None) -> str:
        """Return the right text, or the pattern."""
        return self.pattern or self.answer

    def right(self, answer: str, order: Order | None) -> bool:
        """Return whether the pattern matches the whole answer, or both texts are the same.

        Of an equation such as `f(x) = 2x`, the right side may be the answer.
        """
        if self.pattern:
            return re.fullmatch(self.pattern, answer, re.IGNORECASE) is not None
        equation = _NAMED.fullmatch(answer)
        return folded(self.answer) in {folded(answer), folded(equation[1] if equation else answer)}

    def described(self, order: Order | None) -> str:
        """Return the right text, or the pattern."""
        return f"a text that matches {self.pattern}" if self.pattern else self.answer
