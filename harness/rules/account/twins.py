"""The third witness of the account: other replies to the same request.

A whole reply is the twin of one that a limit or a stop string ended. Greedy replies in the other
mode, over the other API, or to another try are twins, if the provider repeats greedy replies.
"""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from harness.records.conditions import Api
from harness.records.traits import Sheet
from harness.rules.account.counting import Counting
from harness.rules.account.differences import LONG_TEXT, OTHER_ORDER, difference, folded
from harness.rules.account.entry import FEWEST, FEWEST_ALIKE, Entry, Found, Place, Row
from harness.rules.account.json_text import parsed_object, strings
from harness.text import shared_beginning

_FEWEST_WRONG, _FEWEST_DIFFERENT = 6, 4
"""Counts of equal replies that are wrong, and different errors among them that are estimates."""
_MOST_WRONG = 0.8  # the share of such counts in an API and mode that invents them
_REPEATS = 0.8  # the share of equal greedy replies from which a provider is deterministic


def of_whole_replies(rows: Sequence[Row], counting: Counting) -> Found:
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
        entry = _beginning(sheet, twins[0])
        if entry is not None:
            found.append((row, entry))
        elif _is_beginning(sheet, twins[0]):
            yield row, Entry("intact", witness="whole")
    # A rounding error may have ended the CoT of one reply early.
    after_stop = [one for one in found if one[0].sheet.end == "stop string"]
    times = Counter(row.api for row, _ in found)
    yield from after_stop
    yield from (one for one in found if times[one[0].api] >= FEWEST)


def _is_beginning(sheet: Sheet, whole: Sheet) -> bool:
    """Whether CoT and answer of a reply are the beginnings of those of the whole one."""
    pairs = ((whole.reasoning, sheet.reasoning), (whole.text, sheet.text))
    return all(text.startswith(_decoded(begin)) for text, begin in pairs)


def _beginning(sheet: Sheet, whole: Sheet) -> Entry | None:
    """Return how a reply that was ended early is not the beginning of the whole one."""
    cot, text = _decoded(sheet.reasoning), _decoded(sheet.text)
    if sheet.end == "limit" and whole.reasoning.startswith(cot):
        unfinished = len(whole.reasoning.rstrip()) > len(cot)
        if text and unfinished:
            return Entry("added", "answer", "its CoT is unfinished", "whole", "", text)
    if cot != whole.reasoning.rstrip():
        return None
    expected = whole.text
    if sheet.end == "stop string":
        ends = [at for stop in sheet.stops if (at := expected.find(stop)) >= 0]
        expected = expected[: min(ends)] if ends else expected
        if text == _decoded(expected) or not text:
            return None
        if len(text) > len(expected.rstrip()) and sheet.text.startswith(expected):
            how = "text follows the stop string"
            return Entry("added", "answer", how, "whole", expected, sheet.text)
    elif expected.startswith(text):
        return None
    if not shared_beginning(expected, text):
        return Entry(
            "changed", "answer", "it begins otherwise", "whole", expected[: len(text)], text
        )
    return None


def _decoded(text: str) -> str:
    """Return a truncated text without an incomplete character and white space at its end."""
    return text.rstrip("\N{REPLACEMENT CHARACTER}").rstrip()


def found(rows: Sequence[Row], counting: Counting) -> Found:
    """Compare the greedy replies to one request that the model ended."""
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
            if (entry := _lost_letters(row.sheet, plain[0].sheet)) is not None:
                yield row, entry


def _written(sheet: Sheet) -> tuple[str, str, str]:
    return sheet.reasoning, sheet.text, _spelled_calls(sheet)


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
                entry = _difference(row.sheet, right.sheet)
                own = counting.fits(row.sheet) and not _same_count(row, right)
                own = own and not _differ_by_mode(group, row, right)
                if entry is not None and (entry.how == OTHER_ORDER or not own):
                    found[row.sheet.request].append((row, entry))
    if len(found) >= FEWEST:
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
    equal: dict[tuple[Api, bool], list[int]] = defaultdict(list)
    for group in groups:
        counts: dict[tuple[str, str, str], list[Row]] = defaultdict(list)
        for row in group:
            if row.sheet.ledger is not None and not row.sheet.calls:
                counts[_written(row.sheet)].append(row)
        for same in counts.values():
            right = [row for row in same if counting.off(row.sheet) == 0]
            for row in same if right else ():
                off = counting.off(row.sheet) or 0
                equal[row.api, row.sheet.streamed].append(off)
                if off:
                    found[row.api, row.sheet.streamed, off].append(row)
    yield from _estimated(rows, equal, counting)
    for (api, streamed, off), counted in found.items():
        same_mode = (row for row in rows if (row.api, row.sheet.streamed) == (api, streamed))
        alike = [row for row in same_mode if counting.off(row.sheet) == off]
        for row in alike if len(counted) >= FEWEST_ALIKE else counted:
            count = row.sheet.ledger.reported if row.sheet.ledger else 0
            how = f"are {abs(off)} too {'many' if off > 0 else 'few'}"
            yield row, Entry("miscounted", "count", how, "twin", str(count - off), str(count))


def _estimated(
    rows: Sequence[Row], equal: Mapping[tuple[Api, bool], Sequence[int]], counting: Counting
) -> Found:
    """Yield the replies in an API and mode whose counts are invented, such as those of streams.

    Most replies with the text of a twin have another count there, by different numbers of tokens.
    """
    for (api, streamed), offs in equal.items():
        wrong = [off for off in offs if off]
        different = len(set(wrong))
        if different < 2 or len(wrong) < max(_FEWEST_WRONG, _MOST_WRONG * len(offs)):
            continue
        what = "of streams" if streamed else "of whole replies"
        kind = "estimates" if different >= _FEWEST_DIFFERENT else "wrong"
        how = f"{what} are {kind}: from {min(wrong):+} to {max(wrong):+} for equal replies"
        for row in rows:
            one, off = row.sheet.ledger, counting.off(row.sheet)
            if one is not None and off and (row.api, row.sheet.streamed) == (api, streamed):
                wanted = str(one.reported - off)
                yield row, Entry("miscounted", "count", how, "twin", wanted, str(one.reported))


def _difference(sheet: Sheet, twin: Sheet) -> Entry | None:
    """Return how a reply differs from its twin; None if the model may have written both."""
    pairs: list[tuple[Place, str, str]] = [
        ("CoT", twin.reasoning, sheet.reasoning),
        ("answer", twin.text, sheet.text),
        ("arguments", _spelled_calls(twin), _spelled_calls(sheet)),
    ]
    apart = [pair for pair in pairs if pair[1] != pair[2]]
    if len(apart) != 1:
        return None
    ((place, wanted, got),) = apart
    change = difference(wanted, got)
    return Entry(change.kind, place, change.how, "twin", wanted, got) if change.simple else None


def _spelled_calls(sheet: Sheet) -> str:
    """Return the calls, with JSON in one spelling."""
    return "\n".join(
        f"{name} {args if value is None else json.dumps(value, ensure_ascii=False)}"
        for name, args in sheet.calls
        for value in (parsed_object(args),)
    )


def _lost_letters(sheet: Sheet, twin: Sheet) -> Entry | None:
    """Return the text of a structured answer without the letters beyond ASCII of its twin.

    They are missing, or ASCII letters are there instead. A short text must be the wanted one.
    """
    wanted = sheet.wanted.text if sheet.wanted else ""
    found: Mapping[str, object] = parsed_object(sheet.text) or {}
    for text in strings(found):
        long = len(text) >= LONG_TEXT and text not in twin.text and text in folded(twin.text)
        short = wanted in twin.text and _in_ascii(wanted).fullmatch(text)
        if text.isascii() and text != wanted and (long or short):
            how = "letters beyond ASCII are missing or replaced"
            return Entry("changed", "answer", how, "twin", wanted or twin.text, sheet.text)
    return None


def _in_ascii(text: str) -> re.Pattern[str]:
    """Return the pattern of a text whose letters beyond ASCII may be missing, or one or two others.

    An empty text has no such pattern.
    """
    chars = (re.escape(char) if char.isascii() else r"\w{0,2}" for char in text)
    return re.compile("".join(chars) if text else r"(?!)")
