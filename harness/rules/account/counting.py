"""How a provider counts output tokens: which tokens of the format, beside those of the texts.

The conventions are known beforehand and hold for all replies of a provider; the run only shows
which one it follows. A model may spell a text with a few other tokens than the tokenizer: of 2,001
replies of a healthy run of the small model, a third differ by 1 to 5 tokens and 2 by more; of 61
recorded replies of five providers of the large models, none differs by more.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from math import gcd

from harness.api.ledger import (
    ANSWER_HEADER,
    COT_HEADER,
    FIRST_HEADER,
    FRAMING,
    IN_PROMPT,
    PREAMBLE_HEADER,
    are_joined,
    token_count,
)
from harness.records.replies import Ledger, Row
from harness.rules.account.court import exceeds, most
from harness.rules.account.entry import ALIKE, What
from harness.rules.habits import MALFORMED_HEADERS

_CONTENT_TYPE = 6  # the most tokens of a content type in the header of a call, and its spelling
HARMLESS = 6  # unexplained tokens of a reply that the spelling of a model explains
NEAR = 2  # those that it explains in one reply of four
SURELY = 24  # tokens: no usual malformed header and no spelling explains more
LONGEST_HEADER = 36
"""Tokens that a model may write in a header which no parser understands. With noise on its weights
or three bits, the small checkpoint wrote 25 and 35 in single replies."""
_USUAL, _MOST_FOLLOW = 0.2, 0.5
"""The shares of replies that show OpenAI's convention, and a different one."""
_EXPLAINED = 0.7  # the share of odd counts that one formula explains if it is the server's
_BLOCK, _FEWEST_COUNTS = 8, 4
"""The smallest unit of rounding, and how many different counts must be multiples of it."""
_CHARACTERS = 4  # per token, in estimates
_MOST_MESSAGES = 8  # without a text
_FEW_SPELLINGS = 12  # tokens more that the usual spellings of JSON have, at most
_EMPTY_MESSAGES = frozenset(
    n * COT_HEADER + more
    for n in range(_MOST_MESSAGES + 1)
    for more in (0, PREAMBLE_HEADER, PREAMBLE_HEADER + 3)  # with `to=assistant`
    if more == 0 or n * COT_HEADER + more <= SURELY
)

_CONVENTIONS: Sequence[Callable[[Ledger], int]] = (
    lambda _: 0,  # all of the format that the model writes, as OpenAI counts
    lambda _: -1,  # without the end token
    lambda _: IN_PROMPT,  # with `<|start|>assistant`, which ends the prompt
    lambda _: FRAMING,  # with both
    lambda _: -FIRST_HEADER,  # without the first header, which some servers put into the prompt
    lambda ledger: -COT_HEADER if ledger.cot else 0,  # without the format of the CoT
    lambda ledger: -ledger.markup,  # the texts alone
    lambda ledger: 1 - ledger.markup,  # the texts and the end token
)
"""Tokens that a provider may report beyond those of the texts and their format."""


class Counting:
    """The convention of a provider, and the counts that it explains."""

    def __init__(self, replies: Sequence[Row], copies: Sequence[bool | None]) -> None:
        """Select the convention, and the content types of calls, from the replies of a run.

        A server counts answers and calls alike: a convention that explains only one of them may be
        a defect, and gives way to OpenAI's if this explains the other. OpenAI's counts unless
        hardly any reply follows it: a server does not change its convention from reply to reply.
        Equal replies to one sample count once, and calls unless they differ from what is wanted:
        `copies` says which replies are the wanted ones.
        """
        every = {
            row.written: row.ledger
            for row, is_same in zip(replies, copies, strict=True)
            if row.ledger is not None and row.ledger.end == "model"
            if is_same is not False or not row.calls
        }
        answers = [ledger for ledger in every.values() if ledger.exact and not ledger.calls]
        calls = [ledger for ledger in every.values() if ledger.calls]
        ranks = []
        for at, by in enumerate(_CONVENTIONS):
            share = _MOST_FOLLOW if at else _USUAL
            following = sum(e.extra == by(e) and not _is_of_cot(e, by(e)) for e in answers)
            of_answers = following >= share * len(answers)
            of_calls = bool(_types((ledger.extra - by(ledger) for ledger in calls), share))
            ranks.append(of_answers + of_calls if of_answers or at == 0 else 0)
        self._by = _CONVENTIONS[ranks.index(max(ranks))]
        types = _types((ledger.extra - self._by(ledger) for ledger in calls), _USUAL)
        self._types = types or frozenset({0})
        pairs = ((row, row.ledger) for row, is_same in zip(replies, copies, strict=True) if is_same)
        whole = {
            row.written: ledger.extra - self._by(ledger) > NEAR
            for row, ledger in pairs
            if ledger and ledger.end == "model" and ledger.exact and has_whole_cot(ledger)
        }
        self.exceeds_texts = most(sum(whole.values()), len(whole))
        """Whether most texts with all that the model wrote have fewer tokens than are reported."""

    def offset(self, ledger: Ledger) -> int:
        """Return the tokens that the convention counts beyond the texts and their format."""
        return self._by(ledger)

    def off(self, row: Row) -> int | None:
        """Reported tokens that the reply does not explain; negative if it needs more.

        None if they cannot be counted. JSON may be spelled with other tokens than returned, and a
        call may have a content type.
        """
        ledger = row.ledger
        if ledger is None:
            return None
        extra = ledger.reported - ledger.texts - ledger.markup - self._by(ledger)
        return extra - ledger.spellings if extra > ledger.spellings else min(extra, 0)

    def fits(self, row: Row, more: int = 0) -> bool:
        """Whether the count is the usual one if the texts had so many more tokens than returned."""
        ledger = row.ledger
        if ledger is None:
            return False
        usual = self._types if row.calls else (0,)
        return ledger.extra - more - self._by(ledger) in usual

    def is_near(self, row: Row, more: int = 0) -> bool:
        """Whether the usual spellings of a model explain the count."""
        return any(self.fits(row, more + few) for few in range(-NEAR, NEAR + 1))

    def instead(self, row: Row, more: Iterable[int], *, near: bool = False) -> bool | None:
        """Whether the count is that of another text; None if it is that of both, or of neither.

        `more` are the further tokens of the other text, in each spelling. `near` allows the usual
        spellings of a model.
        """
        fits = self.is_near if near else self.fits
        other, own = any(fits(row, n) for n in more), fits(row)
        return None if other == own else other


def _is_of_cot(ledger: Ledger, offset: int) -> bool:
    """Whether the reasoning tokens show that so many tokens are of the CoT, not of the format.

    They may include the first header, which has three tokens, but not `<|start|>assistant` alone;
    and they are not fewer than those of a CoT to which nothing was added.
    """
    of_format = 0 <= offset != IN_PROMPT
    return not of_format and ledger.extra == offset and ledger.thinking == ledger.cot + offset


def has_whole_cot(ledger: Ledger, more: int = 0) -> bool:
    """Whether the reasoning tokens are those of a CoT with so many more, with or without header."""
    return ledger.thinking is not None and ledger.thinking - ledger.cot - more in (0, COT_HEADER)


def _types(extra: Iterable[int], share: float) -> frozenset[int]:
    """Return how many tokens the content types of calls have, from what calls have beyond texts.

    At least this share of the calls has such a type.
    """
    called = Counter(extra)
    usual = {n for n, times in called.items() if times >= share * called.total()}
    return frozenset(usual & {*range(_CONTENT_TYPE + 1)})


def is_odd(row: Row, off: int) -> bool:
    """Whether so many unexplained tokens are neither another spelling nor further messages.

    Joined messages have headers, perhaps with a recipient (`to=assistant`), and so have empty ones.
    """
    ledger = row.ledger
    if ledger is None or abs(off) <= HARMLESS:
        return False
    if off < 0:
        return -off > max(HARMLESS if ledger.exact else SURELY, ledger.spelling)
    if are_joined(off, row.reasoning, row.text):
        return False
    spelled = range(off - ledger.spellings, off + 1) if not ledger.exact else (off,)
    if any(n in _EMPTY_MESSAGES for n in spelled):
        return False
    return off > max(HARMLESS if ledger.exact else SURELY, ledger.spelling)


def are_many(odd: Collection[Row], replies: Iterable[Row]) -> bool:
    """Whether so many replies have odd counts that no model wrote all of them.

    Equal replies to one sample count once.
    """
    counted = {row.written for row in replies if row.ledger is not None}
    hits = len({row.written for row in odd})
    return exceeds(hits, len(counted), MALFORMED_HEADERS.share)


def _answer_alone(row: Row, ledger: Ledger) -> int:
    """Return the tokens of the answer as returned, with as much of its format as the count has."""
    text = token_count(row.text) or 0
    return next((n for n in (text + 1, text + ANSWER_HEADER) if n == ledger.reported), text)


_FORMULAS: Mapping[What, Callable[[Row, Ledger, int], int]] = {
    What.TWICE_COUNTED: lambda _, ledger, n: 2 * n,
    What.SUMMED: lambda _, ledger, n: n * (n + 1) // 2,
    What.COT_COUNTED_TWICE: lambda _, ledger, n: n + ledger.cot,
    What.INPUT_COUNTED: lambda _, ledger, n: n + (ledger.prompt or 0),
    What.COT_OMITTED: lambda _, ledger, n: n - ledger.cot,
    What.COT_HEADER_OMITTED: lambda _, ledger, n: n - ledger.cot - COT_HEADER,
    What.ANSWER_ALONE: lambda row, ledger, _: _answer_alone(row, ledger),
    What.CHUNKS: lambda row, _, n: row.chunks or n,
    What.FROM_CHARACTERS: lambda row, *_: round(len(row.reasoning + row.text) / _CHARACTERS),
}
"""Wrong ways to count: the number that each gives for a reply of n tokens."""
_OMISSIONS = (What.COT_OMITTED, What.COT_HEADER_OMITTED)


def wrong_counts(replies: Sequence[Row], counting: Counting) -> Mapping[int, tuple[What, str]]:
    """Return which replies, by their places, have a wrong count: how it is wrong, and a detail.

    A formula must explain most of the odd counts of the run, or alone the count of a reply that
    differs by many tokens; lost text has such a number by chance only. This makes no claims: a way
    to count is the server's, whoever wrote the texts, and accuses none of them.
    """
    counted = [(at, row, row.ledger) for at, row in enumerate(replies) if row.ledger]
    offs = {at: counting.off(row) or 0 for at, row, _ in counted}
    reported = {ledger.reported for _, _, ledger in counted}
    unit = gcd(*reported)
    if len(reported) >= _FEWEST_COUNTS and unit >= _BLOCK:
        return {at: (What.ROUNDED, str(unit)) for at, *_ in counted if offs[at]}
    odd = [
        (at, row, ledger)
        for at, row, ledger in counted
        if is_odd(row, offs[at])
        # What has neither an answer nor a call is for `reply.lost`, unless a limit ended it.
        and (ledger.end != "model" or row.text.strip() or row.calls)
    ]
    wrong: dict[int, tuple[What, str]] = {}
    for what, formula in _FORMULAS.items():
        judged = 0
        places = []
        for at, row, ledger in odd:
            results = set(_results(formula, row, ledger, counting))
            judged += results != {ledger.texts + ledger.markup + counting.offset(ledger)}
            places += [at] if ledger.reported in results else []
        many = len(places) >= max(ALIKE, _EXPLAINED * judged)
        for at in places:
            if many or _is_proof(replies[at].ledger, offs[at], what):
                wrong.setdefault(at, (what, ""))
    same, times = Counter(offs[at] for at, *_ in odd).most_common(1)[0] if odd else (0, 0)
    # A reply without a CoT that has tokens for one lacks it.
    equal = [
        at for at, row, _ in odd if offs[at] == same > 0 and (row.reasoning or same < COT_HEADER)
    ]
    texts = {(replies[at].reasoning, replies[at].text) for at in equal}
    many = are_many([replies[at] for at in equal], replies) or same > SURELY
    if times >= _EXPLAINED * len(odd) and len(texts) >= _FEWEST_COUNTS and many:
        wrong |= {at: (What.OFF, f"{same} too high") for at in equal if at not in wrong}
    for at, detail in _of_one_place(replies, offs).items():
        wrong.setdefault(at, (What.OFF, detail))
    for at, *_ in odd if counting.exceeds_texts else ():
        if offs[at] > 0:
            wrong.setdefault(at, (What.EXCESSIVE, ""))
    return wrong


def _of_one_place(replies: Sequence[Row], offs: Mapping[int, int]) -> Mapping[int, str]:
    """Return the calls of an API and mode that have a surplus in common, and how large it is.

    In one reply, the spelling of JSON may explain so many tokens. It does not explain them in every
    call of an API and mode that has few spellings, while calls to the same requests elsewhere have
    none.
    """
    places: dict[object, list[int]] = defaultdict(list)
    for at in offs:
        row = replies[at]
        if (
            row.calls
            and row.end == "model"
            and row.ledger
            and row.ledger.spellings <= _FEW_SPELLINGS
        ):
            places[row.api, row.streamed].append(at)
    found: dict[int, str] = {}
    for own in places.values():
        asked = {replies[at].sample for at in own}
        others = [at for those in places.values() if those is not own for at in those]
        fair = [offs[at] <= NEAR for at in others if replies[at].sample in asked]
        surplus = sorted(offs[at] for at in own)
        large = sum(off > HARMLESS for off in surplus) >= _EXPLAINED * len(surplus)
        texts = {replies[at].written for at in own}
        many = len(texts) >= 2 * _FEWEST_COUNTS and most(sum(fair), len(fair))
        if many and large and surplus[0] > NEAR:
            detail = f"{surplus[0]} to {surplus[-1]} too high in each call"
            found |= dict.fromkeys(own, detail)
    return found


def _is_proof(ledger: Ledger | None, off: int, what: What) -> bool:
    """Whether a formula alone proves how the count of a reply is wrong."""
    sure = ledger is not None and (ledger.exact or what in (What.ANSWER_ALONE, What.SUMMED))
    whole = ledger is not None and sure and bool(ledger.cot) and bool(ledger.answer or ledger.calls)
    repeated = ledger is not None and ledger.repeated and what in _OMISSIONS
    return whole and abs(off) > SURELY and not repeated


def _results(
    formula: Callable[[Row, Ledger, int], int], row: Row, ledger: Ledger, counting: Counting
) -> Iterator[int]:
    """Yield what a formula gives for a reply, in each spelling that the model may have written."""
    for more in range(ledger.spellings + 1) if row.calls else (0,):
        yield formula(row, ledger, ledger.texts + ledger.markup + counting.offset(ledger) + more)
