"""The account of a run: for each reply, whether the server changed what the model wrote.

It is made once, before all rules, from the sheets of all replies, and is the only place that
decides it. The witnesses are asked in this order, and the first one that knows decides:

1. Structure: a text twice, begun anew, or in a code fence, with the tokens of one text alone.
2. Copies: the request determines the text or the call, and its tokens or its CoT are the wanted
   ones; or several replies are changed alike, and none that the change would affect is intact.
3. Whole twins: a greedy reply that a limit or a stop string ended is the beginning of the one that
   nothing ended.
4. Twins: greedy replies to one request, in the other mode, over the other API, or tried again. They
   count only if the provider repeats greedy replies.
5. Counts: what the provider reports beyond the tokens of intact replies. A formula tells how a
   count is wrong; otherwise counts only say that something is, and the reply is `unknown`.

Rules read the entries; none computes who wrote a text.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from harness.records.conditions import Api
from harness.records.scores import Score
from harness.records.traits import Sheet
from harness.rules.account import witnesses
from harness.rules.account.counting import Counting, is_odd, wrong_counts
from harness.rules.account.differences import (
    CHANGES,
    OTHER_ORDER,
    OTHER_STYLE,
    OTHER_TYPES,
    bare,
    kind_of,
    style_of,
)
from harness.rules.account.entry import BORROWED, Entry
from harness.rules.account.json_text import strings
from harness.rules.account.ledger import (
    ANSWER_HEADER,
    COT_HEADER,
    FRAMING,
    may_be_headers,
    token_count,
)
from harness.statistics.rates import at_least
from harness.text import shared_beginning

INTACT, UNKNOWN = Entry("intact"), Entry("unknown")
_REPEATS = 0.8  # the share of equal greedy replies from which a provider is deterministic
_FEWEST_PROVEN = 2  # replies whose tokens are those of another text: one may be by chance
_MANY_AGREEING = 8  # tokens by which two texts differ, so that a count fits the other by no chance
_SHARE, _CHANCE = 0.01, 0.001
"""The least share of replies that a model spells oddly, and the largest p-value of more."""
_FEWEST_WHOLE = 5  # replies that show how a server counts
_FEWEST_TOKENS = 32  # output tokens of a reply that may lack a few
_SURELY_ODD = 48  # tokens that no spelling and no empty messages of a model explain
_AT_CUTS = 2  # tokens by which a text differs that is cut within a word
_WHOLE_COT = (0, COT_HEADER)  # reasoning tokens of a whole CoT beyond its text
_FEWEST_ALIKE = 3  # requests whose replies are changed in one way
_FEWEST_APART = 2  # requests whose twins differ: one may be a near-tie of two tokens
_RECORDED = "traffic"  # the task of imported traffic: requests of one client, of any kind
_FEWEST_WORDS = 4  # tokens of an answer that a server cannot have rounded to none
_SHARED = 0.3  # the share of odd replies that have one text in common
_FEWEST_STOCK, _SHORTEST_STOCK = 3, 16
"""Kinds of requests that get one answer whose tokens are not its own, and its characters."""


class Row(NamedTuple):
    """A reply in the account."""

    record: str
    sample: tuple[str, str]  # task and sample
    api: Api
    sheet: Sheet

    @property
    def key(self) -> tuple[str, int]:
        """The record and the index of the exchange."""
        return self.record, self.sheet.exchange


class Account:
    """The entries of all replies of a run, by record and index of the exchange."""

    def __init__(self, entries: Mapping[tuple[str, int], Entry] | None = None) -> None:
        """Hold the entries; `account_of` makes them."""
        self._entries = entries or {}

    def of(self, record: str, exchange: int = 0) -> Entry:
        """Return the entry of a reply; `unknown` for one that is not in the account."""
        return self._entries.get((record, exchange), UNKNOWN)

    def of_record(self, record: str, sheets: Iterable[Sheet]) -> Iterator[tuple[Sheet, Entry]]:
        """Yield the sheets of a rollout with their entries."""
        return ((sheet, self.of(record, sheet.exchange)) for sheet in sheets)


NO_ACCOUNT = Account()
"""The account of no replies: nothing is known."""


def account_of(scores: Iterable[Score]) -> Account:
    """Return the account of all replies of a run."""
    rows = [
        Row(score.record, (score.task, score.sample), score.condition.api, witnesses.planned(sheet))
        for score in scores
        for sheet in score.traits.sheets
    ]
    copies = [witnesses.copied(row.sheet) for row in rows]
    intact = [row.sheet for row, same in zip(rows, copies, strict=True) if same]
    counting = Counting(intact, [row.sheet for row in rows])
    entries: dict[tuple[str, int], Entry] = {}
    for found in (
        _structures(rows, counting),
        _copies(rows, copies, counting),
        _wholes(rows, counting),
        _twins(rows, counting),
        _counts(rows, counting),
    ):
        for row, entry in found:
            entries.setdefault(row.key, entry)
    for row, same in zip(rows, copies, strict=True):
        fits = counting.fits(row.sheet) and same is not False
        entries.setdefault(row.key, INTACT if same or fits else UNKNOWN)
    return Account(entries)


Found = Iterator[tuple[Row, Entry]]


def _structures(rows: Sequence[Row], counting: Counting) -> Found:
    for row in rows:
        if (entry := witnesses.structure(row.sheet, counting)) is not None:
            yield row, entry


def _copies(rows: Sequence[Row], copies: Sequence[bool | None], counting: Counting) -> Found:
    """Judge the replies that lack what their requests want."""
    same = [row for row, is_same in zip(rows, copies, strict=True) if is_same]
    other = [row for row, is_same in zip(rows, copies, strict=True) if is_same is False]
    changed = [
        (row, *found) for row in other if (found := witnesses.copy_change(row.sheet)) is not None
    ]
    yield from _received([(row, entry) for row, entry, _ in changed], same)
    authors = [_author(row, entry, more, same, counting) for row, entry, more in changed]
    judged = [(row, entry) for row, entry, _ in changed]
    by_author: dict[str | None, list[tuple[Row, Entry]]] = defaultdict(list)
    for one, who in zip(judged, authors, strict=True):
        by_author[who].append(one)
    yield from by_author["surely"]
    times = Counter(row.api for row, _ in by_author["server"])
    yield from (one for one in by_author["server"] if times[one[0].api] >= _FEWEST_PROVEN)
    counted, own = ({row.sample for row, _ in by_author[who]} for who in ("counted", "model"))
    if len(counted) >= _FEWEST_ALIKE and len(counted) > len(own):
        yield from by_author["counted"]
    yield from _alike(by_author[None], same)


def _author(
    row: Row, entry: Entry, more: frozenset[int], same: Sequence[Row], counting: Counting
) -> str | None:
    """Return who wrote a reply that differs from the wanted one; None if that is unknown.

    It is `surely` the server if the tokens of a long part agree, or if no model writes the text so.
    If only a few tokens agree (`counted`), an odd spelling of a model that makes mistakes may
    explain them.
    """
    sheet = row.sheet
    written = bare(sheet.reasoning), sheet.ledger and sheet.ledger.reported
    twins = [one.sheet for one in same if one.sample == row.sample and sheet.greedy]
    if twins and entry.how == OTHER_ORDER:
        return "surely"
    agree = [n for n in more if counting.fits(sheet, n)] if not counting.occurs(sheet) else []
    if agree and min(map(abs, agree)) >= _MANY_AGREEING:
        return "surely"
    equal = (written == (bare(one.reasoning), one.ledger and one.ledger.reported) for one in twins)
    if sheet.ledger is not None and any(equal):
        return "server"
    own = counting.fits(sheet) and not any(counting.occurs(sheet, n) for n in more)
    if own and counting.known[bool(sheet.calls)]:
        return "model"
    named = entry.place == "name" and (witnesses.plans_copy(sheet) or entry.kind == "lost")
    if named and entry.kind != "added":
        return "surely"
    if witnesses.plans_copy(sheet) and not counting.fits(sheet) and entry.kind != "added":
        return "server"
    if witnesses.plans_copy(sheet) and witnesses.is_typical(sheet):
        return "server"
    if own:
        return "model"
    if not agree:
        return None
    return "server" if entry.how in CHANGES else "counted"


def _alike(changed: Sequence[tuple[Row, Entry]], same: Sequence[Row]) -> Found:
    """Yield the replies of one API that are all changed in one way.

    No reply that this change would affect is intact. The CoT of a model that made the change itself
    would show it. No model gives all values of a type another one, or all names another style.
    """
    groups: dict[tuple[Api, str, str], list[tuple[Row, Entry]]] = defaultdict(list)
    for row, entry in changed:
        if entry.simple and entry.how and bare(row.sheet.reasoning):
            groups[row.api, entry.place, entry.how].append((row, entry))
    for (api, _, how), found in groups.items():
        modes = {row.sheet.streamed for row, _ in found}
        peers = [one.sheet for one in same if one.api == api and one.sheet.streamed in modes]
        if how.startswith((OTHER_TYPES, OTHER_STYLE)):
            enough = len(found) >= _FEWEST_PROVEN
        else:
            planned = {row.sample for row, _ in found if witnesses.plans_copy(row.sheet)}
            enough = len(planned) >= _FEWEST_ALIKE
        if enough and not any(_affects(how, peer) for peer in peers):
            yield from found


def _received(changed: Sequence[tuple[Row, Entry]], same: Sequence[Row]) -> Found:
    """Yield the replies to texts that reached the model with the change that the reply shows.

    In harmony, a text of the user has its own tokens. The prompts of intact replies show what else
    a prompt has; a changed one has the tokens of the changed text, and not those of the text sent.
    """
    usual: dict[tuple[str, Api], Counter[int]] = defaultdict(Counter)
    for row in same:
        if (
            rest := _rest_of_prompt(row, row.sheet.wanted.text if row.sheet.wanted else "")
        ) is not None:
            usual[row.sample[0], row.api][rest] += 1
    found = []
    for row, entry in changed:
        counts = usual[row.sample[0], row.api]
        rest, sent = (_rest_of_prompt(row, text) for text in (row.sheet.text, entry.wanted))
        if entry.simple and counts and entry.place == "answer" and rest is not None:
            common, times = counts.most_common(1)[0]
            if times >= _FEWEST_ALIKE and rest == common != sent:
                found.append((row, entry._replace(place="request")))
    yield from found if len(found) >= _FEWEST_PROVEN else ()


def _rest_of_prompt(row: Row, text: str) -> int | None:
    """Return the prompt tokens of a reply without those of a text."""
    tokens = token_count(text) if text else None
    prompt = row.sheet.ledger.prompt if row.sheet.ledger else None
    return None if prompt is None or tokens is None else prompt - tokens


def _affects(how: str, intact: Sheet) -> bool:
    """Whether a change of texts would have altered an intact reply."""
    change, wanted = CHANGES.get(how), intact.wanted
    if wanted is None:
        return False
    arguments = wanted.arguments or {}
    if how.startswith(OTHER_TYPES):
        return how.endswith(tuple(f"({kind_of(value)})" for value in arguments.values()))
    if how.startswith(OTHER_STYLE):
        return how.endswith(tuple(f"({style_of(name)})" for name in arguments))
    texts = [wanted.text, *strings(arguments)]
    return change is not None and any(change(text) != text for text in texts)


def _wholes(rows: Sequence[Row], counting: Counting) -> Found:
    """Compare the replies that a limit or a stop string ended with the whole ones."""
    whole: dict[tuple[str, str, Api], list[Sheet]] = defaultdict(list)
    for row in rows:
        ended = row.sheet.greedy and row.sheet.end == "model"
        if row.sheet.request and ended and (not row.sheet.ledger or counting.off(row.sheet) == 0):
            whole[row.sheet.request, row.sheet.format, row.api].append(row.sheet)
    found: list[tuple[Row, Entry]] = []
    for row in rows:
        sheet = row.sheet
        twins = whole.get((sheet.request, sheet.format, row.api), [])
        if sheet.end not in ("limit", "stop string") or not (sheet.greedy and twins):
            continue
        if len({(one.reasoning, one.text) for one in twins}) > 1:
            continue
        entry = witnesses.beginning(sheet, twins[0])
        if entry is not None:
            found.append((row, entry))
        elif witnesses.is_beginning(sheet, twins[0]):
            yield row, Entry("intact", witness="whole")
    # A rounding error may have ended the CoT of one reply early.
    after_stop = [one for one in found if one[0].sheet.end == "stop string"]
    times = Counter(row.api for row, _ in found)
    yield from after_stop
    yield from (one for one in found if times[one[0].api] >= _FEWEST_APART)


def _twins(rows: Sequence[Row], counting: Counting) -> Found:
    groups: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        if row.sheet.request and row.sheet.greedy and row.sheet.end == "model":
            groups[row.sheet.request, row.sheet.format].append(row)
    if _repeats(groups.values(), counting):
        yield from _unlike(groups.values(), counting)
        yield from _miscounted(rows, groups.values(), counting)
    for (request, form), group in groups.items():
        plain = groups.get((request, ""), [])
        for row in group if form and plain else ():
            if (entry := witnesses.lost_letters(row.sheet, plain[0].sheet)) is not None:
                yield row, entry


def _written(sheet: Sheet) -> tuple[str, str, str]:
    return sheet.reasoning, sheet.text, witnesses.spelled_calls(sheet)


def _repeats(groups: Iterable[Sequence[Row]], counting: Counting) -> bool:
    """Whether the greedy replies to one request in one mode that fit their counts agree."""
    agreeing = judged = 0
    for group in groups:
        modes: dict[tuple[Api, bool], list[Row]] = defaultdict(list)
        for row in group:
            if counting.fits(row.sheet):
                modes[row.api, row.sheet.streamed].append(row)
        for members in modes.values() if max(map(len, modes.values()), default=0) > 1 else [group]:
            texts = Counter(_written(row.sheet) for row in members)
            if len(members) > 1:
                judged += len(members)
                agreeing += texts.most_common(1)[0][1]
    return judged > 0 and agreeing >= _REPEATS * judged


def _unlike(groups: Iterable[Sequence[Row]], counting: Counting) -> Found:
    """Yield the replies that differ from a twin in a way of servers, in several requests."""
    found: dict[str, list[tuple[Row, Entry]]] = defaultdict(list)
    for group in groups:
        texts = Counter(_written(row.sheet) for row in group)
        right = _right(group, texts, counting)
        if right is None:
            continue
        for row in group:
            if _written(row.sheet) != _written(right.sheet):
                entry = witnesses.unlike(row.sheet, right.sheet)
                own = counting.fits(row.sheet) and not _same_count(row, right)
                own = own and not _differ_by_mode(group, row, right)
                if entry is not None and (entry.how == OTHER_ORDER or not own):
                    found[row.sheet.request].append((row, entry))
    if len(found) >= _FEWEST_APART:
        for apart in found.values():
            yield from apart


def _differ_by_mode(group: Sequence[Row], row: Row, right: Row) -> bool:
    """Whether all tries in one mode have one text, and all in the mode of `right` another one."""
    texts = {
        one: [_written(r.sheet) for r in group if (r.api, r.sheet.streamed) == one]
        for one in {(r.api, r.sheet.streamed) for r in (row, right)}
    }
    return len(texts) > 1 and all(len(t) > 1 and len({*t}) == 1 for t in texts.values())


def _same_count(row: Row, other: Row) -> bool:
    counts = [one.sheet.ledger and one.sheet.ledger.reported for one in (row, other)]
    return counts[0] is not None and counts[0] == counts[1]


def _right(
    group: Sequence[Row], texts: Counter[tuple[str, str, str]], counting: Counting
) -> Row | None:
    """Return the reply of a group that most likely arrived as the model wrote it."""
    if len(texts) < 2:
        return None

    def rank(row: Row) -> tuple[bool, int, int, bool]:
        off = abs(counting.off(row.sheet) or 0)
        return not counting.fits(row.sheet), off, -texts[_written(row.sheet)], row.sheet.streamed

    return min(group, key=rank)


def _miscounted(rows: Sequence[Row], groups: Iterable[Sequence[Row]], counting: Counting) -> Found:
    """Yield the replies with the text of their twins and another count.

    Several show that one API and mode counts otherwise: then also the other replies in it.
    """
    found: dict[tuple[Api, bool, int], list[Row]] = defaultdict(list)
    for group in groups:
        counts: dict[tuple[str, str, str], list[Row]] = defaultdict(list)
        for row in group:
            if row.sheet.ledger is not None and not row.sheet.calls:
                counts[_written(row.sheet)].append(row)
        for same in counts.values():
            right = [row for row in same if counting.off(row.sheet) == 0]
            for row in same if right else ():
                off = counting.off(row.sheet)
                if off:
                    found[row.api, row.sheet.streamed, off].append(row)
    for (api, streamed, off), counted in found.items():
        same_mode = (row for row in rows if (row.api, row.sheet.streamed) == (api, streamed))
        alike = [row for row in same_mode if counting.off(row.sheet) == off]
        for row in alike if len(counted) >= _FEWEST_ALIKE else counted:
            count = row.sheet.ledger.reported if row.sheet.ledger else 0
            how = f"are {abs(off)} too {'many' if off > 0 else 'few'}"
            yield row, Entry("miscounted", "count", how, "twin", str(count - off), str(count))


def _counts(rows: Sequence[Row], counting: Counting) -> Found:
    """Judge replies by their counts alone."""
    wrong = wrong_counts([row.sheet for row in rows], counting)
    whole = sum(bool(row.sheet.reasoning) and row.sheet.end == "model" for row in rows)
    headers = whole >= _FEWEST_WHOLE and counting.offset > -COT_HEADER
    odd: list[tuple[Row, int]] = []
    for at, row in enumerate(rows):
        found, off = row.sheet.ledger, counting.off(row.sheet) or 0
        if found is not None and at in wrong:
            right = str(found.explained + counting.offset)
            yield row, Entry("miscounted", "count", wrong[at], "count", right, str(found.reported))
        elif (
            found is not None
            and is_odd(found, off)
            and not _is_usual(row.sheet, off, headers=headers)
        ):
            odd.append((row, off))
    yield from _stock([row for row, _ in odd])
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
            yield row, Entry("added", "answer", how, "count", "only CoT", row.sheet.text)
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
        how = "the tokens of a header before it are missing, so the limit cut the CoT"
        return Entry("added", "answer", how, "count", wanted, got)
    if off > 0 and not sheet.reasoning and (thinks or (one and one.thinking and not one.concealed)):
        return Entry("lost", "CoT", "the reply has none", "count", wanted, got)
    how = "the count is too high, or text is lost"
    if off < 0:
        how = "the count is too low, or text is added"
    many = one is not None and abs(off) > max(_SURELY_ODD, one.spelling)
    return Entry("unknown", "reply", how, "count", wanted, got, simple=many)


def _without_tokens_of_cot(rows: Sequence[Row], counting: Counting) -> Found:
    """Yield the replies with CoT if each of them lacks a few tokens of it.

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
    many = len(short) >= max(_FEWEST_WHOLE, _REPEATS * len(judged))
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
        enough = len(odd) >= _FEWEST_ALIKE and len(of_others) >= _FEWEST_WHOLE
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


def _stock(odd: Sequence[Row]) -> Found:
    """Yield the replies with one answer to different requests whose tokens are not its own."""
    stock: dict[str, list[Row]] = defaultdict(list)
    for row in odd:
        stock[row.sheet.text.strip()].append(row)
    for text, same in stock.items():
        kinds = {row.sheet.request if row.sample[0] == _RECORDED else row.sample[0] for row in same}
        several = len(kinds) >= _FEWEST_STOCK
        most = len(same) >= _SHARED * len(odd)
        for row in same if several and most and len(text) >= _SHORTEST_STOCK else ():
            how = f"{len(same)} replies to different requests have this one"
            yield row, Entry("changed", "answer", how, "count", "an answer of its own", text)


def _borrowed(rows: Sequence[Row], odd: Sequence[Row], counting: Counting) -> Found:
    """Yield the replies whose tokens are not those of their answer, which another request got."""
    owners: dict[str, Row] = {}
    for row in rows:
        if len(row.sheet.text) >= _SHORTEST_STOCK and counting.fits(row.sheet):
            owners.setdefault(row.sheet.text, row)
    for row in odd:
        owner = owners.get(row.sheet.text)
        if owner is not None and row.sheet.reasoning and owner.sample[0] != row.sample[0]:
            how = f"{BORROWED}, {owner.record}"
            yield row, Entry("changed", "answer", how, "count", "its own answer", row.sheet.text)


def _edges(odd: Sequence[Row], counting: Counting) -> Found:
    """Yield the replies that begin or end with one text, without which their tokens fit."""
    for place in ("CoT", "answer"):
        texts = {row.key: row.sheet.reasoning if place == "CoT" else row.sheet.text for row in odd}
        for where, order in (("end", -1), ("beginning", 1)):
            ends = Counter(text[::order][:_SHORTEST_STOCK] for text in texts.values())
            for end, times in ends.most_common(1):
                members = [row for row in odd if texts[row.key][::order].startswith(end)]
                different = {texts[row.key][::order] for row in members}
                if times < _SHARED * len(odd) or len(different) < _FEWEST_ALIKE or not end.strip():
                    continue
                shared = min(different)[: shared_beginning(min(different), max(different))][::order]
                for row in members:
                    text = texts[row.key]
                    kept = text.removesuffix(shared) if order < 0 else text.removeprefix(shared)
                    if counting.is_right(row.sheet, witnesses.more_tokens(text, kept.strip())):
                        how = f"replies have the same {where}: {shared!r}"
                        yield row, Entry("added", place, how, "count", kept, text)
