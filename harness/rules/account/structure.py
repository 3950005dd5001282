"""The first witness of the account: the form of a reply alone, which no model writes."""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence

from harness.records.traits import Sheet
from harness.rules.account.counting import Counting
from harness.rules.account.differences import ESCAPES, LONG_TEXT
from harness.rules.account.entry import (
    FENCED,
    FEWEST_ALIKE,
    MANY_AGREEING,
    TWICE,
    Entry,
    Found,
    Place,
    Row,
)
from harness.rules.account.ledger import COT_HEADER, PREAMBLE_HEADER, more_tokens

_FENCE = re.compile(r"```\w*\n(.*?)\n?```", re.DOTALL)


def found(rows: Sequence[Row], counting: Counting) -> Found:
    """Yield the replies whose text is repeated, restarted, escaped, or in a code fence."""
    for row in rows:
        if (entry := _structure(row.sheet, counting)) is not None:
            yield row, entry
    yield from _escaped(rows, counting)


def _escaped(rows: Sequence[Row], counting: Counting) -> Found:
    """Yield the replies that are escaped, with the tokens of the text before.

    A model writes some of these texts itself, such as the commands of LaTeX, and spells them with
    a few more tokens: a small difference counts only if several requests show it.
    """
    same: dict[str, list[tuple[Row, Entry, int]]] = defaultdict(list)
    for row in rows:
        if (one := _escapes(row.sheet, counting)) is not None:
            entry, more = one
            same[entry.how].append((row, entry, more))
    for replies in same.values():
        requests = {row.sample for row, _, _ in replies}
        for row, entry, more in replies:
            if len(requests) >= FEWEST_ALIKE or abs(more) >= MANY_AGREEING:
                yield row, entry


def _escapes(sheet: Sheet, counting: Counting) -> tuple[Entry, int] | None:
    """Return how a text is escaped, and how many more tokens it had before."""
    for how, undo in ESCAPES.items():
        for place, text in _texts(sheet):
            if place == "CoT" and _is_whole_cot(sheet):
                continue
            written = undo(text)
            if _fits_instead(sheet, counting, text, written):
                entry = Entry("changed", place, how, "count", written, text)
                return entry, more_tokens(text, written) or 0
    return None


def is_twice(sheet: Sheet) -> bool:
    """Whether a text is there twice, so that the count shows not what is usual."""
    return any(how == TWICE for _, text in _texts(sheet) for how, _ in _once(text))


def _structure(sheet: Sheet, counting: Counting) -> Entry | None:
    """Return whether a text is repeated, restarted, or in a code fence; None if it is not."""
    for place, text in _texts(sheet):
        if place in sheet.twice and not (sheet.ledger and sheet.ledger.extra == 0):
            how = "each piece of the stream comes twice"
            return Entry("added", place, how, "structure", "each piece once", text)
        if place in sheet.restated and sheet.ledger and sheet.ledger.extra < 0:
            how = "a piece of the stream repeats the whole text before it"
            return Entry("added", place, how, "structure", "each piece once", text)
        for how, kept in _once(text):
            # A text that is there twice may be in two items, whose headers count.
            if any(_fits_instead(sheet, counting, text, kept, n) for n in (0, PREAMBLE_HEADER)):
                return Entry("added", place, how, "structure", kept, text)
    inside = _FENCE.fullmatch(sheet.text.strip()) if sheet.format else None
    if inside and _fits_instead(sheet, counting, sheet.text, inside[1]):
        return Entry("added", "answer", FENCED, "structure", inside[1], sheet.text)
    return None


def _is_whole_cot(sheet: Sheet) -> bool:
    """Whether the reasoning tokens are those of the returned CoT, with or without its header."""
    one = sheet.ledger
    return one is not None and one.thinking in (one.cot, one.cot + COT_HEADER)


def _once(text: str) -> Iterator[tuple[str, str]]:
    """Yield how a text may be repeated or restarted, and the text without the first part."""
    begin = text.find(text[:LONG_TEXT], LONG_TEXT) if len(text) > LONG_TEXT else -1
    while begin >= 0:
        rest = text[begin:]
        if rest.startswith(text[:begin].rstrip()):
            yield (TWICE if len(rest) <= begin + 1 else "it begins anew"), rest
        begin = text.find(text[:LONG_TEXT], begin + 1)


def _fits_instead(
    sheet: Sheet, counting: Counting, returned: str, written: str, headers: int = 0
) -> bool:
    """Whether the count is usual for a reply with another text and less headers, not for this one.

    `headers` are the tokens of those that it then lacks.
    """
    more = more_tokens(returned, written) if returned != written else None
    usual = more is not None and counting.is_right(sheet, more - headers)
    return usual and not counting.occurs(sheet)


def _texts(sheet: Sheet) -> Iterator[tuple[Place, str]]:
    yield "CoT", sheet.reasoning
    yield "answer", sheet.text
