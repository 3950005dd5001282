"""Short texts: read from a label or a box, and equal after normalising, or of a pattern."""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass

from evals.answer_eval import Item, Order
from evals.extraction.plain_text import BOX_CLOSE, BOX_OPEN, plain_lines
from evals.prompts import fill

_LABEL = re.compile(r"(?:^|[.!?]\s)\W*(?:the )?(?:final )?answer\s*(?:is)?\s*[:：]\s*(.+)$", re.I)
_BOX = re.compile(rf"{BOX_OPEN}([^{BOX_CLOSE}]*){BOX_CLOSE}")
_ARTICLES = re.compile(r"^(?:the|an?)\s+", re.I)
_LONGEST = 300


def short_text(text: str) -> str | None:
    """Return what a final text gives as its answer; None without one or with several.

    It is what follows a label or is in a box; all of them must be equal. A text of one line is the
    answer itself.
    """
    lines = plain_lines(text)
    labels = [label[1] for line in lines if (label := _LABEL.search(line))]
    boxes = [box for line in lines if not _LABEL.search(line) for box in _BOX.findall(line)]
    texts = labels or boxes or (lines if len(lines) == 1 else [])
    bare = [_BOX.sub(r"\1", text).strip(" \"'“”‘’`") for text in texts]
    same = len(set(map(folded, bare))) == 1
    return bare[-1].rstrip(".") if same and 0 < len(bare[-1]) <= _LONGEST else None


def folded(text: str) -> str:
    """Return a text in the form in which answers are compared.

    Case, width of characters, accents' encoding, punctuation at the ends, white space and a leading
    article do not count.
    """
    bare = " ".join(unicodedata.normalize("NFKC", text).casefold().split()).strip(" .,;:!?\"'“”‘’`")
    return _ARTICLES.sub("", bare)


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
        """Return whether the pattern matches the whole answer, or both texts are the same."""
        if self.pattern:
            return re.fullmatch(self.pattern, answer, re.IGNORECASE) is not None
        return folded(answer) == folded(self.answer)

    def described(self, order: Order | None) -> str:
        """Return the right text, or the pattern."""
        return f"a text that matches {self.pattern}" if self.pattern else self.answer
