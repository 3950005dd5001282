"""Calls whose arguments differ from those of the case because the server changed them.

Models may choose other arguments, so a single different call proves nothing. The evidence is one of
these:

- The reported tokens fit the expected call and not the returned one. The calls of the run with the
  expected arguments show how many further tokens the model writes.
- Numbers, booleans and lists differ from the prompt in every call at several cases.
- Numbers and words differ from the CoT, and other attempts at the case agree with the CoT.
- All parameters have names in another style.
- All texts are changed alike: one rule explains the calls of several cases and parameters, no text
  is an exception, and the CoT has the original texts. A single changed text proves nothing, because
  models capitalize cities and shorten titles.
- All absent optional parameters have the same empty value, in several cases and without exception.
"""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain
from typing import NamedTuple

from harness.records.conditions import Condition
from harness.records.scores import Score
from harness.records.traits import MadeCall
from harness.rules.check import Difference, Family, evidence
from harness.rules.evidence.json_text import mapped, parsed_object, strings
from harness.rules.rule import CHAT

family = Family("calls", CHAT, component="calls")

# A model may interpret one case, or one parameter in all cases, in its own way.
_FEWEST_CASES_ALIKE, _FEWEST_PARAMETERS = 3, 2

_Arguments = dict[str, object]
_ABSENT = object()
_EMPTY_VALUES: Sequence[object] = (None, "", [], {})


class _Made(NamedTuple):
    """The call of an attempt, with its expected and its returned arguments."""

    score: Score
    traits: MadeCall
    expected: _Arguments
    got: _Arguments


def _made(examined: Sequence[Score]) -> Iterator[_Made]:
    for score in examined:
        if (traits := score.traits.call) is not None:
            expected, got = (parsed_object(text) or {} for text in (traits.expected, traits.got))
            yield _Made(score, traits, expected, got)


def _changed_alike(made: Sequence[_Made]) -> Iterator[_Made]:
    """Yield the calls of one condition whose texts were all changed in the same way."""
    for change in _CHANGES:
        changed = [mapped(call.expected, change) for call in made]
        yield from _explained(made, changed, in_cot=True)
    for order in _ORDERS:
        yield from _explained(made, [_ordered(call.expected, order) for call in made])
    longest = max((len(text) for call in made for text in strings(call.got)), default=0)
    cut = _explained(made, [mapped(call.expected, lambda t: t[:longest]) for call in made])
    if len({call.score.sample for call in cut if _ends_within_word(call, longest)}) > 1:
        yield from cut
    for value in _EMPTY_VALUES:
        filled = [dict.fromkeys(call.traits.absent, value) | call.expected for call in made]
        yield from _explained(made, filled)
    several = [call for call in made if len(set(_texts(call.expected).values())) > 1]
    yield from _explained(several, [call.got if _has_exchanged(call) else None for call in several])


def _explained(
    made: Sequence[_Made], changed: Sequence[object], *, in_cot: bool = False
) -> Sequence[_Made]:
    """The calls with the changed arguments, if they are enough and no other call is unchanged.

    `changed` has what a change makes of the expected arguments of each call. With `in_cot`, a call
    counts only if its CoT has the original values.
    """
    affected = [
        (call, other) for call, other in zip(made, changed, strict=True) if other != call.expected
    ]
    found = [
        call for call, other in affected if call.got == other and (call.traits.in_cot or not in_cot)
    ]
    cases = {call.score.sample for call in found}
    others = {
        name
        for call in found
        for name in call.expected.keys() | call.got.keys()
        if name not in call.got or call.got[name] != call.expected.get(name, _ABSENT)
    }
    enough = len(cases) >= _FEWEST_CASES_ALIKE and len(others) >= _FEWEST_PARAMETERS
    intact = any(call.got == call.expected for call, _ in affected)
    return found if enough and not intact else ()


def _ends_within_word(made: _Made, length: int) -> bool:
    """Whether this length is within a word of an expected text. Models shorten texts elsewhere."""
    ends = (text[length - 1 : length + 1] for text in strings(made.expected))
    return length > 0 and any(len(end) > 1 and end.isalnum() for end in ends)


def _has_exchanged(made: _Made) -> bool:
    """Whether the texts are the expected ones, but in other parameters."""
    expected, got = _texts(made.expected), _texts(made.got)
    moved = expected.keys() == got.keys() and expected != got
    return moved and sorted(expected.values()) == sorted(got.values())


def _texts(arguments: _Arguments) -> dict[str, str]:
    return {name: value for name, value in arguments.items() if isinstance(value, str)}


def _ordered(arguments: _Arguments, order: Callable[[list[object]], list[object]]) -> _Arguments:
    """Return the arguments with another order of the entries of all lists."""
    return {
        name: order(value) if isinstance(value, list) else value
        for name, value in arguments.items()
    }


def _capitalized(text: str) -> str:
    return text[:1].upper() + text[1:]


def _without_marks(text: str) -> str:
    parts = unicodedata.normalize("NFKD", text)
    return "".join(char for char in parts if not unicodedata.combining(char))


# What servers do to texts, by accident or to clean them.
_CHANGES: Sequence[Callable[[str], str]] = (
    str.lower,
    str.upper,
    str.title,
    _capitalized,
    str.strip,
    lambda text: " ".join(text.split()),
    lambda text: unicodedata.normalize("NFKC", text),
    _without_marks,
)
_ORDERS: Sequence[Callable[[list[object]], list[object]]] = (
    lambda entries: entries[::-1],
    lambda entries: sorted(entries, key=str),
)


# In samples. A call that the model spells in an odd way can have the tokens of another by chance.
_FEWEST_PROVEN = 2
# A model may misunderstand one case, or two similar ones, but hardly three.
_FEWEST_ATTEMPTS, _FEWEST_CASES = 3, 3
# Shares of the calls with the expected arguments above which a number of extra tokens is usual, or
# is one that occurs at all.
_USUAL, _SEEN = 0.2, 0.01
_FEWEST_CALLS = 20
# The share of calls that a model may write with other words than it planned.
_MISTAKES = 0.02
_FEWEST_RENAMED = 2
_SEPARATOR = re.compile(r"(?<=[^\W_])[-_](?=[^\W_])")


@family.cross_check("calls.arguments.changed", lambda score: score.traits.call)
def changed_calls(examined: Sequence[Score]) -> Iterator[Difference]:
    """Calls reach the client with the arguments that the model wrote.

    Changed arguments that still match the schema make a tool do what the model did not intend.
    """
    made = list(_made(examined))
    by_condition: dict[Condition, list[_Made]] = defaultdict(list)
    by_case: dict[tuple[str, Condition], list[_Made]] = defaultdict(list)
    for call in made:
        condition = call.score.condition
        by_condition[condition].append(call)
        by_case[call.score.sample, condition].append(call)
    counts = {condition: _extra_tokens(group, made) for condition, group in by_condition.items()}
    proven = [
        call for call in made if _has_other_tokens(call.traits, *counts[call.score.condition])
    ]
    if len({call.score.sample for call in proven}) < _FEWEST_PROVEN:
        proven = []
    always = [
        same for (_, condition), same in by_case.items() if _always_other(same, *counts[condition])
    ]
    enough = len({same[0].score.sample for same in always}) >= _FEWEST_CASES
    renamed, alike = (
        [call for group in by_condition.values() for call in select(group)]
        for select in (_renamed, _changed_alike)
    )
    alike = [call for call in alike if not _is_own(call.traits, *counts[call.score.condition])]
    reasons: Sequence[tuple[Iterable[_Made], str]] = (
        (proven, "the reported tokens fit the expected arguments, not these"),
        (chain(*always) if enough else (), "every call at the case differs from the prompt"),
        (_unlike_cot(made), "the CoT and other attempts have the expected values"),
        (renamed, "all parameter names have another style"),
        (alike, "all calls of this kind are changed in the same way"),
    )
    found: dict[str, tuple[MadeCall, str]] = {}
    for changed, reason in reasons:
        for call in changed:
            found.setdefault(call.score.record, (call.traits, reason))
    for record, (traits, reason) in found.items():
        what = "order of a list in the" if _is_reordered(traits) else ""
        message = f"The server changed the {what} arguments that the model wrote: {reason}."
        message = " ".join(message.split())
        yield message, evidence(record, "$", traits.expected, traits.got, traits.exchange)


def _is_reordered(call: MadeCall) -> bool:
    """Whether the arguments are the expected ones, except for the order of the entries of lists."""
    expected, got = (parsed_object(text) or {} for text in (call.expected, call.got))
    by_text = partial(sorted, key=str)
    return not call.same and _ordered(expected, by_text) == _ordered(got, by_text)


def _extra_tokens(group: Sequence[_Made], made: Sequence[_Made]) -> tuple[set[int], set[int]]:
    """The usual numbers of extra tokens of calls with the expected arguments, and all that occur.

    If a group has too few such calls, those of all that were `made` count, provided that the same
    number is the most frequent one in both. Both sets are empty if there are too few.
    """
    counted, pooled = (
        Counter(
            call.traits.extra_tokens
            for call in some
            if call.traits.same and call.traits.extra_tokens is not None
        )
        for some in (group, made)
    )
    if 0 < counted.total() < _FEWEST_CALLS:
        first, other = (counts.most_common(1)[0][0] for counts in (counted, pooled))
        counted = pooled if first == other else counted
    if counted.total() < _FEWEST_CALLS:
        return set(), set()
    usual, seen = (
        {extra for extra, times in counted.items() if times > share * counted.total()}
        for share in (_USUAL, _SEEN)
    )
    return usual, seen


def _unlike_cot(made: Sequence[_Made]) -> list[_Made]:
    """The calls whose values differ from their CoT, if other attempts have the expected values.

    Different words count only if they are more frequent than a model's mistakes.
    """
    intact = {call.score.sample for call in made if call.traits.same}
    frequent = sum(_has_words_from_nowhere(call.traits) for call in made) > _MISTAKES * len(made)
    unlike = [
        call for call in made
        if call.score.sample in intact and call.traits.in_cot
        if call.traits.values_differ or (frequent and _has_words_from_nowhere(call.traits))
    ]  # fmt: skip
    return unlike if len({call.score.sample for call in unlike}) >= _FEWEST_CASES else []


def _has_words_from_nowhere(call: MadeCall) -> bool:
    """Whether a call has words that its CoT lacks, and the tokens of the expected words.

    If the model itself worded a text differently, the tokens are those of the new wording.
    """
    as_expected = call.extra_tokens is not None and call.extra_tokens in call.expected_extra_tokens
    return call.in_cot and call.new_word and as_expected


def _renamed(group: Sequence[_Made]) -> list[_Made]:
    """The calls with renamed parameters, if no call has an unchanged name of several words."""
    names: dict[str, set[str]] = {}
    for call in group:
        plain = {_plain(name) for name in call.got.keys() - call.expected.keys()}
        words = {name for name in call.expected if _SEPARATOR.search(name)}
        if words & call.got.keys():
            return []
        names[call.score.record] = {name for name in words if _plain(name) in plain}
    enough = len(set().union(*names.values())) >= _FEWEST_RENAMED
    return [call for call in group if enough and names[call.score.record]]


def _plain(name: str) -> str:
    """A name without its style: due_date, dueDate and DUE-DATE are the same; from_ is not from."""
    return _SEPARATOR.sub("", name).lower()


def _has_other_tokens(call: MadeCall, usual: set[int], seen: set[int]) -> bool:
    """Whether a call has the tokens of the expected call, and not those of the returned one."""
    if call.same or call.extra_tokens is None or call.extra_tokens in seen:
        return False
    return bool(usual & set(call.expected_extra_tokens))


def _is_own(call: MadeCall, usual: set[int], seen: set[int]) -> bool:
    """Whether a call has the tokens of the returned call, and not those of the expected one."""
    return call.extra_tokens in usual and not seen & set(call.expected_extra_tokens)


def _always_other(same: Sequence[_Made], usual: set[int], seen: set[int]) -> bool:
    """Whether all calls differ from the prompt, and no tokens show that the model wrote them so."""
    calls = [call.traits for call in same]
    own = any(_is_own(call, usual, seen) for call in calls)
    other = all(call.values_differ and call.in_prompt for call in calls)
    return len(calls) >= _FEWEST_ATTEMPTS and other and not own
