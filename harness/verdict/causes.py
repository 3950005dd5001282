"""The likely causes of a run's findings, by the table `harness/data/layers.yaml`. Pure.

Findings are weighed: errors before warnings, checks of the structure of replies before those of
their content, and these before probes of behaviour, which follow from both; and each by the share
of affected replies in the APIs and modes that have it. The first cause explains the finding with
the most weight, the next one the heaviest of those that are left. Among the layers that can explain
a finding, the one with the most weight of findings is the cause; those that show the layer
(`direct`) count twice. Of equal layers, the finding shows the cause directly, or both are named. A
finding that no layer explains is named as such.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from importlib import resources

import yaml
from pydantic import Field, TypeAdapter, model_validator

from harness.records.analysis import RuleResult, RuleStatus
from harness.records.diagnosis import Cause, ComponentFault, Diagnosis, Example
from harness.records.record import Record
from harness.records.scores import Score
from harness.rules.catalogue import PROBES
from harness.text import percentage

Place = tuple[str, str]  # an API and a mode
MOST_CAUSES = 3  # causes that are named
_CHANCE = 0.05  # probability below which the conditions of the replies with a finding are no chance
_WARNING = 0.1  # weight of a warning; an error has 1
_STRUCTURE = frozenset({"schema", "stream", "finish", "errors"})
"""Families of checks that show directly how replies are built."""
_CONTENT, _BEHAVIOUR, _CAUSED_ELSEWHERE = 0.7, 0.4, 0.1
"""Weights of other checks, of probes, and of probes whose requests fail for any reason or whose
findings are `inherited`; checks of `_STRUCTURE` have 1."""
_NEARLY = 0.7  # of the largest weight: findings with it are as heavy
_HARDLY = 0.1  # of the largest share of an API and mode: findings elsewhere are background
_MOSTLY = 0.5  # share of the tries of a probe that fail, in the APIs that it accuses
_FEW = 3  # replies that are added to those without a finding: 1 of 1 shows less than 20 of 20
_FEWEST_REPEATED = 3
_REFUSED, _FAILURE = re.compile(r"status [45]\d\d"), re.compile(r"status 5\d\d")
_FEWEST_FAMILIES, _NOW_AND_THEN = 3, 0.5
_MOST_HEAVIER = 3.0
"""How much heavier than the direct evidence of a layer a finding may be that it explains: a defect
in few replies does not explain one in all, nor a warning an error."""


class Direct(Record):
    """A pattern of rules whose failure shows a layer, and under which conditions it does."""

    rule: str
    share: float = Field(default=0.0, description="least share of replies with the finding")
    most: float = Field(default=1.0, description="largest share of replies with the finding")
    streaming: bool | None = Field(default=None, description="whether only streams have it")
    passed: tuple[str, ...] = Field(default=(), description="these rules passed")
    whole: bool | None = Field(
        default=None, description="whether checks have findings in non-streaming replies"
    )
    repeated: bool = Field(default=False, description="the same request is right in most tries")
    refusals: bool | None = Field(
        default=None, description="true: equal refusals in all examples; false: in none"
    )
    got: str = Field(default="*", description="pattern of the evidence of all examples")
    failures: bool = Field(
        default=False, description="requests of several families fail now and then (5xx)"
    )
    single: bool = Field(default=False, description="one try of a probe is enough")
    beside: tuple[str, ...] = Field(default=(), description="one of these rules failed too")
    without: tuple[str, ...] = Field(default=(), description="none of these rules failed")

    @model_validator(mode="before")
    @classmethod
    def _from_pattern(cls, value: object) -> object:
        return {"rule": value} if isinstance(value, str) else value

    def shown_by(
        self, result: RuleResult, found: Sequence[RuleResult], passed: Collection[str]
    ) -> bool:
        """Return whether a finding, among all of the run, shows the layer."""
        others = [other.check.id for other in found]
        return (
            _matches(result.check.id, [self.rule])
            and self.share <= _share(result) <= self.most
            and self.streaming in (None, _only_streams(result))
            and (self.whole in (None, _in_whole_replies(found)))
            and (not self.repeated or _in_few_tries(result))
            and (self.refusals in (None, _is_refused(result)))
            and all(fnmatchcase(e.evidence.got, self.got) for e in result.examples)
            and (not self.failures or (_fails(result) and _fail_anywhere(found)))
            and set(self.passed) <= set(passed)
            and (not self.beside or any(_matches(rule, self.beside) for rule in others))
            and not any(_matches(rule, self.without) for rule in others)
        )


class Layer(Record):
    """A part of the server: the rules that its defects fail, what they break, and the remedies.

    `remedies` are by pattern of the rules whose defects they correct. `examples` are known defects
    by the rule that shows them.
    """

    title: str
    effect: str
    remedies: Mapping[str, str]
    last: bool = False
    direct: tuple[Direct, ...]
    explains: tuple[str, ...] = ()
    examples: Mapping[str, Example] = {}

    def remedy(self, rules: Sequence[str]) -> str:
        """Return the remedy for the first of some rules that has one."""
        return next(
            text
            for rule in (*rules, "")
            for pattern, text in self.remedies.items()
            if fnmatchcase(rule, pattern)
        )


@cache
def layers() -> Mapping[str, Layer]:
    """Return the layers of the table by name."""
    table = resources.files("harness") / "data" / "layers.yaml"
    return TypeAdapter(dict[str, Layer]).validate_python(yaml.safe_load(table.read_text("utf-8")))


def inherited(results: Iterable[RuleResult], scores: Iterable[Score]) -> frozenset[str]:
    """Return the failed probes that fail because of what they do not test.

    In most of the replies that they accuse, a check has an error that it also has in the replies to
    other groups of requests: a defect of what a probe tests would show only there. What a probe
    judges by token counts, only an error of token counts can cause.
    """
    checked: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for score in scores:
        for finding in score.findings:
            if finding.severity == "error":
                place = score.task, f"{score.condition.api} {score.sample}"
                checked[finding.id].add(place)
    found: set[str] = set()
    for result in results:
        if result.check.id in PROBES and result.failing:
            group = PROBES[result.check.id].group.name
            accused = {(group, name) for name in result.failing}
            for rule, places in checked.items():
                if _by_counts(result) and not rule.startswith("usage."):
                    continue
                elsewhere = any(task != group for task, _ in places)
                if elsewhere and 2 * len(places & accused) >= len(accused):
                    found.add(result.check.id)
    return frozenset(found)


def diagnose(
    results: Sequence[RuleResult],
    components: tuple[ComponentFault, ...] = (),
    inherited: Collection[str] = (),
) -> Diagnosis | None:
    """Return the likely causes of the errors and warnings of a run.

    None if there are none of these, or only warnings without a cause. Only checks that judged
    something are evidence. `components` are those known to be at fault; `inherited` as above.
    """
    failing = {
        result.check.id: result
        for result in results
        if result.applicable and result.status in ("failed", "warned")
    }
    found = [
        _Found(result, rule in inherited, _places([result, failing.get(_plain(rule), result)]))
        for rule, result in failing.items()
    ]
    found.sort(key=lambda finding: (finding.result.status != "failed", -finding.weight, finding.id))
    failed = [finding.result for finding in found]
    shown = {name: _shown(layer, results, failed) for name, layer in layers().items()}
    errors = any(result.status == "failed" for result in failed)
    causes: list[Cause] = []
    unknown: list[_Found] = []
    left = found
    while left and len(causes) < MOST_CAUSES:
        worst = left[0]
        if worst.result.status != "failed" and errors:
            break  # Beside errors, warnings that no error explains need no cause.
        cause = _cause(worst, _candidates(left, shown), results)
        if cause is None:
            unknown.append(worst)
            left = left[1:]
        else:
            causes.append(cause)
            left = [finding for finding in left if finding.id not in cause.explains]
    if not (causes or errors or components):
        return None
    explained = {rule for cause in causes for rule in cause.explains}
    return Diagnosis(
        causes=tuple(causes),
        unexplained=tuple(finding.id for finding in found if finding.id not in explained),
        worst_unexplained=unknown[0].id if unknown and unknown[0] is found[0] else None,
        components=components,
    )


@dataclass(frozen=True)
class _Found:
    """A finding, whether it is `inherited`, and the APIs and modes that have it.

    A probe of streams and its twin without streaming are one finding: together they have its modes.
    """

    result: RuleResult
    inherited: bool
    places: frozenset[Place]

    @property
    def id(self) -> str:
        return self.result.check.id

    @property
    def weight(self) -> float:
        return _weight(self.result, inherited=self.inherited)


@dataclass(frozen=True)
class _Candidate:
    """A layer with the findings that show it and those that it can also explain, heaviest first."""

    name: str
    direct: Sequence[_Found]
    others: Sequence[_Found]

    @property
    def strength(self) -> float:
        """Return the weight of its findings; direct ones count twice, unless inherited."""
        own = (finding.weight for finding in self.direct if not finding.inherited)
        return round(sum(own) + sum(finding.weight for finding in (*self.direct, *self.others)), 6)

    def heaviest(self, status: RuleStatus) -> float:
        """Return the weight of the heaviest finding with a status that it explains; 0 if none."""
        explained = (*self.direct, *self.others)
        return max(
            (finding.weight for finding in explained if finding.result.status == status), default=0
        )

    @property
    def rules(self) -> list[str]:
        return [finding.id for finding in (*self.direct, *self.others)]


def _candidates(
    left: Sequence[_Found], shown: Mapping[str, Collection[str]]
) -> Iterator[_Candidate]:
    """Yield the layers that findings show, with all of these findings that they explain.

    A finding that is nowhere beside direct evidence, in no API and mode, has another cause, and so
    has one in another mode.
    """
    for name, ids in shown.items():
        direct = [finding for finding in left if finding.id in ids]
        if direct:
            direct.sort(key=lambda finding: finding.weight, reverse=True)
            most = _MOST_HEAVIER * direct[0].weight
            places = frozenset[Place]().union(*(finding.places for finding in direct))
            others = [
                finding
                for finding in left
                if finding not in direct
                and _matches(finding.id, layers()[name].explains)
                and (finding.inherited or finding.weight <= most)
                and _occurs_within(finding.places, places)
            ]
            yield _Candidate(name, direct, others)


def _cause(
    worst: _Found, candidates: Iterable[_Candidate], run: Sequence[RuleResult]
) -> Cause | None:
    """Return the layer that explains the most weight, the worst finding or one nearly as heavy."""
    nearly = _NEARLY * worst.weight
    possible = [
        candidate for candidate in candidates if candidate.heaviest(worst.result.status) >= nearly
    ]
    possible = [
        candidate for candidate in possible if not layers()[candidate.name].last
    ] or possible
    if not possible:
        return None

    def rank(candidate: _Candidate) -> tuple[float, bool]:
        return candidate.strength, worst in candidate.direct

    best = max(possible, key=rank)
    worst = worst if worst.id in best.rules else best.direct[0]
    about = layers()[best.name]
    return Cause(
        layer=best.name,
        description=_placed(about.title, [finding.result for finding in best.direct], run),
        effect=about.effect,
        remedy=about.remedy([finding.id for finding in best.direct]),
        alternatives=tuple(
            layers()[candidate.name].title
            for candidate in possible
            if candidate is not best and rank(candidate) == rank(best)
        ),
        examples=(about.examples[worst.id],) if worst.id in about.examples else (),
        explains=tuple(best.rules),
    )


def _shown(
    layer: Layer, results: Sequence[RuleResult], found: Sequence[RuleResult]
) -> Collection[str]:
    """Return the failed rules that show a layer.

    Few tries of few probes are none, because the tries of a defect of this layer would all fail.
    """
    passed = [
        result.check.id for result in results if result.applicable and result.status == "passed"
    ]
    shown = [
        (result, direct)
        for result in found
        for direct in layer.direct
        if direct.shown_by(result, found, passed)
    ]
    patterns = [direct.rule for direct in layer.direct]
    probes = [
        result
        for result in results
        if result.applicable
        and result.check.kind == "probe"
        and _matches(result.check.id, patterns)
    ]
    steady = any(
        direct.single or result.check.kind == "check" or _share(result) >= _MOSTLY
        for result, direct in shown
    )
    few = 2 * sum(probe.status == "passed" for probe in probes) <= len(probes)
    return {result.check.id for result, _ in shown} if steady or few else set()


def _weight(result: RuleResult, *, inherited: bool) -> float:
    """Return how much a finding shows: its severity, its directness and its share of replies.

    A text of another request is evidence in a single reply.
    """
    weight = 1.0 if result.status == "failed" else _WARNING
    if result.check.kind == "probe":
        texts = [example.evidence.got for example in result.examples]
        if inherited or all(map(_REFUSED.match, texts)):
            weight *= _CAUSED_ELSEWHERE
        else:
            weight *= _CONTENT if _by_counts(result) else _BEHAVIOUR
    elif result.check.family == "load":
        return weight * _CONTENT
    elif result.check.family not in _STRUCTURE or _by_counts(result):
        weight *= _CONTENT
    return weight * _share(result, _FEW)


def _share(result: RuleResult, added: int = 0) -> float:
    """Return the share of replies with a finding, in the APIs and modes that have it."""
    found = _frequent(result).values()
    return sum(failures for failures, _ in found) / (sum(every for _, every in found) + added)


def _by_counts(result: RuleResult) -> bool:
    """Return whether the evidence is only in token counts, which may be wrong themselves."""
    return all(example.evidence.path == "$.usage" for example in result.examples)


def _in_few_tries(result: RuleResult) -> bool:
    """Return whether the same requests are right in most tries."""
    failures, tries = result.repeated if result.check.kind == "check" else (0, 0)
    return failures >= _FEWEST_REPEATED and 2 * failures <= tries


def _is_refused(result: RuleResult) -> bool:
    """Return whether all examples of a finding are refusals with the same text."""
    texts = {example.evidence.got for example in result.examples}
    return len(texts) == 1 and all(map(_REFUSED.match, texts))


def _frequent(result: RuleResult) -> Mapping[str, tuple[int, int]]:
    """Return the counts of a finding without the conditions under which it hardly occurs."""
    rates = {name: failures / every for name, (failures, every) in result.counts.items() if every}
    least = _HARDLY * max(rates.values(), default=0)
    return {name: result.counts[name] for name, rate in rates.items() if rate and rate >= least}


def _places(results: Iterable[RuleResult]) -> frozenset[Place]:
    """Return the APIs and modes with findings."""
    found: set[Place] = set()
    for result in results:
        for name in _frequent(result):
            api, _, mode = name.partition(" · ")
            found |= {
                (api, found_mode)
                for found_mode in ([mode] if mode else result.modes or result.check.modes)
            }
    return frozenset(found)


def _plain(rule: str) -> str:
    """Return the id of the rule that judges the same without streaming."""
    return rule.removesuffix(".streaming")


def _occurs_within(found: Collection[Place], direct: Collection[Place]) -> bool:
    """Whether a finding is in an API and mode that direct evidence has, and in no other mode."""
    return not {mode for _, mode in found} - {mode for _, mode in direct} and any(
        place in direct for place in found
    )


def _fails(result: RuleResult) -> bool:
    """Return whether a finding is that requests fail with a 5xx status now and then."""
    got = [example.evidence.got for example in result.examples]
    return all(map(_FAILURE.match, got)) and _share(result) <= _NOW_AND_THEN


def _fail_anywhere(found: Iterable[RuleResult]) -> bool:
    """Return whether requests fail for no reason that they have in common."""
    return len({result.check.family for result in found if _fails(result)}) >= _FEWEST_FAMILIES


def _only_streams(result: RuleResult) -> bool:
    """Return whether streams have a finding, and other replies hardly ever; not by chance."""
    if any(mode != "streaming" for _, mode in _places([result])) or len(result.check.modes) < 2:
        return False
    if result.check.kind == "probe":
        return 0.5**result.failures <= _CHANCE
    failures, judged = (sum(counts) for counts in zip(*_frequent(result).values(), strict=True))
    share: float = judged / sum(every for _, every in result.counts.values())
    return share < 1 and share**failures <= _CHANCE


def _in_whole_replies(found: Sequence[RuleResult]) -> bool:
    """Return whether a check has a finding in replies that are not streams."""
    return any(
        any(failures and name.endswith("non-streaming") for name, (failures, _) in e.counts.items())
        and not _only_streams(e)
        for e in found
    )


def _affected(results: Sequence[RuleResult], part: int, run: Sequence[RuleResult]) -> list[str]:
    """Return the APIs (part 0) or modes (part 1) with findings, if not all have them.

    Those of the run are all that any of its rules judged. None are returned if chance may have
    chosen them, or, of modes, if the requests of a probe were only sent in one.
    """
    if part:
        results = [e for e in results if e.check.kind == "check" or len(e.check.modes) > 1]
    hit = {place[part] for place in _places(results)}
    made = {value for e in run for name in e.counts for value in name.split(" · ")[part : part + 1]}
    judged, failures = Counter[str](), sum(result.failures for result in results)
    for name, (_, every) in ((n, c) for result in results for n, c in result.counts.items()):
        judged.update(dict.fromkeys(name.split(" · ")[part : part + 1], every))
    share = sum(judged[value] for value in hit) / max(1, judged.total())
    by_chance = share < 1 and share**failures > _CHANCE
    return [] if hit >= made or by_chance else sorted(hit)


def _placed(title: str, direct: Sequence[RuleResult], run: Sequence[RuleResult]) -> str:
    """Return the title of a layer, with the APIs and modes that deviate, and whether always."""
    places = [*_affected(direct, 0, run), *_affected(direct, 1, run)]
    if direct and _in_few_tries(direct[0]):
        share = percentage(_share(direct[0]), 0)
        places.append(f"in {share} of replies: the same request is right in most tries")
    return f"{title.rstrip('.')} ({', '.join(places)})." if places else title


def _matches(name: str, patterns: Collection[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
