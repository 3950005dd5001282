"""Answers that go on with a text that does not belong to them, such as a turn of the user."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence

from harness.records.scores import Score
from harness.records.traits import LastAnswer
from harness.rules.check import Difference, Family, evidence
from harness.rules.evidence.rollouts import unrelated_requests
from harness.rules.evidence.traits import SHORTEST_SHARED
from harness.rules.rule import CHAT
from harness.text import shared_beginning

family = Family("text", CHAT, component="ends")

_FEWEST_SHARING = 3  # samples whose answers end alike, or go on
_SHORTEST_ADDED = 8  # characters; a server with rounding errors may end an answer a word later
_FEWEST_WORDS = 5  # of letters, in a shared ending
_WORD = re.compile(r"[^\W\d_]{2,}")
_SENTENCE = re.compile(r"[^.!?\n]*[.!?\n]*$")
# How gpt-oss and other models end answers to all kinds of requests, and code.
_CLOSING = re.compile(
    r"let me know|feel free|hesitate|hope (?:this|that|it) helps|(?:happy|glad|here) to|enjoy|how "
    r"can i|anything else|questions|if you (?:need|want|like|have|would)|if you.d|would you like"
    r"|do you (?:want|need)|(?:need|want) (?:any|more|further|help|me)|more (?:details|information)"
    r"|good luck|have a |reach out|consult|access to|real.time|sorry|unable|can.t |cannot|assist"
    r"|knowledge|up.to.date|__main__|```",
    re.IGNORECASE,
)


@family.cross_check(
    "text.continued",
    lambda score: score.traits.last,
    fix="End the reply at <|return|>, and never generate a turn of the user.",
)
def continued(examined: Sequence[Score]) -> Iterator[Difference]:
    """No answer goes on with a text that does not belong to it, such as the user's next turn.

    Users read it, and later prompts contain it. The evidence is one of these: answers to several
    unrelated requests end with the same long text, which no request contains; or answers to several
    requests with temperature 0 are those of most other attempts with more text. Closing words such
    as offers of help are not reported, because models write them.
    """
    said = [(score, score.traits.last) for score in examined if score.traits.last is not None]
    for record, ending in _shared_endings(said):
        message = "The answer ends with a text that also ends answers to unrelated requests."
        yield message, evidence(record, "$", "the end of this answer", ending)
    for record, added in _extended(said):
        message = "The answer repeats that of another attempt at temperature 0, and has more text."
        yield message, evidence(record, "$", "the end of the other answer", added)


def _usual_beginning(text: str, said: Mapping[str, int]) -> str:
    """Return the answer of which a text is a continuation, if most such answers end there.

    Otherwise the text itself: then the shorter answers may have lost their ends.
    """
    shorter = [other for other in said if text.startswith(other) and other != text]
    usual = max(shorter, key=said.__getitem__, default=text)
    longer = sum(times for other, times in said.items() if other.startswith(usual)) - said[usual]
    return usual if said[usual] > longer else text


def _shared_endings(said: Sequence[tuple[Score, LastAnswer]]) -> Iterator[tuple[str, str]]:
    """Yield the records of answers that end like answers to unrelated requests, with the end."""
    unrelated = unrelated_requests()
    alike: dict[str, list[tuple[Score, LastAnswer]]] = defaultdict(list)
    for one, last in said:
        if last.own_end and len(last.text) > SHORTEST_SHARED:
            alike[last.text[-SHORTEST_SHARED:]].append((one, last))
    for group in alike.values():
        apart: list[Score] = []
        for one, _ in group:
            if all(unrelated(one, other) for other in apart):
                apart.append(one)
        reversed_texts = [last.text[::-1] for _, last in group]
        ending = reversed_texts[0][: shared_beginning(min(reversed_texts), max(reversed_texts))]
        sentence = _SENTENCE.search(group[0][1].text)
        closing = _CLOSING.search(f"{sentence and sentence[0]} {ending[::-1]}")
        several = len({last.text for _, last in group}) >= _FEWEST_SHARING
        several = several and len(_WORD.findall(ending[::-1])) >= _FEWEST_WORDS
        if several and len(apart) >= _FEWEST_SHARING and not closing:
            yield from ((one.record, ending[::-1].strip()) for one, _ in group)


def _extended(said: Sequence[tuple[Score, LastAnswer]]) -> Iterator[tuple[str, str]]:
    """Yield the records of greedy answers that other attempts ended earlier, with the addition."""
    answers: dict[tuple[str, str], list[tuple[Score, LastAnswer]]] = defaultdict(list)
    for one, last in said:
        if last.greedy:
            answers[one.task, one.sample].append((one, last))
    found: dict[tuple[str, str], list[tuple[str, str]]] = defaultdict(list)
    for sample, attempts in answers.items():
        said_alike = Counter(last.text for _, last in attempts)
        for one, last in attempts:
            begins = _usual_beginning(last.text, said_alike)
            added = last.text[len(begins) :].strip()
            long = last.own_end and len(added) >= _SHORTEST_ADDED
            if long and not _CLOSING.search(added):
                found[sample].append((one.record, added))
    if len(found) >= _FEWEST_SHARING:
        for extended in found.values():
            yield from extended
