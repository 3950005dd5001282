"""When a defect shows: exact tests on the replies with and without it. Pure.

A finding occurs only in streams, only in requests with an option or a form of message, or only in
those without it, if other replies hardly have it, and the hypergeometric distribution excludes
chance (Fisher's exact test, one-sided). Many options occur together, so a property is named only if
requests that differ in it alone differ in the finding, or if it is the only property that fits. Of
several that fit equally, all are named, or none. The API and the mode are tested first, then the
properties of requests, among the replies that have those before.
"""

import re
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

from harness.records.analysis import RuleResult
from harness.records.conditions import APIS, MODES
from harness.records.scores import Score
from harness.records.traits import Circumstances
from harness.rules.catalogue import PROBES
from harness.text import percentage

Reply = tuple[str, int]  # the id of a rollout, and the index of an exchange in it
_CHANCE = 0.05  # probability below which a difference is not due to chance; divided by the features
_HARDLY = 0.1  # of the rate of replies with a feature: findings without it are background
_ALWAYS, _SELDOM = 0.9, 0.3  # shares of replies
_FEWEST_MIXED, _MIXED = 3, 0.3  # requests that are right in some tries: number, share
_STREAMS, _WHOLE, _LONG = "streams", "complete replies", "requests above 8,000 characters"
_SIZE = 8  # thousand characters, from which a request is long
_SIDES = 2  # features of probes: the API and the mode
_WITH, _WITHOUT = "requests with ", "requests without "
UNDER_LOAD = "only with several requests in flight: try --concurrency 1"
INTERMITTENT = "the same request succeeds in other tries"
_MOST_EQUAL = 2  # properties that fit equally and are still named
_FAMILIES = (
    (re.compile("|".join(APIS)), "API"),
    (re.compile(f"{_STREAMS}|{_WHOLE}"), "mode"),
    (re.compile(r"requests (?:for JSON|with(?:out)? (?:response_format|text\.format).*)"), "JSON"),
    (re.compile(r"requests (?:for several choices|with(?:out)? n)"), "choices"),
)
"""Names of one property: requests differ in it alone if they differ in nothing else."""


def replies_of(
    results: Sequence[RuleResult], scores: Sequence[Score]
) -> Mapping[str, frozenset[Reply]]:
    """Return the replies with a finding by rule.

    Of a probe, these are the replies to the requests that it accuses, in the modes that it does.
    """
    by_rule: dict[str, set[Reply]] = defaultdict(set)
    places: dict[tuple[str, str, bool], set[Reply]] = defaultdict(set)
    for score in scores:
        last = max(len(score.traits.circumstances) - 1, 0)
        place = score.task, f"{score.condition.api} {score.sample}", score.condition.streaming
        places[place].add((score.record, last))
        for finding in score.findings:
            if finding.severity != "info":
                by_rule[finding.id].add((score.record, finding.evidence.exchange))
    for result in results:
        if result.check.kind == "probe":
            group = PROBES[result.check.id].group.name
            for name, mode in product(result.failing, result.modes or MODES):
                by_rule[result.check.id] |= places[group, name, mode == "streaming"]
    return defaultdict(frozenset, {rule: frozenset(replies) for rule, replies in by_rule.items()})


@dataclass(frozen=True)
class _Unit:
    """An attempt that the rules judged, with what may decide whether it has the finding.

    Of an attempt with the finding, only the replies that have it count.
    """

    hit: bool
    features: frozenset[str]  # the API, the mode, and those of its requests and replies
    load: int = 0  # requests in flight while its own was, itself included
    request: object = None  # its task, sample and condition


def occasions(
    results: Sequence[RuleResult],
    replies: Collection[Reply],
    scores: Sequence[Score],
    run: Sequence[RuleResult],
) -> Iterator[str]:
    """Yield when some rules of one component fail, in a few words each.

    Checks count replies. If all rules are probes, their repetitions count, and those of the probes
    among the results of the `run` that test the same in the other mode.
    """
    checks = {result.check.id for result in results if result.check.kind == "check"}
    made = _units(checks, replies, scores) if checks else _of_probes(results, run)
    units: Sequence[_Unit] = list(made)
    names = frozenset[str]().union(*(unit.features for unit in units))
    tests = len(names | _lacking(names)) if checks else _SIDES
    places = frozenset({*APIS, _STREAMS, _WHOLE})
    for tried in (places, places, names - places, names - places):
        if conditions := _conditions(units, tried, _CHANCE / tests):
            yield f"only {' or '.join(each.name for each in conditions)}"
            inside = frozenset[int]().union(*(each.inside for each in conditions))
            units = [units[at] for at in sorted(inside)]
    if checks:
        yield from _frequency(units)
    elif (
        all(result.modes == ("streaming",) != result.check.modes for result in results)
        and 0.5 ** sum(result.failures for result in results) <= _CHANCE
    ):
        yield f"only {_STREAMS}"


def _units(
    checks: Set[str], replies: Collection[Reply], scores: Sequence[Score]
) -> Iterator[_Unit]:
    times = [sent for score in scores for sent in score.traits.circumstances]
    begun, ended = sorted(sent.began for sent in times), sorted(sent.ended for sent in times)
    for score in scores:
        if not checks & score.applicable:
            continue
        condition = score.condition
        place = {condition.api, _STREAMS if condition.streaming else _WHOLE}
        every = score.traits.circumstances
        hits = [sent for index, sent in enumerate(every) if (score.record, index) in replies]
        made = hits or every
        yield _Unit(
            hit=bool(hits),
            features=frozenset(place).union(*map(_features, made)),
            load=max(
                (bisect_left(begun, e.ended) - bisect_right(ended, e.began) for e in made),
                default=0,
            ),
            request=(score.task, score.sample, condition.name),
        )


def _features(sent: Circumstances) -> frozenset[str]:
    return sent.features | ({_LONG} if sent.size >= _SIZE else set())


def _of_probes(results: Sequence[RuleResult], run: Sequence[RuleResult]) -> Iterator[_Unit]:
    failed = {result.check.id for result in results}
    tested = {rule.removesuffix(".streaming") for rule in failed}
    for result in run:
        if result.check.id.removesuffix(".streaming") in tested and result.check.kind == "probe":
            mode = {_STREAMS if result.check.modes == ("streaming",) else _WHOLE}
            places = mode if len(result.check.modes) == 1 else set[str]()
            for api, (failures, every) in result.counts.items():
                hits = failures if result.check.id in failed else 0
                for number in range(every):
                    yield _Unit(hit=number < hits, features=frozenset({api, *places}))


class _Separation(NamedTuple):
    """A feature that separates findings: the smallest has the least chance, then fewest words."""

    chance: float
    """The probability that so many of the findings have the feature by chance."""
    words: int
    name: str
    inside: frozenset[int]  # the places of the attempts that have it


def _conditions(units: Sequence[_Unit], names: Set[str], chance: float) -> Sequence[_Separation]:
    """Return the property that decides the finding, or up to two that fit equally."""
    separations = sorted(s for s in _separations(units, names) if s.chance <= chance)
    if not separations:
        return ()
    best = separations[0]
    others = [s for s in separations[1:] if _family(s.name) != _family(best.name)]
    equal = [best, *(other for other in others if _fits_equally(other, best, units))]
    for each in equal:
        # The same requests are sent over both APIs and in both modes; others may differ in what
        # no property tells.
        of_place = each.name in (*APIS, _STREAMS, _WHOLE)
        if (of_place or _decides(each, units)) and _differs_alone(each.name, units, chance):
            return (each,)
    decide = all(_WITHOUT not in each.name and _decides(each, units) for each in equal)
    return equal if decide and len(equal) <= _MOST_EQUAL else ()


def _family(name: str) -> str:
    """Return the property that a feature is a value, or the lack, of."""
    known = next((family for pattern, family in _FAMILIES if pattern.fullmatch(name)), None)
    return known or name.replace(_WITHOUT, _WITH).partition(" = ")[0]


def _fits_equally(other: _Separation, best: _Separation, units: Sequence[_Unit]) -> bool:
    """Whether attempts with only the other feature have the finding as often as those with both."""
    from scipy.stats import hypergeom  # slow to import

    alone, both = other.inside - best.inside, other.inside & best.inside
    hits_alone, hits = (sum(units[at].hit for at in part) for part in (alone, other.inside))
    return bool(both) and hypergeom.cdf(hits_alone, len(other.inside), hits, len(alone)) > _CHANCE


def _differs_alone(name: str, units: Sequence[_Unit], chance: float) -> bool:
    """Whether attempts that differ in this feature alone differ in the finding."""
    family, wanted = _family(name), name.replace(_WITHOUT, _WITH)
    groups: dict[frozenset[str], list[_Unit]] = defaultdict(list)
    for unit in units:
        groups[frozenset(e for e in unit.features if _family(e) != family)].append(unit)
    mixed = [
        unit
        for group in groups.values()
        if len({wanted in unit.features for unit in group}) > 1
        for unit in group
    ]
    return any(each.name == name and each.chance <= chance for each in _separations(mixed, {name}))


def _decides(separation: _Separation, units: Sequence[_Unit]) -> bool:
    """Whether the attempts with a feature have the finding always, or by chance in some tries."""
    inside = [units[at] for at in separation.inside]
    return sum(unit.hit for unit in inside) >= _ALWAYS * len(inside) or _is_intermittent(inside)


def _separations(units: Sequence[_Unit], names: Set[str]) -> Iterator[_Separation]:
    """Yield those of some features without which the findings are no more than background."""
    from scipy.stats import hypergeom  # slow to import

    hits = sum(unit.hit for unit in units)
    for name in sorted(names | _lacking(names)):
        opposite = name.replace(_WITHOUT, _WITH)
        wanted = name == opposite
        inside = frozenset(
            at for at, unit in enumerate(units) if (opposite in unit.features) is wanted
        )
        within, outside = sum(units[at].hit for at in inside), len(units) - len(inside)
        if not wanted and within < _ALWAYS * len(inside):
            continue  # Most requests lack a rare option: this says little, unless all have it.
        if within and outside and (hits - within) / outside <= _HARDLY * within / len(inside):
            chance = float(hypergeom.sf(within - 1, len(units), hits, len(inside)))
            yield _Separation(chance, len(name.split()), name, inside)


def _lacking(names: Set[str]) -> frozenset[str]:
    """Return the features of the requests that lack an option or a form, whatever its value."""
    without = (name.replace(_WITH, _WITHOUT) for name in names if " = " not in name)
    return frozenset(name for name in without if name.startswith(_WITHOUT))


def _frequency(units: Sequence[_Unit]) -> Iterator[str]:
    """Yield in which share of replies, whether now and then, and whether load matters."""
    hits = sum(unit.hit for unit in units)
    share = hits / max(1, len(units))
    if 0 < share < _ALWAYS:
        often = f"in {percentage(share, 0)} of" if share > _SELDOM else f"1 in {1 / share:.0f}"
        yield f"{often} replies"
    if _is_intermittent(units):
        yield INTERMITTENT
    if _needs_load(units):
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


def _needs_load(units: Sequence[_Unit]) -> bool:
    """Whether the requests that have the finding are right in all tries that were sent alone."""
    from scipy.stats import hypergeom  # slow to import

    tries = [unit for each in _tries(units) for unit in each]
    alone = [unit for unit in tries if unit.load <= 1]
    if not alone or any(unit.hit for unit in alone):
        return False
    hits = sum(unit.hit for unit in tries)
    return bool(hypergeom.sf(hits - 1, len(tries), hits, len(tries) - len(alone)) <= _CHANCE)
