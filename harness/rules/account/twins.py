"""The third witness of the account: other replies to the same request.

A whole reply is the twin of one that a limit or a stop string ended. Greedy replies in the other
mode, over the other API, or to another try are twins, if the provider repeats greedy replies.
"""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from harness.api.json_text import parsed_object, strings
from harness.records.conditions import Api
from harness.records.traits import Sheet
from harness.rules.account.counting import HARMLESS, NEAR, Counting, has_whole_cot
from harness.rules.account.differences import LONG_TEXT, difference, folded
from harness.rules.account.entry import (
    FEWEST_ALIKE,
    FEWEST_REPLIES,
    INTACT,
    Entry,
    Judged,
    Place,
    Row,
    What,
)
from harness.text import shared_beginning

_REPEATS = 0.8  # the share of equal greedy replies from which a provider is deterministic
_AGREEING = 3  # replies to one request that show that a different one was broken off
_NOT_OF_MODELS = (What.GARBLED, What.BROKEN_OFF, What.REORDERED)
"""What the model does not write instead, although the count may fit."""
_INSIDE = re.compile(r"[ ,;:-]*\w")
"""How a text continues within a line; a model may omit punctuation at the end."""


def of_whole_replies(replies: Sequence[Row], counting: Counting) -> Judged:
    """Compare the replies that a limit or a stop string ended with the whole ones."""
    whole: dict[tuple[str, str, Api], list[Sheet]] = defaultdict(list)
    for row in replies:
        ended = row.sheet.greedy and row.sheet.end == "model"
        if row.sheet.request and ended and abs(counting.off(row.sheet) or 0) <= NEAR:
            whole[row.sheet.request, row.sheet.format, row.api].append(row.sheet)
    apart: list[tuple[Row, Entry]] = []
    for row in replies:
        sheet = row.sheet
        twins = whole.get((sheet.request, sheet.format, row.api), [])
        if sheet.end not in ("limit", "stop string") or not (sheet.greedy and twins):
            continue
        if len({(twin.reasoning, twin.text) for twin in twins}) > 1:
            continue
        entry = _beginning(sheet, twins[0])
        if entry is not None:
            apart.append((row, entry))
        elif _is_beginning(sheet, twins[0]):
            yield row, INTACT._replace(witness="whole")
    # A rounding error may have ended the CoT of one reply early.
    times = Counter(mode[0] for mode, _ in {(row.mode, row.sample) for row, _ in apart})
    for row, entry in apart:
        if row.sheet.end == "stop string" or times[row.api] >= FEWEST_REPLIES:
            yield row, entry


def _is_beginning(sheet: Sheet, whole: Sheet) -> bool:
    """Whether CoT and answer of a reply are the beginnings of those of the whole one."""
    pairs = ((whole.reasoning, sheet.reasoning), (whole.text, sheet.text))
    return all(text.startswith(_decoded(begin)) for text, begin in pairs)


def _beginning(sheet: Sheet, whole: Sheet) -> Entry | None:
    """Return how a reply that was ended early is not the beginning of the whole one."""
    cot, text = _decoded(sheet.reasoning), _decoded(sheet.text)
    if sheet.end == "limit" and whole.reasoning.startswith(cot):
        unfinished = len(whole.reasoning.rstrip()) > len(cot)
        lost = not cot and whole.text.startswith(text)  # all of the CoT: nothing is added
        if text and unfinished and not lost:
            return Entry(What.COT_UNFINISHED, "answer", "whole", "", text)
    if cot != whole.reasoning.rstrip():
        return None
    expected = whole.text
    if sheet.end == "stop string":
        ends = [at for stop in sheet.stops if (at := expected.find(stop)) >= 0]
        expected = expected[: min(ends)] if ends else expected
        if text == _decoded(expected) or not text:
            return None
        if len(text) > len(expected.rstrip()) and sheet.text.startswith(expected):
            return Entry(What.AFTER_STOP, "answer", "whole", expected, sheet.text)
    elif expected.startswith(text):
        return None
    if not shared_beginning(expected, text):
        what = What.CUT_DIFFERS if sheet.end == "limit" else What.STOPPED_DIFFERS
        return Entry(what, "answer", "whole", expected[: len(text)], text)
    return None


def _decoded(text: str) -> str:
    """Return a truncated text without an incomplete character and white space at its end."""
    return text.rstrip("\N{REPLACEMENT CHARACTER}").rstrip()


def judged(replies: Sequence[Row], counting: Counting) -> Judged:
    """Compare the greedy replies to one request that the model ended."""
    groups: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in replies:
        if row.sheet.request and row.sheet.greedy and row.sheet.end == "model":
            groups[row.sheet.request, row.sheet.format].append(row)
    if _repeats(groups.values(), counting):
        yield from _unlike(groups.values(), counting)
        yield from _miscounted(groups.values(), counting)
    for (request, form), group in groups.items():
        plain = groups.get((request, ""), [])
        for row in group if form and plain else ():
            if (entry := _lost_letters(row.sheet, plain[0].sheet)) is not None:
                yield row, entry


def _texts(row: Row) -> tuple[str, str, str]:
    return row.sheet.reasoning, row.sheet.text, _spelled_calls(row.sheet)


def _reported(row: Row) -> int | None:
    return row.sheet.ledger.reported if row.sheet.ledger else None


def _repeats(groups: Iterable[Sequence[Row]], counting: Counting) -> bool:
    """Whether the greedy replies to one request in one mode that fit their counts agree.

    One reply that a server damaged does not decide it.
    """
    agreeing = compared = 0
    for group in groups:
        modes: dict[tuple[Api, bool], list[Row]] = defaultdict(list)
        for row in group:
            if counting.fits(row.sheet):
                modes[row.mode].append(row)
        for members in modes.values() if max(map(len, modes.values()), default=0) > 1 else [group]:
            if len(members) > 1:
                compared += len(members)
                agreeing += Counter(map(_texts, members)).most_common(1)[0][1]
    return compared > 0 and agreeing + 1 >= _REPEATS * compared


def _unlike(groups: Iterable[Sequence[Row]], counting: Counting) -> Judged:
    """Yield the replies that differ from their twins in a way of servers, in several requests.

    One request shows it if no model ends or spells a text so.
    """
    apart: dict[str, list[tuple[Row, Entry]]] = defaultdict(list)
    sure: list[tuple[Row, Entry]] = []
    for group in groups:
        if (right := _right(group, counting)) is None:
            continue
        different = [row for row in group if _texts(row) != _texts(right)]
        many = len(group) - len(different) >= _AGREEING
        for row in different:
            sheet, same_count = row.sheet, _reported(row) == _reported(right) is not None
            own = counting.is_near(sheet) and not same_count and not _differs(group)
            entry = _difference(sheet, right.sheet, own=own or sheet.ledger is None)
            if entry is not None and (entry.what in _NOT_OF_MODELS or not own):
                apart[sheet.request].append((row, entry))
                broken = entry.what is What.BROKEN_OFF and (many or _ends_in_word(entry))
                sure += [(row, entry)] if broken or entry.what is What.GARBLED else []
    if len(apart) >= FEWEST_REPLIES:
        for replies in apart.values():
            yield from replies
    yield from sure


def _ends_in_word(entry: Entry) -> bool:
    """Whether a text ends in a word of the whole one, which does not have it twice."""
    rest = entry.wanted[len(entry.got) :]
    ends = len(entry.got) >= LONG_TEXT and entry.got[-1].isalpha() and rest[0].isalpha()
    return ends and not rest.startswith(entry.got[:LONG_TEXT])


def _right(group: Sequence[Row], counting: Counting) -> Row | None:
    """Return a reply that arrived as the model wrote it; None if all agree or nothing shows it.

    Most replies are right, of those whose arguments no rule accuses and whose counts a model's
    spelling explains. Of texts that are equally frequent, the one whose CoT has its reasoning
    tokens is right; they may all be the model's, unless all streams have the one and all complete
    replies the other: streams are put together from pieces.
    """
    times = Counter(map(_texts, group))
    if len(times) < 2:
        return None
    group = [row for row in group if not row.faulty] or group
    near = [row for row in group if counting.is_near(row.sheet)] or group
    most = max(times[_texts(row)] for row in near)
    frequent = {_texts(row): row for row in near if times[_texts(row)] == most}
    whole = {
        t: row
        for t, row in frequent.items()
        if row.sheet.ledger and has_whole_cot(row.sheet.ledger)
    }
    for texts in (frequent, whole):
        if len(texts) == 1:
            return next(iter(texts.values()))
    return next(row for row in group if not row.sheet.streamed) if _differs(group) else None


def _differs(group: Sequence[Row]) -> bool:
    """Whether all tries in one mode have one text, and all in the other mode a different one."""
    modes: dict[bool, list[tuple[str, str, str]]] = defaultdict(list)
    for row in group:
        modes[row.sheet.streamed].append(_texts(row))
    streams, whole = modes[True], modes[False]
    return (
        min(len(streams), len(whole)) > 1
        and {*streams}.isdisjoint(whole)
        and (len({*streams}) == len({*whole}) == 1)
    )


def _miscounted(groups: Iterable[Sequence[Row]], counting: Counting) -> Judged:
    """Yield the replies with the text of their twins and a different count.

    The most frequent count is right, of those that a model's spelling explains, and of several the
    one that fits the text. A difference of few tokens counts if several requests show it in one
    mode.
    """
    wrong: dict[tuple[Api, bool], list[tuple[Row, int]]] = defaultdict(list)
    for group in groups:
        equal: dict[tuple[str, str, str], list[Row]] = defaultdict(list)
        for row in group:
            if row.sheet.ledger is not None and not row.sheet.calls:
                equal[_texts(row)].append(row)
        for same in equal.values():
            near = [row for row in same if abs(counting.off(row.sheet) or 0) <= HARMLESS] or same
            times = Counter(filter(None, map(_reported, near)))
            frequent = [count for count in times if times[count] == max(times.values())]
            fitting = [_reported(row) for row in same if counting.fits(row.sheet)]
            right = [count for count in frequent if count in fitting] or frequent
            for row in same if len(right) == 1 else ():
                if (off := (_reported(row) or 0) - right[0]) != 0:
                    wrong[row.mode].append((row, off))
    for replies in wrong.values():
        alike = len({row.sheet.request for row, _ in replies}) >= FEWEST_ALIKE
        for row, off in replies:
            if alike or abs(off) > HARMLESS:
                count, detail = (
                    _reported(row) or 0,
                    f"{abs(off)} too {'high' if off > 0 else 'low'}",
                )
                yield row, Entry(What.OFF, "count", "twin", str(count - off), str(count), detail)


def _difference(sheet: Sheet, twin: Sheet, *, own: bool) -> Entry | None:
    """Return how a reply differs from its twin; None if the model may have written both.

    If the count is its `own` one, or it has none, a text that ends in the middle was broken off.
    """
    pairs: list[tuple[Place, str, str]] = [
        ("CoT", twin.reasoning, sheet.reasoning),
        ("answer", twin.text, sheet.text),
        ("arguments", _spelled_calls(twin), _spelled_calls(sheet)),
    ]
    apart = [pair for pair in pairs if pair[1] != pair[2]]
    if len(apart) != 1 and (sheet.text or sheet.calls):
        return None
    place, wanted, got = apart[0]  # What ends in its CoT lacks the answer as well.
    change = difference(wanted, got)
    if not change.simple:
        return None
    inside = got[-1:].isalnum() or got.endswith((" ", ",", ";", ":"))
    broken = own and inside and wanted.startswith(got) and _INSIDE.match(wanted[len(got) :])
    what = What.BROKEN_OFF if broken and not sheet.calls else change.what
    return Entry(what, place, "twin", wanted, got, change.detail)


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
    answer: Mapping[str, object] = parsed_object(sheet.text) or {}
    for text in strings(answer):
        long = len(text) >= LONG_TEXT and text not in twin.text and text in folded(twin.text)
        short = wanted in twin.text and _in_ascii(wanted).fullmatch(text)
        if text.isascii() and text != wanted and (long or short):
            return Entry(What.NOT_ASCII, "answer", "twin", wanted or twin.text, sheet.text)
    return None


def _in_ascii(text: str) -> re.Pattern[str]:
    """Return the pattern of a text whose letters beyond ASCII may be missing, or one or two others.

    An empty text has no such pattern.
    """
    chars = (re.escape(char) if char.isascii() else r"\w{0,2}" for char in text)
    return re.compile("".join(chars) if text else r"(?!)")
