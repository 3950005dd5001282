"""When a defect shows: exact tests on the replies with and without it. Pure.

A finding occurs only in replies with a feature, or only in those without it, if other replies
hardly have it, and the hypergeometric distribution excludes chance (Fisher's exact test,
one-sided). Many options occur together, so a feature is named only if requests that differ in it
alone differ in the finding, or if it is the only one that fits. Of several that fit equally, all
are named, or none. The API and the mode are tested first, within the samples that were sent in
both, then the other properties, among the replies that have those before.
"""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

from harness.records.analysis import RuleResult
from harness.records.conditions import APIS, MODES
from harness.records.diagnosis import Occasion
from harness.records.replies import CHOICES, JSON, LONG, LONG_FROM, TRUNCATED, Feature
from harness.records.scores import Score
from harness.rules.catalogue import PROBES, RULES
from harness.statistics.question import asked

Reply = tuple[str, int]  # the id of a rollout, and the index of an exchange in it
_CHANCE = 0.05
"""Probability below which a difference is not due to chance; divided by the features: by those of
the API and the mode, and by the others."""
_CHANCE_OF_LOAD = 0.01  # the same for load, which each cause of each run is tested for
_HARDLY = 0.1  # of the rate of replies with a feature: findings without it are background
_ALWAYS = 0.9  # of the replies
_FEWEST_MIXED, _MIXED = 3, 0.3  # requests that are right in some tries: number, share
_API, _MODE = ({Feature(name, one) for one in of} for name, of in (("API", APIS), ("mode", MODES)))
_PLACES = frozenset(_API | _MODE)
_SIDES = 2  # features of probes: the API and the mode
UNDER_LOAD, INTERMITTENT = Occasion(kind="under load"), Occasion(kind="intermittent")
_MOST_EQUAL = 2  # features that fit equally and are still named
_SAME = {"response_format": JSON.property, "text.format": JSON.property, "n": CHOICES.property}
"""Options whose requests have another property, too: they differ in one if in the other."""


class _Property(NamedTuple):
    """A feature, or its lack, in which attempts may differ."""

    lacks: bool
    feature: Feature


def _about(feature: Feature) -> str:
    """Return what a feature is about, as others may be that have another name."""
    name = feature.property
    return _SAME.get(name) or _SAME.get(name.partition(".")[0], name)


def replies_of(
    results: Sequence[RuleResult], scores: Sequence[Score]
) -> Mapping[str, frozenset[Reply]]:
    """Return the replies with a finding by rule.

    Of a probe, these are the replies to the requests that it accuses, in the modes that it does.
    """
    by_rule: dict[str, set[Reply]] = defaultdict(set)
    places: dict[tuple[str, str, str, bool], set[Reply]] = defaultdict(set)
    for score in scores:
        last = max(len(score.rows) - 1, 0)
        place = score.task, score.condition.api, score.sample, score.condition.streaming
        places[place].add((score.record, last))
        for finding in score.findings:
            if finding.severity != "info":
                by_rule[finding.id].add((score.record, finding.evidence.exchange))
    for result in results:
        if result.of_probe:
            group = PROBES[result.check.id].group.name
            for (api, name), mode in product(result.failing, result.modes or MODES):
                by_rule[result.check.id] |= places[group, api, name, mode == "streaming"]
    return defaultdict(frozenset, {rule: frozenset(replies) for rule, replies in by_rule.items()})


def tolerated_replies(rules: Collection[str], scores: Sequence[Score]) -> Set[Reply]:
    """Return the replies with a finding of these checks that is tolerated where they are.

    A share that exceeds the tolerance in streams alone, say, is no defect of streams alone if
    complete replies have it nearly as often.
    """
    return {
        (score.record, finding.evidence.exchange)
        for score in scores
        for finding in score.findings
        if finding.severity == "info" and finding.id in rules
    }


@dataclass(frozen=True)
class _Unit:
    """An attempt that the rules judged, with what may decide whether it has the finding.

    Of an attempt with the finding, only the replies that have it count.
    """

    hit: bool
    some: frozenset[Feature]  # its API and mode, and the features of any of its replies
    every: frozenset[Feature]  # its API and mode, and the features of all its replies
    load: int = 0  # requests in flight while its own was, itself included
    sample: Hashable = None  # its task and sample
    request: Hashable = None  # its sample and condition

    def has(self, wanted: _Property) -> bool:
        """Whether a reply has the property."""
        if wanted.lacks:
            return wanted.feature not in self.every
        return wanted.feature in self.some


def occasions(
    results: Sequence[RuleResult],
    replies: Collection[Reply],
    scores: Sequence[Score],
    run: Sequence[RuleResult],
) -> Iterator[Occasion]:
    """Yield when some rules of one component fail.

    Checks count replies. The account compares greedy replies, and finds more in them whatever the
    server does: a temperature is no condition of what it finds. If all rules are probes, their
    repetitions count, and those of the probes among the results of the `run` that test the same in
    the other mode. That a reply does not say that it was truncated is no condition of the rules
    that judge this.
    """
    checks = {result.check.id for result in results if not result.of_probe}
    made = _units(checks, replies, scores) if checks else _of_probes(results, run)
    units: Sequence[_Unit] = list(made)
    features = frozenset[Feature]().union(*(unit.some for unit in units))
    accounted = any(RULES[rule].of_account for rule in checks)
    of_ends = any(RULES[rule].part.of_ends for rule in checks)
    places = [_Property(False, feature) for feature in features & _PLACES]
    others = [
        _Property(lacks, feature)
        for feature in features - _PLACES
        for lacks in (False, True)
        if not (lacks and (feature.value or (of_ends and feature == TRUNCATED)))
        and not (accounted and feature.property == "temperature")
    ]
    for tried in (places, places, others, others):
        tests = (len(tried) or 1) if checks else _SIDES
        if conditions := _conditions(units, tried, _CHANCE / tests):
            yield Occasion(
                kind="without" if conditions[0].wanted.lacks else "with",
                features=tuple(each.wanted.feature for each in conditions),
            )
            inside = frozenset[int]().union(*(each.inside for each in conditions))
            units = [units[at] for at in sorted(inside)]
    if checks:
        yield from _frequency(units)
    elif (
        all(result.modes == ("streaming",) != result.check.modes for result in results)
        and 0.5 ** sum(result.failures for result in results) <= _CHANCE
    ):
        yield Occasion(kind="with", features=(Feature("mode", "streaming"),))


def _units(
    checks: Set[str], replies: Collection[Reply], scores: Sequence[Score]
) -> Iterator[_Unit]:
    every = [row for score in scores for row in score.rows]
    begun, ended = sorted(row.began for row in every), sorted(row.ended for row in every)
    for score in scores:
        if not checks & score.applicable:
            continue
        condition = score.condition
        place = {Feature("API", condition.api), Feature("mode", MODES[not condition.streaming])}
        hits = [row for row in score.rows if row.key in replies]
        made = hits or score.rows
        features = [
            row.features | ({LONG} if row.size >= LONG_FROM else set()) for row in made
        ] or [frozenset[Feature]()]
        yield _Unit(
            hit=bool(hits),
            some=frozenset(place).union(*features),
            every=frozenset(place) | features[0].intersection(*features),
            load=max(
                (bisect_left(begun, e.ended) - bisect_right(ended, e.began) for e in made),
                default=0,
            ),
            sample=(score.task, score.sample),
            request=(score.task, score.sample, condition.name),
        )


def _of_probes(results: Sequence[RuleResult], run: Sequence[RuleResult]) -> Iterator[_Unit]:
    failed = {result.check.id for result in results}
    tested = {PROBES[rule].in_other_mode or rule for rule in failed}
    for result in run:
        probe = PROBES.get(result.check.id)
        if probe is not None and (probe.in_other_mode or probe.id) in tested:
            mode = result.check.modes if len(result.check.modes) == 1 else ()
            for api, (failures, every) in result.counts.items():
                place = frozenset({Feature("API", api), *(Feature("mode", one) for one in mode)})
                hits = failures if result.check.id in failed else 0
                for number in range(every):
                    yield _Unit(number < hits, place, place)


class _Separation(NamedTuple):
    """A property that separates findings: the smallest has the least chance.

    Then an option comes before its values, and what has it before what lacks it.
    """

    chance: float
    """The probability that so many of the findings have the property by chance."""
    has_value: bool
    wanted: _Property
    inside: frozenset[int]  # the places of the attempts that have it


def _conditions(
    units: Sequence[_Unit], tried: Sequence[_Property], chance: float
) -> Sequence[_Separation]:
    """Return the property that decides the finding, or up to two that fit equally and are had."""
    separations = sorted(s for s in _separations(units, tried) if s.chance <= chance)
    if not separations:
        return ()
    best = separations[0]
    about = _about(best.wanted.feature)
    others = [s for s in separations[1:] if _about(s.wanted.feature) != about]
    equal = [best, *(other for other in others if _fits_equally(other, best, units))]
    for each in [*equal, *(s for s in separations if s.wanted.feature in _PLACES)]:
        # The same requests are sent over both APIs and in both modes; others may differ in what
        # no property tells.
        of_place = each.wanted.feature in _PLACES
        if (of_place or _decides(each, units)) and _differs_alone(each.wanted, units, chance):
            return (each,)
    decide = all(not each.wanted.lacks and _decides(each, units) for each in equal)
    return equal if decide and len(equal) <= _MOST_EQUAL else ()


def _fits_equally(other: _Separation, best: _Separation, units: Sequence[_Unit]) -> bool:
    """Whether attempts with the other property alone have the finding as often as with both."""
    answer = asked((None, at not in best.inside, units[at].hit) for at in other.inside)
    return bool(other.inside & best.inside) and answer.p_fewer > _CHANCE


def _differs_alone(wanted: _Property, units: Sequence[_Unit], chance: float) -> bool:
    """Whether attempts that differ in this property alone differ in the finding."""
    about = _about(wanted.feature)

    def rest(unit: _Unit) -> Hashable:
        return frozenset(feature for feature in unit.some if _about(feature) != about)

    # Over two APIs, one request has other options.
    alike = [lambda unit: unit.sample, rest] if wanted.feature in _PLACES else [rest]
    for same in alike:
        groups: dict[Hashable, list[_Unit]] = defaultdict(list)
        for unit in units:
            groups[same(unit)].append(unit)
        mixed = [
            unit
            for group in groups.values()
            if len({unit.has(wanted) for unit in group}) > 1
            for unit in group
        ]
        if mixed:
            return any(each.chance <= chance for each in _separations(mixed, [wanted]))
    return False


def _decides(separation: _Separation, units: Sequence[_Unit]) -> bool:
    """Whether the attempts with a property have the finding always, or by chance in some tries."""
    inside = [units[at] for at in separation.inside]
    return sum(unit.hit for unit in inside) >= _ALWAYS * len(inside) or _is_intermittent(inside)


def _separations(units: Sequence[_Unit], tried: Sequence[_Property]) -> Iterator[_Separation]:
    """Yield the properties without which the findings are no more than background."""
    for wanted in tried:
        inside = frozenset(at for at, unit in enumerate(units) if unit.has(wanted))
        answer = asked((None, at in inside, unit.hit) for at, unit in enumerate(units))
        (within, size), (others, outside) = answer.part, answer.others
        usual = wanted.lacks or (2 * size > len(units) and wanted.feature not in _PLACES)
        if usual and within < _ALWAYS * size:
            continue  # What most requests have or lack says little, unless all of them have it.
        if within and outside and others / outside <= _HARDLY * within / size:
            yield _Separation(answer.p_more, bool(wanted.feature.value), wanted, inside)


def _frequency(units: Sequence[_Unit]) -> Iterator[Occasion]:
    """Yield in which share of replies, whether now and then, and whether load matters.

    What all replies of some APIs and modes have is no share, though few prove no condition.
    """
    places = {unit.some & _PLACES for unit in units if unit.hit}
    inside = [unit.hit for unit in units if unit.some & _PLACES in places]
    if sum(inside) < _ALWAYS * len(inside):
        yield Occasion(kind="share", share=sum(inside) / len(units))
    if _is_intermittent(units):
        yield INTERMITTENT
    # The requests that have the finding are right in all tries that were sent alone.
    answer = asked((None, unit.load > 1, unit.hit) for each in _tries(units) for unit in each)
    hits_alone, alone = answer.others
    if alone and not hits_alone and answer.p_more <= _CHANCE_OF_LOAD:
        yield UNDER_LOAD


def _tries(units: Sequence[_Unit]) -> Iterator[list[_Unit]]:
    """Yield the tries of each request that has the finding."""
    tries: dict[object, list[_Unit]] = defaultdict(list)
    for unit in units:
        tries[unit.request].append(unit)
    return (each for each in tries.values() if any(unit.hit for unit in each))


def _is_intermittent(units: Sequence[_Unit]) -> bool:
    """Whether the same requests are right in some tries."""
    repeated = [each for each in _tries(units) if len(each) > 1]
    mixed = sum(not all(unit.hit for unit in each) for each in repeated)
    return mixed >= max(_FEWEST_MIXED, _MIXED * len(repeated))
