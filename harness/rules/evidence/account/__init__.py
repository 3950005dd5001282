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
from harness.rules.evidence.account import witnesses
from harness.rules.evidence.account.counting import Counting, is_odd, wrong_counts
from harness.rules.evidence.account.differences import (
    CHANGES,
    OTHER_STYLE,
    OTHER_TYPES,
    bare,
)
from harness.rules.evidence.account.entry import Entry
from harness.rules.evidence.json_text import leaves, strings
from harness.rules.evidence.ledger import FRAMING
from harness.text import shared_beginning

INTACT, UNKNOWN = Entry("intact"), Entry("unknown")
_OF_SERVERS = frozenset({OTHER_TYPES, OTHER_STYLE})  # what no model does to all its calls
_REPEATS = 0.8  # the share of equal greedy replies from which a provider is deterministic
_FEWEST_PROVEN = 2  # replies whose tokens are those of another text: one may be by chance
_FEWEST_ALIKE = 3  # requests whose replies are changed in one way
_FEWEST_APART = 2  # requests whose twins differ: one may be a near-tie of two tokens
_FEWEST_WORDS = 4  # tokens of an answer that a server cannot have rounded to none
_SHARED = 0.3  # the share of odd replies that have one text in common
_FEWEST_STOCK, _SHORTEST_STOCK = 3, 16
"""Requests that get one answer whose tokens are not its own, and its characters."""


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
    proven: list[tuple[Row, Entry]] = []
    open_: list[tuple[Row, Entry]] = []
    for row in other:
        if (changed := witnesses.copy_change(row.sheet)) is None:
            continue
        entry, more = changed
        who = _author(row, more, same, counting)
        if who == "server":
            proven.append((row, entry))
        elif who is None:
            open_.append((row, entry))
    if len(proven) >= _FEWEST_PROVEN:
        yield from proven
    elif proven:
        open_ += proven
    yield from _alike(open_, same)


def _author(
    row: Row, more: frozenset[int], same: Sequence[Row], counting: Counting
) -> str | None:
    """Return who wrote a reply that differs from the wanted one; None if that is unknown."""
    sheet = row.sheet
    written = bare(sheet.reasoning), sheet.ledger and sheet.ledger.reported
    twins = (one.sheet for one in same if one.sample == row.sample)
    if sheet.ledger is not None and any(
        written == (bare(one.reasoning), one.ledger and one.ledger.reported) for one in twins
    ):
        return "server"
    own = counting.fits(sheet) and not any(counting.occurs(sheet, n) for n in more)
    if own and counting.known:
        return "model"
    if witnesses.plans_copy(sheet) and not counting.fits(sheet):
        return "server"
    if not counting.occurs(sheet) and any(counting.fits(sheet, n) for n in more):
        return "server"
    return "model" if own else None


def _alike(changed: Sequence[tuple[Row, Entry]], same: Sequence[Row]) -> Found:
    """Yield the replies of one API and mode that are all changed in one way.

    No reply that this change would affect is intact. The CoT of a model that made the change itself
    would show it.
    """
    groups: dict[tuple[Api, bool, str, str], list[tuple[Row, Entry]]] = defaultdict(list)
    for row, entry in changed:
        if entry.simple and entry.how and bare(row.sheet.reasoning):
            groups[row.api, row.sheet.streamed, entry.place, entry.how].append((row, entry))
    for (api, streamed, _, how), found in groups.items():
        peers = [one.sheet for one in same if one.api == api and one.sheet.streamed == streamed]
        own = how not in _OF_SERVERS
        shown = [row for row, _ in found if not own or witnesses.plans_copy(row.sheet)]
        enough = len({row.sample for row in shown}) >= _FEWEST_ALIKE
        if enough and not any(_affects(how, peer) for peer in peers):
            yield from found


def _affects(how: str, intact: Sheet) -> bool:
    """Whether a change of texts would have altered an intact reply."""
    change, wanted = CHANGES.get(how), intact.wanted
    if wanted is None:
        return False
    arguments = wanted.arguments or {}
    if how == OTHER_TYPES:
        return not all(isinstance(value, str) for value in leaves(arguments))
    if how == OTHER_STYLE:
        return any("_" in name or "-" in name for name in arguments)
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
        if (entry := witnesses.beginning(sheet, twins[0])) is not None:
            found.append((row, entry))
    yield from found


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
        for row in group if right is not None else ():
            if _written(row.sheet) != _written(right.sheet):
                entry = witnesses.unlike(row.sheet, right.sheet)
                own = counting.fits(row.sheet) and not _same_count(row, right)
                if entry is not None and not own:
                    found[row.sheet.request].append((row, entry))
    if len(found) >= _FEWEST_APART:
        for apart in found.values():
            yield from apart


def _same_count(row: Row, other: Row) -> bool:
    counts = [one.sheet.ledger and one.sheet.ledger.reported for one in (row, other)]
    return counts[0] is not None and counts[0] == counts[1]


def _right(
    group: Sequence[Row], texts: Counter[tuple[str, str, str]], counting: Counting
) -> Row | None:
    """Return the reply of a group that most likely arrived as the model wrote it."""
    if len(texts) < 2:  # noqa: PLR2004
        return None

    def rank(row: Row) -> tuple[bool, int, int, bool]:
        off = abs(counting.off(row.sheet) or 0)
        return not counting.fits(row.sheet), off, -texts[_written(row.sheet)], row.sheet.streamed

    return min(group, key=rank)


def _miscounted(
    rows: Sequence[Row], groups: Iterable[Sequence[Row]], counting: Counting
) -> Found:
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
    odd: list[tuple[Row, int]] = []
    for at, row in enumerate(rows):
        found, off = row.sheet.ledger, counting.off(row.sheet) or 0
        if found is not None and at in wrong:
            right = str(found.explained + counting.offset)
            yield row, Entry("miscounted", "count", wrong[at], "count", right, str(found.reported))
        elif found is not None and is_odd(found, off):
            odd.append((row, off))
    yield from _stock([row for row, _ in odd])
    few = [row for row, off in odd if off < 0]
    yield from _edges(rows if counting.offset < 0 else few, counting)
    thinks = any(row.sheet.reasoning for row in rows)
    in_cot = _counts_answers_as_cot(rows)
    for row, off in odd:
        yield row, _odd(row.sheet, off, thinks=thinks)
    for row in rows:
        one = row.sheet.ledger
        cut = one is not None and one.end == "limit" and one.answer >= _FEWEST_WORDS
        if one is not None and cut and one.thinking == one.reported and not in_cot:
            how = "all tokens of the truncated reply are reasoning tokens"
            yield row, Entry("added", "answer", how, "count", "only CoT", row.sheet.text)


def _odd(sheet: Sheet, off: int, *, thinks: bool) -> Entry:
    """Return what an odd count says of a reply, if no formula and no other reply explains it."""
    one = sheet.ledger
    count = one.reported if one else 0
    wanted, got = f"{count - off} tokens for this text", str(count)
    if one and one.end == "limit" and one.cot and one.answer and off < 0:
        how = "the tokens of a header before it are missing, so the limit cut the CoT"
        return Entry("added", "answer", how, "count", wanted, got)
    if off > 0 and not sheet.reasoning and (thinks or (one and one.thinking and not one.concealed)):
        return Entry("lost", "CoT", "the reply has none", "count", wanted, got)
    how = "the count is too high, or text is lost"
    if off < 0:
        how = "the count is too low, or text is added"
    return Entry("unknown", "reply", how, "count", wanted, got)


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
        several = len({row.sheet.request for row in same}) >= _FEWEST_STOCK
        most = len(same) >= _SHARED * len(odd)
        for row in same if several and most and len(text) >= _SHORTEST_STOCK else ():
            how = f"{len(same)} replies to different requests have this one"
            yield row, Entry("changed", "answer", how, "count", "an answer of its own", text)


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
                        yield row, Entry("added", place, how, "count", kept, text)  # type: ignore[arg-type]
