"""Text that a server adds to replies, or loses at their beginnings.

A model writes what the request needs, so replies to many kinds of requests share no words at their
beginnings and ends, and begin like sentences. Text that a server adds to every CoT or answer, such
as a heading, and beginnings that it cuts therefore show across requests.
"""

import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence

from harness.records.conditions import Api
from harness.records.scores import Score
from harness.records.traits import Edges
from harness.rules.check import Difference, Family, evidence
from harness.rules.rule import CHAT
from harness.text import shared_beginning

family = Family("text", CHAT, component="text")


_CONTINUES = re.compile(r"[a-z.,;:!?]")


_SHORTEST = 4  # shared characters; fewer, such as a full stop or line break, may end all texts


_MOST_BEGUN = 0.05  # of cut texts: what follows a lost character may look like a beginning


_FEWEST_TEXTS, _FEWEST_KINDS = 30, 6
"""Different texts, and kinds of requests: the cases or problems of one kind may be alike."""


_RECORDED = "traffic"
"""The task of imported traffic: requests of one client, whose replies may share words."""


@family.cross_check(
    "text.added",
    lambda score: score.traits.edges or score.traits.answers,
    severity="warning",
)
def _added(examined: Sequence[Score]) -> Iterator[Difference]:
    """CoT and answers begin and end like sentences, and not all with the same text.

    Otherwise the server adds, loses or reorders text. Users see the change, and later prompts
    contain it. The end is compared with that of another answer with the same words: if only one of
    the two ends with punctuation, the other has its words in another order.
    """
    yield from _permuted(examined)
    groups: dict[tuple[Api, str], list[tuple[Score, Edges]]] = defaultdict(list)
    for score in examined:
        for edge in score.traits.edges:
            groups[score.condition.api, edge.place].append((score, edge))
    for (_, place), group in groups.items():
        different = {edge for _, edge in group}
        recorded = {score.task for score, _ in group} == {_RECORDED}
        kinds = {score.sample if recorded else score.task for score, _ in group}
        if len(different) < _FEWEST_TEXTS or len(kinds) < _FEWEST_KINDS:
            continue
        if _within_sentences(different):
            message = (
                f"Hardly any {place} begins like a sentence: the server may lose the first words."
            )
            for score, edge in group:
                got = repr(edge.begin)
                yield message, evidence(score.record, "$", "the beginning of a sentence", got)
        elif not recorded and (found := _same_edge(different)):
            where, shared = found
            message = f"Every {place} {where} with the same text."
            for score, _ in group:
                yield message, evidence(score.record, "$", "texts that differ", repr(shared))


def _permuted(examined: Sequence[Score]) -> Iterator[Difference]:
    closed = {words for score in examined for words, ends in score.traits.answers if ends}
    for score in examined:
        if any(words in closed and not ends for words, ends in score.traits.answers):
            message = "The answer has the words of another answer in another order."
            yield message, evidence(score.record, "$", "a full stop at the end", "within the text")


def _same_edge(different: Collection[Edges]) -> tuple[str, str] | None:
    """Return the text that all texts begin or end with, if it is more than a full stop."""
    begin = _shared([edge.begin for edge in different])
    end = _shared([edge.end[::-1] for edge in different])[::-1]
    for shared, where in ((begin, "begins"), (end, "ends")):
        blank = where == "begins" and shared.isspace()
        if blank or (shared.strip() and len(shared) >= _SHORTEST):
            return where, shared
    return None


def _within_sentences(different: Collection[Edges]) -> bool:
    """Whether the texts lack their first words; a beginning that all share was added instead."""
    if len(_shared([edge.begin.lstrip() for edge in different])) >= _SHORTEST:
        return False
    capitals = sum(any(map(str.isupper, edge.begin[1:] + edge.end)) for edge in different)
    begun = sum(not _CONTINUES.match(edge.begin.lstrip()) for edge in different)
    return begun <= _MOST_BEGUN * len(different) and capitals > len(different) / 2


def _shared(texts: Collection[str]) -> str:
    """The beginning that all texts share: what the first and the last in sorted order share."""
    first, last = min(texts), max(texts)
    return first[: shared_beginning(first, last)]
