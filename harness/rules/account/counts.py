"""The last witness of the account: counts of tokens that do not fit the reply.

A formula that explains most of them tells how they are wrong, and a text that odd replies share
tells what is added or exchanged. Otherwise they only say that something is wrong.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from harness.records.conditions import Api
from harness.records.traits import Sheet
from harness.rules.account.counting import FEWEST_KNOWN, Counting, is_odd, wrong_counts
from harness.rules.account.differences import LONG_TEXT
from harness.rules.account.entry import BORROWED, FEWEST_ALIKE, Entry, Found, Row
from harness.rules.account.ledger import (
    ANSWER_HEADER,
    COT_HEADER,
    FRAMING,
    may_be_headers,
    more_tokens,
)
from harness.statistics.rates import at_least
from harness.text import shared_beginning

_MOST = 0.8  # the share of replies that a defect of all of them has
_SHARE, _CHANCE = 0.01, 0.001
"""The least share of replies that a model spells oddly, and the largest p-value of more."""
_FEWEST_TOKENS = 32  # output tokens of a reply that may lack a few
_SURELY_ODD = 48  # tokens that no spelling and no empty messages of a model explain
_AT_CUTS = 2  # tokens by which a text differs that is cut within a word
_WHOLE_COT = (0, COT_HEADER)  # reasoning tokens of a whole CoT beyond its text
_RECORDED = "traffic"  # the task of imported traffic: requests of one client, of any kind
_FEWEST_WORDS = 4  # tokens of an answer that a server cannot have rounded to none
_SHARED = 0.3  # the share of odd replies that have one text in common
_EDGES = ((_SHARED, LONG_TEXT), (_MOST, 6))
"""Shares of texts, and the shortest text with which so many begin or end by no chance. The second
is for a text that a server adds to every reply."""


def found(rows: Sequence[Row], counting: Counting) -> Found:
    """Judge replies by their counts alone."""
    wrong = wrong_counts([row.sheet for row in rows], counting)
    whole = [
        counting.fits(row.sheet)
        for row in rows
        if row.sheet.ledger and row.sheet.reasoning and row.sheet.end == "model"
    ]
    known = len(whole) >= FEWEST_KNOWN and 2 * sum(whole) > len(whole)
    headers = known and counting.offset > -COT_HEADER
    odd: list[tuple[Row, int]] = []
    for at, row in enumerate(rows):
        one, off = row.sheet.ledger, counting.off(row.sheet) or 0
        if one is not None and at in wrong:
            right = str(one.explained + counting.offset)
            yield row, Entry("miscounted", "count", wrong[at], "count", right, str(one.reported))
        elif (
            one is not None and is_odd(one, off) and not _is_usual(row.sheet, off, headers=headers)
        ):
            odd.append((row, off))
    yield from _stock(rows, [row for row, _ in odd])
    yield from _borrowed(rows, [row for row, _ in odd], counting)
    few = [row for row, off in odd if off < 0]
    yield from _edges(rows if counting.offset < 0 else few, counting)
    thinks = any(row.sheet.reasoning for row in rows)
    in_cot = _counts_answers_as_cot(rows)
    for row in rows:
        one = row.sheet.ledger
        cut = one is not None and one.end == "limit" and one.answer >= _FEWEST_WORDS
        if one is not None and cut and one.thinking == one.reported and not in_cot:
            how = "all tokens of the truncated reply are reasoning tokens"
            yield row, Entry("added", "answer", how, "limit", "only CoT", row.sheet.text)
    for row, off in odd:
        yield row, _odd(row.sheet, off, thinks=thinks, headers=headers)
    yield from _without_tokens_of_cot(rows, counting)
    yield from _few_in_one_mode(rows, counting)


def _is_usual(sheet: Sheet, off: int, *, headers: bool) -> bool:
    """Whether the end of a reply may explain its count.

    A limit cuts headers and calls, whose tokens are counted; an empty reply is judged elsewhere. If
    it is known how the server counts `headers`, a truncated reply may not lack the tokens of one.
    """
    if sheet.end == "stop string":
        return off < 0
    if sheet.end == "limit" and -COT_HEADER - ANSWER_HEADER <= off < 0:
        return not headers
    return off > 0 and (sheet.end == "limit" or not (sheet.text.strip() or sheet.calls))


def _odd(sheet: Sheet, off: int, *, thinks: bool, headers: bool) -> Entry:
    """Return what an odd count says of a reply, if no formula and no other reply explains it."""
    one = sheet.ledger
    count = one.reported if one else 0
    wanted, got = f"{count - off} tokens for this text", str(count)
    both = one and one.end == "limit" and one.cot and one.answer and headers
    if both and off <= _AT_CUTS - COT_HEADER:
        how = "the tokens of a header before it are missing"
        return Entry("added", "answer", how, "limit", wanted, got)
    if off > 0 and not sheet.reasoning and (thinks or (one and one.thinking and not one.concealed)):
        return Entry("lost", "CoT", "the reply has none", "count", wanted, got)
    how = "the count is too high, or text is lost"
    if off < 0:
        how = "the count is too low, or text is added"
    many = one is not None and abs(off) > max(_SURELY_ODD, one.spelling)
    return Entry("unknown", "reply", how, "count", wanted, got, simple=many)


def _without_tokens_of_cot(rows: Sequence[Row], counting: Counting) -> Found:
    """Yield the replies with CoT if the CoT of each lacks a few tokens.

    The reasoning tokens are then also those of the whole CoT, with or without its header. A server
    that counts a few tokens in addition has the returned CoT as reasoning tokens.
    """
    lacking = counting.offset
    judged = [
        (row, one)
        for row in rows
        if (one := row.sheet.ledger) is not None and one.end == "model"
        if one.cot and one.thinking and counting.fits(row.sheet)
    ]
    short = [
        (row, one) for row, one in judged if (one.thinking or 0) - one.cot - lacking in _WHOLE_COT
    ]
    many = len(short) >= max(FEWEST_KNOWN, _MOST * len(judged))
    for row, one in short if lacking > 0 and many else ():
        how = f"{lacking} of its tokens are missing in every reply"
        wanted, got = f"{one.cot + lacking} tokens", str(one.cot)
        yield row, Entry("lost", "CoT", how, "count", wanted, got)


def _few_in_one_mode(rows: Sequence[Row], counting: Counting) -> Found:
    """Yield the replies that differ by few tokens, if those of one API and mode do so more often.

    A model spells some texts with more tokens than the tokenizer, in all modes alike.
    """
    modes: dict[tuple[Api, bool], list[tuple[Row, int]]] = defaultdict(list)
    for row in rows:
        one, off = row.sheet.ledger, counting.off(row.sheet)
        if one is None or off is None or not one.exact or one.end != "model":
            continue
        if one.cot and one.reported >= _FEWEST_TOKENS and not is_odd(one, off):
            modes[row.api, row.sheet.streamed].append((row, off))
    for mode, judged in modes.items():
        others = [pair for other, pairs in modes.items() if other != mode for pair in pairs]
        odd, usual = (
            {row.sample for row, off in pairs if off and not may_be_headers(off)}
            for pairs in (judged, others)
        )
        every, of_others = ({row.sample for row, _ in pairs} for pairs in (judged, others))
        share = max(_SHARE, len(usual) / max(1, len(of_others)))
        enough = len(odd) >= FEWEST_ALIKE and len(of_others) >= FEWEST_KNOWN
        if enough and at_least(len(odd), len(every), share) <= _CHANCE:
            for row, off in judged:
                if off and not may_be_headers(off):
                    yield row, _odd(row.sheet, off, thinks=True, headers=False)


def _counts_answers_as_cot(rows: Iterable[Row]) -> bool:
    """Whether the tokens of most whole answers are reported as reasoning, as vLLM 0.32 does."""
    whole = [
        one.thinking >= one.reported - FRAMING
        for row in rows
        if (one := row.sheet.ledger) is not None
        if one.end == "model" and one.thinking and one.answer >= 2 * _FEWEST_WORDS
    ]
    return 2 * sum(whole) > len(whole)


def _stock(rows: Sequence[Row], odd: Sequence[Row]) -> Found:
    """Yield the replies with one answer to different requests whose tokens are not its own.

    A model gives one answer to several requests, too. If the CoT is missing in other replies as
    well, the tokens beyond such an answer are those of its CoT.
    """
    bare = sum(bool(row.sheet.text) and not row.sheet.reasoning for row in rows)
    stock: dict[str, list[Row]] = defaultdict(list)
    for row in odd:
        stock[row.sheet.text.strip()].append(row)
    for text, every in stock.items():
        thinking = [row for row in every if row.sheet.reasoning]
        same = every if 2 * (len(every) - len(thinking)) >= bare else thinking
        kinds = {row.sheet.request if row.sample[0] == _RECORDED else row.sample[0] for row in same}
        several = len(kinds) >= FEWEST_ALIKE
        most = len(same) >= _SHARED * len(odd)
        for row in same if several and most and len(text) >= LONG_TEXT else ():
            how = f"{len(same)} replies to different requests have this one"
            yield row, Entry("changed", "answer", how, "count", "an answer of its own", text)


def _borrowed(rows: Sequence[Row], odd: Sequence[Row], counting: Counting) -> Found:
    """Yield the replies whose tokens are not those of their answer, which another request got.

    Where many replies lack tokens, some have such an answer by chance.
    """
    owners: dict[str, Row] = {}
    for row in rows:
        if len(row.sheet.text) >= LONG_TEXT and counting.fits(row.sheet):
            owners.setdefault(row.sheet.text, row)
    pairs = [(row, owner) for row in odd if (owner := owners.get(row.sheet.text)) is not None]
    found = [
        (row, one) for row, one in pairs if row.sheet.reasoning and one.sample[0] != row.sample[0]
    ]
    for row, owner in found if len(found) >= _SHARED * len(odd) else ():
        how = f"{BORROWED}, {owner.record}"
        yield row, Entry("changed", "answer", how, "count", "its own answer", row.sheet.text)


def _edges(odd: Sequence[Row], counting: Counting) -> Found:
    """Yield the replies that begin or end with one text, without which their tokens fit."""
    for place in ("CoT", "answer"):
        every = [(row, row.sheet.reasoning if place == "CoT" else row.sheet.text) for row in odd]
        for where, order in (("end", -1), ("beginning", 1)):
            texts = [(row, text[::order]) for row, text in every if text]
            for share, shortest in _EDGES if counting.offset < 0 else _EDGES[:1]:
                begins = Counter(text[:shortest] for _, text in texts)
                common, times = begins.most_common(1)[0] if texts else ("", 0)
                members = [(row, text) for row, text in texts if text.startswith(common)]
                different = {text for _, text in members}
                if (
                    times < share * len(texts)
                    or len(different) < FEWEST_ALIKE
                    or not common.strip()
                ):
                    continue
                first, last = min(different), max(different)
                shared = first[: shared_beginning(first, last)]
                how = f"replies have the same {where}: {shared[::order]!r}"
                for row, text in members:
                    kept = text.removeprefix(shared)[::order].strip()
                    more = more_tokens(text[::order], kept)
                    if more is not None and more < -1 and counting.is_right(row.sheet, more):
                        yield row, Entry("added", place, how, "count", kept, text[::order])
