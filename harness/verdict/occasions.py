"""When a defect shows: exact tests on the replies with and without it. Pure.

A finding occurs only in streams, only in requests with an option or a form of message, or only in
those without it, if other replies hardly have it, and the hypergeometric distribution excludes
chance (Fisher's exact test, one-sided). Features are tested one after the other, the API and the
mode first, then the one that separates best, among the replies that have those before.
"""

from bisect import bisect_right
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
UNDER_LOAD = "more often under load"
INTERMITTENT = "the same request succeeds in other tries"
_LOADED = 0.6
"""Probability that a reply with the finding began under more load than one without. Only a defect
that spares some tries of the same request can depend on the load."""


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
    load: int = 0  # requests in flight when its own began
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
        best = min(_separations(units, tried), default=None)
        if best is not None and best.chance <= _CHANCE / tests:
            yield f"only {best.name}"
            units = best.inside
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
                (bisect_right(begun, e.began) - bisect_right(ended, e.began) for e in made),
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
    inside: Sequence[_Unit]  # the attempts that have it


def _separations(units: Sequence[_Unit], names: Set[str]) -> Iterator[_Separation]:
    """Yield those of some features without which the findings are no more than background."""
    from scipy.stats import hypergeom  # slow to import

    hits = sum(unit.hit for unit in units)
    for name in sorted(names | _lacking(names)):
        opposite = name.replace(_WITHOUT, _WITH)
        wanted = name == opposite
        inside = [unit for unit in units if (opposite in unit.features) is wanted]
        within, outside = sum(unit.hit for unit in inside), len(units) - len(inside)
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
    from scipy.stats import hypergeom, mannwhitneyu  # slow to import

    hits = [unit for unit in units if unit.hit]
    misses = [unit for unit in units if not unit.hit]
    share = len(hits) / max(1, len(units))
    if 0 < share < _ALWAYS:
        often = f"in {percentage(share, 0)} of" if share > _SELDOM else f"1 in {1 / share:.0f}"
        yield f"{often} replies"
    tries: dict[object, list[bool]] = defaultdict(list)
    for unit in units:
        tries[unit.request].append(unit.hit)
    repeated = [each for each in tries.values() if len(each) > 1 and any(each)]
    mixed = sum(not all(each) for each in repeated)
    if mixed >= max(_FEWEST_MIXED, _MIXED * len(repeated)):
        yield INTERMITTENT
    if hits and misses and mixed >= _FEWEST_MIXED:
        test = mannwhitneyu([e.load for e in hits], [e.load for e in misses], alternative="greater")
        if test.pvalue <= _CHANCE and test.statistic >= _LOADED * len(hits) * len(misses):
            yield UNDER_LOAD
            fewest = min(unit.load for unit in hits)
            loaded = sum(unit.load >= fewest for unit in units)
            if hypergeom.sf(len(hits) - 1, len(units), len(hits), loaded) <= _CHANCE:
                yield f"only with {fewest} or more requests in flight"
