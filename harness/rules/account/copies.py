"""The second witness of the account: texts and calls that the request determines."""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from harness.records.conditions import Api
from harness.records.traits import Sheet, Wanted
from harness.rules.account.counting import Counting
from harness.rules.account.differences import (
    CHANGES,
    OTHER_ORDER,
    OTHER_STYLE,
    OTHER_TYPES,
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
    FEWEST,
    FEWEST_ALIKE,
    MANY_AGREEING,
    Entry,
    Found,
    Place,
    Row,
)
from harness.rules.account.json_text import objects_in, parsed_object, strings
from harness.rules.account.ledger import call_header, more_tokens, token_count

_SHORTEST_TEXT = 4  # characters of a text in arguments that a CoT plans


def found(rows: Sequence[Row], copies: Sequence[bool | None], counting: Counting) -> Found:
    """Judge the replies that lack what their requests want."""
    same = [row for row, is_same in zip(rows, copies, strict=True) if is_same]
    other = [row for row, is_same in zip(rows, copies, strict=True) if is_same is False]
    changed = [(row, *found) for row in other if (found := _copy_change(row.sheet)) is not None]
    yield from _received([(row, entry) for row, entry, _ in changed], same)
    authors = [_author(row, entry, more, same, counting) for row, entry, more in changed]
    judged = [(row, entry) for row, entry, _ in changed]
    by_author: dict[str | None, list[tuple[Row, Entry]]] = defaultdict(list)
    for one, who in zip(judged, authors, strict=True):
        by_author[who].append(one)
    yield from by_author["surely"]
    times = Counter(row.api for row, _ in by_author["server"])
    yield from (one for one in by_author["server"] if times[one[0].api] >= FEWEST)
    counted, own = ({row.sample for row, _ in by_author[who]} for who in ("counted", "model"))
    if len(counted) >= FEWEST_ALIKE and len(counted) > len(own):
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
    if agree and min(map(abs, agree)) >= MANY_AGREEING:
        return "surely"
    equal = (written == (bare(one.reasoning), one.ledger and one.ledger.reported) for one in twins)
    if sheet.ledger is not None and any(equal):
        return "server"
    own = counting.fits(sheet) and not any(counting.occurs(sheet, n) for n in more)
    if own and counting.known[bool(sheet.calls)]:
        return "model"
    named = entry.place == "name" and (_plans_copy(sheet) or entry.kind == "lost")
    if named and entry.kind != "added":
        return "surely"
    if _plans_copy(sheet) and not counting.fits(sheet) and entry.kind != "added":
        return "server"
    if _plans_copy(sheet) and _is_typical(sheet):
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
            enough = len(found) >= FEWEST
        else:
            planned = {row.sample for row, _ in found if _plans_copy(row.sheet)}
            enough = len(planned) >= FEWEST_ALIKE
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
            if times >= FEWEST_ALIKE and rest == common != sent:
                found.append((row, entry._replace(place="request")))
    yield from found if len(found) >= FEWEST else ()


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
    return any(text.replace(wanted.special, one) in got for text in texts for one in made)


def planned(sheet: Sheet) -> Sheet:
    """Return the sheet of a call with the arguments that its CoT plans as the wanted ones."""
    if sheet.wanted is not None or not sheet.calls or "{" not in sheet.reasoning:
        return sheet
    name, arguments = sheet.calls[0]
    made = parsed_object(arguments) or {}
    plans = [plan for plan in objects_in(sheet.reasoning) if plan.keys() == made.keys()]
    return replace(sheet, wanted=Wanted(name=name, arguments=plans[-1])) if plans else sheet
