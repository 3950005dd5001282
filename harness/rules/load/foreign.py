"""Replies with content of another request."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence

from harness.records.scores import Score
from harness.rules.check import Difference, Family, evidence
from harness.rules.evidence.ledger import may_be_headers, usual_difference
from harness.rules.evidence.rollouts import by_condition, unrelated_requests
from harness.rules.evidence.traits import CODE_WORD
from harness.rules.rule import CHAT

family = Family("load", CHAT, component="shared")

_Sample = tuple[str, str]  # task and sample

_FEWEST_ATTEMPTS, _FEWEST_TWINS = 4, 2
"""Attempts at a sample that show what is usual for it, and attempts at another that make a call."""
_FEWEST_OFF, _MOST_OFF = 4, 0.1
"""The fewest tokens by which a borrowed answer differs from what the model wrote, and the largest
share of replies with such a difference: a larger one has another cause."""


@family.cross_check("reply.foreign", lambda score: score.traits.conversation, tolerated=0.003)
def foreign(examined: Sequence[Score]) -> Iterator[Difference]:
    """No reply contains content that belongs to another request.

    Otherwise users see each other's data. The evidence is one of these: an invented word of another
    request; the long text of a reply to an unrelated request; the answer of an unrelated reply,
    with a number of tokens that does not fit it; or a call with a value of another prompt. Such a
    call counts if the attempts with that prompt make it, and the other attempts with this one do
    not. A model may also invent a word or value of another prompt, as the small one did in 3 of
    1,052 replies; only an equal long text proves that the server mixed replies up.
    """
    samples: dict[_Sample, list[Score]] = defaultdict(list)
    for score in examined:
        samples[score.task, score.sample].append(score)
    conversations = {sample: group[0].traits.conversation for sample, group in samples.items()}
    made = _callers(examined)
    contents, answers = defaultdict(list), defaultdict(list)
    for score in examined:
        contents[score.traits.content].append(score)
        answers[score.traits.answer].append(score)
    unrelated = unrelated_requests()
    for sample, group in samples.items():
        texts = Counter(score.traits.content for score in group)
        for score in group:
            calls = [call for call in score.traits.calls if made[call][sample] == 1]
            unusual = {call: made[call] for call in calls if len(group) >= _FEWEST_ATTEMPTS}
            words = _foreign_words(score, unusual, conversations)
            word, other = next((found for found in words if found[1] != sample), ("", ()))
            if other:
                message = f"The reply contains {word!r}, a word of the request {'/'.join(other)}."
                expected = "no content of another request"
                yield message, evidence(score.record, "$", expected, word)
                continue
            content = score.traits.content
            if not content or texts[content] > 1:
                continue
            twin = next((other for other in contents[content] if unrelated(score, other)), None)
            if twin is not None and not _is_stock(score, twin, answers, unrelated):
                message = (
                    f"The reply has the text of the reply to an unrelated request, {twin.record}."
                )
                found = evidence(score.record, "$", "a reply to its own request", "the same")
                yield message, found, True
    yield from _borrowed(examined, unrelated)


def _is_stock(
    one: Score,
    twin: Score,
    answers: Mapping[str, Sequence[Score]],
    unrelated: Callable[[Score, Score], bool],
) -> bool:
    """Whether the model also gives this answer, after another CoT, to a third request."""
    answer = one.traits.answer or twin.traits.answer
    return bool(answer) and any(
        other.traits.content != one.traits.content
        and unrelated(other, one)
        and unrelated(other, twin)
        for other in answers[answer]
    )


def _borrowed(
    examined: Sequence[Score], unrelated: Callable[[Score, Score], bool]
) -> Iterator[Difference]:
    """Replies with the answer to an unrelated request and a number of tokens that does not fit it.

    Nothing is judged if the tokens of many replies differ from their texts: the server then counts
    differently, or loses text. A model may give the same short answer to many requests, and write
    its CoT in several messages.
    """
    for group in by_condition(examined):
        exact = [
            (score, one)
            for score in group
            if len(score.traits.ledgers) == 1
            for one in score.traits.ledgers
            if one.exact and one.end == "model"
        ]
        usual = usual_difference(counted.difference for _, counted in exact)
        answers: dict[str, list[Score]] = defaultdict(list)
        for score, _ in exact:
            answers[score.traits.answer].append(score)
        odd = [
            (score, counted)
            for score, counted in exact
            if abs(counted.difference - usual) >= max(_FEWEST_OFF, counted.spelling)
            and not may_be_headers(counted.difference - usual)
        ]
        for score, counted in odd if len(odd) <= _MOST_OFF * len(exact) else ():
            same = answers[score.traits.answer] if score.traits.answer and counted.cot else ()
            twin = next((other for other in same if unrelated(score, other)), None)
            if twin is not None:
                message = (
                    f"The answer is that of {twin.record}, but its number of tokens does not fit."
                )
                expected = f"{counted.explained + usual} tokens for this text"
                yield message, evidence(score.record, "$.usage", expected, str(counted.reported))


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
