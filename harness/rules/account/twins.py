"""The third witness of the account: other replies to the same request.

A whole reply is the twin of one that a limit or a stop string ended. Greedy replies in the other
mode, over the other API, or to another try are twins. They differ in a few percent of the tries of
real models, so one that differs shows something only with its count, or with its API or mode.
"""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterator, Sequence

from harness.api.json_text import parsed_object, strings
from harness.api.ledger import COT_HEADER, more_tokens
from harness.records.conditions import Api
from harness.records.replies import Row
from harness.rules.account.counting import SURELY, Counting, has_whole_cot
from harness.rules.account.court import BY_MODE, Claim, associated, convicted
from harness.rules.account.differences import (
    LONG_TEXT,
    Change,
    difference,
    folded,
    without_typography,
)
from harness.rules.account.entry import ALIKE, INTACT, SEVERAL, Entry, Judged, Place, What

_REPETITION = re.compile(r"\b(\w+)(?:\W+\1){3,}\W*$")  # one word at the end, four times
_INSIDE = re.compile(r"[ ,;:-]*\w")
"""How a text continues within a line; a model may omit punctuation at the end."""


def of_whole_replies(replies: Sequence[Row], counting: Counting) -> Judged:
    """Compare the replies that a limit or a stop string ended with the whole ones."""
    whole: dict[tuple[str, str, Api], list[Row]] = defaultdict(list)
    for row in replies:
        ended = row.greedy and row.end == "model"
        if row.request and ended and counting.is_near(row):
            whole[row.request, row.format, row.api].append(row)
    apart: list[Claim] = []
    for row in replies:
        twins = whole.get((row.request, row.format, row.api), [])
        if row.end not in ("limit", "stop string") or not (row.greedy and twins):
            continue
        if len({(twin.reasoning, twin.text) for twin in twins}) > 1:
            continue
        pairs = ((twins[0].reasoning, row.reasoning), (twins[0].text, row.text))
        entry = _beginning(row, twins[0])
        if entry is not None:
            # A rounding error may have changed one reply.
            apart.append(Claim(row, entry, alike=row.api, unit=row.request))
        elif all(text.startswith(_decoded(begin)) for text, begin in pairs):
            yield row, INTACT._replace(witness="whole")
    yield from convicted(apart)


def _beginning(row: Row, whole: Row) -> Entry | None:
    """Return how a reply that was ended early is not the beginning of the whole one."""
    cot, text = _decoded(row.reasoning), _decoded(row.text)
    if row.end == "limit" and whole.reasoning.startswith(cot):
        unfinished = len(whole.reasoning.rstrip()) > len(cot)
        own = whole.text.startswith(text)  # a preamble, or the answer of a reply without its CoT
        if text and unfinished and not own:
            return Entry(What.COT_UNFINISHED, "answer", "whole", "", text)
    if cot != whole.reasoning.rstrip():
        return None
    expected = whole.text
    if row.end == "stop string":
        ends = [at for stop in row.stops if (at := expected.find(stop)) >= 0]
        expected = expected[: min(ends)] if ends else expected
        if text == _decoded(expected) or not text:
            return None
        if len(text) > len(expected.rstrip()) and row.text.startswith(expected):
            return Entry(What.AFTER_STOP, "answer", "whole", expected, row.text)
    return None


def _decoded(text: str) -> str:
    """Return a truncated text without an incomplete character and white space at its end."""
    return text.rstrip("\N{REPLACEMENT CHARACTER}").rstrip()


def of_twins(replies: Sequence[Row], counting: Counting) -> Judged:
    """Compare the greedy replies to one request that the model ended."""
    groups: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in replies:
        if row.request and row.greedy and row.end == "model":
            groups[row.request, row.format].append(row)
    yield from convicted(_worn_out(replies))
    several = [group for group in groups.values() if len(group) > 1]
    yield from _unlike(several, counting)
    yield from _counted_apart(several, counting)
    lost: list[Claim] = []
    kept: set[Api] = set()
    for (request, form), group in groups.items():
        plain = groups.get((request, ""), [])
        for row in group if form and plain else ():
            entry = _lost_letters(row, plain[0])
            if entry is not None:
                lost.append(Claim(row, entry, alike=row.api, unit=row.key))
            elif not row.text.isascii():
                kept.add(row.api)
    yield from convicted(claim for claim in lost if claim.alike not in kept)


def _worn_out(replies: Sequence[Row]) -> Iterator[Claim]:
    """Yield the replies that end in repetition, unlike an earlier one to an equal request.

    If the first one does so, the model does.
    """
    groups: dict[tuple[str, str, Api], list[Row]] = defaultdict(list)
    for row in sorted(replies, key=lambda row: row.began):
        if row.request and row.greedy and row.end in ("model", "limit"):
            groups[row.request, row.format, row.api].append(row)
    for group in groups.values():
        first = bool(_REPETITION.search(group[0].reasoning + group[0].text))
        for at, row in enumerate(group):
            if found := _REPETITION.search(row.reasoning + row.text):
                before = f"{at} repl{'y' if at == 1 else 'ies'}"
                entry = Entry(What.WORN_OUT, "answer", "twin", "", found[0], before)
                yield Claim(row, entry, False, True, (row.request, at), own=first)


def _texts(row: Row, group: Sequence[Row]) -> tuple[str, str, str]:
    """Return what is compared: typography, and what joins items and messages, is no difference."""
    cot, text = (without_typography(said) for said in (row.reasoning, row.text))
    if any(each.several for each in group):
        text = "".join(text.split())
    return "".join(cot.split()), text, without_typography(_spelled_calls(row))


def _reported(row: Row) -> int | None:
    return row.ledger.reported if row.ledger else None


def _unlike(groups: Sequence[Sequence[Row]], counting: Counting) -> Judged:
    """Yield the replies that differ from their twins as no model makes them.

    A character is broken; the count is that of the twin's text, in several requests or by many
    tokens; a text ends within a line, in several requests; or one API or mode differs.
    """
    claims: list[Claim] = []
    for group in groups:
        right = _right(group, counting)
        for row in group:
            if right is None or _texts(row, group) == _texts(right, group):
                continue
            if counting.fits(row) and right.ledger and not counting.fits(right):
                continue
            entry = _difference(row, right)
            sure = _counted_as_twin(row, entry, counting)
            proof = entry.what is What.GARBLED or sure is True
            broken = sure is None and not row.calls and entry.what is What.BROKEN_OFF
            alike: Hashable = entry.what if broken else None
            if sure is False and not proof:
                alike = entry.kind
            fewest = ALIKE if broken else SEVERAL
            claims.append(Claim(row, entry, proof, alike, row.request, fewest))
    yield from convicted(claims)
    apart = {claim.row.key: claim.entry for claim in claims}
    simple = {key: entry for key, entry in apart.items() if Change(entry.what).simple}
    yield from associated(groups, simple) or associated(groups, apart, [BY_MODE])


def _counted_as_twin(row: Row, entry: Entry, counting: Counting) -> bool | None:
    """Whether the count surely is that of the twin's text instead; None if it may be its own."""
    more = more_tokens(entry.got, entry.wanted)
    if more is not None and entry.place == "CoT" and not entry.got:
        more += COT_HEADER
    if more is None or not counting.instead(row, [more], near=True):
        return None
    return abs(more) > SURELY


def _right(group: Sequence[Row], counting: Counting) -> Row | None:
    """Return a reply that arrived as the model wrote it; None if all agree or nothing shows it.

    Most replies are right, of those without broken characters whose counts a model's spelling
    explains. Of texts that are equally frequent, the one whose CoT has its reasoning tokens is
    right, or that of the complete replies: streams are put together from pieces.
    """
    times = Counter(_texts(row, group) for row in group)
    if len(times) < 2:
        return None
    garbled = "\N{REPLACEMENT CHARACTER}"
    whole = [row for row in group if garbled not in "".join(_texts(row, group))] or group
    near = [row for row in whole if counting.is_near(row)] or whole
    most = max(times[_texts(row, group)] for row in near)
    frequent = {_texts(row, group): row for row in near if times[_texts(row, group)] == most}
    counted = {t: row for t, row in frequent.items() if row.ledger and has_whole_cot(row.ledger)}
    complete = {_texts(row, group): row for row in group if not row.streamed}
    for texts in (frequent, counted, complete if most > 1 else {}):
        if len(texts) == 1:
            return next(iter(texts.values()))
    return None


def _counted_apart(groups: Sequence[Sequence[Row]], counting: Counting) -> Judged:
    """Yield the replies with the text of their twins and a different count.

    The most frequent count is right, of those that a model's spelling explains. A malformed header
    has tokens that no text shows: only many tokens, or an API or mode, accuse the server.
    """
    off: dict[tuple[str, int], int] = {}
    for group in groups:
        equal: dict[tuple[str, str, str], list[Row]] = defaultdict(list)
        for row in group:
            if row.ledger is not None and not row.calls:
                equal[_texts(row, group)].append(row)
        for same in equal.values():
            near = [row for row in same if counting.is_near(row)] or same
            fitting = [row for row in near if counting.fits(row)] or near
            times = Counter(filter(None, map(_reported, fitting))).most_common(2)
            if len(times) == 1 or (len(times) == 2 and times[0][1] > times[1][1]):
                off |= {row.key: (_reported(row) or 0) - times[0][0] for row in same}
    entries: dict[tuple[str, int], Entry] = {}
    for row in (row for group in groups for row in group if off.get(row.key)):
        more, count = off[row.key], _reported(row) or 0
        detail = f"{abs(more)} too {'high' if more > 0 else 'low'}"
        entry = Entry(What.OFF, "count", "twin", str(count - more), str(count), detail)
        entries[row.key] = entry
        if abs(more) > SURELY:
            yield row, entry
    yield from associated(groups, entries)


def _difference(row: Row, twin: Row) -> Entry:
    """Return how a reply differs from its twin."""
    pairs: list[tuple[Place, str, str]] = [
        ("CoT", twin.reasoning, row.reasoning),
        ("answer", twin.text, row.text),
        ("arguments", _spelled_calls(twin), _spelled_calls(row)),
    ]
    apart = [pair for pair in pairs if pair[1] != pair[2]]
    place, wanted, got = apart[0]  # What ends in its CoT lacks the answer as well.
    if len(apart) > 1 and (row.text or row.calls):
        return next(_moved(row, twin), Entry(What.DIFFERENT, place, "twin", wanted, got))
    copied = row.reasoning.strip()
    if place == "answer" and copied and got.lstrip().startswith(copied) and got.endswith(wanted):
        return Entry(What.COT_IN_BOTH, place, "twin", wanted, got, repr(copied))
    change = difference(wanted, got)
    inside = got[-1:].isalnum() or got.endswith((" ", ",", ";", ":"))
    broken = inside and wanted.startswith(got) and _INSIDE.match(wanted[len(got) :])
    what = What.BROKEN_OFF if broken and not row.calls else change.what
    return Entry(what, place, "twin", wanted, got, change.detail)


def _moved(row: Row, twin: Row) -> Iterator[Entry]:
    """Yield how text of a twin stands on the other side of the border between CoT and answer."""
    one, other = ("".join((s.reasoning + s.text).split()) for s in (twin, row))
    if one != other:
        return
    if twin.reasoning.startswith(row.reasoning):
        moved = twin.reasoning[len(row.reasoning) :]
        yield Entry(What.COT_IN_ANSWER, "answer", "twin", twin.text, row.text, repr(moved))
    elif row.reasoning.startswith(twin.reasoning):
        moved = row.reasoning[len(twin.reasoning) :]
        yield Entry(What.ANSWER_IN_COT, "CoT", "twin", twin.reasoning, row.reasoning, repr(moved))


def _spelled_calls(row: Row) -> str:
    """Return the calls, with JSON in one spelling."""
    return "\n".join(
        f"{name} {args if value is None else json.dumps(value, ensure_ascii=False)}"
        for name, args in row.calls
        for value in (parsed_object(args),)
    )


def _lost_letters(row: Row, twin: Row) -> Entry | None:
    """Return the text of a structured answer without the letters beyond ASCII of its twin.

    They are missing, or ASCII letters are there instead. A short text must be the wanted one.
    """
    wanted = row.wanted.text if row.wanted else ""
    for text in strings(parsed_object(row.text) or {}):
        long = len(text) >= LONG_TEXT and text not in twin.text and text in folded(twin.text)
        short = wanted in twin.text and _in_ascii(wanted).fullmatch(text)
        if text.isascii() and text != wanted and (long or short):
            return Entry(What.NOT_ASCII, "answer", "twin", wanted or twin.text, row.text)
    return None


def _in_ascii(text: str) -> re.Pattern[str]:
    """Return the pattern of a text whose letters beyond ASCII may be missing, or one or two others.

    An empty text has no such pattern.
    """
    chars = (re.escape(char) if char.isascii() else r"\w{0,2}" for char in text)
    return re.compile("".join(chars) if text else r"(?!)")
