"""The witnesses of the account that look at one reply, alone or beside one other reply.

Each returns what the server did, or None if it says nothing. Pure functions.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from harness.records.traits import Sheet, Wanted
from harness.rules.account.counting import Counting
from harness.rules.account.differences import (
    CHANGES,
    ESCAPES,
    Change,
    argument_change,
    difference,
    folded,
    has_arguments,
    name_change,
    text_change,
)
from harness.rules.account.entry import FENCED, TWICE, Entry, Place
from harness.rules.account.json_text import objects_in, parsed_object, strings
from harness.rules.account.ledger import COT_HEADER, call_header, token_count
from harness.text import shared_beginning

_FENCE = re.compile(r"```\w*\n(.*?)\n?```", re.DOTALL)
_SHORTEST_TWICE = 16  # characters of a text that nobody writes twice in a row by chance
_SHORTEST_TEXT = 4  # characters of a text in arguments that a CoT plans


# --- Structure: the reply alone


def structure(sheet: Sheet, counting: Counting) -> Entry | None:
    """Return what the form of a reply shows: a text twice, begun anew, or in a code fence."""
    for place, text in _texts(sheet):
        if place in sheet.twice and not (sheet.ledger and sheet.ledger.extra == 0):
            how = "each piece of the stream comes twice"
            return Entry("added", place, how, "structure", "each piece once", text)
        for how, kept in _once(text):
            if fits_instead(sheet, counting, text, kept):
                return Entry("added", place, how, "structure", kept, text)
    for how, undo in ESCAPES.items():
        for place, text in _texts(sheet):
            contradicts = place == "CoT" and _is_whole_cot(sheet)
            if not contradicts and fits_instead(sheet, counting, text, written := undo(text)):
                return Entry("changed", place, how, "count", written, text)
    inside = _FENCE.fullmatch(sheet.text.strip()) if sheet.format else None
    if inside and fits_instead(sheet, counting, sheet.text, inside[1]):
        return Entry("added", "answer", FENCED, "structure", inside[1], sheet.text)
    return None


def _is_whole_cot(sheet: Sheet) -> bool:
    """Whether the reasoning tokens are those of the returned CoT, with or without its header."""
    one = sheet.ledger
    return one is not None and one.thinking in (one.cot, one.cot + COT_HEADER)


def _once(text: str) -> Iterator[tuple[str, str]]:
    """Yield texts of which this one may be made: the text once, or the text that begins anew."""
    begin = (
        text.find(text[:_SHORTEST_TWICE], _SHORTEST_TWICE) if len(text) > _SHORTEST_TWICE else -1
    )
    while begin >= 0:
        rest = text[begin:]
        if len(rest) >= begin and rest.startswith(text[:begin].rstrip()):
            yield (TWICE if len(rest) <= begin + 1 else "it begins anew"), rest
        begin = text.find(text[:_SHORTEST_TWICE], begin + 1)


def fits_instead(sheet: Sheet, counting: Counting, returned: str, written: str) -> bool:
    """Whether the count is usual for a reply with another text, and not for this one."""
    more = more_tokens(returned, written) if returned != written else None
    return not counting.occurs(sheet) and counting.is_right(sheet, more)


def more_tokens(returned: str, written: str) -> int | None:
    """Return how many more tokens a text has than the one that was returned."""
    counts = [token_count(text) for text in (written, returned)]
    return None if None in counts else counts[0] - counts[1]  # type: ignore[operator]


def _texts(sheet: Sheet) -> Iterator[tuple[Place, str]]:
    yield "CoT", sheet.reasoning
    yield "answer", sheet.text


# --- Copies: what the request determines


def copied(sheet: Sheet) -> bool | None:
    """Whether a reply has what its request wants; None if the request wants nothing it can have."""
    wanted = sheet.wanted
    if wanted is None or sheet.end not in ("model", "stop string"):
        return None
    if wanted.text:
        return None if not sheet.text else wanted.text in sheet.text
    if wanted.name and wanted.name not in {name for name, _ in sheet.calls}:
        return None if not sheet.calls else False
    if wanted.arguments is None:
        return True
    return any(has_arguments(wanted.arguments, parsed_object(args)) for _, args in called(sheet))


def called(sheet: Sheet) -> Iterator[tuple[str, str]]:
    """Yield the calls of the wanted function, or all if the request names none."""
    name = sheet.wanted.name if sheet.wanted else ""
    return (call for call in sheet.calls if name in ("", call[0]))


def copy_change(sheet: Sheet) -> tuple[Entry, frozenset[int]] | None:
    """Return how a reply differs from what its request wants, if a server may have done so.

    The numbers are those of further tokens that the wanted text has, in each spelling.
    """
    wanted = sheet.wanted
    if wanted is None:
        return None
    if wanted.text:
        change = text_change(wanted.text, sheet.text)
        return _copy("answer", change, wanted.text, sheet.text, [wanted.text])
    name, arguments = next(called(sheet), next(iter(sheet.calls), ("", "")))
    if name != wanted.name and wanted.name:
        changed = name_change(wanted.name, name)
        if changed is None:
            return None
        more = call_header(wanted.name) - call_header(name)
        return Entry(changed.kind, "name", changed.how, "copy", wanted.name, name), frozenset(
            {more}
        )
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
    entry = Entry(change.kind, place, change.how, "copy", wanted, got, change.simple)
    return entry, frozenset(n for n in more if n is not None)


def plans_copy(sheet: Sheet) -> bool:
    """Whether the CoT has the wanted texts, and none of those that the reply has instead."""
    wanted = sheet.wanted
    if wanted is None or not sheet.reasoning:
        return False
    if wanted.text:
        return wanted.text in sheet.reasoning
    name, arguments = next(called(sheet), next(iter(sheet.calls), ("", "")))
    if wanted.name and name != wanted.name:
        return wanted.name in sheet.reasoning and name not in sheet.reasoning
    planned, made = (
        {text for text in strings(value) if len(text) >= _SHORTEST_TEXT}
        for value in (wanted.arguments, parsed_object(arguments))
    )
    lacking, instead = planned - made, made - planned
    return (
        bool(lacking)
        and all(text in sheet.reasoning for text in lacking)
        and not any(text in sheet.reasoning for text in instead)
    )


def is_typical(sheet: Sheet) -> bool:
    """Whether a call has the wanted text with the part changed or missing that servers damage."""
    wanted = sheet.wanted
    if wanted is None or not wanted.special:
        return False
    got = "\n".join(strings(parsed_object(next(called(sheet), ("", ""))[1])))
    made = {"", *(change(wanted.special) for change in CHANGES.values())} - {wanted.special}
    texts = (text for text in strings(wanted.arguments) if wanted.special in text)
    return any(text.replace(wanted.special, one) in got for text in texts for one in made)


def planned(sheet: Sheet) -> Sheet:
    """Return the sheet of a call with the arguments that its CoT plans as the wanted ones."""
    if sheet.wanted is not None or not sheet.calls or "{" not in sheet.reasoning:
        return sheet
    name, arguments = sheet.calls[0]
    made = parsed_object(arguments) or {}
    plans = [plan for plan in objects_in(sheet.reasoning) if plan.keys() == made.keys()]
    return replace(sheet, wanted=Wanted(name=name, arguments=plans[-1])) if plans else sheet


# --- Whole twins: the reply that nothing ended early


def is_beginning(sheet: Sheet, whole: Sheet) -> bool:
    """Whether CoT and answer of a reply are the beginnings of those of the whole one."""
    pairs = ((whole.reasoning, sheet.reasoning), (whole.text, sheet.text))
    return all(text.startswith(_decoded(begin)) for text, begin in pairs)


def beginning(sheet: Sheet, whole: Sheet) -> Entry | None:
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


# --- Twins: replies to the same request


def unlike(sheet: Sheet, twin: Sheet) -> Entry | None:
    """Return how a reply differs from its twin; None if the model may have written both."""
    pairs: list[tuple[Place, str, str]] = [
        ("CoT", twin.reasoning, sheet.reasoning),
        ("answer", twin.text, sheet.text),
        ("arguments", spelled_calls(twin), spelled_calls(sheet)),
    ]
    apart = [pair for pair in pairs if pair[1] != pair[2]]
    if len(apart) != 1:
        return None
    ((place, wanted, got),) = apart
    change = difference(wanted, got)
    return Entry(change.kind, place, change.how, "twin", wanted, got) if change.simple else None


def spelled_calls(sheet: Sheet) -> str:
    """Return the calls, with JSON in one spelling."""
    return "\n".join(
        f"{name} {args if value is None else json.dumps(value, ensure_ascii=False)}"
        for name, args in sheet.calls
        for value in (parsed_object(args),)
    )


def lost_letters(sheet: Sheet, twin: Sheet) -> Entry | None:
    """Return the text of a structured answer that has ASCII letters for others of its twin."""
    found: Mapping[str, object] = parsed_object(sheet.text) or {}
    for text in strings(found):
        long = len(text) >= _SHORTEST_TWICE and text.isascii()
        if long and text not in twin.text and text in folded(twin.text):
            how = "letters beyond ASCII are replaced"
            return Entry("changed", "answer", how, "twin", twin.text, sheet.text)
    return None
