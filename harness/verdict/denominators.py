"""The replies that can have a problem: what the share of a tolerance is a share of. No I/O.

A share is one of what can fail so. The strata of a rollout are the run, its API, its mode, both,
and the replica that served it. The conditions of a reply are what else decides whether a server's
defect can show in it: whether the limit cut it, it follows a result, tools were offered, the answer
has a format, an equal request was served before, and what it contains; each in every API and mode
together, and alone. A model may have a habit in one of them, so that more than half of the replies
must have the problem, in several conversations, of which each counts once. In an API or mode fewer
are enough, if the replies to the same requests elsewhere have it less often: no model knows these.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from harness.records.conditions import parts_of
from harness.records.replies import JSON, TOOL_RESULT, TRUNCATED, Feature, Row
from harness.records.scores import Finding, Score
from harness.rules.account.court import CHANCE, most
from harness.rules.account.entry import ALIKE
from harness.statistics.question import asked
from harness.statistics.rates import LEVEL, LEVEL_OF_A_LOOK, excessive

Stratum = tuple[str, ...]
"""A property of rollouts and its value, `("API", "chat")`; of replies: a condition, and where."""

EVERY: Stratum = ("run", "")
_PLACES = ("run", "API", "mode", "API and mode")
_FEWEST_SCORES, _MOST_REPLICAS = 10, 8
_TOOLS = Feature("tools")

_CONDITIONS: Mapping[str, Callable[[Row], object]] = {
    "cut": lambda row: TRUNCATED in row.features,
    "after a result": lambda row: TOOL_RESULT in row.features,
    "with tools": lambda row: _TOOLS in row.features,
    "without tools": lambda row: _TOOLS not in row.features,
    "with a format": lambda row: JSON in row.features,
    "with a call": lambda row: row.calls,
    "with line breaks": lambda row: any("\n" in text or r"\n" in text for text in _texts(row)),
    "beyond ASCII": lambda row: not all(map(str.isascii, _texts(row))),
}
"""By name: which replies are in a condition, beside repeated ones."""
_REPEATED = "repeated"
LEVEL_OF_CONDITIONS = LEVEL / (len(_CONDITIONS) + 1)
"""The p-value of a condition, of which each rule has so many."""


Cluster = Callable[[Score], str]
"""What rollouts that a model may fail together have in common."""


def _sample_of(score: Score) -> str:
    return f"{score.task}/{score.sample}"


def _conversation_of(score: Score) -> str:
    return score.traits.conversation or _sample_of(score)


_CLUSTERS: Sequence[Cluster] = (_conversation_of, _sample_of)
"""A share exceeds a rate only by both: samples may share a conversation, and of four tries at one
conversation two that fail may be those of one sample."""


def _texts(row: Row) -> tuple[str, ...]:
    return (row.reasoning, row.text, *(arguments for _, arguments in row.calls))


def strata_of(score: Score) -> Iterator[Stratum]:
    """Yield the strata that a rollout belongs to."""
    condition = score.condition
    yield EVERY
    yield "API", condition.api
    yield "mode", str(condition.mode)
    yield "API and mode", condition.name
    yield from score.traits.replicas


@dataclass(frozen=True)
class Denominators:
    """The rollouts of a run by stratum, and by condition, with the replies that have it."""

    rollouts: Mapping[Stratum, Sequence[Score]]
    replies: Mapping[Stratum, Mapping[str, tuple[Score, frozenset[int]]]]
    """By condition and record: the rollout, and the indices of its replies in the condition."""
    conditions: Mapping[tuple[str, int], Sequence[Stratum]]  # by record and index
    growing: bool = False

    @classmethod
    def of(cls, scores: Sequence[Score], *, growing: bool = False) -> Self:
        """Sort the rollouts of a run; of a `growing` one, which is looked at many times, too."""
        named = _named_conditions(scores)
        conditions = {
            row.key: tuple(
                (*place, name) for place in list(strata_of(score))[: len(_PLACES)] for name in names
            )
            for score in scores
            for row in score.rows
            if (names := named.get(row.key))
        }
        replies: dict[Stratum, dict[str, tuple[Score, frozenset[int]]]] = defaultdict(dict)
        for score in scores:
            at: dict[Stratum, set[int]] = defaultdict(set)
            for row in score.rows:
                for stratum in conditions.get(row.key, ()):
                    at[stratum].add(row.exchange)
            for stratum, indices in at.items():
                replies[stratum][score.record] = score, frozenset(indices)
        return cls(_strata(scores), replies, conditions, growing)

    def exceeded(self, rule: str, rate: float) -> frozenset[Stratum]:
        """Return the strata and conditions in which the findings of a rule exceed a rate."""
        if not rate:
            return frozenset((EVERY,))
        level, of_conditions = LEVEL, LEVEL_OF_CONDITIONS
        if self.growing:
            level, of_conditions = (LEVEL_OF_A_LOOK, LEVEL_OF_A_LOOK / (LEVEL / of_conditions))
        of_rollouts = [self._excessive(rule, rate, level, cluster) for cluster in _CLUSTERS]
        of_replies = {
            stratum: _once(pairs)
            for stratum, those in self._with_findings(rule).items()
            if _is_telling(pairs := counted(rule, *zip(*those, strict=True)))
            or self._is_of_place(rule, stratum)
        }
        return frozenset.intersection(*of_rollouts) | excessive(of_replies, rate, of_conditions)

    def _excessive(
        self, rule: str, rate: float, level: float, cluster: Cluster
    ) -> frozenset[Stratum]:
        counts = {
            stratum: counted(rule, those, cluster=cluster)
            for stratum, those in self.rollouts.items()
        }
        if self.growing:
            counts = {stratum: _once(pairs) for stratum, pairs in counts.items()}
        return excessive(counts, rate, level)

    def of_finding(self, score: Score, finding: Finding) -> Iterator[Stratum]:
        """Yield the strata of a rollout, and the conditions of the reply with the finding."""
        yield from strata_of(score)
        yield from self.conditions.get((score.record, finding.evidence.exchange), ())

    def _with_findings(self, rule: str) -> Mapping[Stratum, list[tuple[Score, frozenset[int]]]]:
        """Return the rollouts that a rule judged of the conditions in which it has findings."""
        hits = Counter(
            stratum
            for score in self.rollouts.get(EVERY, ())
            for at in _places(rule, score)
            for stratum in self.conditions.get((score.record, at), ())
        )
        made: dict[Stratum, list[tuple[Score, frozenset[int]]]] = {}
        for stratum, failed in hits.items():
            judged = [each for each in self.replies[stratum].values() if rule in each[0].applicable]
            if failed >= ALIKE:
                made[stratum] = judged
        return made

    def _is_of_place(self, rule: str, stratum: Stratum) -> bool:
        """Whether an API or a mode has the findings of a condition more often than the others."""
        kind, value, name = stratum
        if kind == EVERY[0]:
            return False
        every = self.replies[*EVERY, name].values()
        answer = asked(
            (
                (score.task, score.sample),
                (kind, value) in strata_of(score),
                not at.isdisjoint(_places(rule, score)),
            )
            for score, at in every
            if rule in score.applicable
        )
        return len(answer.more & answer.telling) >= ALIKE and answer.p_more <= CHANCE


def _named_conditions(scores: Iterable[Score]) -> Mapping[tuple[str, int], Sequence[str]]:
    """Return the names of the conditions of each reply."""
    named: dict[tuple[str, int], list[str]] = {
        row.key: [name for name, has in _CONDITIONS.items() if has(row)]
        for score in scores
        for row in score.replies
    }
    rows = (row for score in scores for row in score.replies if row.request and row.began)
    served: set[object] = set()
    for row in sorted(rows, key=lambda row: row.began):
        sent = row.mode, row.request
        if sent in served:
            named[row.key].append(_REPEATED)
        served.add(sent)
    return named


def _strata(scores: Iterable[Score]) -> Mapping[Stratum, list[Score]]:
    """Return the rollouts of each stratum. Replicas are strata if several have enough rollouts."""
    members: dict[Stratum, list[Score]] = defaultdict(list)
    for score in scores:
        for stratum in dict.fromkeys(strata_of(score)):
            members[stratum].append(score)
    values = Counter(stratum[0] for stratum in members)
    return {
        stratum: rollouts
        for stratum, rollouts in members.items()
        if stratum[0] in _PLACES
        or (1 < values[stratum[0]] <= _MOST_REPLICAS and len(rollouts) >= _FEWEST_SCORES)
    }


def in_stratum(counts: Mapping[str, tuple[int, int]], stratum: Stratum) -> tuple[int, int]:
    """Return failures and trials of the API and mode of a stratum; of a replica, all."""
    kind, value, *_ = stratum
    every = kind not in _PLACES[1:]
    chosen = [each for name, each in counts.items() if every or value in (name, *parts_of(name))]
    return sum(failed for failed, _ in chosen), sum(tries for _, tries in chosen)


def counted(
    rule: str,
    scores: Iterable[Score],
    replies: Iterable[frozenset[int]] | None = None,
    *,
    cluster: Cluster = _conversation_of,
) -> list[tuple[float, int]]:
    """Return affected and judged rollouts by cluster, by default by conversation.

    Copies count once: records of one reply, and equal greedy replies to equal requests, also of
    other samples. With `replies`, by rollout, only a finding in one of these replies counts.
    """
    judged: dict[str, set[object]] = defaultdict(set)
    affected: dict[str, set[object]] = defaultdict(set)
    first: dict[object, str] = {}
    chosen = None if replies is None else iter(replies)
    for score in scores:
        among = None if chosen is None else next(chosen)
        if rule in score.applicable:
            rows = score.replies
            name = cluster(score)
            reply: object = score.reply_ids or score.record
            if rows and all(row.greedy for row in rows):
                reply = tuple((row.stops, row.reasoning, row.text, row.calls) for row in rows)
                if all(row.request for row in rows):
                    requests = tuple((row.request, row.format) for row in rows)
                    name = first.setdefault((requests, reply), name)
            judged[name].add(reply)
            if any(among is None or at in among for at in _places(rule, score)):
                affected[name].add(reply)
    return [(len(affected[name]), len(those)) for name, those in judged.items()]


def _places(rule: str, score: Score) -> Iterator[int]:
    """Yield the indices of the replies with a finding of a rule that is no information."""
    for found in score.findings:
        if found.id == rule and found.severity != "info":
            yield found.evidence.exchange


def _is_telling(counts: Sequence[tuple[float, int]]) -> bool:
    """Whether most of the rollouts, and of the conversations, are affected."""
    return most(*_sum(counts)) and most(*_sum(_once(counts)))


def _once(counts: Iterable[tuple[float, int]]) -> list[tuple[float, int]]:
    """Return the counts with each conversation as one trial."""
    return [(hits / tries, 1) for hits, tries in counts]


def _sum(counts: Sequence[tuple[float, int]]) -> tuple[int, int]:
    return int(sum(hits for hits, _ in counts)), sum(tries for _, tries in counts)
