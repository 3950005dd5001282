"""When a defect shows: exact tests on the replies with and without it. Pure.

A finding occurs only in streams, only beside tools, only in long requests, if replies without that
feature hardly have it, and Fisher's exact test excludes chance. Features are tested one after the
other, the most significant first, among the replies that have those before.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from bisect import bisect_left, bisect_right
from dataclasses import dataclass

from scipy.stats import hypergeom, mannwhitneyu

from harness.probes import PROBES
from harness.records.analysis import RuleResult
from harness.records.conditions import APIS
from harness.records.scores import Score
from harness.records.traits import FEATURES, Circumstances
from harness.text import percentage

Reply = tuple[str, int]  # the id of a rollout, and the index of an exchange in it
_CHANCE = 0.01  # probability below which a difference is no chance, divided by the features
_HARDLY = 0.1  # of the rate of replies with a feature: findings without it are background
_MOST_FEATURES = 3
_NEARLY_ALL = 0.9  # of the replies
_FEWEST_REPEATED = 3
_LONG = 8  # thousand characters of a request, from which it is long


def replies_of(
    results: Sequence[RuleResult], scores: Sequence[Score]
) -> Mapping[str, frozenset[Reply]]:
    """Return the replies with a finding by rule; of a probe, those to the requests it accuses."""
    found: dict[str, set[Reply]] = defaultdict(set)
    places: dict[tuple[str, str], set[Reply]] = defaultdict(set)
    for score in scores:
        last = max(len(score.traits.circumstances) - 1, 0)
        places[score.task, f"{score.condition.api} {score.sample}"].add((score.record, last))
        for finding in score.findings:
            if finding.severity != "info":
                found[finding.id].add((score.record, finding.evidence.exchange))
    for result in results:
        if result.check.kind == "probe":
            group = PROBES[result.check.id].group.name
            for name in result.failing:
                found[result.check.id] |= places[group, name]
    return defaultdict(frozenset, {rule: frozenset(replies) for rule, replies in found.items()})


@dataclass(frozen=True)
class _Unit:
    """A reply that the rules judged, with what may decide whether it has the finding."""

    hit: bool
    features: frozenset[str]
    size: int
    load: int  # other requests in flight when it began
    request: tuple[str, str, str]  # its task, sample and condition


def occasions(
    results: Sequence[RuleResult], replies: Collection[Reply], scores: Sequence[Score]
) -> Iterator[str]:
    """Yield when some rules of one component fail, in a few words each."""
    checks = {result.check.id for result in results if result.check.kind == "check"}
    units = list(_units(checks, replies, scores))
    if not any(unit.hit for unit in units):
        yield from _of_counts(results)
        return
    features = _features(units)
    for _ in range(_MOST_FEATURES):
        best = min(
            ((_chance(units, has), name) for name, has in features.items()), default=(1.0, "")
        )
        if best[0] > _CHANCE / len(features):
            break
        yield f"only {best[1]}"
        has = features.pop(best[1])
        units = [unit for unit in units if has(unit)]
    yield from _share(units)


def _units(
    checks: Collection[str], replies: Collection[Reply], scores: Sequence[Score]
) -> Iterator[_Unit]:
    judged = [score for score in scores if checks & score.applicable]
    every = [one for score in scores for one in score.traits.circumstances if one.began]
    begun, ended = sorted(one.began for one in every), sorted(one.ended for one in every)
    for score in judged:
        condition = score.condition
        general = {f"{condition.api} requests", "streams" if condition.streaming else "complete replies"}
        for index, one in enumerate(score.traits.circumstances):
            yield _Unit(
                hit=(score.record, index) in replies,
                features=one.features | general,
                size=one.size,
                load=bisect_right(begun, one.began) - bisect_right(ended, one.began) - 1,
                request=(score.task, score.sample, condition.name),
            )


def _features(units: Sequence[_Unit]) -> dict[str, Callable[[_Unit], bool]]:
    def having(name: str) -> Callable[[_Unit], bool]:
        return lambda unit: name in unit.features

    places = [*(f"{api} requests" for api in APIS), "streams", "complete replies"]
    found = {name: having(name) for name in (*places, *FEATURES)}
    least = _LONG
    found[f"requests of {least},000 characters and more"] = lambda unit: unit.size >= least
    return found


def _chance(units: Sequence[_Unit], has: Callable[[_Unit], bool]) -> float:
    """Return the probability that at least so many of the hits have a feature by chance.

    1 if those without the feature are more than background.
    """
    hits = sum(unit.hit for unit in units)
    inside = [unit for unit in units if has(unit)]
    hits_inside = sum(unit.hit for unit in inside)
    outside = len(units) - len(inside)
    if not hits_inside or not outside:
        return 1.0
    if (hits - hits_inside) / outside > _HARDLY * hits_inside / len(inside):
        return 1.0
    return float(hypergeom.sf(hits_inside - 1, len(units), hits, len(inside)))


def _share(units: Sequence[_Unit]) -> Iterator[str]:
    hits = sum(unit.hit for unit in units)
    if hits < _NEARLY_ALL * len(units):
        yield f"in {percentage(hits / len(units), 0)} of replies"
    by_request: dict[tuple[str, str, str], list[_Unit]] = defaultdict(list)
    for unit in units:
        by_request[unit.request].append(unit)
    mixed = [each for each in by_request.values() if 0 < sum(u.hit for u in each) < len(each)]
    affected = [each for each in by_request.values() if len(each) > 1 and any(u.hit for u in each)]
    if len(mixed) >= max(_FEWEST_REPEATED, _MOSTLY_MIXED * len(affected)):
        yield "the same request is right in other tries"
    loads = [unit.load for unit in units if unit.hit], [unit.load for unit in units if not unit.hit]
    if all(len(each) >= 5 for each in loads):
        test = mannwhitneyu(*loads, alternative="greater")
        strength = test.statistic / (len(loads[0]) * len(loads[1]))
        if test.pvalue <= _CHANCE and strength >= 0.6:
            yield f"more often under load"


_MOSTLY_MIXED = 0.3


def _of_counts(results: Sequence[RuleResult]) -> Iterator[str]:
    """Yield the only API and mode of probes with findings."""
    made = {name.split(" · ")[0] for result in results for name in result.counts}
    hit = {name.split(" · ")[0] for result in results for name, (n, _) in result.counts.items() if n}
    if len(hit) < len(made):
        yield from (f"only {api}" for api in sorted(hit))
    modes = {mode for result in results for mode in result.modes}
    possible = {mode for result in results for mode in result.check.modes}
    if len(modes) == 1 and len(possible) > 1:
        yield "only streams" if modes == {"streaming"} else "only complete replies"
