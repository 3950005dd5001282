"""How a provider counts output tokens, learned from the replies of a run.

The tokens of a reply are those of its texts and of the harmony format around them. A server may
leave some of the format out or count a little more, in every reply alike; a call has up to three
tokens more for its content type. Replies whose texts are known to be intact show what is usual.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import gcd

from harness.records.traits import Ledger, Sheet
from harness.rules.account.entry import FEWEST, FEWEST_ALIKE
from harness.rules.account.ledger import (
    ANSWER_HEADER,
    COT_HEADER,
    FRAMING,
    may_be_headers,
    token_count,
)

_USUAL = 0.2  # the share of intact replies in which a number of extra tokens is usual
_EXPLAINED = 0.7  # the share of odd counts that one formula explains if it is the server's
FEWEST_KNOWN = 5  # replies of a run that show how a server counts
_CONTENT_TYPE = 5  # tokens of a content type in the header of a call, and of its spelling
_MOST_MESSAGES = 8  # without a text, or joined with another one by the server
_LEAST_ODD = 24  # tokens: other spellings and a few empty messages cannot explain them
_BLOCK, _FEWEST_COUNTS = 8, 4
"""The smallest unit of rounding, and how many different counts must be multiples of it."""
_CHARACTERS = 4  # per token, in estimates


class Counting:
    """The numbers of tokens that a provider reports beyond those of intact replies.

    `offset` is that of a reply without calls. For replies with calls, `usual` has the frequent
    numbers. `seen` has all that occur in intact replies, by whether they have calls.
    """

    def __init__(self, intact: Iterable[Sheet], every: Iterable[Sheet]) -> None:
        """Learn from intact replies; from every reply that the model ended if few are intact."""
        self.seen: dict[bool, frozenset[int]] = {}
        self.known: dict[bool, bool] = {}  # whether intact replies show it
        found: dict[bool, Counter[int]] = {}
        for called in (False, True):
            extras, pooled = _extras(intact, called), _extras(every, called)
            self.known[called] = extras.total() >= FEWEST
            found[called] = extras if self.known[called] else pooled
            self.seen[called] = frozenset(extras) if self.known[called] else _frequent(pooled)
            if not called:
                self.offset = _offset(extras, pooled)
                if not self.known[called]:
                    few = pooled.total() < FEWEST_KNOWN
                    self.seen[called] = frozenset({0 if few else self.offset})
        format_ = range(-COT_HEADER - ANSWER_HEADER, _CONTENT_TYPE + FRAMING + 1)
        self.usual = frozenset(n for n in _frequent(found[True]) if n in format_)

    def off(self, sheet: Sheet) -> int | None:
        """Reported tokens that the reply does not explain; negative if it needs more.

        None if they cannot be counted. JSON may be spelled with other tokens than returned.
        """
        found = sheet.ledger
        if found is None:
            return None
        least = min(self.usual, default=0) if sheet.calls else self.offset
        most = max(self.usual, default=0) if sheet.calls else self.offset
        shorter = found.returned - found.texts - found.markup  # another spelling of its JSON
        below, above = found.extra - (least - shorter), found.extra - most - found.spellings
        return above if above > 0 else min(below, 0)

    def fits(self, sheet: Sheet, more: int = 0) -> bool:
        """Whether the count is usual if the texts had this many more tokens than returned."""
        found = sheet.ledger
        usual = self.usual if sheet.calls else (self.offset,)
        return found is not None and found.extra - more in usual

    def is_right(self, sheet: Sheet, more: int | None) -> bool:
        """Whether the count is that of texts with this many more tokens, or the usual one."""
        found = sheet.ledger
        return found is not None and more is not None and found.extra - more in (0, self.offset)

    def occurs(self, sheet: Sheet, more: int = 0) -> bool:
        """Whether an intact reply has such a count, if the texts had this many more tokens."""
        found = sheet.ledger
        return found is not None and found.extra - more in self.seen[bool(sheet.calls)]


def _extras(sheets: Iterable[Sheet], called: bool) -> Counter[int]:
    return Counter(
        sheet.ledger.extra
        for sheet in sheets
        if sheet.ledger is not None
        and sheet.ledger.end == "model"
        and bool(sheet.calls) == called
        and (called or sheet.ledger.exact)
    )


def _frequent(extras: Counter[int]) -> frozenset[int]:
    return frozenset(n for n, times in extras.items() if times >= _USUAL * extras.total())


def _offset(intact: Counter[int], every: Counter[int]) -> int:
    """Return the usual number of replies without calls: 0 if it is frequent, or what is closest.

    A server counts at most all of the format, and a few tokens in addition.
    """
    if not intact or 0 in _frequent(every):
        intact = every
    possible = (n for n in _frequent(intact) if -COT_HEADER - ANSWER_HEADER <= n <= FRAMING)
    return min(possible, key=abs, default=0)


def is_odd(found: Ledger, off: int) -> bool:
    """Whether so many unexplained tokens are neither another spelling nor further messages."""
    if off > 0 and off % COT_HEADER == 0 and off <= _MOST_MESSAGES * COT_HEADER:
        return False
    return abs(off) > max(_LEAST_ODD, found.spelling) or (
        found.exact and abs(off) > max(FRAMING, found.spelling) and not may_be_headers(off)
    )


_ANSWER_ALONE = "are those of the answer alone"


def _answer_alone(sheet: Sheet, one: Ledger) -> int:
    """Return the tokens of the answer as returned, with as much of its format as the count has."""
    text = token_count(sheet.text) or 0
    return next((n for n in (text + 1, text + ANSWER_HEADER) if n == one.reported), text)


_FORMULAS: Mapping[str, Callable[[Sheet, Ledger, int], int]] = {
    "are twice those of the reply, as if a hidden retry counted": lambda _, one, n: 2 * n,
    "include the CoT twice": lambda _, one, n: n + one.cot,
    "include the input tokens": lambda _, one, n: n + (one.prompt or 0),
    "omit the CoT": lambda _, one, n: n - one.cot,
    "omit the CoT and its header": lambda _, one, n: n - one.cot - COT_HEADER,
    _ANSWER_ALONE: lambda sheet, one, _: _answer_alone(sheet, one),
    "are estimated from the characters": lambda sheet, *_: round(
        len(sheet.reasoning + sheet.text) / _CHARACTERS
    ),
}
"""Wrong ways to count: the number that each gives for a reply of n tokens."""


def wrong_counts(sheets: Sequence[Sheet], counting: Counting) -> Mapping[int, str]:
    """Return which sheets, by their places, have a wrong count, and how it is wrong.

    A formula must explain most of the odd counts of the run, or alone the count of a reply that
    differs by many tokens; lost text has such a number by chance only.
    """
    counted = [(at, sheet, sheet.ledger) for at, sheet in enumerate(sheets) if sheet.ledger]
    offs = {at: counting.off(sheet) or 0 for at, sheet, _ in counted}
    odd = [(at, sheet, found) for at, sheet, found in counted if is_odd(found, offs[at])]
    reported = {found.reported for _, _, found in counted}
    unit = gcd(*reported)
    if len(reported) >= _FEWEST_COUNTS and unit >= _BLOCK:
        return {at: f"are rounded to multiples of {unit}" for at, *_ in counted if offs[at]}
    found: dict[int, str] = {}
    for how, formula in _FORMULAS.items():
        judged = explained = 0
        places = []
        for at, sheet, one in odd:
            results = _results(formula, sheet, counting)
            judged += results != {one.texts + one.markup + counting.offset}
            if one.reported in results:
                explained += 1
                places.append(at)
        many = explained >= max(FEWEST_ALIKE, _EXPLAINED * judged)
        for at in places:
            if many or _is_proof(sheets[at].ledger, offs[at], how):
                found.setdefault(at, how)
    return found


def is_raised(one: Ledger) -> bool:
    """Whether a count includes a retry, the CoT twice, or the input."""
    return one.reported in {n + one.explained for n in (one.explained, one.cot, one.prompt) if n}


def _is_proof(one: Ledger | None, off: int, how: str) -> bool:
    """Whether a formula alone proves how the count of a reply is wrong."""
    exact = one is not None and (one.exact or how == _ANSWER_ALONE)
    whole = one is not None and exact and bool(one.cot) and bool(one.answer or one.calls)
    repeated = one is not None and one.repeated and how.startswith("omit")
    return whole and abs(off) > _LEAST_ODD and not repeated


def _results(
    formula: Callable[[Sheet, Ledger, int], int], sheet: Sheet, counting: Counting
) -> set[int]:
    """Return what a formula gives for a reply, in each spelling that the model may have written."""
    one = sheet.ledger
    if one is None:
        return set()
    added = range(one.spellings + 1) if sheet.calls else (counting.offset,)
    return {formula(sheet, one, one.texts + one.markup + more) for more in added}
