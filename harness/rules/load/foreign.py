"""Replies with content of another request."""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache

from harness.api.json_text import parsed_object, strings
from harness.api.ledger import FRAMING
from harness.records.conditions import Api
from harness.records.scores import Score
from harness.rules.account.differences import LONG_TEXT
from harness.rules.account.entry import ALIKE, SEVERAL
from harness.rules.check import Difference, Family, evidence
from harness.rules.evidence.traits import CODE_WORD
from harness.rules.habits import Habit
from harness.rules.rule import CHAT

family = Family("load", CHAT, component="shared")

_Sample = tuple[str, str]  # task and sample

_BY_CHANCE = Habit(0.003, "of words that a model invents for two requests: 3 of 1,052 replies")
_WORD = re.compile(r"\w{3,}")
_COMMON_WORDS = 0.3  # requests with a smaller share of common words are unrelated
_SECONDS = 2  # by which times in whole seconds may differ that are the same
_FEWEST_TIMES = 3  # at which the replies of an API say that they were made, if these are of a clock
_FEWEST_ATTEMPTS, _FEWEST_TWINS = 4, 2
"""Attempts at a sample that show what is usual for it, and attempts at another that make a call."""
_PRIVATE = 4  # characters of a value by which requests differ
_FEWEST_NAMED = 2  # words of the other request in an answer that is its own


@family.cross_check(
    "reply.foreign",
    lambda score: score.applicable and score.traits.conversation,
    habit=_BY_CHANCE,
)
def foreign(examined: Sequence[Score]) -> Iterator[Difference]:
    """No reply contains content that belongs to another request.

    Otherwise users see each other's data. The evidence is one of these: an invented word of another
    request; the long text of a reply to an unrelated request; the prompt tokens and the texts of
    such a reply, if other attempts have other prompt tokens; or a call with a value of another
    prompt, or the answer to it. These count if the attempts with that prompt make them, and the
    other attempts with this one do not; or in two requests, an answer or all arguments of a call
    that another one determines; or three answers of earlier turns that come again. A model may also
    invent a word or value of another prompt, as the small one did in 3 of 1,052 replies; only an
    equal long text proves that the server mixed replies up.
    """
    samples: dict[_Sample, list[Score]] = defaultdict(list)
    for score in examined:
        samples[score.task, score.sample].append(score)
    conversations = {sample: group[0].traits.conversation for sample, group in samples.items()}
    made = _callers(examined)
    contents, answers, said = (defaultdict[str, list[Score]](list) for _ in range(3))
    for score in examined:
        said[_answer(score)].append(score)
        contents[score.traits.content].append(score)
        answers[score.traits.answer].append(score)
    unrelated = _unrelated_requests()
    known = dict(_determined(examined)) | dict(_swapped(examined, unrelated))
    known |= dict(_given_again(examined))
    for sample, group in samples.items():
        texts = Counter(score.traits.content for score in group)
        for score in group:
            if score.record in known:
                yield known[score.record]
                continue
            calls = [call for call in score.traits.calls if made[call][sample] == 1]
            unusual = {call: made[call] for call in calls if len(group) >= _FEWEST_ATTEMPTS}
            words = _foreign_words(score, unusual, conversations)
            word, other = next((pair for pair in words if pair[1] != sample), ("", ()))
            if other:
                message = f"The reply contains {word!r}, a word of the request {'/'.join(other)}."
                expected = "no content of another request"
                yield message, evidence(score.record, "$", expected, word)
                continue
            owner = _owner(score, group, said, unrelated)
            if owner is not None:
                message = f"The answer is that of an unrelated request, {owner.record}."
                expected = "an answer to its own request"
                yield message, evidence(score.record, "$", expected, "another")
                continue
            content = score.traits.content
            if not content or texts[content] > 1:
                continue
            twin = next((other for other in contents[content] if unrelated(score, other)), None)
            if twin is not None and not _is_stock(score, twin, answers, unrelated):
                message = (
                    f"The reply has the text of the reply to an unrelated request, {twin.record}."
                )
                shown = evidence(score.record, "$", "a reply to its own request", "the same")
                yield message, shown, True


@family.cross_check(
    "reply.stored",
    lambda score: score.traits.created is not None and score.replies,
    component="cache",
)
def stored(examined: Sequence[Score]) -> Iterator[Difference]:
    """No reply was made before its request was sent, for a different one or another sample.

    Caches find replies by the meaning of a question, which numbers and names hardly change, or by a
    key that lacks options. The evidence is the time at which the reply says that it was made: it is
    that of an equal reply which ended before this request was sent. A stored reply to an equal
    request is right at temperature 0.
    """
    made: dict[tuple[Api, float | None], list[Score]] = defaultdict(list)
    for score in sorted(examined, key=lambda score: score.rows[0].began):
        made[score.condition.api, score.traits.created].append(score)
    again: list[tuple[Score, Score]] = []
    times = Counter(api for api, _ in made)
    for (api, _), group in made.items():
        if times[api] < _FEWEST_TIMES:
            continue  # A server that never looks at a clock repeats one time, or that of a replica.
        own = {_texts(score): score for score in group if not _began_after(score, group[0])}
        later = [score for score in group if _began_after(score, group[0])]
        if any(_texts(score) not in own for score in later):
            return  # The time is that of the server's start, or another that means nothing.
        again += [(score, own[_texts(score)]) for score in later if any(_texts(score))]
    for score, first in again:
        one, other = score.traits, first.traits
        apart = set(one.options.split()) ^ set(other.options.split())
        names = sorted({option.partition("=")[0] for option in apart} - {"seed"})
        if one.conversation != other.conversation:
            what = "with a different conversation"
        elif names:
            what = f"that differs in {', '.join(names)}"
        elif not score.rows[0].greedy:
            what = "that is equal, although this one asks for a new sample"
        else:
            continue
        message = f"The reply was made before its request was sent, for a request {what}."
        shown = evidence(score.record, "$", "a reply to its own request", f"that of {first.record}")
        yield message, shown, True


family.account_rule(
    "reply.degenerates",
    "A reply to a request that was answered before does not end in repetition, unless the first "
    "one does. Otherwise the server reuses what it computed for equal prompts, and damages it.",
    fix="Restore all of a cached prefix: its positions, its attention sinks and its windows.",
)


def _determined(examined: Sequence[Score]) -> Iterator[tuple[str, Difference]]:
    """Yield the replies with a call or an answer that another request determines, and the finding.

    Their own request lacks a value in it. Two requests with such replies prove it.
    """
    replies = [(score, row) for score in examined for row in score.replies]
    wanted: dict[tuple[str, str], _Sample] = {}
    for _, row in replies:
        if row.wanted and row.wanted.arguments:
            wanted[row.wanted.name, _spelled(row.wanted.arguments)] = row.sample
        elif row.wanted:
            wanted["", _spelled({"": row.wanted.text})] = row.sample
    found: list[tuple[Score, _Sample, str]] = []
    for score, row in replies:
        own, calls = score.traits.conversation, row.calls if row.wanted else ()
        made = [(name, parsed_object(arguments) or {}, arguments) for name, arguments in calls]
        for name, said, shown in (*made, ("", {"": row.text.strip()}, row.text)):
            owner = wanted.get((name, _spelled(said)), row.sample)
            texts = (json.dumps(text, ensure_ascii=False)[1:-1].lower() for text in strings(said))
            if owner != row.sample and any(e not in own for e in texts if len(e) >= _PRIVATE):
                found.append((score, owner, shown))
    proven = len({(score.task, score.sample) for score, *_ in found}) >= SEVERAL
    for score, owner, shown in found:
        message = f"The reply has what the request {'/'.join(owner)} determines."
        got = evidence(score.record, "$", "a reply to its own request", shown)
        yield score.record, (message, got, proven)


def _given_again(examined: Sequence[Score]) -> Iterator[tuple[str, Difference]]:
    """Yield the replies with the answer of an earlier turn, and the finding; a model gives few."""
    found = [(row.record, row.text) for score in examined for row in score.replies if row.again]
    if len({text for _, text in found}) >= ALIKE:
        for record, text in found:
            message = "The answer to an earlier turn of the conversation is given again."
            yield record, (message, evidence(record, "$", "an answer to the last turn", text), True)


def _spelled(value: object) -> str:
    return json.dumps(value, sort_keys=True)


def _began_after(score: Score, first: Score) -> bool:
    """Whether a request was sent so long after another reply that seconds of a clock show it."""
    return score.rows[0].began > first.rows[0].ended + _SECONDS


def _texts(score: Score) -> tuple[object, ...]:
    first = score.rows[0]
    return first.reasoning, first.text, first.calls


def _swapped(
    examined: Sequence[Score], unrelated: Callable[[Score, Score], bool]
) -> Iterator[tuple[str, Difference]]:
    """Yield the replies that an unrelated request got as well, with the finding.

    Their prompt tokens are not those that most attempts at their own request have, and those of the
    other request do not vary. Parts of the prompt that vary, such as a date, have a few tokens.
    """
    prompts: dict[tuple[_Sample, Api], Counter[int]] = defaultdict(Counter)
    counted = [score for score in examined if score.traits.first_input]
    for score in counted:
        prompts[_place(score)][score.traits.first_input or 0] += 1
    owners: dict[object, Score] = {}
    for score in counted:
        if len(prompts[_place(score)]) == 1:
            owners.setdefault(_reply(score), score)
    for score in counted:
        count, owner = score.traits.first_input or 0, owners.get(_reply(score))
        times = prompts[_place(score)]
        others = [other for other in times if other != count and times[other] >= times[count]]
        varied = others and min(abs(count - other) for other in others) > FRAMING
        if owner is not None and varied and score.replies and unrelated(score, owner):
            message = "The prompt tokens and the texts belong to another request."
            got = f"those of {owner.record}"
            shown = evidence(score.record, "$", "a reply to its own request", got)
            yield score.record, (message, shown, True)


def _place(score: Score) -> tuple[_Sample, Api]:
    return (score.task, score.sample), score.condition.api


def _reply(score: Score) -> object:
    """Return the prompt tokens and the texts of the first reply."""
    texts = [(row.reasoning, row.text, row.calls) for row in score.replies[:1]]
    return score.condition.api, score.traits.first_input, *texts


def _is_stock(
    score: Score,
    twin: Score,
    answers: Mapping[str, Sequence[Score]],
    unrelated: Callable[[Score, Score], bool],
) -> bool:
    """Whether the model also gives this answer, after another CoT, to a third request."""
    answer = score.traits.answer or twin.traits.answer
    return bool(answer) and any(
        other.traits.content != score.traits.content
        and unrelated(other, score)
        and unrelated(other, twin)
        for other in answers[answer]
    )


def _answer(score: Score) -> str:
    """Return the answer of a rollout with a single reply; empty if it has calls."""
    (first, *others) = score.rows or (None,)
    return "" if first is None or others or first.calls else first.text.strip()


def _owner(
    score: Score,
    group: Sequence[Score],
    said: Mapping[str, Sequence[Score]],
    unrelated: Callable[[Score, Score], bool],
) -> Score | None:
    """Return an unrelated attempt with the answer of one attempt, and of no other at its request.

    A model in doubt gives one answer to several requests. This one is given to one other request,
    whose words are in it.
    """
    text = _answer(score)
    same = said[text] if len(text) >= LONG_TEXT else ()
    owners = [other for other in same if other.record != score.record]
    of_one = len({(other.task, other.sample) for other in owners}) == 1
    if len(group) < _FEWEST_ATTEMPTS or len(owners) < _FEWEST_TWINS or not of_one:
        return None
    own, theirs = (each.traits.conversation for each in (score, owners[0]))
    told = set(_WORD.findall(text.lower()))
    named = sum(word in theirs and word not in own for word in told)
    return owners[0] if named >= _FEWEST_NAMED and unrelated(score, owners[0]) else None


def _callers(examined: Sequence[Score]) -> Mapping[str, Counter[_Sample]]:
    """How often each call is made, by sample."""
    made: dict[str, Counter[_Sample]] = defaultdict(Counter)
    for score in examined:
        for call in score.traits.calls:
            made[call][score.task, score.sample] += 1
    return made


def _foreign_words(
    score: Score, unusual: Mapping[str, Counter[_Sample]], conversations: Mapping[_Sample, str]
) -> Iterator[tuple[str, _Sample]]:
    """Words that cannot come from the reply's own request, with the samples that contain them.

    They are code words, and words in `unusual` calls, which map to the samples that make them.
    """
    for word in sorted(score.traits.invented):
        holders = [sample for sample, text in conversations.items() if word in text]
        if CODE_WORD.fullmatch(word):
            yield from ((word, sample) for sample in holders)
        for call in (call for call in unusual if word in call.lower()):
            twins = (sample for sample in holders if unusual[call][sample] >= _FEWEST_TWINS)
            yield from ((word, sample) for sample in twins)


def _unrelated_requests() -> Callable[[Score, Score], bool]:
    """A function that returns whether the requests of two rollouts have few words in common."""
    words = cache(lambda conversation: frozenset(_WORD.findall(conversation)))

    def unrelated(one: Score, other: Score) -> bool:
        of_one, of_other = words(one.traits.conversation), words(other.traits.conversation)
        return len(of_one & of_other) < _COMMON_WORDS * len(of_one | of_other)

    return unrelated
