"""The second witness of the account: texts and calls that the request determines."""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence

from harness.api.json_text import parsed_object, strings
from harness.records.conditions import Api
from harness.records.traits import Sheet
from harness.rules.account.counting import Counting
from harness.rules.account.differences import (
    CHANGES,
    Change,
    argument_change,
    bare,
    has_arguments,
    kind_of,
    name_change,
    style_of,
    text_change,
)
from harness.rules.account.entry import (
    FEWEST_ALIKE,
    FEWEST_REPLIES,
    MANY_AGREEING,
    Entry,
    Judged,
    Place,
    Row,
    What,
)
from harness.rules.account.ledger import call_header, more_tokens

_SHORTEST_TEXT = 4  # characters of a text in arguments that a CoT plans


def judged(replies: Sequence[Row], copies: Sequence[bool | None], counting: Counting) -> Judged:
    """Judge the replies that lack what their requests want.

    A mistake of the model is at every greedy try and under every condition: equal replies to one
    sample count once.
    """
    same = [row for row, is_same in zip(replies, copies, strict=True) if is_same]
    different = [row for row, is_same in zip(replies, copies, strict=True) if is_same is False]
    by_author: dict[str | None, list[tuple[Row, Entry]]] = defaultdict(list)
    for row in different:
        if (change := _copy_change(row.sheet)) is not None:
            entry, more = change
            by_author[_author(row, entry, more, same, counting)].append((row, entry))
    yield from by_author["surely"]
    samples = {(row.api, row.sample) for row, _ in by_author["server"]}
    times = Counter(api for api, _ in samples)
    tries = Counter(
        place for place, _ in {((row.sample, row.mode), row.ids) for row, _ in by_author["server"]}
    )
    intact = Counter(place for place, _ in {((row.sample, row.mode), row.ids) for row in same})
    for row, entry in by_author["server"]:
        # All tries in one mode are changed, and those in the others are not.
        in_mode = tries[row.sample, row.mode] >= FEWEST_REPLIES and not intact[row.sample, row.mode]
        elsewhere = sum(n for (sample, _), n in intact.items() if sample == row.sample)
        if times[row.api] >= FEWEST_REPLIES or (in_mode and elsewhere >= FEWEST_REPLIES):
            yield row, entry
    counted = {row.sample for row, _ in by_author["counted"]}
    kinds = {entry.what for _, entry in by_author["counted"]}
    own = {row.sample for row, entry in by_author["model"] if entry.what in kinds}
    if len(counted) >= FEWEST_ALIKE and len(counted) > len(own):
        yield from by_author["counted"]
    yield from _alike(by_author[None], same, counting)


def _author(
    row: Row, entry: Entry, more: frozenset[int], same: Sequence[Row], counting: Counting
) -> str | None:
    """Return who wrote a reply that differs from the wanted one; None if that is unknown.

    It is `surely` the server if the count is that of the wanted text, and the CoT has that text, or
    many tokens agree. With the CoT, a spelling of the wanted text is enough. A plan alone, a few
    tokens alone, or the count of an intact greedy reply (`server`) must show it in several samples:
    a worse model forgets a backslash, or spells a text with an odd token.
    """
    sheet = row.sheet
    plans = _plans_copy(sheet)
    written = bare(sheet.reasoning), sheet.ledger and sheet.ledger.reported
    twins = [reply.sheet for reply in same if reply.sample == row.sample and sheet.greedy]
    equal = (written == (bare(e.reasoning), e.ledger and e.ledger.reported) for e in twins)
    if twins and entry.what is What.REORDERED:
        return "surely"
    agree = [] if counting.fits(sheet) else [n for n in more if counting.fits(sheet, n)]
    near = not counting.is_near(sheet) and any(counting.is_near(sheet, n) for n in more)
    if (agree and (plans or min(map(abs, agree)) >= MANY_AGREEING)) or (plans and near):
        return "surely"
    if sheet.ledger is not None and any(equal):
        return "server"
    if counting.fits(sheet) and not any(counting.is_near(sheet, n) for n in more):
        return "model"
    if entry.place == "name" and (plans or entry.kind == "lost") and entry.kind != "added":
        return "surely"
    fewer = entry.kind != "added" and not counting.fits(sheet)
    if plans and (fewer or _is_typical(sheet)):
        return "server"
    if not agree:
        return None
    return "server" if entry.what in CHANGES and not counting.is_near(sheet) else "counted"


def _alike(changed: Sequence[tuple[Row, Entry]], same: Sequence[Row], counting: Counting) -> Judged:
    """Yield the replies of one API that are all changed in one way.

    No reply that this change would affect is intact. The CoT of a model that made the change itself
    would show it, and its count would fit. No model gives all values of a type another one, or all
    names another style.
    """
    groups: dict[tuple[Api, str, What, str], list[tuple[Row, Entry]]] = defaultdict(list)
    for row, entry in changed:
        if Change(entry.what).simple and bare(row.sheet.reasoning):
            kept = entry.detail if entry.what in _OF_A_KIND else ""
            groups[row.api, entry.place, entry.what, kept].append((row, entry))
    for (api, _, what, detail), alike in groups.items():
        modes = {row.sheet.streamed for row, _ in alike}
        peers = [e.sheet for e in same if e.api == api and e.sheet.streamed in modes]
        if what in _OF_A_KIND:
            enough = len({row.written for row, _ in alike}) >= FEWEST_REPLIES
        else:
            shown = {
                row.sample
                for row, _ in alike
                if _plans_copy(row.sheet) or _lacks_tokens(row.sheet, counting)
            }
            enough = len(shown) >= FEWEST_ALIKE
        if enough and not any(_affects(what, detail, peer) for peer in peers):
            yield from alike


def _lacks_tokens(sheet: Sheet, counting: Counting) -> bool:
    return (counting.off(sheet) or 0) > 0 and not counting.is_near(sheet)


_OF_A_KIND = (What.RETYPED, What.CONVERTED, What.STYLE)
"""The changes of all values of a kind, or names of a style."""


def _affects(what: What, kind: str, intact: Sheet) -> bool:
    """Whether a change of texts would have altered an intact reply."""
    wanted = intact.wanted
    if wanted is None:
        return False
    arguments = wanted.arguments or {}
    if what in (What.RETYPED, What.CONVERTED):
        return kind in map(kind_of, arguments.values())
    if what is What.STYLE:
        return kind in map(style_of, arguments)
    change = CHANGES.get(what)
    texts = [wanted.text, *strings(arguments)]
    return change is not None and any(change(text) != text for text in texts)


def copied(sheet: Sheet) -> bool | None:
    """Whether a reply has what its request wants; None if the request wants nothing it can have."""
    wanted = sheet.wanted
    if wanted is None or sheet.end not in ("model", "stop string"):
        return None
    if wanted.text:
        times = sheet.text.count(wanted.text)
        return None if not sheet.text or times > 1 else times == 1
    if wanted.name and wanted.name not in {name for name, _ in sheet.calls}:
        return None if not sheet.calls else False
    if wanted.arguments is None:
        return True
    return any(has_arguments(wanted.arguments, parsed_object(args)) for _, args in _called(sheet))


def _called(sheet: Sheet) -> Iterator[tuple[str, str]]:
    """Yield the calls of the wanted function, or all if the request names none."""
    name = sheet.wanted.name if sheet.wanted else ""
    return (call for call in sheet.calls if name in ("", call[0]))


def _copy_change(sheet: Sheet) -> tuple[Entry, frozenset[int]] | None:
    """Return how a reply differs from what its request wants, if a server may have done so.

    The numbers are those of further tokens that the wanted text has, in each spelling.
    """
    wanted = sheet.wanted
    if wanted is None:
        return None
    if wanted.text:
        change = text_change(wanted.text, sheet.text)
        return _copy("answer", change, wanted.text, sheet.text, [wanted.text])
    name, arguments = next(_called(sheet), next(iter(sheet.calls), ("", "")))
    if name != wanted.name and wanted.name:
        changed = name_change(wanted.name, name)
        if changed is None:
            return None
        more = call_header(wanted.name) - call_header(name)
        entry = Entry(changed.what, "name", "copy", wanted.name, name, changed.detail)
        return entry, frozenset({more})
    got = parsed_object(arguments)
    if got is None or wanted.arguments is None:
        return None
    right = json.dumps(wanted.arguments, ensure_ascii=False)
    compact = json.dumps(wanted.arguments, ensure_ascii=False, separators=(",", ":"))
    change = argument_change(wanted.arguments, got)
    return _copy("arguments", change, right, arguments, [right, compact])


def _copy(
    place: Place, change: Change, wanted: str, got: str, spellings: Iterable[str]
) -> tuple[Entry, frozenset[int]]:
    more = (more_tokens(got, spelling) for spelling in spellings)
    entry = Entry(change.what, place, "copy", wanted, got, change.detail)
    return entry, frozenset(n for n in more if n is not None)


def _plans_copy(sheet: Sheet) -> bool:
    """Whether the CoT has the wanted texts, and none of those that the reply has instead."""
    wanted = sheet.wanted
    if wanted is None or not sheet.reasoning:
        return False
    if wanted.text:
        return wanted.text in sheet.reasoning
    name, arguments = next(_called(sheet), next(iter(sheet.calls), ("", "")))
    if wanted.name and name != wanted.name:
        return wanted.name in sheet.reasoning and name not in sheet.reasoning
    planned, made = (
        {text for text in strings(value) if len(text) >= _SHORTEST_TEXT}
        for value in (wanted.arguments, parsed_object(arguments))
    )
    # The text that the reply has instead may be a part of the planned one.
    rest = sheet.reasoning
    for text in planned - made:
        rest, times = re.subn(_as_planned(text), "", rest)
        if not times:
            return False
    return bool(planned - made) and not any(text in rest for text in made - planned)


def _as_planned(text: str) -> str:
    """Return the pattern of a text in a CoT; white space at its end counts if no word follows."""
    return re.escape(text) + (r"(?!\w)" if text[-1:].isspace() else "")


def _is_typical(sheet: Sheet) -> bool:
    """Whether a call has the wanted text with the part changed or missing that servers damage."""
    wanted = sheet.wanted
    if wanted is None or not wanted.special:
        return False
    got = "\n".join(strings(parsed_object(next(_called(sheet), ("", ""))[1])))
    made = {"", *(change(wanted.special) for change in CHANGES.values())} - {wanted.special}
    texts = (text for text in strings(wanted.arguments) if wanted.special in text)
    return any(text.replace(wanted.special, other) in got for text in texts for other in made)
