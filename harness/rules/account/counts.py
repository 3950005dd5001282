"""The last witness of the account: counts of tokens that do not fit the reply.

A formula that explains most of them shows how they are wrong, and a text that odd replies share
shows what is added or exchanged. Otherwise they only show that something is wrong: of one reply if
it differs by many tokens, of all odd replies if these are too many for the formats of a model.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Hashable, Iterable, Iterator, Sequence
from math import inf

from harness.api.ledger import (
    ANSWER_HEADER,
    COT_HEADER,
    FRAMING,
    more_tokens,
    token_count,
)
from harness.records.replies import Ledger, Row
from harness.rules.account.counting import (
    LONGEST_HEADER,
    NEAR,
    SURELY,
    Counting,
    are_many,
    has_whole_cot,
    is_odd,
    wrong_counts,
)
from harness.rules.account.court import Claim, convicted, exceeds
from harness.rules.account.differences import LONG_TEXT
from harness.rules.account.entry import ALIKE, SEVERAL, Entry, Judged, Place, What
from harness.rules.habits import MALFORMED_HEADERS
from harness.text import refusal_phrase, shared_beginning

_SENTENCE_END = re.compile(r"[.!?\n]\s*$")
_GLUED = re.compile(r"[.!?](?=[^\W\d_])")  # the end of a sentence without a space after it
_LONGEST_MOVED = 60  # characters of a text that is on the wrong side of a border
_FEWEST_KNOWN = 5  # replies of a run that show how a server counts
_MOST = 0.8  # the share of replies that a defect of all of them has
_AT_CUTS = 2  # tokens by which a text differs that is cut within a word
_SPELLED_IN_COT = 0.05  # the share of replies whose CoT a model spells with more tokens, at most
_RECORDED = "traffic"  # the task of imported traffic: requests of one client, of any kind
_FEWEST_WORDS = 4  # tokens of an answer that a server cannot have rounded to none
_SHARED = 0.3  # the share of odd replies that have one text in common
_EDGES = ((_SHARED, LONG_TEXT), (_MOST, 6))
"""Shares of texts, and the shortest text with which so many begin or end by no chance. The second
is for a text that a server adds to every reply."""


def of_counts(
    replies: Sequence[Row], counting: Counting, miscounted: Collection[Hashable] = ()
) -> Judged:
    """Judge replies by their counts alone.

    In the `miscounted` modes, other replies show that counts are wrong: there they prove no text.
    """
    wrong = wrong_counts(replies, counting)
    whole = [
        counting.fits(row) for row in replies if row.ledger and row.reasoning and row.end == "model"
    ]
    headers = len(whole) >= _FEWEST_KNOWN and 2 * sum(whole) > len(whole)
    odd: list[tuple[Row, int]] = []
    lacking: list[Claim] = []
    for at, row in enumerate(replies):
        ledger, off = row.ledger, counting.off(row) or 0
        if ledger is None:
            continue
        right, got = str(ledger.reported - off), str(ledger.reported)
        if at in wrong:
            what, detail = wrong[at]
            right = str(ledger.explained + counting.offset(ledger))
            yield row, Entry(what, "count", "count", right, got, detail)
        elif _lacks_header(ledger, off, headers=headers and counting.offset(ledger) > -COT_HEADER):
            entry = Entry(What.NO_HEADER, "answer", "count", right, got)
            if row.mode not in miscounted:
                lacking.append(Claim(row, entry, alike=True, unit=row.written))
        elif is_odd(row, off) and not _is_usual(row, off, headers=headers):
            odd.append((row, off))
    yield from convicted(lacking)
    yield from convicted(_moved(replies))
    yield from _declined(replies, counting)
    yield from _stock(replies, [row for row, _ in odd])
    yield from _edges(replies, counting)
    yield from _only_reasoning(replies)
    yield from _unexplained(odd, replies)
    yield from _without_tokens_of_cot(replies, counting)


def _only_reasoning(replies: Sequence[Row]) -> Judged:
    """Yield the truncated answers whose tokens are all reported as reasoning."""
    for row in replies if not _counts_answers_as_cot(replies) else ():
        ledger = row.ledger
        cut = ledger is not None and ledger.end == "limit" and ledger.answer >= _FEWEST_WORDS
        if ledger is not None and cut and ledger.thinking == ledger.reported:
            yield row, Entry(What.ONLY_REASONING, "answer", "count", "only CoT", row.text)


def _unexplained(odd: Sequence[tuple[Row, int]], replies: Sequence[Row]) -> Judged:
    """Yield the replies with odd counts, each with the tokens by which its count is off.

    They make no claims: every one is named, and only how many there are says what it proves.
    """
    thinks = any(row.reasoning for row in replies)
    without = [row for row, off in odd if off > 0 and _lacks_cot(row, thinks=thinks)]
    lost, many = are_many(without, replies), are_many([row for row, _ in odd], replies)
    keys = {row.key for row in without}
    low = {row.written for row, off in odd if _is_too_low(row, off)}
    for row, off in odd:
        no_cot = row.key in keys and (lost or off > SURELY)
        known = many or (len(low) >= ALIKE and _is_too_low(row, off))
        yield row, _odd(row, off, lost=no_cot, many=known)


def _is_usual(row: Row, off: int, *, headers: bool) -> bool:
    """Whether the end of a reply may explain its count.

    A limit cuts headers and calls, whose tokens are counted; an empty reply is judged elsewhere. If
    it is known how the server counts `headers`, a truncated reply may not lack the tokens of one.
    """
    if row.end == "stop string":
        return off < 0
    if row.end == "limit" and -COT_HEADER - ANSWER_HEADER <= off < 0:
        return not headers
    return off > 0 and (row.end == "limit" or not (row.text.strip() or row.calls))


def _is_too_low(row: Row, off: int) -> bool:
    """Whether an odd count is lower than that of the text, which no format of a model explains.

    A model spells texts with more tokens than the tokenizer, or with few fewer (see `counting`): in
    13,750 replies of the small model, most of them with noise or few bits on its weights, none has
    4 fewer.
    """
    return off < 0 and row.end == "model" and row.ledger is not None and row.ledger.exact


def _lacks_header(ledger: Ledger, off: int, *, headers: bool) -> bool:
    """Whether a truncated reply with CoT and answer lacks the tokens of the header between them."""
    return bool(
        headers
        and ledger.end == "limit"
        and ledger.cot
        and ledger.answer
        and off <= _AT_CUTS - COT_HEADER
    )


def _lacks_cot(row: Row, *, thinks: bool) -> bool:
    """Whether a reply has no CoT although the server returns CoT or counts it."""
    ledger = row.ledger
    return not row.reasoning and bool(
        thinks or (ledger and ledger.thinking and not ledger.concealed)
    )


def _odd(row: Row, off: int, *, lost: bool, many: bool) -> Entry:
    """Return what an odd count says of a reply, if no formula and no other reply explains it."""
    ledger = row.ledger
    count = ledger.reported if ledger else 0
    wanted, got = f"{count - off} tokens for this text", str(count)
    if lost:
        return Entry(What.NO_COT, "CoT", "count", wanted, got)
    own = LONGEST_HEADER if off > 0 else SURELY
    proven = many or (ledger is not None and abs(off) > max(own, ledger.spelling))
    what = What.TOO_HIGH if off > 0 else What.TOO_LOW
    return Entry(what, "reply", "count", wanted, got, proven=proven)


def _without_tokens_of_cot(replies: Sequence[Row], counting: Counting) -> Judged:
    """Yield the replies of a mode whose CoT lacks tokens, if more do than a model spells oddly.

    The reasoning tokens are then also those of the whole CoT, with or without its header. This is
    so in 2 of 219 different replies of a healthy run of the small model. A worse model spells more
    texts oddly, outside of the CoT as well: its rate there, by token, is the one to exceed.
    """
    counted = [
        (row, ledger, ledger.extra - counting.offset(ledger))
        for row in replies
        if (ledger := row.ledger) is not None and ledger.end == "model" and ledger.exact
        if ledger.cot and ledger.thinking
    ]
    odd = [each for each in counted if each[2] > 0 and has_whole_cot(each[1])]
    others = len({row.written for row, *_ in odd})
    more_cot = sum(ledger.cot for _, ledger, _ in counted) / (
        sum(ledger.answer for _, ledger, _ in counted) or 1
    )
    total = len({row.written for row, *_ in counted})
    spelled = max(_SPELLED_IN_COT, min(1.0, more_cot * others / max(1, total)))
    for mode in {row.mode for row, *_ in counted}:
        own = [each for each in counted if each[0].mode == mode]
        lacking = [each for each in own if each[2] > 0 and has_whole_cot(each[1], each[2])]
        hits, every = (len({row.written for row, *_ in e}) for e in (lacking, own))
        if hits >= _FEWEST_KNOWN and exceeds(hits, every, spelled):
            for row, ledger, more in lacking:
                wanted, got = f"{ledger.cot + more} tokens", str(ledger.cot)
                yield row, Entry(What.COT_TOKENS, "CoT", "count", wanted, got, str(more))


def _moved(replies: Sequence[Row]) -> Iterator[Claim]:
    """Yield the replies that are split at the wrong place between CoT and answer.

    The CoT ends within a sentence, and the reasoning tokens are those with a border where a
    sentence ends and the next one follows without a space. A few tokens may be another spelling of
    the model, in every try of a request.
    """
    for row in replies:
        ledger = row.ledger
        if ledger is None or not (ledger.exact and ledger.thinking and ledger.cot and row.text):
            continue
        if ledger.end != "model" or _SENTENCE_END.search(row.reasoning):
            continue
        early = ledger.thinking > ledger.cot
        for end in _GLUED.finditer(row.text[:_LONGEST_MOVED] if early else row.reasoning):
            moved = row.text[: end.end()] if early else row.reasoning[end.end() :]
            tokens = (token_count(moved) or 0) * (1 if early else -1)
            if abs(ledger.thinking - ledger.cot - tokens) <= NEAR and len(moved) <= _LONGEST_MOVED:
                what = What.COT_IN_ANSWER if early else What.ANSWER_IN_COT
                place: Place = "answer" if early else "CoT"
                wanted = row.text[end.end() :] if early else row.reasoning[: end.end()]
                got = row.text if early else row.reasoning
                entry = Entry(what, place, "count", wanted, got, repr(moved))
                fewest = SEVERAL if abs(ledger.thinking - ledger.cot) > NEAR else ALIKE
                yield Claim(row, entry, alike=True, unit=row.request or row.sample, fewest=fewest)
                break


def _counts_answers_as_cot(replies: Sequence[Row]) -> bool:
    """Whether tokens of whole answers are reported as reasoning, as vLLM 0.32 does."""
    return any(
        ledger.thinking >= ledger.reported - FRAMING
        for row in replies
        if (ledger := row.ledger) is not None
        if ledger.end == "model" and ledger.thinking and ledger.answer >= 2 * _FEWEST_WORDS
    )


def _stock(replies: Sequence[Row], odd: Sequence[Row]) -> Judged:
    """Yield the replies with one answer to different requests that is not their own.

    Its tokens are not those counted; or it has no CoT and is not what most tries of its request
    get, or it is what nearly all requests get. A model gives one answer to several requests, too,
    as when it refuses, but it thinks about each. If the CoT is missing in other replies as well,
    this shows nothing.
    """
    without = sum(bool(row.text) and not row.reasoning for row in replies)
    keys = {row.key for row in odd}
    usual: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    stock: dict[str, list[Row]] = defaultdict(list)
    for row in replies:
        usual[row.sample][row.text.strip()] += 1
        stock[row.text.strip()].append(row)
    for text, every in stock.items():
        counted = [row for row in every if row.key in keys]
        thinking = [row for row in counted if row.reasoning]
        own = counted if 2 * (len(counted) - len(thinking)) >= without else thinking
        bare = [row for row in every if not (row.reasoning or row.calls)]
        rare = [row for row in bare if usual[row.sample].most_common(1)[0][0] != text]
        rare = rare if 2 * len(rare) >= without else []
        everywhere = len(bare) >= max(_FEWEST_KNOWN, _MOST * len(replies))
        for same in (own if len(own) >= _SHARED * len(odd) else [], bare if everywhere else rare):
            if len(text) >= LONG_TEXT:
                kinds = (e.request if e.sample[0] == _RECORDED else e.sample[0] for e in same)
                yield from _of_several(same, kinds, What.STOCK)


def _of_several(same: Sequence[Row], kinds: Iterable[Hashable], what: What) -> Judged:
    """Yield replies that say one thing, if they are to several kinds of requests."""
    said = same[0].text.strip() if same else ""
    detail = f"{len(same)} replies: {said!r}"
    entry = Entry(what, "answer", "count", "an answer of its own", said, detail)
    claims = zip(same, kinds, strict=True)
    return convicted(Claim(row, entry, False, True, kind, ALIKE) for row, kind in claims)


def _declined(replies: Sequence[Row], counting: Counting) -> Judged:
    """Yield the refusals that are not the model's, whatever their words and language.

    More of them than of other answers have the count of another text or, without counts, no CoT. A
    model thinks about a refusal, too, and its tokens are counted.
    """
    answers = [row for row in replies if row.text.strip() and not row.calls]
    refusals = [row for row in answers if refusal_phrase(row.text)]

    def foreign(rows: Iterable[Row]) -> list[Row]:
        return [r for r in rows if (not counting.is_near(r) if r.ledger else not r.reasoning)]

    others = len(answers) - len(refusals)
    unlike = len(foreign(answers)) - len(foreign(refusals))
    share = max(MALFORMED_HEADERS.share, unlike / others if others else 1.0)
    if exceeds(len(foreign(refusals)), len(refusals), share):
        found = foreign(refusals)
        yield from _of_several(found, (row.sample for row in found), What.DECLINED)


def _edges(replies: Sequence[Row], counting: Counting) -> Judged:
    """Yield the replies that begin or end with one text, without which their tokens fit.

    Copies of one reply show nothing, and neither does a CoT that has its reasoning tokens. If as
    many replies with that text have their own count, the model writes it.
    """
    lacking = [row for row in replies if (counting.off(row) or 0) < 0]
    for place in ("CoT", "answer"):
        every = [
            (row, row.reasoning if place == "CoT" else row.text)
            for row in lacking
            if place == "answer" or not (row.ledger and has_whole_cot(row.ledger))
        ]
        for where, order in (("end", -1), ("beginning", 1)):
            texts = [(row, text[::order]) for row, text in every if text]
            for share, shortest in _EDGES:
                begins = Counter(text[:shortest] for _, text in texts)
                common, times = begins.most_common(1)[0] if texts else ("", 0)
                members = [(row, text) for row, text in texts if text.startswith(common)]
                if times < share * len(texts) or not common.strip():
                    continue
                different = [text for _, text in members]
                first, last = min(different), max(different)
                shared = first[: shared_beginning(first, last)]
                detail = f"({shared[::order]!r}) at the {where}"
                added: list[Claim] = []
                for row, text in members:
                    kept, got = text.removeprefix(shared)[::order].strip(), text[::order]
                    more = more_tokens(got, kept)
                    if more is not None and more < -1 and counting.fits(row, more):
                        entry = Entry(What.EDGE, place, "count", kept, got, detail)
                        added.append(Claim(row, entry, alike=True, unit=got, fewest=ALIKE))
                for row in replies if added else ():
                    own = row.reasoning if place == "CoT" else row.text
                    if own[::order].startswith(shared) and counting.fits(row):
                        added.append(Claim(row, added[0].entry, False, True, own, inf, own=True))
                yield from convicted(added)
