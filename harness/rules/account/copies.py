"""The second witness of the account: texts and calls that the request determines."""

import json
import re
from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Sequence
from math import inf

from harness.api.json_text import parsed_object, strings
from harness.api.ledger import call_header, more_tokens
from harness.records.conditions import Api
from harness.records.replies import Row
from harness.rules.account.counting import SURELY, Counting
from harness.rules.account.court import Claim, associated, convicted
from harness.rules.account.differences import (
    CHANGES,
    Change,
    argument_change,
    has_arguments,
    kind_of,
    name_change,
    style_of,
    text_change,
    without_typography,
)
from harness.rules.account.entry import ALIKE, SEVERAL, Entry, Judged, Place, What
from harness.text import FILTERED

_PLANNED = 4  # samples that a model plans to copy, and that a change of a server affects
_SHORTEST_TEXT = 4  # characters of a text or an integer in arguments that a CoT plans


def of_copies(replies: Sequence[Row], copies: Sequence[bool | None], counting: Counting) -> Judged:
    """Judge the replies that lack what their requests want.

    The server changed one whose count is that of the wanted text by many tokens; several that are
    changed alike, if their counts show it, if they have the placeholder of a filter, or if no reply
    that the change would affect is intact and it is likely that the model wrote the copy (see
    `_fewest`); and those of the API or mode that has all that are changed in one place. What a
    count shows to be the model's own outweighs as many.
    """
    every: dict[tuple[str, str], list[Row]] = defaultdict(list)
    peers: dict[Api, list[Row]] = defaultdict(list)
    claims: list[Claim] = []
    for row, is_same in zip(replies, copies, strict=True):
        change = _copy_change(row) if is_same is False else None
        if is_same or change is not None:
            every[row.sample].append(row)
        if is_same:
            peers[row.api].append(row)
        elif change is not None:
            entry, more = change
            shown = counting.instead(row, more)
            proof = (bool(shown) and min(map(abs, more)) > SURELY) or _is_double(row)
            same_change = (row.api, entry.place, entry.what)
            alike: Hashable = same_change if Change(entry.what).simple else None
            fewest = (ALIKE if counting.is_near(row) else SEVERAL) if shown else inf
            if _is_filtered(row, entry):  # a filter sees both APIs
                alike, fewest = (entry.place, entry.what), min(fewest, ALIKE)
            claims.append(Claim(row, entry, proof, alike, _unit(row), fewest, shown is False))
    yield from convicted(claims)
    by_change: dict[Hashable, list[Claim]] = defaultdict(list)
    for claim in (claim for claim in claims if claim.alike):
        by_change[claim.alike].append(claim)
    for place in dict.fromkeys(claim.entry.place for claim in claims if claim.alike):
        simple = {e.row.key: e.entry for e in claims if e.alike and e.entry.place == place}
        yield from associated(every.values(), simple)
    for found in by_change.values():
        kinds = {(one.entry.what, one.entry.detail, one.row.api) for one in found}
        intact = (_affects(what, kind, one) for what, kind, api in kinds for one in peers[api])
        if not any(one.own for one in found) and not any(intact):
            yield from convicted(
                one._replace(fewest=_fewest(one.row, one.entry, counting)) for one in found
            )


def _fewest(row: Row, entry: Entry, counting: Counting) -> float:
    """How many samples show that the model wrote the copy, by count, plan or declared type.

    A model that plans one text may write another in all tries of a few samples. A plan then shows
    little if the count is that of the text that arrived, which the wanted one may have as well.
    """
    planned = _plans_copy(row)
    if counting.fits(row):
        if entry.what is What.RETYPED or (entry.what is What.CONVERTED and planned):
            return ALIKE  # no model rounds as a type does what it plans exactly
        return _PLANNED if planned else inf
    lacking = (counting.off(row) or 0) > 0 and not counting.is_near(row)  # of more text
    return ALIKE if planned or lacking else inf


def _is_double(row: Row) -> bool:
    """Whether an integer arrived as the nearest 64-bit float, which no model computes."""
    _, arguments = next(_called(row), ("", ""))
    wanted, got = (row.wanted and row.wanted.arguments) or {}, parsed_object(arguments) or {}
    digits = arguments.replace(".", "")  # A model may write the integer itself as a fraction.
    integers = {name: value for name, value in wanted.items() if type(value) is int}
    floats = {name: value for name, value in got.items() if type(value) is float}
    return any(
        floats[name] == float(value) != value and str(value) not in digits
        for name, value in integers.items()
        if name in floats
    )


def _unit(row: Row) -> Hashable:
    """Return what a model may write oddly in each try: the wanted text, in whichever request.

    Calls without arguments have nothing to write, so that their requests count.
    """
    wanted = row.wanted
    if wanted is None or not (wanted.text or wanted.arguments):
        return row.sample
    return wanted.text, json.dumps(wanted.arguments, sort_keys=True)


def _is_filtered(row: Row, entry: Entry) -> bool:
    """Whether the placeholder of a filter, which the CoT lacks, replaces a wanted text."""
    mask = re.search(FILTERED, entry.got) if entry.what is What.MASKED else None
    return mask is not None and mask[0] not in row.reasoning


def _affects(what: What, kind: str, intact: Row) -> bool:
    """Whether a change of texts would have altered an intact reply, as it arrived."""
    wanted = intact.wanted
    if wanted is None:
        return False
    arguments = wanted.arguments or {}
    if what in (What.RETYPED, What.CONVERTED):
        return kind in map(kind_of, arguments.values())
    if what is What.EMPTY_LOST:
        return not all(arguments.values())
    if what is What.STYLE:
        return kind in map(style_of, arguments)
    # Typography that the model spells in its own way is not there to be altered.
    arrived = [
        intact.text,
        *(text for _, args in intact.calls for text in strings(parsed_object(args) or {})),
    ]
    texts = [
        text for text in (wanted.text, *strings(arguments)) if any(text in got for got in arrived)
    ]
    if what is What.MASKED:
        return kind in texts
    change = CHANGES.get(what)
    return change is None or any(change(text) != text for text in texts)


def copied(row: Row) -> bool | None:
    """Whether a reply has what its request wants; None if the request wants nothing it can have."""
    wanted = row.wanted
    if wanted is None or row.end not in ("model", "stop string"):
        return None
    if wanted.text:
        times = without_typography(row.text).count(without_typography(wanted.text))
        return None if not row.text or times > 1 else times == 1
    if wanted.name and wanted.name not in {name for name, _ in row.calls}:
        return None if not row.calls else False
    if wanted.arguments is None:
        return True
    return any(has_arguments(wanted.arguments, parsed_object(args)) for _, args in _called(row))


def _called(row: Row) -> Iterator[tuple[str, str]]:
    """Yield the calls of the wanted function, or all if the request names none."""
    name = row.wanted.name if row.wanted else ""
    return (call for call in row.calls if name in ("", call[0]))


def _copy_change(row: Row) -> tuple[Entry, frozenset[int]] | None:
    """Return how a reply differs from what its request wants, if a server may have done so.

    The numbers are those of further tokens that the wanted text has, in each spelling.
    """
    wanted = row.wanted
    if wanted is None:
        return None
    if wanted.text:
        change = text_change(wanted.text, row.text)
        return _copy("answer", change, wanted.text, row.text, [wanted.text])
    name, arguments = next(_called(row), next(iter(row.calls), ("", "")))
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


def _plans_copy(row: Row) -> bool:
    """Whether the CoT has the wanted texts and names, and none that the reply has instead.

    A model respells the name of a function, whatever its CoT says.
    """
    wanted = row.wanted
    if wanted is None or not row.reasoning:
        return False
    if wanted.text:
        return wanted.text in row.reasoning
    name, arguments = next(_called(row), next(iter(row.calls), ("", "")))
    if wanted.name and name != wanted.name:
        return False
    planned, made = (
        {text for text in (*value, *strings(value), *integers) if len(text) >= _SHORTEST_TEXT}
        for value in (wanted.arguments or {}, parsed_object(arguments) or {})
        for integers in [(str(each) for each in value.values() if type(each) is int)]
    )
    # The text that the reply has instead may be a part of the planned one.
    rest = row.reasoning
    for text in planned - made:
        rest, times = re.subn(_as_planned(text), "", rest)
        if not times:
            return False
    return bool(planned - made) and not any(text in rest for text in made - planned)


def _as_planned(text: str) -> str:
    """Return the pattern of a text in a CoT; white space at its end counts if no word follows."""
    return re.escape(text) + (r"(?!\w)" if text[-1:].isspace() else "")
